//! Builds a BPF object. If the sources and the tools are identical, the bytes are identical, even
//! in another build directory.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{
    process,
    toolchain::{self, Toolchain},
};

const TARGET: &str = "bpfel-unknown-none";

/// The build options of the BPF object. The hash in the lock file covers these options too, because
/// other options produce another object.
///
/// The object has its own build profile, because the release profile is for the user half. The
/// profile names only the options that differ from `release` and from the workspace's manifest.
pub(crate) const OPTIONS: [&str; 14] = [
    "--config=profile.bpf.inherits='release'",
    "--config=profile.bpf.opt-level=3",
    "--config=profile.bpf.lto=true",
    "--config=profile.bpf.codegen-units=1",
    // BPF programs cannot unwind the stack.
    "--config=profile.bpf.panic='abort'",
    // The linker converts the debug information to BTF, which the maps and the verifier's messages
    // need.
    "--config=profile.bpf.debug=2",
    "--config=profile.bpf.strip=false",
    "--config=profile.bpf.debug-assertions=false",
    "--config=profile.bpf.overflow-checks=false",
    "--profile=bpf",
    "-Zbuild-std=core",
    "-Clink-arg=--btf",
    // aya-ebpf needs the name of a CPU architecture at build time. The BPF programs read no CPU
    // registers, so the object works on every 64-bit little-endian machine.
    "--cfg",
    "bpf_target_arch=\"x86_64\"",
];
/// The number of options in [`OPTIONS`] that are for cargo. The options for cargo are at the
/// beginning of the list, and the remaining options are for rustc.
const CARGO_OPTIONS: usize = 11;

/// A variant of the BPF object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Variant {
    /// The object that the program for users embeds.
    #[value(skip)]
    Default,
    /// An object without log lines, to prove that log lines cost nothing while they are off
    NoLog,
    /// An object with an empty program. Benchmarks subtract the cost of the empty program.
    #[value(skip)]
    Empty,
}

impl Variant {
    pub(crate) fn file_name(self) -> &'static str {
        match self {
            Self::Default => "default.o",
            Self::NoLog => "no-log.o",
            Self::Empty => "empty.o",
        }
    }

    /// Returns the name of the binary target that cargo builds. The built binary is the BPF object.
    fn binary(self) -> &'static str {
        match self {
            Self::Default | Self::NoLog => "tcpstate",
            Self::Empty => "empty",
        }
    }

    fn cargo_arguments(self) -> &'static [&'static str] {
        match self {
            Self::Default | Self::Empty => &[],
            Self::NoLog => &["--no-default-features"],
        }
    }
}

/// Builds the object from the workspace at `source_root`. Returns the path of the stripped file in
/// `target_dir`.
pub(crate) fn build_object(
    tools: &Toolchain,
    source_root: &Path,
    variant: Variant,
    target_dir: &Path,
) -> Result<PathBuf> {
    let source_root =
        fs::canonicalize(source_root).with_context(|| format!("open {}", source_root.display()))?;
    fs::create_dir_all(target_dir).with_context(|| format!("create {}", target_dir.display()))?;
    let target_dir =
        fs::canonicalize(target_dir).with_context(|| format!("open {}", target_dir.display()))?;

    let mut cargo = tools.cargo(
        &source_root,
        &[
            "build",
            "--quiet",
            "--package",
            "tcpstate-ebpf",
            "--target",
            TARGET,
            "--bin",
            variant.binary(),
        ],
    )?;
    cargo
        .args(&OPTIONS[..CARGO_OPTIONS])
        .args(variant.cargo_arguments())
        .arg("--target-dir")
        .arg(&target_dir);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", rust_flags(tools, &source_root, &target_dir)?);
    without_settings_of_others(&mut cargo);
    process::run(&mut cargo).context("build the BPF object")?;

    let linked = target_dir.join(TARGET).join("bpf").join(variant.binary());
    let stripped = target_dir.join(variant.file_name());
    // Remove the DWARF sections, but keep the sections .BTF and .BTF.ext.
    process::run(process::command(&tools.strip).arg("-g").arg(&linked).arg("-o").arg(&stripped))?;
    Ok(stripped)
}

/// Runs clippy on the kernel half with the build options of the object. Warnings are errors.
pub(crate) fn lint(root: &Path) -> Result<()> {
    let mut clippy = toolchain::clippy(root)?;
    clippy
        .args(["--quiet", "--package", "tcpstate-ebpf", "--target", TARGET, "-Zbuild-std=core"])
        // Use a separate target directory, because clippy of the kernel half uses another compiler
        // than the user half.
        .arg("--target-dir")
        .arg(root.join("target/bpf-lints"))
        .args(["--", "-D", "warnings"])
        .env("CARGO_ENCODED_RUSTFLAGS", OPTIONS[CARGO_OPTIONS..].join("\x1f"));
    without_settings_of_others(&mut clippy);
    process::run(&mut clippy)
}

/// Removes environment variables that would change the bytes of the object.
fn without_settings_of_others(cargo: &mut Command) {
    for variable in [
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_TARGET",
        // Incremental compilation changes the bytes of the object.
        "CARGO_INCREMENTAL",
    ] {
        cargo.env_remove(variable);
    }
}

/// Returns the options for rustc. If the object contains the path of a directory of this machine,
/// the options replace the path with a fixed name.
fn rust_flags(tools: &Toolchain, source_root: &Path, target_dir: &Path) -> Result<OsString> {
    // If a file is below several directories of the list `names`, rustc uses the last of these
    // directories. Each directory is listed before the subdirectories of the directory, so that
    // rustc uses the most specific directory.
    let mut names: Vec<(PathBuf, &str)> =
        vec![(source_root.to_owned(), "."), (target_dir.to_owned(), "/target")];
    names.extend(
        package_folders(tools, source_root)?.into_iter().map(|folder| (folder, "/registry")),
    );
    names.push((tools.rust_src.clone(), "/rust"));
    // On Debian the directory of `core` is a symbolic link. The object may contain the path of the
    // symbolic link and the path to which the link points.
    names.push((fs::canonicalize(&tools.rust_src).context("open the sources of core")?, "/rust"));

    let mut flags: Vec<OsString> = OPTIONS[CARGO_OPTIONS..].iter().map(OsString::from).collect();
    for (folder, name) in names {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(folder);
        flag.push("=");
        flag.push(name);
        flags.push(flag);
    }
    Ok(flags.join(&OsString::from("\x1f")))
}

/// Returns the directories of the unpacked dependencies. The paths of the dependencies depend on
/// the user's home directory and registry, so xtask reads the paths from `cargo metadata`. `cargo
/// metadata` also downloads missing packages.
fn package_folders(tools: &Toolchain, root: &Path) -> Result<BTreeSet<PathBuf>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        source: Option<String>,
        manifest_path: PathBuf,
    }
    let arguments = ["metadata", "--quiet", "--format-version=1", "--filter-platform", TARGET];
    let text = process::read(&mut tools.cargo(root, &arguments)?)?;
    let metadata: Metadata = serde_json::from_str(&text).context("parse cargo metadata")?;
    let foreign = metadata.packages.iter().filter(|package| package.source.is_some());
    Ok(foreign
        .filter_map(|package| Some(package.manifest_path.parent()?.parent()?.to_owned()))
        .collect())
}

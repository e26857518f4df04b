//! Builds a BPF object. Identical sources and tools give identical bytes, in any directory.

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

/// These options are part of the hash over the sources, because other options give another object.
///
/// The profile is separate, because the release profile is for the user half. The profile names
/// only the options that differ from `release` and from the workspace's manifest.
pub(crate) const OPTIONS: [&str; 14] = [
    "--config=profile.bpf.inherits='release'",
    "--config=profile.bpf.opt-level=3",
    "--config=profile.bpf.lto=true",
    "--config=profile.bpf.codegen-units=1",
    // Programs in the kernel cannot unwind.
    "--config=profile.bpf.panic='abort'",
    // The debug information becomes BTF, which the maps and the verifier's messages need.
    "--config=profile.bpf.debug=2",
    "--config=profile.bpf.strip=false",
    "--config=profile.bpf.debug-assertions=false",
    "--config=profile.bpf.overflow-checks=false",
    "--profile=bpf",
    "-Zbuild-std=core",
    "-Clink-arg=--btf",
    // The programs do not read registers of the host. So one object fits every 64-bit little-endian
    // machine.
    "--cfg",
    "bpf_target_arch=\"x86_64\"",
];
/// The number of options for cargo. Options for rustc follow.
const CARGO_OPTIONS: usize = 11;

/// The content of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Variant {
    /// The object for users.
    #[value(skip)]
    Default,
    /// Without the log lines, to prove that they cost nothing while they are off
    NoLog,
    /// An empty program instead of the kernel half. Benchmarks subtract its cost.
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

    /// The binary of the package. The binary is the object.
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

/// Builds the object from the workspace at `source_root`. Returns the stripped file in
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
    // Remove DWARF, but keep .BTF and .BTF.ext.
    process::run(process::command(&tools.strip).arg("-g").arg(&linked).arg("-o").arg(&stripped))?;
    Ok(stripped)
}

/// Runs clippy on the kernel half with the build's options. Warnings are errors.
pub(crate) fn lint(root: &Path) -> Result<()> {
    let mut clippy = toolchain::clippy(root)?;
    clippy
        .args(["--quiet", "--package", "tcpstate-ebpf", "--target", TARGET, "-Zbuild-std=core"])
        // A separate target directory, because this clippy uses another compiler than the user
        // half.
        .arg("--target-dir")
        .arg(root.join("target/bpf-lints"))
        .args(["--", "-D", "warnings"])
        .env("CARGO_ENCODED_RUSTFLAGS", OPTIONS[CARGO_OPTIONS..].join("\x1f"));
    without_settings_of_others(&mut clippy);
    process::run(&mut clippy)
}

/// Removes environment variables that change builds on this machine.
fn without_settings_of_others(cargo: &mut Command) {
    for variable in [
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_TARGET",
        // Incremental compilation changes the object.
        "CARGO_INCREMENTAL",
    ] {
        cargo.env_remove(variable);
    }
}

/// The options for rustc. Every directory of this machine is replaced by a fixed name.
fn rust_flags(tools: &Toolchain, source_root: &Path, target_dir: &Path) -> Result<OsString> {
    // If several names match, rustc uses the last. So the wider directories come first.
    let mut names: Vec<(PathBuf, &str)> =
        vec![(source_root.to_owned(), "."), (target_dir.to_owned(), "/target")];
    names.extend(
        package_folders(tools, source_root)?.into_iter().map(|folder| (folder, "/registry")),
    );
    names.push((tools.rust_src.clone(), "/rust"));
    // On Debian this is a symbolic link, and rustc uses both forms of the path.
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

/// The directories of the unpacked dependencies. The paths depend on the user's home and registry,
/// so cargo reports them. Cargo also unpacks missing packages.
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

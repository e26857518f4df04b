//! Builds a BPF object, the same bytes from the same sources and tools wherever they lie.

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

/// Part of the hash over the sources: another option is another object.
///
/// A profile of its own, because the release profile is shaped for the user half. Only what differs from `release`
/// and what the workspace's manifest sets there is named.
pub(crate) const OPTIONS: [&str; 14] = [
    "--config=profile.bpf.inherits='release'",
    "--config=profile.bpf.opt-level=3",
    "--config=profile.bpf.lto=true",
    "--config=profile.bpf.codegen-units=1",
    // Nothing unwinds in the kernel.
    "--config=profile.bpf.panic='abort'",
    // The debug information becomes BTF, which the maps and the verifier's messages need.
    "--config=profile.bpf.debug=2",
    "--config=profile.bpf.strip=false",
    "--config=profile.bpf.debug-assertions=false",
    "--config=profile.bpf.overflow-checks=false",
    "--profile=bpf",
    "-Zbuild-std=core",
    "-Clink-arg=--btf",
    // The programs read no registers of the host: one object for every 64-bit little-endian machine, wherever built.
    "--cfg",
    "bpf_target_arch=\"x86_64\"",
];
/// Where the options for cargo end and those for rustc begin.
const CARGO_OPTIONS: usize = 11;

/// What is built into the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Variant {
    /// As users get it.
    #[value(skip)]
    Default,
    /// Without the log lines, to prove that they cost nothing while they are off.
    NoLog,
    /// Not the kernel half, but a program that does nothing, for benchmarks to subtract.
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

    /// The package's binary, which is the object.
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

/// Builds the object from the workspace at `source_root`, and returns the stripped file, which lies in `target_dir`.
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
    // DWARF goes, .BTF and .BTF.ext stay.
    process::run(process::command(&tools.strip).arg("-g").arg(&linked).arg("-o").arg(&stripped))?;
    Ok(stripped)
}

/// Has clippy read the kernel half as it is built, with warnings denied.
pub(crate) fn lint(root: &Path) -> Result<()> {
    let mut clippy = toolchain::clippy(root)?;
    clippy
        .args(["--quiet", "--package", "tcpstate-ebpf", "--target", TARGET, "-Zbuild-std=core"])
        // A folder of its own: clippy's compiler is another than the one that builds the user half.
        .arg("--target-dir")
        .arg(root.join("target/bpf-lints"))
        .args(["--", "-D", "warnings"])
        .env("CARGO_ENCODED_RUSTFLAGS", OPTIONS[CARGO_OPTIONS..].join("\x1f"));
    without_settings_of_others(&mut clippy);
    process::run(&mut clippy)
}

/// Takes away the variables by which a machine's owner shapes other builds.
fn without_settings_of_others(cargo: &mut Command) {
    for variable in ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET"]
    {
        cargo.env_remove(variable);
    }
}

/// The options for rustc, with every folder of this machine replaced by a name.
fn rust_flags(tools: &Toolchain, source_root: &Path, target_dir: &Path) -> Result<OsString> {
    // Of several that match, rustc takes the last: the wider ones come first.
    let mut names: Vec<(PathBuf, &str)> =
        vec![(source_root.to_owned(), "."), (target_dir.to_owned(), "/target")];
    names.extend(
        package_folders(tools, source_root)?.into_iter().map(|folder| (folder, "/registry")),
    );
    names.push((tools.rust_src.clone(), "/rust"));
    // Debian's is a link, and paths of both forms turn up.
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

/// The folders that hold the unpacked dependencies. Their names depend on the user's home and registry, so cargo is
/// asked; it unpacks what is not there yet.
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

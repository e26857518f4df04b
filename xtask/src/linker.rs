//! Builds `bpf-linker` once per machine, for the LLVM version of the installed rustc.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{debian, process};

const VERSION: &str = "0.13.0";

/// Returns the directory of the `bpf-linker` for this LLVM version, if the linker is already built.
pub(crate) fn installed(llvm: u32) -> Option<PathBuf> {
    let folder = root(llvm)?.join("bin");
    folder.join("bpf-linker").is_file().then_some(folder)
}

/// Builds `bpf-linker`, and installs the Debian packages that the build needs. The build takes
/// about a minute.
pub(crate) fn install(llvm: u32) -> Result<()> {
    let [dev, polly, tools] =
        [format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev"), format!("llvm-{llvm}")];
    // The package g++ contains libstdc++, which LLVM links.
    debian::install(&[&dev, &polly, &tools, "g++", "zlib1g-dev", "libzstd-dev", "libxml2-dev"])?;
    if installed(llvm).is_some() {
        return Ok(());
    }
    let root = root(llvm).context("no home folder: set XDG_CACHE_HOME")?;
    println!("building bpf-linker {VERSION} for LLVM {llvm}, once, into {}", root.display());
    // Build `bpf-linker` in a temporary directory and then move the linker, so that an interrupted
    // build leaves no incomplete linker.
    let parent = root.parent().context("the cache has a parent folder")?;
    let scratch = parent.join(format!("build-{}", std::process::id()));
    fs::create_dir_all(&scratch).with_context(|| format!("create {}", scratch.display()))?;
    let built = build(llvm, &scratch).and_then(|()| {
        fs::rename(scratch.join("out"), &root).with_context(|| format!("create {}", root.display()))
    });
    fs::remove_dir_all(&scratch).with_context(|| format!("remove {}", scratch.display()))?;
    // If another process has installed `bpf-linker` meanwhile, ignore the error of this build.
    if installed(llvm).is_some() { Ok(()) } else { built }
}

fn build(llvm: u32, scratch: &std::path::Path) -> Result<()> {
    let mut cargo = process::cargo(scratch);
    cargo.args([
        "install",
        "bpf-linker",
        "--version",
        VERSION,
        "--locked",
        "--no-default-features",
        "--quiet",
    ]);
    cargo.args(["--features", &format!("llvm-{llvm}"), "--root"]).arg(scratch.join("out"));
    cargo
        .env("CARGO_TARGET_DIR", scratch.join("target"))
        .env("LLVM_PREFIX", format!("/usr/lib/llvm-{llvm}"));
    process::run(&mut cargo)
}

/// Returns the directory of the linker. The directory is outside the checkout, so that every
/// checkout can use the linker.
fn root(llvm: u32) -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("tcpstate/tools").join(format!("bpf-linker-{VERSION}-llvm-{llvm}")))
}

//! Provides Debian's Prometheus for the tests. The package is unpacked into `target/prometheus`.
//! The package is only unpacked, because an installation would start a Prometheus server.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{debian, privilege::Privilege, process};

/// The programs of Prometheus that the tests run.
const PROGRAMS: [&str; 2] = ["prometheus", "promtool"];

/// Unpacks Prometheus if necessary, and returns the directory of its programs. Returns `None` if
/// Prometheus is already in `PATH` or not available.
pub(crate) fn provide(root: &Path) -> Option<PathBuf> {
    if PROGRAMS.iter().all(|program| process::find_in_path(program).is_some()) {
        return None;
    }
    let folder = root.join("target/prometheus");
    let programs = folder.join("usr/bin");
    let is_there = || PROGRAMS.iter().all(|program| programs.join(program).exists());
    if !is_there()
        && debian::is_debian()
        && let Err(error) = unpack(&folder)
    {
        println!("no Prometheus; tests that need it will be skipped: {error:#}");
    }
    is_there().then_some(programs)
}

fn unpack(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    if download(folder).is_err() {
        // A newly installed system has no package lists yet.
        let mut update = Privilege::current().command(Path::new("apt-get"), &[])?;
        process::read(update.args(["--quiet=2", "update"]))?;
        download(folder)?;
    }
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let package = entry?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            let mut extract = process::command("dpkg-deb");
            process::read(extract.arg("--extract").arg(&package).arg(folder))?;
            fs::remove_file(&package).with_context(|| format!("remove {}", package.display()))?;
        }
    }
    Ok(())
}

fn download(folder: &Path) -> Result<String> {
    let mut download = process::command("apt-get");
    download.args(["--quiet=2", "-o", "APT::Sandbox::User=root", "download", "prometheus"]);
    process::read(download.current_dir(folder))
}

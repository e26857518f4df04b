//! Debian's Prometheus for the tests, unpacked into `target/prometheus` and not installed: its package would start a server.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{debian, privilege::Privilege, process};

/// What the tests run.
const PROGRAMS: [&str; 2] = ["prometheus", "promtool"];

/// The folder in which the tests find it; none where it is on the `PATH` already, or can't be had.
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
        println!("no Prometheus: the tests that need it will say so: {error:#}");
    }
    is_there().then_some(programs)
}

fn unpack(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    if download(folder).is_err() {
        // A bare system has no lists of packages yet.
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

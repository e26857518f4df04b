//! Finds QEMU, and installs QEMU if this machine has no QEMU.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::apt::Apt;
use crate::{debian, privilege::Privilege, process};

const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";
/// The package of the program that unpacks kernel modules.
const XZ: &str = "xz-utils";

/// Returns the path of QEMU. If QEMU is missing, the function installs QEMU.
pub(crate) fn provide(cache: &Path) -> Result<PathBuf> {
    if process::find_in_path("xz").is_none() {
        debian::install(&[XZ])?;
    }
    if process::find_in_path(PROGRAM).is_none()
        && let Err(error) = debian::install(&[PACKAGE])
    {
        // If packages of QEMU from the backports are installed, the QEMU of the suite cannot be
        // installed.
        install_backport(cache).map_err(|second| error.context(format!("{second:#}")))?;
    }
    process::find_in_path(PROGRAM).with_context(|| format!("no {PROGRAM} in PATH"))
}

fn install_backport(cache: &Path) -> Result<()> {
    if Privilege::current() != Privilege::Root {
        bail!("cannot install {PACKAGE} without root");
    }
    let suite = codename().context("no VERSION_CODENAME in /etc/os-release")?;
    let backports = format!("{suite}-backports");
    println!("{PACKAGE} of {suite} conflicts with installed packages; trying {backports}");
    let apt = Apt::of_system(&cache.join("apt-emulator"), &[&suite, &backports])?;
    apt.update()?;
    let mut command = apt.command("apt-get");
    command
        .args(["--quiet=2", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=120"])
        .args(["install", "--yes", "--no-install-recommends", "--no-remove", "--no-upgrade"])
        .args(["--target-release", &backports, PACKAGE])
        .env("DEBIAN_FRONTEND", "noninteractive");
    process::read(&mut command).map(drop)
}

fn codename() -> Option<String> {
    let release = fs::read_to_string("/etc/os-release").ok()?;
    let value = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(value.trim_matches('"').to_owned())
}

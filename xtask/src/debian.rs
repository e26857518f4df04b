//! Finds missing Debian packages and installs them.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};

use crate::{privilege::Privilege, process};

/// Whether this machine is a Debian system. [`install`] works only on Debian.
pub(crate) fn is_debian() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    release.lines().any(|line| line == "ID=debian") && process::find_in_path("apt-get").is_some()
}

/// Returns the code name of this machine's Debian release.
pub(crate) fn codename() -> Option<String> {
    let release = fs::read_to_string("/etc/os-release").ok()?;
    release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).map(str::to_owned)
}

/// Returns the packages of the list that are not installed.
pub(crate) fn missing<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    packages.iter().copied().filter(|package| !is_installed(package)).collect()
}

fn is_installed(package: &str) -> bool {
    let mut query = process::command("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", package]);
    process::read(&mut query).is_ok_and(|status| status == "installed")
}

/// Installs the packages of the list that are missing. If no package is missing, the function needs
/// no root.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    let privilege = Privilege::current();
    if privilege == Privilege::None {
        bail!(
            "packages are missing; as root, run: apt-get update && apt-get install --no-install-recommends {list}"
        );
    }
    println!("installing Debian packages: {list}");
    apt_get(privilege, &["update"])?;
    // apt fails if it would have to remove an installed package. The user must decide whether to
    // remove a package.
    let mut arguments = vec!["install", "--yes", "--no-install-recommends", "--no-remove"];
    arguments.extend(&missing);
    apt_get(privilege, &arguments).with_context(|| format!("install {list}"))
}

fn apt_get(privilege: Privilege, arguments: &[&str]) -> Result<()> {
    let variables = [("DEBIAN_FRONTEND".into(), "noninteractive".into())];
    let mut command = privilege.command(Path::new("apt-get"), &variables)?;
    // Wait until apt's lock is free. Another apt process may hold the lock, for example unattended
    // upgrades after a boot.
    command
        .args(["--quiet=2", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=120"])
        .args(arguments);
    // apt prints thousands of lines about unpacking. `process::read` shows the lines of apt only if
    // apt fails.
    process::read(&mut command).map(drop)
}

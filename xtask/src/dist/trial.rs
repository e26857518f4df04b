//! Tests that the Debian package can be installed, upgraded and removed. The test runs in a
//! separate Debian system, which `debootstrap` creates once and `target/chroot` keeps.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    errno::Errno,
    mount::{MntFlags, umount2},
};

use crate::{debian, privilege::Privilege, process};

/// A package version that is lower than the version of every release.
const EARLIER: &str = "0.0.1~earlier";
/// The path of the user's settings file, relative to the root directory of the system.
const SETTINGS: &str = "etc/default/tcpstate";
/// The content of the user's settings file.
const OF_USER: &str = "TCPSTATE_LISTEN=127.0.0.1:1234\n";
const PROGRAM: &str = "/usr/bin/tcpstate";
const UNIT: &str = "lib/systemd/system/tcpstate.service";

/// Installs an earlier version, upgrades to the version in `package`, and then removes and purges
/// the package.
pub(crate) fn run(root: &Path, package: &Path, version: &str) -> Result<()> {
    ensure!(debian::is_debian(), "--try needs Debian, which has debootstrap");
    ensure!(Privilege::current() == Privilege::Root, "--try needs root");
    debian::install(&["debootstrap"])?;
    let system = System::fresh(&root.join("target/chroot"))?;
    let earlier = system.earlier(package)?;
    let now = system.take(package)?;

    system.inside("dpkg", &["--install", &earlier])?;
    system.expect_version(EARLIER)?;
    system.expect_program(version)?;
    ensure!(system.has(UNIT), "no unit was installed");
    let enabled = "etc/systemd/system/multi-user.target.wants/tcpstate.service";
    ensure!(!system.has(enabled), "the installation enabled the service");

    let settings = system.path(SETTINGS);
    fs::write(&settings, OF_USER).context("change the settings")?;
    system.inside("dpkg", &["--install", &now])?;
    system.expect_version(version)?;
    system.expect_program(version)?;
    let kept = fs::read_to_string(&settings).context("read the settings")?;
    ensure!(kept == OF_USER, "the upgrade overwrote the settings");

    let list = system.inside("dpkg", &["--listfiles", "tcpstate"])?;
    system.inside("dpkg", &["--remove", "tcpstate"])?;
    ensure!(
        !system.has(PROGRAM) && !system.has(UNIT),
        "dpkg --remove left the program or the unit"
    );
    ensure!(
        system.has(SETTINGS),
        "dpkg --remove deleted the settings; only --purge may delete them"
    );
    system.inside("dpkg", &["--purge", "tcpstate"])?;
    let left = list.lines().filter(|file| system.path(file).is_file()).collect::<Vec<_>>();
    ensure!(left.is_empty(), "dpkg --purge left files: {}", left.join(", "));
    let files = list.lines().count();
    println!("{}: installed, upgraded, removed and purged; {files} files", package.display());
    Ok(())
}

/// A minimal Debian system in a directory.
struct System {
    root: PathBuf,
}

impl System {
    /// Copies the unchanged Debian system, and returns the copy. Creates the unchanged Debian
    /// system if this system does not exist.
    fn fresh(folder: &Path) -> Result<Self> {
        let (base, root) = (folder.join("base"), folder.join("system"));
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        if !base.exists() {
            // Create the system in a draft directory, so that an incomplete system is never used.
            let draft = folder.join("draft");
            remove(&draft)?;
            println!("creating a Debian system in {}, once", base.display());
            let suite = debian::codename().context("this Debian has no code name")?;
            let mut make = process::command("debootstrap");
            process::read(make.args(["--variant=minbase", &suite]).arg(&draft))?;
            fs::rename(&draft, &base).with_context(|| format!("create {}", base.display()))?;
        }
        remove(&root)?;
        process::read(process::command("cp").arg("--archive").arg(&base).arg(&root))?;
        Ok(Self { root })
    }

    /// Returns the path on this machine for a path inside the system.
    fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }

    fn has(&self, inside: &str) -> bool {
        self.path(inside).symlink_metadata().is_ok()
    }

    /// Copies a package into the system, and returns the path of the copy inside the system.
    fn take(&self, package: &Path) -> Result<String> {
        let name = package.file_name().context("a package is a file")?.to_string_lossy();
        fs::copy(package, self.path(&name)).context("copy the package")?;
        Ok(format!("/{name}"))
    }

    /// Creates a copy of the package with an earlier version number.
    fn earlier(&self, package: &Path) -> Result<String> {
        let tree = self.path("tmp/earlier");
        let mut unpack = process::command("dpkg-deb");
        process::read(unpack.arg("--raw-extract").arg(package).arg(&tree))?;
        let control = tree.join("DEBIAN/control");
        let text = fs::read_to_string(&control).context("read the control file")?;
        let of_earlier = |line: &str| match line.strip_prefix("Version: ") {
            Some(_) => format!("Version: {EARLIER}\n"),
            None => format!("{line}\n"),
        };
        let text: String = text.lines().map(of_earlier).collect();
        fs::write(&control, text).context("write the control file")?;
        let file = "earlier.deb";
        let mut build = process::command("dpkg-deb");
        process::read(
            build.args(["--root-owner-group", "--build"]).arg(&tree).arg(self.path(file)),
        )?;
        Ok(format!("/{file}"))
    }

    /// Runs a program inside the system, and returns its output.
    fn inside(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut chroot: Command = process::command("chroot");
        chroot.arg(&self.root).arg(program).args(arguments);
        // Use the `PATH` of a Debian system instead of the `PATH` of this machine.
        chroot
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive");
        process::read(&mut chroot)
    }

    fn expect_version(&self, version: &str) -> Result<()> {
        let query = ["--show", "--showformat=${Version} ${db:Status-Status}", "tcpstate"];
        let found = self.inside("dpkg-query", &query)?;
        ensure!(
            found == format!("{version} installed"),
            "dpkg reports {found} instead of {version}"
        );
        Ok(())
    }

    /// Asserts that the installed program runs in the minimal Debian system.
    fn expect_program(&self, version: &str) -> Result<()> {
        let said = self.inside(PROGRAM, &["--version"])?;
        if said.trim_end() != format!("tcpstate {version}") {
            bail!("{PROGRAM} --version prints {said}");
        }
        Ok(())
    }
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        // Unmount the file systems that an interrupted `debootstrap` has left mounted.
        for inside in ["dev/shm", "dev/pts", "sys", "proc"] {
            let path = folder.join(inside);
            match umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
                // Ignore the error if the path does not exist or is not a mount point.
                Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
                Err(error) => bail!("unmount {}: {error}", path.display()),
            }
        }
        fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    Ok(())
}

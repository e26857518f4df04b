//! Runs an apt instance with a separate directory for sources, package lists and cache. The
//! separate apt does not change the system's configuration and needs no root.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::process;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The maximum age of stored package lists. Debian's kernels change about every two weeks.
const FRESH: Duration = Duration::from_secs(24 * 60 * 60);

/// An apt instance with a separate directory for sources, package lists and cache.
#[derive(Debug)]
pub(crate) struct Apt {
    folder: PathBuf,
    /// The file that lists the packages which apt treats as installed.
    status: PathBuf,
}

/// The URLs of the Debian mirrors that the system's apt uses.
#[derive(Debug, PartialEq, Eq)]
struct Mirrors {
    main: String,
    security: String,
}

impl Apt {
    /// Creates an apt instance for the packages of these Debian suites. The new apt instance treats
    /// no package as installed.
    pub(crate) fn new(folder: &Path, suites: &[&str]) -> Result<Self> {
        for part in ["etc", "state/lists/partial", "cache/archives/partial"] {
            let path = folder.join(part);
            fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        }
        let apt = Self { folder: folder.to_owned(), status: folder.join("state/status") };
        write(&apt.status, "")?;
        write(&apt.sources(), &sources(&Mirrors::of_system(), suites))?;
        Ok(apt)
    }

    /// Creates an apt for the packages of these suites. The new apt instance selects packages that
    /// are compatible with the installed packages of the system.
    pub(crate) fn of_system(folder: &Path, suites: &[&str]) -> Result<Self> {
        Ok(Self { status: "/var/lib/dpkg/status".into(), ..Self::new(folder, suites)? })
    }

    fn sources(&self) -> PathBuf {
        self.folder.join("etc/sources.list")
    }

    /// Returns a command that runs `apt-get` or `apt-cache` with this apt's directory.
    pub(crate) fn command(&self, tool: &str) -> Command {
        let path = |part: &str| self.folder.join(part).display().to_string();
        let mut command = process::command(tool);
        for (name, value) in [
            ("Dir::Etc", path("etc")),
            ("Dir::Etc::sourcelist", path("etc/sources.list")),
            ("Dir::Etc::sourceparts", "/dev/null".to_owned()),
            ("Dir::Etc::preferencesparts", "/dev/null".to_owned()),
            ("Dir::State", path("state")),
            ("Dir::State::status", self.status.display().to_string()),
            ("Dir::Cache", path("cache")),
            // Enable apt's package cache, which container images often disable. Without the package
            // cache, each call reads all package lists again.
            ("Dir::Cache::pkgcache", "pkgcache.bin".to_owned()),
            ("Dir::Cache::srcpkgcache", "srcpkgcache.bin".to_owned()),
            ("Acquire::Retries", "2".to_owned()),
            ("Acquire::http::Timeout", "20".to_owned()),
            // Do not switch to apt's user `_apt`, which may not be allowed to enter the user's
            // cache directory.
            ("APT::Sandbox::User", "root".to_owned()),
        ] {
            command.arg("-o").arg(format!("{name}={value}"));
        }
        command
    }

    /// Fetches the package lists if the stored lists are a day old or older.
    pub(crate) fn update(&self) -> Result<()> {
        let stamp = self.folder.join("updated");
        if is_fresh(&stamp, &self.sources()) {
            return Ok(());
        }
        self.update_now()
    }

    /// Fetches the package lists, even if the stored lists are recent.
    pub(crate) fn update_now(&self) -> Result<()> {
        println!("updating Debian's lists of packages");
        let mut command = self.command("apt-get");
        // Fail if the download of any package list fails. By default, apt silently uses old package
        // lists after a download error.
        process::read(command.args(["--quiet=2", "--error-on=any", "update"]))?;
        write(&self.folder.join("updated"), "")
    }

    /// Returns the names of packages that match the pattern.
    pub(crate) fn search(&self, pattern: &str) -> Result<BTreeSet<String>> {
        let mut command = self.command("apt-cache");
        // Do not use `apt-cache show`, which also lists packages that do not exist but are named as
        // dependencies.
        let text = process::read(command.args(["search", "--names-only", pattern]))?;
        Ok(text
            .lines()
            .filter_map(|line| line.split(' ').next())
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect())
    }

    /// Downloads packages into a directory. apt verifies the packages with the signed package
    /// lists.
    pub(crate) fn download(&self, packages: &[String], folder: &Path) -> Result<()> {
        let mut command = self.command("apt-get");
        command.args(["--quiet=2", "download"]).args(packages).current_dir(folder);
        process::read(&mut command).map(drop)
    }
}

impl Mirrors {
    fn of_system() -> Self {
        let mut command = process::command("apt-get");
        command.args(["indextargets", "--format", "$(SITE)", "Created-By: Packages"]);
        // If the system has no package sources, use Debian's main mirror.
        Self::among(&process::read(&mut command).unwrap_or_default())
    }

    fn among(sites: &str) -> Self {
        let named = |name: &str| {
            let sites = sites.lines().map(|site| site.trim_end_matches('/'));
            sites.filter(|site| site.ends_with(name)).map(str::to_owned).next()
        };
        let main = named("/debian").unwrap_or_else(|| "http://deb.debian.org/debian".to_owned());
        let security = named("/debian-security").unwrap_or_else(|| format!("{main}-security"));
        Self { main, security }
    }
}

/// Returns the text of `sources.list` for the given suites.
fn sources(mirrors: &Mirrors, suites: &[&str]) -> String {
    let line = |suite: &&str| {
        let mirror = if suite.ends_with("-security") { &mirrors.security } else { &mirrors.main };
        // `target=Packages` fetches only the list of packages, and no translations, icons or
        // contents.
        format!("deb [arch=amd64 signed-by={KEYRING} target=Packages] {mirror} {suite} main\n")
    };
    suites.iter().map(line).collect()
}

fn is_fresh(stamp: &Path, sources: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let (Some(updated), Some(configured)) = (modified(stamp), modified(sources)) else {
        return false;
    };
    updated >= configured && updated.elapsed().is_ok_and(|age| age < FRESH)
}

/// Writes a file if the new content differs, so that an unchanged file keeps its modification time.
/// If `text` is empty, the file is only a timestamp, and the function always writes the file.
fn write(path: &Path, text: &str) -> Result<()> {
    let is_stamp = text.is_empty();
    if is_stamp || fs::read_to_string(path).ok().as_deref() != Some(text) {
        fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirror_is_that_of_the_system() {
        let sites = "https://deb.nodesource.com/node_20.x\nhttp://mirror.test/debian/\nhttp://mirror.test/debian\n";
        let expected = Mirrors {
            main: "http://mirror.test/debian".to_owned(),
            security: "http://mirror.test/debian-security".to_owned(),
        };
        assert_eq!(Mirrors::among(sites), expected);
        let sites = "http://a.test/debian\nhttp://security.test/debian-security\n";
        assert_eq!(Mirrors::among(sites).security, "http://security.test/debian-security");
        assert_eq!(Mirrors::among("").main, "http://deb.debian.org/debian");
    }

    #[test]
    fn security_suites_come_from_the_security_mirror() {
        let mirrors = Mirrors { main: "http://m/d".to_owned(), security: "http://m/s".to_owned() };
        let text = sources(&mirrors, &["trixie", "bookworm-security"]);
        let ends: Vec<&str> =
            text.lines().filter_map(|line| line.split_once("] ")).map(|(_, end)| end).collect();
        assert_eq!(ends, ["http://m/d trixie main", "http://m/s bookworm-security main"]);
    }
}

//! Fetches Debian's cloud kernels. Each kernel is fetched once and stored in
//! `~/.cache/tcpstate/vm/kernels/ABI/`.
//!
//! ```text
//! vmlinuz       the image that QEMU boots
//! modules/      the modules, as packed
//! SHA256SUMS    sums of both, written after apt has verified the packages; checked before each use
//! ```
//!
//! After the release of a newer kernel, Debian removes the older kernel from the mirror. If no
//! mirror is reachable, the newest stored kernel is used.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context as _, Error, Result, bail};

use super::{
    apt::Apt,
    names::{self, Abi, Line},
};
use crate::process as child;

/// The Debian suites that contain the kernels, from the oldest kernel that tcpstate supports to
/// Debian's newest kernel.
const SUITES: &[&str] =
    &["bullseye-security", "bookworm-security", "trixie", "trixie-security", "trixie-backports"];
const SUMS: &str = "SHA256SUMS";

/// A kernel that is stored on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    pub(crate) abi: Abi,
    folder: PathBuf,
}

impl Kernel {
    pub(crate) fn image(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    pub(crate) fn modules(&self) -> PathBuf {
        self.folder.join("modules")
    }
}

/// The stored kernels, and the kernels on the mirror.
#[derive(Debug)]
pub(crate) struct Kernels {
    folder: PathBuf,
    apt: Apt,
    /// The names of the kernel packages on the mirror.
    packages: BTreeSet<String>,
}

impl Kernels {
    /// Reads the package lists of the mirror. If no mirror is reachable, uses the stored package
    /// lists.
    pub(crate) fn open() -> Result<Self> {
        let cache = cache()?;
        let folder = cache.join("kernels");
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let apt = Apt::new(&cache.join("apt"), SUITES)?;
        if let Err(error) = apt.update() {
            println!(
                "notice: cannot update the package lists, using the old lists: {}",
                brief(&error)
            );
        }
        let packages = apt.search(names::PATTERN)?;
        Ok(Self { folder, apt, packages })
    }

    /// Returns the newest kernel of each kernel line, and whether this kernel is stored. The list
    /// is sorted by kernel version.
    pub(crate) fn lines(&self) -> Vec<(Abi, bool)> {
        let mut lines: Vec<(Abi, bool)> = Vec::new();
        let here = self.here();
        for abi in names::kernels(&self.packages).union(&here) {
            if lines.last().is_some_and(|(last, _)| last.line() == abi.line()) {
                lines.pop();
            }
            lines.push((abi.clone(), here.contains(abi)));
        }
        lines
    }

    /// Returns the newest kernel of a kernel line, and fetches this kernel if the cache does not
    /// contain the kernel.
    pub(crate) fn provide(&self, line: Line) -> Result<Kernel> {
        let newest =
            |kernels: &BTreeSet<Abi>| kernels.iter().rfind(|abi| abi.line() == line).cloned();
        let here = newest(&self.here());
        let Some(offered) = newest(&names::kernels(&self.packages)) else {
            let old = here.with_context(|| {
                format!("Debian has no kernel {line}; `cargo xtask vm --list` lists its kernels")
            })?;
            println!("notice: Debian has no kernel {line}; using the stored {old}");
            return self.verified(old);
        };
        if let Some(here) = here.clone().filter(|here| *here >= offered) {
            match self.verified(here) {
                Ok(kernel) => return Ok(kernel),
                Err(error) => println!("notice: fetching {offered} again: {error:#}"),
            }
        }
        let Err(error) = self.fetch(&offered) else { return self.verified(offered) };
        match here.filter(|old| *old < offered) {
            Some(old) => {
                println!(
                    "notice: cannot fetch {offered}, using the stored {old}: {}",
                    brief(&error)
                );
                self.verified(old)
            }
            None => Err(error.context(format!("fetch kernel {offered}"))),
        }
    }

    fn here(&self) -> BTreeSet<Abi> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| Abi::parse(entry.file_name().to_str()?)).collect()
    }

    fn verified(&self, abi: Abi) -> Result<Kernel> {
        let folder = self.folder.join(abi.to_string());
        let mut command = child::command("sha256sum");
        command.args(["--check", "--strict", "--quiet", SUMS]).current_dir(&folder);
        child::read(&mut command).with_context(|| format!("verify {}", folder.display()))?;
        Ok(Kernel { abi, folder })
    }

    /// Downloads and unpacks a kernel in a temporary directory, so that an incomplete kernel is
    /// never used.
    fn fetch(&self, abi: &Abi) -> Result<()> {
        let work = self.folder.join(format!("fetching-{}", process::id()));
        fs::create_dir_all(&work).with_context(|| format!("create {}", work.display()))?;
        let result = self.fetch_into(abi, &work).and_then(|()| {
            let folder = self.folder.join(abi.to_string());
            // If the cache already contains this kernel, its verification failed, so remove the
            // stored files.
            let _ = fs::remove_dir_all(&folder);
            fs::rename(work.join("kernel"), &folder)
                .with_context(|| format!("rename to {}", folder.display()))
        });
        let _ = fs::remove_dir_all(&work);
        result
    }

    fn fetch_into(&self, abi: &Abi, work: &Path) -> Result<()> {
        println!("fetching kernel {abi}");
        if let Err(error) = self.apt.download(&abi.packages(&self.packages), work) {
            // Fetch the package lists again, because Debian may have replaced the kernel after the
            // lists were fetched.
            if self.apt.update_now().is_ok()
                && !names::kernels(&self.apt.search(names::PATTERN)?).contains(abi)
            {
                bail!("Debian has just replaced it; run this command again");
            }
            return Err(error);
        }
        unpack(abi, work)?;
        let kernel = work.join("kernel");
        let mut command = child::command("find");
        command.args([".", "-type", "f", "-exec", "sha256sum", "{}", "+"]).current_dir(&kernel);
        let sums = child::read(&mut command)?;
        fs::write(kernel.join(SUMS), sums).context("write the checksums")
    }
}

/// Unpacks the packages in `work`. The files for the guest are moved to `work/kernel`.
fn unpack(abi: &Abi, work: &Path) -> Result<()> {
    let root = work.join("root");
    let mut bytes = 0;
    for entry in fs::read_dir(work).with_context(|| format!("read {}", work.display()))? {
        let package = entry?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            bytes += package.metadata()?.len();
            child::run(child::command("dpkg-deb").arg("--extract").arg(&package).arg(&root))?;
        }
    }
    println!("fetched {abi}: {:.1} MB", bytes as f64 / 1e6);
    let kernel = work.join("kernel");
    fs::create_dir(&kernel).with_context(|| format!("create {}", kernel.display()))?;
    // Debian 13 has merged /lib into /usr. Since kernel 7.0, the image is in the directory of the
    // modules.
    let places =
        ["usr/lib/modules", "lib/modules"].map(|folder| root.join(folder).join(abi.to_string()));
    let modules = existing(&places)?;
    let places = [root.join(format!("boot/vmlinuz-{abi}")), modules.join("vmlinuz")];
    let image = existing(&places)?.clone();
    for (from, to) in [(image, "vmlinuz"), (modules.join("kernel"), "modules")] {
        fs::rename(&from, kernel.join(to))
            .with_context(|| format!("take {} from the package", from.display()))?;
    }
    Ok(())
}

/// Returns the first error message of apt, without the command line.
fn brief(error: &Error) -> String {
    let text = format!("{error:#}");
    let first = text.lines().find_map(|line| line.strip_prefix("E: ")).map(str::to_owned);
    first.unwrap_or(text)
}

fn existing(places: &[PathBuf]) -> Result<&PathBuf> {
    let place = places.iter().find(|place| place.exists());
    place.with_context(|| format!("the package has none of {places:?}"))
}

/// Returns the cache directory. All files in the cache can be fetched or built again.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = base.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    Ok(base.context("neither HOME nor XDG_CACHE_HOME is set")?.join("tcpstate/vm"))
}

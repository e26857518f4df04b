//! Finds and installs the BPF toolchain: `bpf-linker`, `llvm-strip`, and a rustc with unstable
//! options and with the sources of `core`.
//!
//! There are two kinds of toolchains. On Debian 12, the compiler is `rustc-web`, and missing
//! packages are installed. `rustc-web` and `bpf-linker` use the same LLVM version. On other
//! systems, the compiler is rustup's nightly with `rust-src`, and `bpf-linker` must be in `PATH`.
//! If a tool is missing and the system is not Debian, the error names the missing tool.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    debian, linker,
    lock::Tools,
    process::{self, find_in_path},
};

/// The rustc of Debian's package `rustc-web`. The rustc of `rustc-web` is newer than the rustc of
/// Debian's package `rustc`.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// The clippy of Debian's rustc. `cargo-clippy` finds `clippy-driver` in the directory of
/// `cargo-clippy`. The environment variable `CARGO` names the cargo that `cargo-clippy` runs.
const DEBIAN_CLIPPY: &str = "/usr/bin/cargo-clippy";
/// The oldest LLVM version that `bpf-linker` supports.
const OLDEST_LLVM: u32 = 20;

/// A complete set of BPF tools.
#[derive(Debug)]
pub(crate) struct Toolchain {
    compiler: Compiler,
    /// The directory with the source files of `core`.
    pub(crate) rust_src: PathBuf,
    /// The directory of `bpf-linker`. Cargo runs with this directory as the first directory in
    /// `PATH`. A compiler flag that names the path of `bpf-linker` would change the hashes in
    /// symbol names. If the compiler flags contained the path of `bpf-linker`, the object would
    /// depend on the user's home directory.
    linker_folder: PathBuf,
    pub(crate) strip: PathBuf,
    /// The versions of the tools, which are written to the lock file.
    pub(crate) versions: Tools,
}

#[derive(Clone, Debug)]
enum Compiler {
    Debian,
    Nightly,
}

/// The output of `rustc -vV`.
struct Rustc {
    version: String,
    llvm: String,
    host: String,
    sysroot: PathBuf,
}

impl Toolchain {
    /// Finds the installed BPF tools. If a tool is missing, the error names the tool.
    pub(crate) fn find() -> Result<Self> {
        Self::debian().or_else(|debian| {
            Self::nightly().map_err(|nightly| {
                if debian::is_debian() { debian } else { nightly.context("no toolchain for BPF") }
            })
        })
    }

    /// Finds the BPF tools, and installs missing tools on Debian.
    pub(crate) fn provision() -> Result<Self> {
        let found = Self::find();
        if found.is_ok() || !debian::is_debian() {
            return found;
        }
        debian::install(&["rustc-web", "rust-web-src"])?;
        let llvm = llvm_major(&Compiler::Debian.inspect()?.llvm)?;
        linker::install(llvm)?;
        Self::debian()
    }

    fn debian() -> Result<Self> {
        if !Path::new(DEBIAN_RUSTC).exists() {
            bail!("no {DEBIAN_RUSTC}; cargo xtask bpf installs it");
        }
        let rustc = Compiler::Debian.inspect()?;
        let llvm = llvm_major(&rustc.llvm)?;
        if llvm < OLDEST_LLVM {
            bail!("{DEBIAN_RUSTC} has LLVM {llvm}, bpf-linker needs {OLDEST_LLVM} or later");
        }
        let linker_folder =
            linker::installed(llvm).context("no bpf-linker; cargo xtask bpf installs it")?;
        let strip = PathBuf::from(format!("/usr/lib/llvm-{llvm}/bin/llvm-strip"));
        Self::assemble(Compiler::Debian, rustc, linker_folder, Some(strip))
    }

    fn nightly() -> Result<Self> {
        let rustc = Compiler::Nightly
            .inspect()
            .context("needs: rustup toolchain install nightly -c rust-src")?;
        let linker = find_in_path("bpf-linker").context("needs: cargo install bpf-linker")?;
        let linker_folder = linker.parent().context("bpf-linker has a directory")?.to_owned();
        let of_rustup = rustc.sysroot.join("lib/rustlib").join(&rustc.host).join("bin/llvm-strip");
        let strip = find_in_path("llvm-strip").or(Some(of_rustup));
        Self::assemble(Compiler::Nightly, rustc, linker_folder, strip)
    }

    fn assemble(
        compiler: Compiler,
        rustc: Rustc,
        linker_folder: PathBuf,
        strip: Option<PathBuf>,
    ) -> Result<Self> {
        let rust_src = rustc.sysroot.join("lib/rustlib/src/rust");
        if !rust_src.join("library/core").exists() {
            bail!("no sources of core at {}; needs rust-src", rust_src.display());
        }
        let strip = strip
            .filter(|path| path.exists())
            .context("no llvm-strip; needs LLVM's binary tools")?;
        let linker =
            process::read(process::command(linker_folder.join("bpf-linker")).arg("--version"))?;
        let cargo = process::read(&mut compiler.cargo(Path::new("/"), &["--version"]))?;
        let versions = Tools {
            rustc: rustc.version,
            llvm: rustc.llvm,
            bpf_linker: linker.trim().trim_start_matches("bpf-linker ").to_owned(),
            cargo: cargo.trim().trim_start_matches("cargo ").to_owned(),
        };
        Ok(Self { compiler, rust_src, linker_folder, strip, versions })
    }

    /// Returns a cargo command that uses these tools.
    pub(crate) fn cargo(&self, root: &Path, arguments: &[&str]) -> Result<Command> {
        let mut path: Vec<PathBuf> = vec![self.linker_folder.clone()];
        path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        let path: OsString = env::join_paths(path).context("PATH")?;
        let mut cargo = self.compiler.cargo(root, arguments);
        cargo.env("PATH", path).env("RUSTC_BOOTSTRAP", "1");
        Ok(cargo)
    }
}

impl Compiler {
    fn cargo(&self, root: &Path, arguments: &[&str]) -> Command {
        let mut cargo = match self {
            Self::Debian => {
                let mut cargo = process::cargo(root);
                cargo.env("RUSTC", DEBIAN_RUSTC);
                cargo
            }
            Self::Nightly => {
                let mut rustup = rustup_nightly();
                process::scrub(&mut rustup);
                rustup.current_dir(root).arg("cargo").env_remove("RUSTC");
                rustup
            }
        };
        cargo.args(arguments);
        cargo
    }

    fn rustc(&self) -> Command {
        match self {
            Self::Debian => process::command(DEBIAN_RUSTC),
            Self::Nightly => {
                let mut rustup = rustup_nightly();
                rustup.arg("rustc");
                rustup
            }
        }
    }

    fn inspect(&self) -> Result<Rustc> {
        let text = process::read(self.rustc().arg("-vV"))?;
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .with_context(|| format!("rustc -vV has no `{name}`"))
        };
        let version =
            text.lines().next().unwrap_or_default().trim_start_matches("rustc ").to_owned();
        let sysroot = process::read(self.rustc().args(["--print", "sysroot"]))?;
        Ok(Rustc {
            version,
            llvm: field("LLVM version: ")?.to_owned(),
            host: field("host: ")?.to_owned(),
            sysroot: sysroot.trim_end().into(),
        })
    }
}

/// Returns the clippy command of the compiler that builds the object, and installs missing
/// packages. Clippy needs neither `bpf-linker` nor LLVM's tools.
pub(crate) fn clippy(root: &Path) -> Result<Command> {
    let mut clippy = debian_clippy(root).or_else(|debian| {
        nightly_clippy(root).map_err(|nightly| {
            if debian::is_debian() { debian } else { nightly.context("no clippy for BPF") }
        })
    })?;
    clippy.env("RUSTC_BOOTSTRAP", "1");
    Ok(clippy)
}

fn debian_clippy(root: &Path) -> Result<Command> {
    if !debian::is_debian() {
        bail!("not Debian");
    }
    debian::install(&["rustc-web", "rust-web-src", "rust-web-clippy"])?;
    let mut clippy = process::command(DEBIAN_CLIPPY);
    process::scrub(&mut clippy);
    clippy.current_dir(root).arg("clippy").env("RUSTC", DEBIAN_RUSTC);
    clippy.env("CARGO", process::cargo(root).get_program());
    Ok(clippy)
}

fn nightly_clippy(root: &Path) -> Result<Command> {
    const NEEDS: &str = "needs: rustup toolchain install nightly -c rust-src -c clippy";
    let sysroot = Compiler::Nightly.inspect().context(NEEDS)?.sysroot;
    if !sysroot.join("lib/rustlib/src/rust/library/core").exists() {
        bail!("no sources of core; {NEEDS}");
    }
    process::read(&mut Compiler::Nightly.cargo(root, &["clippy", "--version"])).context(NEEDS)?;
    Ok(Compiler::Nightly.cargo(root, &["clippy"]))
}

fn rustup_nightly() -> Command {
    let mut rustup = process::command("rustup");
    // A query for a toolchain must not download the toolchain.
    rustup.args(["run", "nightly"]).env("RUSTUP_AUTO_INSTALL", "0");
    rustup
}

fn llvm_major(version: &str) -> Result<u32> {
    let major = version.split('.').next().unwrap_or_default();
    major.parse().with_context(|| format!("LLVM version `{version}`"))
}

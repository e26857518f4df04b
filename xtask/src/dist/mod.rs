//! `cargo xtask dist` writes the additional files of a package to `target/dist`: man pages and
//! completions.
//!
//! ```text
//! cargo xtask dist             man/, completions/
//! cargo xtask dist --package   the static program too, and a Debian package with the program and
//!                              the service: tcpstate, tcpstate_VERSION_ARCHITECTURE.deb,
//!                              tcpstate.cdx.json (bill of materials), SHA256SUMS
//! cargo xtask dist --try       like --package; also install the package in a chroot
//! ```

mod sbom;
mod trial;

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{lock::sha256, process};

/// Options of `cargo xtask dist`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Also build the program and a Debian package
    #[arg(long)]
    package: bool,
    /// Also install, upgrade and remove the package in a chroot (needs root)
    #[arg(long = "try")]
    is_tried: bool,
}

impl Options {
    /// These options build a package and install the package in a chroot.
    pub(crate) const TRY: Self = Self { package: true, is_tried: true };
}

/// The configuration file of the service. `dpkg` asks before it overwrites a file that the user has
/// changed.
const CONFIGURATION: &str = "# Settings of tcpstate.service: see tcpstate-serve(1).\n#TCPSTATE_LISTEN=127.0.0.1:9919\n#TCPSTATE_NETNS=self\n#TCPSTATE_TEXTFILE=\n";

/// Empties the directory `target/dist`, and writes the files into this directory.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let folder = root.join("target/dist");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("empty {}", folder.display()))?;
    }
    // The example program `dist` of the package `tcpstate` writes man pages and completions,
    // because the package defines the command line. The package `xtask` does not depend on the
    // package `tcpstate`.
    let arguments = ["run", "--quiet", "--package", "tcpstate", "--example", "dist", "--"];
    process::run(process::cargo(root).args(arguments).arg(&folder))?;
    for part in ["man", "completions"] {
        let part = folder.join(part);
        let files = fs::read_dir(&part).with_context(|| format!("read {}", part.display()))?;
        println!("{}: {} files", part.display(), files.count());
    }
    if options.package || options.is_tried {
        let package = package(root, &folder)?;
        if options.is_tried {
            trial::run(root, &package, env!("CARGO_PKG_VERSION"))?;
        }
    }
    Ok(())
}

/// Builds the Debian package and returns its path.
fn package(root: &Path, folder: &Path) -> Result<PathBuf> {
    let program = folder.join("tcpstate");
    copy(&build(root)?, &program, 0o755)?;
    let tree = folder.join("tree");
    copy(&program, &tree.join("usr/bin/tcpstate"), 0o755)?;
    let packaging = root.join("packaging");
    let file = |from: PathBuf, to: &str| copy(&from, &tree.join(to), 0o644);
    file(packaging.join("tcpstate.service"), "lib/systemd/system/tcpstate.service")?;
    let documents = "usr/share/doc/tcpstate";
    for (from, to) in [
        ("packaging/prometheus/tcpstate.rules.yml", "examples/tcpstate.rules.yml"),
        ("packaging/prometheus/tcpstate.rules.test.yml", "examples/tcpstate.rules.test.yml"),
        ("packaging/grafana/tcpstate.json", "examples/grafana.json"),
        ("docs/OPERATIONS.md", "OPERATIONS.md"),
        ("LICENSE-MIT", "copyright"),
    ] {
        file(root.join(from), &format!("{documents}/{to}"))?;
    }
    for page in files(&folder.join("man"))? {
        let name = page.file_name().unwrap_or_default().to_string_lossy().into_owned();
        file(page, &format!("usr/share/man/man1/{name}"))?;
    }
    for (from, to) in [
        ("tcpstate.bash", "usr/share/bash-completion/completions/tcpstate"),
        ("_tcpstate", "usr/share/zsh/vendor-completions/_tcpstate"),
        ("tcpstate.fish", "usr/share/fish/vendor_completions.d/tcpstate.fish"),
    ] {
        file(folder.join("completions").join(from), to)?;
    }
    write(&tree.join("etc/default/tcpstate"), CONFIGURATION)?;
    write(&tree.join("DEBIAN/conffiles"), "/etc/default/tcpstate\n")?;
    let (version, architecture) = (env!("CARGO_PKG_VERSION"), architecture());
    write(&tree.join("DEBIAN/control"), &control(version, architecture))?;
    let package = folder.join(format!("tcpstate_{version}_{architecture}.deb"));
    let mut build = process::command("dpkg-deb");
    process::read(build.args(["--root-owner-group", "--build"]).arg(&tree).arg(&package))?;
    fs::remove_dir_all(&tree).with_context(|| format!("remove {}", tree.display()))?;
    let sum = |file: &PathBuf| {
        let bytes = fs::read(file).with_context(|| format!("read {}", file.display()))?;
        println!("{}: {} bytes", file.display(), bytes.len());
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        Ok(format!("{}  {name}\n", sha256(&bytes)))
    };
    let bill = folder.join("tcpstate.cdx.json");
    write(&bill, &sbom::of(root, &target())?)?;
    let sums: Vec<String> =
        [&program, &package, &bill].into_iter().map(sum).collect::<Result<_>>()?;
    write(&folder.join("SHA256SUMS"), &sums.concat())?;
    Ok(package)
}

/// Builds the release program for users, linked statically.
fn build(root: &Path) -> Result<PathBuf> {
    let target = target();
    let mut cargo = process::cargo(root);
    cargo
        .args(["build", "--release", "--package", "tcpstate", "--target", &target])
        // Static linking breaks build scripts. Without an explicit target, cargo would also apply
        // the static linking to build scripts.
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    process::run(&mut cargo)?;
    Ok(root.join("target").join(target).join("release/tcpstate"))
}

/// Returns the target triple of this machine.
fn target() -> String {
    format!("{}-unknown-linux-gnu", env::consts::ARCH)
}

/// Returns Debian's name of this machine's architecture.
fn architecture() -> &'static str {
    match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn control(version: &str, architecture: &str) -> String {
    format!(
        "Package: tcpstate\nVersion: {version}\nArchitecture: {architecture}\nSection: net\nPriority: optional\n\
         Maintainer: The tcpstate developers <tcpstate@localhost>\n\
         Description: exact live counts of TCP sockets by state, from eBPF\n \
         Counts sockets by state and every transition without polling socket tables,\n \
         and serves the counts to Prometheus. The service is not enabled by itself:\n \
         systemctl enable --now tcpstate\n"
    )
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    make_room(to)?;
    fs::copy(from, to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))
        .with_context(|| format!("change the mode of {}", to.display()))
}

fn write(to: &Path, text: &str) -> Result<()> {
    make_room(to)?;
    fs::write(to, text).with_context(|| format!("write {}", to.display()))
}

fn make_room(file: &Path) -> Result<()> {
    let folder = file.parent().context("a file has a directory")?;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))
}

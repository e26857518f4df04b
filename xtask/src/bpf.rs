//! `cargo xtask bpf` builds the kernel half into the checked-in BPF object. With `--check`, the
//! command verifies that the object was built from the current sources.
//!
//! ```text
//! cargo xtask bpf                    install tools, build tcpstate.bpf.o and its lock file
//! cargo xtask bpf --check            rebuild elsewhere; identical tools must give identical bytes
//! cargo xtask bpf --variant no-log   build target/bpf-variants/no-log.o for the test of sizes
//! ```

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow};

use crate::{
    lock::{Lock, sha256},
    object::{Variant, build_object},
    sources,
    toolchain::Toolchain,
};

const OBJECT: &str = "tcpstate/bpf/tcpstate.bpf.o";
/// The object with an empty BPF program for benchmarks. The empty object is built like the real
/// object, and the lock file contains the hash of the empty object.
const EMPTY: &str = "tests/bpf/empty.bpf.o";
const LOCK: &str = "tcpstate/bpf/tcpstate.bpf.lock";

/// Options of `cargo xtask bpf`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Compare the checked-in object with the sources and with a rebuilt object
    #[arg(long, conflicts_with = "variant")]
    check: bool,
    /// Build a variant for tests; the checked-in object stays unchanged
    #[arg(long)]
    variant: Option<Variant>,
}

/// The result of a successful check of the BPF object.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The lock file shows that the object was built from the current sources. The tools for a
    /// rebuild are missing.
    SourcesMatch,
    /// The rebuilt object is identical to the checked-in object. `differences` lists the tools
    /// whose versions differ from the versions in the lock file.
    Identical { differences: Vec<String> },
    /// A rebuild with other tool versions gave a different object. The different object must pass
    /// the kernel tests too.
    OtherTools { differences: Vec<String>, rebuilt: PathBuf },
}

pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let tools = Toolchain::provision()?;
    if options.check {
        let verdict = check(root, Some(&tools))?;
        println!("{verdict}");
        if let Verdict::OtherTools { rebuilt, .. } = verdict {
            println!("next: cargo xtask test --object {}", rebuilt.display());
        }
        return Ok(());
    }
    match options.variant {
        Some(variant) => build_variant(root, &tools, variant).map(drop),
        None => build(root, &tools),
    }
}

/// Builds the checked-in BPF object and its lock file.
fn build(root: &Path, tools: &Toolchain) -> Result<()> {
    let start = Instant::now();
    let target = root.join("target/bpf");
    let built = build_object(tools, root, Variant::Default, &target)?;
    let bytes = fs::read(&built).with_context(|| format!("read {}", built.display()))?;
    let empty = build_object(tools, root, Variant::Empty, &target)?;
    let empty = fs::read(&empty).with_context(|| format!("read {}", empty.display()))?;
    fs::write(root.join(EMPTY), &empty).with_context(|| format!("write {EMPTY}"))?;
    let lock = Lock {
        object: sha256(&bytes),
        empty: sha256(&empty),
        sources: sources::hash(root)?,
        tools: tools.versions.clone(),
    };

    let object = root.join(OBJECT);
    let before = fs::read(&object).ok();
    // If the object is unchanged, do not write the file. The modification time of the file stays
    // unchanged, so cargo does not rebuild the user half.
    if before.as_deref() != Some(&bytes) {
        fs::write(&object, &bytes).with_context(|| format!("write {OBJECT}"))?;
    }
    lock.write(&root.join(LOCK))?;
    let change = match before {
        None => "new".to_owned(),
        Some(before) if before == bytes => "unchanged".to_owned(),
        Some(before) => format!("changed, {} bytes before", before.len()),
    };
    println!(
        "{OBJECT}: {} bytes, {change}, built in {:.1} s",
        bytes.len(),
        start.elapsed().as_secs_f64()
    );
    println!("{LOCK}: sha256 {}", lock.object);
    println!(
        "rustc {}, LLVM {}, bpf-linker {}",
        lock.tools.rustc, lock.tools.llvm, lock.tools.bpf_linker
    );
    Ok(())
}

/// Builds a variant of the object, and returns the path of the file.
pub(crate) fn build_variant(root: &Path, tools: &Toolchain, variant: Variant) -> Result<PathBuf> {
    let built = build_object(tools, root, variant, &root.join("target/bpf"))?;
    let folder = root.join("target/bpf-variants");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let file = folder.join(variant.file_name());
    let size = fs::copy(&built, &file).with_context(|| format!("write {}", file.display()))?;
    println!("{}: {size} bytes", file.display());
    Ok(file)
}

/// Compares the checked-in object with its lock file, and the lock file with the sources. If
/// `tools` is given, the function also rebuilds the object from a copy of the sources in another
/// directory. The rebuilt object is compared with the checked-in object.
pub(crate) fn check(root: &Path, tools: Option<&Toolchain>) -> Result<Verdict> {
    let stale = |what: String| anyhow!("{what}\nrun: cargo xtask bpf");
    let lock = Lock::read(&root.join(LOCK)).map_err(|error| stale(format!("{error:#}")))?;
    let bytes =
        fs::read(root.join(OBJECT)).map_err(|error| stale(format!("read {OBJECT}: {error}")))?;
    if sha256(&bytes) != lock.object {
        return Err(stale(format!("{OBJECT} does not match its lock file")));
    }
    let empty =
        fs::read(root.join(EMPTY)).map_err(|error| stale(format!("read {EMPTY}: {error}")))?;
    if sha256(&empty) != lock.empty {
        return Err(stale(format!("{EMPTY} does not match the lock file")));
    }
    if sources::hash(root)? != lock.sources {
        return Err(stale(format!("the kernel half has changed since {OBJECT} was built")));
    }
    let Some(tools) = tools else { return Ok(Verdict::SourcesMatch) };

    let copy = Copy::of(root)?;
    let rebuilt = build_object(tools, &copy.sources, Variant::Default, &copy.target)?;
    let differences = lock.tools.differences(&tools.versions);
    if fs::read(&rebuilt).with_context(|| format!("read {}", rebuilt.display()))? == bytes {
        return Ok(Verdict::Identical { differences });
    }
    if differences.is_empty() {
        let rebuilt = rebuilt.display();
        return Err(stale(format!(
            "sources and tools are unchanged, but {rebuilt} differs from {OBJECT}"
        )));
    }
    Ok(Verdict::OtherTools { differences, rebuilt })
}

/// A copy of the kernel half's sources in another directory, whose path is longer than the path of
/// the workspace. The directory always has the same path, so `core` is compiled for the copy only
/// once.
pub(crate) struct Copy {
    pub(crate) sources: PathBuf,
    pub(crate) target: PathBuf,
}

impl Copy {
    pub(crate) fn of(root: &Path) -> Result<Self> {
        Self::at(root, "target/bpf-copy")
    }

    /// Creates a second copy of the kernel half's sources, so that two objects can be built in
    /// parallel. The second copy has a fixed path too, so `core` is compiled for the second copy
    /// only once.
    pub(crate) fn second(root: &Path) -> Result<Self> {
        Self::at(root, "target/bpf-copy-2")
    }

    fn at(root: &Path, folder: &str) -> Result<Self> {
        let folder = root.join(folder);
        let copy = Self { sources: folder.join("workspace"), target: folder.join("target") };
        sources::copy(root, &copy.sources)?;
        Ok(copy)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{OBJECT} belongs to the sources")?;
        match self {
            Self::SourcesMatch => write!(f, "; not rebuilt for the comparison"),
            Self::Identical { differences } => {
                write!(f, ", and a rebuild gives identical bytes{}", list(differences))
            }
            Self::OtherTools { differences, rebuilt } => {
                let rebuilt = rebuilt.display();
                write!(f, "; a rebuild gives different bytes{}", list(differences))?;
                write!(f, "\nthe kernel tests must also pass with the rebuilt object: {rebuilt}")
            }
        }
    }
}

fn list(differences: &[String]) -> String {
    if differences.is_empty() {
        return String::new();
    }
    format!(", with different tools:\n  {}", differences.join("\n  "))
}

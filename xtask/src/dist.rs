//! `cargo xtask dist`: what a package holds besides the program: man pages and completions, in `target/dist`.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use crate::process;

/// Writes them, from scratch.
pub(crate) fn run(root: &Path) -> Result<()> {
    let folder = root.join("target/dist");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("empty {}", folder.display()))?;
    }
    // Made by the program's own package, which knows its command line; nothing of it is linked in here.
    let arguments = ["run", "--quiet", "--package", "tcpstate", "--example", "dist", "--"];
    process::run(process::cargo(root).args(arguments).arg(&folder))?;
    for part in ["man", "completions"] {
        let part = folder.join(part);
        let files = fs::read_dir(&part).with_context(|| format!("read {}", part.display()))?;
        println!("{}: {} files", part.display(), files.count());
    }
    Ok(())
}

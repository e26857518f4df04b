//! `cargo xtask golden`: writes the expected output of the recordings in the tree to
//! `tests/golden`, after a view was changed on purpose.

use std::path::Path;

use anyhow::Result;

use crate::process;

/// Writes the files. The reviewer checks the difference.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut cargo = process::cargo(root);
    cargo.args(["test", "--quiet", "--package", "tcpstate", "--test", "command"]);
    cargo.args(["--", "recordings_of_the_tree"]).env("TCPSTATE_WRITE_GOLDEN", "1");
    process::run(&mut cargo)
}

//! `cargo xtask golden`: what the recordings of the tree show, written anew to `tests/golden` when a view was changed on purpose.

use std::path::Path;

use anyhow::Result;

use crate::process;

/// Writes it; the difference is for the review.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut cargo = process::cargo(root);
    cargo.args(["test", "--quiet", "--package", "tcpstate", "--test", "command"]);
    cargo.args(["--", "recordings_of_the_tree"]).env("TCPSTATE_WRITE_GOLDEN", "1");
    process::run(&mut cargo)
}

//! `cargo xtask golden` replays the checked-in recordings and writes the expected output to
//! `tests/golden`. Developers run `cargo xtask golden` after an intended change of a view.

use std::path::Path;

use anyhow::Result;

use crate::process;

/// Writes the expected output. A reviewer must check how the files in `tests/golden` changed.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut cargo = process::cargo(root);
    cargo.args(["test", "--quiet", "--package", "tcpstate", "--test", "command"]);
    cargo.args(["--", "recordings_in_the_tree"]).env("TCPSTATE_WRITE_GOLDEN", "1");
    process::run(&mut cargo)
}

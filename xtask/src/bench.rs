//! `cargo xtask bench`: what counting costs, by the kernel's own BPF statistics, against an empty program in the same run.
//!
//! ```text
//! cargo xtask bench --quick   ns a transition, with 0 and with 100,000 idle sockets present; ns a mini socket
//! ```

use std::path::Path;

use anyhow::Result;

use crate::{privilege::Privilege, process, test::binaries};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The table of one minute; so far there is no longer one.
    #[arg(long)]
    quick: bool,
}

/// Builds and runs the benchmark, as root.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    if !options.quick {
        eprintln!("only the quick benchmark exists so far");
    }
    // Built like a test, but it measures; optimised, like what users run.
    let arguments = ["--release", "--package", "tcpstate-tests", "--benches"];
    for benchmark in binaries::build(root, &arguments)? {
        process::run(&mut Privilege::current().command(&benchmark.executable, &[])?)?;
    }
    Ok(())
}

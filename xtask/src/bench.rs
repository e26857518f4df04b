//! `cargo xtask bench`: what counting costs, against something else in the same run.
//!
//! ```text
//! cargo xtask bench --quick   ns a transition, with 0 and with 100,000 idle sockets present; ns a mini socket; and
//!                             processor time of `tcpstate count` at 46,807 TIME_WAIT, against `ss | awk`; the rate
//!                             at which lines of events get lost; and what a recording of a million events takes
//! ```

use std::path::Path;

use anyhow::Result;

use crate::{privilege::Privilege, process, test::binaries};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The table of one minute; there is no longer one, so that it is what runs without this, too.
    #[arg(long)]
    quick: bool,
}

/// Builds and runs the benchmarks, as root.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    if !options.quick {
        eprintln!("measuring as with --quick: there is no longer table");
    }
    // Built like tests, but they measure; optimised, like what users run.
    let of_tests: &[&str] = &["--release", "--package", "tcpstate-tests", "--benches"];
    let of_binary: &[&str] = &[
        "--release",
        "--package",
        "tcpstate",
        "--bench",
        "count",
        "--bench",
        "events",
        "--bench",
        "recording",
    ];
    for arguments in [of_tests, of_binary] {
        for benchmark in binaries::build(root, arguments)? {
            process::run(&mut Privilege::current().command(&benchmark.executable, &[])?)?;
        }
    }
    Ok(())
}

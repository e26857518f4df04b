//! `cargo xtask soak --minutes N`: a running `tcpstate serve` for a while, with all that goes on around it.

use std::path::Path;

use anyhow::Result;

use crate::{kernel_tests, privilege::Privilege, process, test::binaries};

/// How long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The whole time, a fraction too; memory must not grow from the first fifth of it on.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
}

impl Options {
    /// Long enough for memory to settle and then not to grow.
    pub(crate) const SHORT: Self = Self { minutes: 2.0 };
}

/// Builds it as the kernel tests are built, with which it shares nearly all, and runs it as root.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let mut cargo = process::cargo(root);
    cargo.args(["test", "--package", "tcpstate", "--bench", "soak"]);
    kernel_tests::build_alike(&mut cargo);
    let time = [("TCPSTATE_SOAK_MINUTES".into(), options.minutes.to_string().into())];
    for program in binaries::build_by(&mut cargo)? {
        process::run(&mut Privilege::current().command(&program.executable, &time)?)?;
    }
    Ok(())
}

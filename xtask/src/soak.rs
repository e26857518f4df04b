//! `cargo xtask soak --minutes N`: runs `tcpstate serve` under load and changes around it.

use std::path::Path;

use anyhow::Result;

use crate::{kernel_tests, privilege::Privilege, process, test::binaries};

/// Options of `cargo xtask soak`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Duration in minutes; memory must not grow after its first fifth
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
}

impl Options {
    /// Long enough to see whether memory grows after it has settled.
    pub(crate) const SHORT: Self = Self { minutes: 2.0 };
}

/// Builds the soak test with the options of the kernel tests, so that most dependencies are shared.
/// Runs it as root.
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

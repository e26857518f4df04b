//! `cargo xtask soak --minutes N` runs `serve`, `trace` and `hist` for N minutes with heavy
//! traffic, while network namespaces are created and deleted.

use std::path::Path;

use anyhow::Result;

use crate::{kernel_tests, privilege::Privilege, process, test::binaries};

/// Options of `cargo xtask soak`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Duration in minutes; growth is measured after the first fifth of this time
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
}

impl Options {
    /// The options of the soak test of `cargo xtask test --all`.
    pub(crate) const LONG: Self = Self { minutes: 20.0 };
}

/// Builds the soak test and runs it as root. The soak test has the build options of the kernel
/// tests, so that the soak test and the kernel tests share most dependencies.
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

//! `tcpstate check`: shows which features work with this kernel, these privileges and this
//! container.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use super::{
    privileges,
    stdout::{self, Format, OutputFlag, Reader},
};
use crate::{
    check::{self, Facts},
    view::{FeatureForm, show_features},
};

/// Show what tcpstate can trace on this system
///
/// Attaches each hook that this process may attach, and detaches it again. The version of the
/// kernel decides about the other features. For each feature that does not work, check prints the
/// reason and how to enable it. The last line summarizes what `trace` can count. The exit status is
/// 0 if these counts are exact, else 1. Without root, check shows which privileges are missing.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  sudo tcpstate check         show what works, and how to enable the rest
  sudo tcpstate check --live  also test each hook with real connections
  tcpstate check              show which privileges are missing
  tcpstate check -o json | jq -c 'select(.status != \"ok\")'")]
pub(super) struct Arguments {
    /// Test each hook with real connections
    ///
    /// Test each hook and each gauge with connections in a private network namespace.
    #[arg(long)]
    live: bool,

    #[command(flatten)]
    format: OutputFlag,
}

/// Runs `tcpstate check`.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    privileges::confine()?;
    let facts = Facts::gather(arguments.live).context("cannot read the release of the kernel")?;
    let features = check::features(&facts);
    let form = match arguments.format.output {
        Format::Table => FeatureForm::Table,
        Format::Json => FeatureForm::Json,
        Format::Csv => FeatureForm::Csv,
    };
    let mut text = Vec::new();
    show_features(form, &features, &mut text).context("cannot show the features")?;
    let reader = stdout::write(&text)?;
    let is_fine = reader == Reader::Gone || check::is_exact(&features);
    Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::from(super::FOUND) })
}

//! `tcpstate check`: feature by feature, what this kernel, these privileges and this container allow.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use super::stdout::{self, Format, Reader};
use crate::{
    check::{self, Facts},
    view::{FeatureForm, show_features},
};

/// Say what this system allows `trace` to see, and what would help
///
/// Tries each hook that counting can use, where that is permitted, and takes it away again. What is known from the
/// kernel's version alone says so. The last line is what `trace` would be: the status is 0 if exact, else 1. Useful
/// without root, too: it says what is needed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo tcpstate check                  what works here, and what would help
  sudo tcpstate check --live           prove it, with connections of its own
  tcpstate check                       what is needed
  tcpstate check -o json | jq -c 'select(.status != \"ok\")'")]
pub(super) struct Arguments {
    /// Make a few connections in a network namespace of its own: does each hook fire, does each gauge agree?
    #[arg(long)]
    live: bool,

    /// How to show it
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

/// Runs it to its end.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let facts = Facts::gather(arguments.live).context("ask for the kernel's release")?;
    let features = check::features(&facts);
    let form = match arguments.output {
        Format::Table => FeatureForm::Table,
        Format::Json => FeatureForm::Json,
        Format::Csv => FeatureForm::Csv,
    };
    let mut text = Vec::new();
    show_features(form, &features, &mut text).context("show the features")?;
    let reader = stdout::write(&text)?;
    let is_fine = reader == Reader::Gone || check::is_exact(&features);
    Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::from(super::FOUND) })
}

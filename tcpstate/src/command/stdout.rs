//! Writes a whole text to stdout, and defines the output formats.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

/// The format of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Text
    Table,
    /// One JSON object per line
    Json,
    /// A header, then rows
    Csv,
}

/// The flag `--output` of a command whose default is a table.
#[derive(Clone, Copy, Debug, Args)]
#[group(skip)]
pub(super) struct OutputFlag {
    /// Output format: table, json or csv
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "table",
        hide_possible_values = true
    )]
    pub(super) output: Format,
}

/// Whether stdout still has a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    Reads,
    /// The reader has closed the pipe. A closed pipe is not an error.
    Gone,
}

/// Writes the whole text.
pub(super) fn write(text: &[u8]) -> Result<Reader> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::Reads),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(error).context("cannot write to stdout"),
    }
}

//! What is written to stdout at once, and the forms that it has.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

/// How to show what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Text
    Table,
    /// One JSON object per line
    Json,
    /// A header, then rows
    Csv,
}

/// Whether somebody reads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    Reads,
    /// Who closes the pipe has read enough: that is success.
    Gone,
}

/// Writes it all.
pub(super) fn write(text: &[u8]) -> Result<Reader> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::Reads),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(error).context("cannot write to stdout"),
    }
}

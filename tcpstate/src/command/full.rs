//! `--full`: the recording of a run contains everything that tcpstate can observe.

use std::borrow::Cow;

use clap::Args;

use super::help::RECORDING;
use crate::error::Help;

/// The flag for full recordings.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Flags {
    /// Record everything in one file, for all views
    ///
    /// Record events, connections, groups, histograms and snapshots of one run in one file. The
    /// output shows what other flags ask for. Groups are by process unless --by says otherwise. The
    /// file also has the addresses of the interfaces and the listeners at the start.
    #[arg(long, requires = "record", help_heading = RECORDING)]
    full: bool,
}

/// The errors of full recordings.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A filter was given, but a full recording has everything.
    #[error("cannot use {0} with --full: a full recording contains all sockets")]
    Filter(&'static str),
}

impl Help for Error {
    fn help(&self) -> Cow<'static, str> {
        let Self::Filter(_) = self;
        "leave out the filter, or leave out --full and record what you need".into()
    }
}

impl Flags {
    pub(super) fn is_given(&self) -> bool {
        self.full
    }
}

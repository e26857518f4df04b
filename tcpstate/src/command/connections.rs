//! The flags of `trace --connections`.

use std::{borrow::Cow, path::PathBuf, str::FromStr};

use clap::Args;

use super::help::FILTERS;
use crate::{
    error::Help,
    filter::{self, ConnectionFilter},
    recording::Part,
    report::CloseReason,
};

/// The filters that apply only to connections.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Flags {
    /// Only failed calls of connect(), with --connections
    #[arg(long, requires = "connections", help_heading = FILTERS)]
    failed: bool,

    /// How the connection ended, with --connections
    ///
    /// How the connection ended, with --connections: local_fin, remote_fin, local_rst, remote_rst,
    /// timeout, refused, unreachable or abort. The value is a list.
    #[arg(long, requires = "connections", value_name = "REASONS", help_heading = FILTERS)]
    ended_by: Option<Reasons>,
}

/// The errors of connections.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A condition on a transition was given, but a connection has many transitions.
    #[error("cannot use {0} with --connections: a connection has several states")]
    Moves(&'static str),
    /// The recording was made without connections.
    #[error("cannot show connections: the recording {} has none", .0.display())]
    NotRecorded(PathBuf),
}

impl Help for Error {
    fn help(&self) -> Cow<'static, str> {
        let help = match self {
            Self::Moves(_) => "use --ended-by or --failed, or use --events instead",
            Self::NotRecorded(_) => "record with --connections or with --full",
        };
        help.into()
    }
}

impl Flags {
    /// Returns the name of the first given flag.
    pub(super) fn given(&self) -> Option<&'static str> {
        match (self.failed, &self.ended_by) {
            (true, _) => Some("--failed"),
            (false, Some(_)) => Some("--ended-by"),
            (false, None) => None,
        }
    }

    pub(super) fn filter(&self) -> ConnectionFilter {
        ConnectionFilter {
            only_failed: self.failed,
            ended_by: self.ended_by.clone().map(|reasons| reasons.0),
            min_duration: None,
        }
    }
}

/// Refuses a recording without connections.
pub(super) fn require_recorded(file: &std::path::Path, part: &Part) -> Result<(), Error> {
    if part.has_connections { Ok(()) } else { Err(Error::NotRecorded(file.to_owned())) }
}

/// Close reasons as typed.
#[derive(Clone, Debug)]
struct Reasons(Vec<CloseReason>);

impl FromStr for Reasons {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        filter::list(text, reason).map(Self)
    }
}

fn reason(word: &str) -> Result<CloseReason, String> {
    let known = CloseReason::ALL.into_iter().find(|reason| reason.name() == word);
    known.ok_or_else(|| {
        let names = CloseReason::ALL.map(CloseReason::name).join(", ");
        format!("is not a close reason: expected one of {names}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_reasons_are_a_list_of_names() {
        let reasons: Reasons = "local_fin, refused".parse().expect("reasons");
        assert_eq!(reasons.0, [CloseReason::LocalFin, CloseReason::Refused]);
        let error = "local_fin,rst".parse::<Reasons>().expect_err("no such reason");
        assert!(error.starts_with("at character 11: 'rst' is not a close reason"), "{error}");
    }
}

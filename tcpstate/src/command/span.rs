//! `--from` and `--until`: the part of a recording to show.

use std::{
    cmp::Ordering,
    time::{Duration, SystemTime},
};

use clap::Args;
use jiff::Timestamp;

use super::{duration, help::INPUT};

/// The part of a recording to show.
#[derive(Clone, Copy, Debug, Args)]
#[group(skip)]
pub(super) struct Span {
    /// Start of the replay, such as 5m
    ///
    /// Start of the replay: a time after the start of the recording, such as 90s or 5m, or a date
    /// such as 2026-11-24T14:09:23Z.
    #[arg(long, value_name = "WHEN", requires = "replay", value_parser = parse_when, help_heading = INPUT)]
    from: Option<When>,

    /// End of the replay, such as 6m
    ///
    /// End of the replay: a time after the start of the recording, such as 90s or 5m, or a date
    /// such as 2026-11-24T14:09:23Z.
    #[arg(long, value_name = "WHEN", requires = "replay", value_parser = parse_when, help_heading = INPUT)]
    until: Option<When>,
}

impl Span {
    /// Returns whether a time is before, inside or after this part of the recording. `start` is the
    /// time at which the recording starts.
    pub(super) fn place(&self, start: SystemTime, time: SystemTime) -> Ordering {
        if self.from.is_some_and(|from| time < from.after(start)) {
            Ordering::Less
        } else if self.until.is_some_and(|until| time >= until.after(start)) {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    }
}

/// A time in a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// The time since the start of the recording.
    After(Duration),
    At(SystemTime),
}

fn parse_when(text: &str) -> Result<When, String> {
    if let Some(time) = text.parse::<Timestamp>().ok().and_then(|time| time.try_into().ok()) {
        return Ok(When::At(time));
    }
    let after = duration::parse(text).map(When::After);
    after.map_err(|error| format!("{error}; or a time such as 2026-11-24T14:09:23Z"))
}

impl When {
    fn after(self, start: SystemTime) -> SystemTime {
        match self {
            Self::After(duration) => start + duration,
            Self::At(time) => time,
        }
    }
}

//! `trace --events` and what belongs to it.

use std::borrow::Cow;

use clap::Args;
use jiff::tz::TimeZone;

use crate::{
    error::Help,
    probe::{EventOptions, MAX_SOCKETS, RING_BYTES},
    report::Losses,
    view::Clock,
};

/// What may be said of events.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Flags {
    /// Show each transition with its connection, a line an event; snapshots only with --interval
    #[arg(long)]
    pub(super) events: bool,

    /// With --events: bytes of the buffer between kernel and reader, a power of two; what has no room is counted as lost
    #[arg(long, value_name = "BYTES", requires = "events", default_value_t = RING_BYTES, value_parser = parse_buffer)]
    event_buffer: u32,

    /// With --events: remember so many sockets between their events, for durations and owners
    #[arg(long, value_name = "N", requires = "events", default_value_t = MAX_SOCKETS, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    event_sockets: u32,

    /// With --events as a table: times in UTC instead of local time
    #[arg(long, requires = "events")]
    utc: bool,

    /// With --events as a table: times in seconds since the machine started
    #[arg(long, requires = "events", conflicts_with = "utc")]
    monotonic: bool,
}

/// What can't be had with --events.
#[derive(Debug, thiserror::Error)]
pub(super) enum Conflict {
    /// Nothing to count.
    #[error("--count counts snapshots, and with --events there are none without --interval")]
    Count,
    /// Two kinds of rows.
    #[error("-o csv has rows of one kind, and --events with --interval asks for two")]
    Csv,
}

impl Help for Conflict {
    fn help(&self) -> Cow<'static, str> {
        let help = match self {
            Self::Count => "give --interval too, or --duration instead of --count",
            Self::Csv => "leave out --interval, or use -o json",
        };
        help.into()
    }
}

impl Flags {
    /// How to write them down, if they are asked for.
    pub(super) fn options(&self) -> Option<EventOptions> {
        let options = EventOptions {
            ring_bytes: self.event_buffer,
            max_sockets: self.event_sockets,
            ..EventOptions::default()
        };
        self.events.then_some(options)
    }

    /// By which clock a table tells the time.
    pub(super) fn clock(&self) -> Clock {
        match (self.utc, self.monotonic) {
            (_, true) => Clock::Monotonic,
            (true, _) => Clock::Zone(TimeZone::UTC),
            _ => Clock::Zone(TimeZone::system()),
        }
    }
}

fn parse_buffer(text: &str) -> Result<u32, &'static str> {
    const EXPECTED: &str = "expected a power of two from 4096 to 1073741824";
    let bytes: u32 = text.parse().map_err(|_| EXPECTED)?;
    let is_right = bytes.is_power_of_two() && (4096..=1 << 30).contains(&bytes);
    is_right.then_some(bytes).ok_or(EXPECTED)
}

/// Says on stderr that events were lost, as it happens.
#[derive(Debug)]
pub(super) struct LossWarner {
    /// Lost before the start, or said to be.
    reported: u64,
    has_helped: bool,
}

impl LossWarner {
    /// Begins where the run does.
    pub(super) fn since(losses: Option<Losses>) -> Self {
        Self { reported: losses.unwrap_or_default().lines(), has_helped: false }
    }

    /// Says what was lost since the last call; what would help, only once.
    pub(super) fn warn(&mut self, losses: Option<Losses>) {
        let lost = losses.unwrap_or_default().lines() - self.reported;
        if lost == 0 {
            return;
        }
        self.reported += lost;
        eprintln!("tcpstate: {lost} events lost; counts are not affected");
        if !std::mem::replace(&mut self.has_helped, true) {
            eprintln!("help: let stdout be read faster, or give a larger --event-buffer");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_a_power_of_two_of_a_page_or_more() {
        assert_eq!(parse_buffer("4096"), Ok(4096));
        assert_eq!(parse_buffer("1073741824"), Ok(1 << 30));
        for text in ["0", "2048", "5000", "2147483648", "8M", ""] {
            assert!(parse_buffer(text).is_err(), "{text}");
        }
    }
}

//! The flags of `trace --events` and `trace --connections`, and the warnings about lost events.

use std::borrow::Cow;

use clap::Args;
use jiff::tz::TimeZone;

use super::help::{ADVANCED, OUTPUT};
use crate::{
    error::Help,
    probe::{EventOptions, MAX_SOCKETS, RING_BYTES},
    report::Losses,
    view::{Clock, EventLines},
};

/// The flags for events.
#[derive(Debug, Args)]
#[group(skip)]
#[allow(clippy::struct_excessive_bools, reason = "switches of a command line are just that")]
pub(super) struct Flags {
    /// Print one line for each transition
    ///
    /// Print one line for each transition, with the addresses, the time in the previous state, and
    /// the process. Snapshots are printed too if --interval is given.
    #[arg(long, group = "lines")]
    events: bool,

    /// Print one line for each connection that ends
    ///
    /// Print one line for each connection at its end, with both ends, the process that opened and
    /// the process that closed it, the handshake, the time in each state, how it ended, the bytes,
    /// and the retransmits. The time in TIME_WAIT is not part of a connection. Snapshots are
    /// printed too if --interval is given.
    #[arg(long, group = "lines")]
    connections: bool,

    /// Also print connections that are still open
    #[arg(long, requires = "connections", help_heading = OUTPUT)]
    pending: bool,

    /// Show times of lines in UTC
    #[arg(long, requires = "lines", help_heading = OUTPUT)]
    utc: bool,

    /// Show times of lines in seconds since boot
    #[arg(long, requires = "lines", conflicts_with = "utc", help_heading = OUTPUT)]
    monotonic: bool,

    /// Size of the event buffer
    ///
    /// Size of the buffer between the kernel and tcpstate in bytes, a power of 2. Events that do
    /// not fit are dropped and counted as lost.
    #[arg(long, alias = "event-buffer", value_name = "BYTES", requires = "lines", default_value_t = RING_BYTES, value_parser = parse_buffer, help_heading = ADVANCED)]
    max_event_buffer: u32,

    /// Maximum sockets to remember
    ///
    /// Maximum number of sockets whose state is stored from one event to the next. Events of other
    /// sockets have no duration and no owner.
    #[arg(long, alias = "event-sockets", value_name = "N", requires = "lines", default_value_t = MAX_SOCKETS, value_parser = clap::value_parser!(u32).range(1..=16_777_216), help_heading = ADVANCED)]
    max_event_sockets: u32,
}

/// Flags that cannot be combined with `--events`.
#[derive(Debug, thiserror::Error)]
pub(super) enum Conflict {
    /// `--count` was given, but no snapshots are shown.
    #[error("cannot use --count with {0}: --count limits snapshots, which need --interval")]
    Count(&'static str),
    /// CSV cannot contain both event rows and snapshot rows.
    #[error("cannot use -o csv: it cannot mix event rows ({0}) and snapshot rows (--interval)")]
    Csv(&'static str),
}

impl Help for Conflict {
    fn help(&self) -> Cow<'static, str> {
        let help = match self {
            Self::Count(_) => "add --interval, or use --duration instead of --count",
            Self::Csv(_) => "leave out --interval, or use -o json",
        };
        help.into()
    }
}

impl Flags {
    /// Returns the options for events, or `None` if neither lines nor a full recording need events.
    pub(super) fn options(&self, is_full: bool) -> Option<EventOptions> {
        let options = EventOptions {
            ring_bytes: self.max_event_buffer,
            max_sockets: self.max_event_sockets,
            lines: self.events || is_full,
            connections: self.connections || is_full,
            pending: self.pending || is_full,
            ..EventOptions::default()
        };
        (self.are_given() || is_full).then_some(options)
    }

    /// Returns whether events or connections have lines.
    pub(super) fn are_given(&self) -> bool {
        self.events || self.connections
    }

    /// Returns whether connections have lines, and events have none.
    pub(super) fn are_connections(&self) -> bool {
        self.connections
    }

    /// Returns the flag that asks for lines.
    pub(super) fn name(&self) -> &'static str {
        if self.connections { "--connections" } else { "--events" }
    }

    /// Returns which lines are shown.
    pub(super) fn lines(&self) -> EventLines {
        EventLines { transitions: self.events, connections: self.connections }
    }

    /// Returns the clock for the times in a table of events.
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

/// Warns on stderr about lost events during the run.
#[derive(Debug, Default)]
pub(super) struct LossWarner {
    dropped: Warning,
    missed: Warning,
}

/// The state of the warnings about one cause of losses.
#[derive(Debug, Default)]
struct Warning {
    /// The number of lost events that need no further warning: lost before the run, or already
    /// reported.
    reported: u64,
    has_helped: bool,
}

impl LossWarner {
    /// Creates a warner that ignores the events lost before the run.
    pub(super) fn since(losses: Option<Losses>) -> Self {
        let losses = losses.unwrap_or_default();
        let since = |reported| Warning { reported, has_helped: false };
        Self { dropped: since(losses.dropped_lines()), missed: since(losses.missed) }
    }

    /// Reports the number of events lost since the last call of this function.
    pub(super) fn warn(&mut self, losses: Option<Losses>) {
        for line in self.lines(losses.unwrap_or_default()) {
            eprintln!("{line}");
        }
    }

    /// Returns the lines about the events lost since the last call of this function. The help fits
    /// the cause: a reader that is too slow fills the buffer, but does not make the kernel skip a
    /// program.
    fn lines(&mut self, losses: Losses) -> Vec<String> {
        let mut lines = self.dropped.lines(
            losses.dropped_lines(),
            "were lost",
            "read stdout faster, or increase --max-event-buffer",
        );
        lines.extend(self.missed.lines(
            losses.missed,
            "have no line, because the kernel skipped a program",
            "select fewer events, for example with --local-port; a larger buffer does not help",
        ));
        lines
    }
}

impl Warning {
    /// Returns a line about the lost events that were not reported yet. Only the first line has a
    /// help line.
    fn lines(&mut self, total: u64, event: &str, help: &str) -> Vec<String> {
        let lost = total.saturating_sub(self.reported);
        if lost == 0 {
            return Vec::new();
        }
        self.reported = total;
        let mut lines =
            vec![format!("tcpstate: {lost} events {event}; the counts are not affected")];
        if !std::mem::replace(&mut self.has_helped, true) {
            lines.push(format!("help: {help}"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_names_the_cause_and_helps_once() {
        let mut warner = LossWarner::since(Some(Losses { dropped: 5, ..Losses::default() }));
        let mut lines = |dropped, missed, time_wait| {
            let losses = Losses { dropped, missed, time_wait, ..Losses::default() };
            warner.lines(losses)
        };
        assert_eq!(lines(5, 0, 0), [""; 0]);
        let missed = lines(5, 2, 0);
        assert_eq!(missed.len(), 2);
        assert!(missed[0].starts_with("tcpstate: 2 events have no line"), "{missed:?}");
        assert!(!missed[1].contains("stdout"), "{missed:?}");
        let dropped = lines(9, 2, 3);
        assert_eq!(dropped[0], "tcpstate: 7 events were lost; the counts are not affected");
        assert!(dropped[1].starts_with("help: read stdout faster"), "{dropped:?}");
        assert_eq!(lines(9, 1, 3), [""; 0], "fewer missed events than before");
        let again = lines(10, 3, 3);
        assert_eq!(again.len(), 2, "no help lines: {again:?}");
    }

    #[test]
    fn a_buffer_is_a_power_of_two_of_a_page_or_more() {
        assert_eq!(parse_buffer("4096"), Ok(4096));
        assert_eq!(parse_buffer("1073741824"), Ok(1 << 30));
        for text in ["0", "2048", "5000", "2147483648", "8M", ""] {
            assert!(parse_buffer(text).is_err(), "{text}");
        }
    }
}

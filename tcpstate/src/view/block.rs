//! The parts of a snapshot that the plain table, the screen and the summary share.

use std::fmt::Write as _;

use tcpstate_common::State;

use super::{
    line::{Line, Tone},
    number::{UNKNOWN, counted, decimal, grouped, or_unknown, percent, rate, signed},
};
use crate::{
    report::{
        Cost, Counted, Difference, Exits, Hooks, Limit, Runs, Snapshot, Start, TimeWait, Verdict,
    },
    text::escaped,
};

/// The number of gauges: the states, and all time-wait sockets.
pub(super) const ROWS: usize = TIME_WAIT_SOCKETS + 1;
/// The index of the gauge that counts all time-wait sockets, in TIME_WAIT and in FIN_WAIT2.
pub(super) const TIME_WAIT_SOCKETS: usize = State::GAUGES.len();

/// One row of the table of gauges: the gauge, and how many sockets entered and left per second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    label: &'static str,
    pub(super) current: Option<i64>,
    entered: Option<f64>,
    left: Option<f64>,
}

/// Returns the rows of a snapshot: first the states in the order of [`State::GAUGES`], then all
/// time-wait sockets.
pub(super) fn rows(snapshot: &Snapshot) -> [Row; ROWS] {
    let seconds = snapshot.interval.as_secs_f64();
    let time_wait = &snapshot.time_wait;
    let mut rows = [time_wait_sockets(time_wait); ROWS];
    for (slot, (row, state)) in rows.iter_mut().zip(State::GAUGES).enumerate() {
        let moved = snapshot.moved[slot];
        *row = Row {
            label: state.name(),
            current: snapshot.states[slot].current,
            entered: moved.and_then(|flow| rate(flow.entered, seconds)),
            left: moved.and_then(|flow| rate(flow.left, seconds)),
        };
    }
    rows
}

/// Returns the rows that are shown until the first interval ends. A rate needs an interval, so
/// these rows have no rates.
pub(super) fn opening_rows(start: &Start) -> [Row; ROWS] {
    let mut rows = [time_wait_sockets(&TimeWait::default()); ROWS];
    for (slot, (row, state)) in rows.iter_mut().zip(State::GAUGES).enumerate() {
        *row = Row {
            label: state.name(),
            current: start.states[slot].current,
            entered: None,
            left: None,
        };
    }
    rows
}

fn time_wait_sockets(time_wait: &TimeWait) -> Row {
    Row {
        label: "time-wait sockets",
        current: time_wait.sockets.map(|sockets| i64::try_from(sockets).unwrap_or(i64::MAX)),
        entered: time_wait.entries_per_second,
        left: time_wait.exits_per_second,
    }
}

/// The columns of the table of gauges that fit into the width of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    entered: bool,
    left: bool,
    /// The width of the sparklines; 0 if there are none.
    pub(super) sparkline: usize,
}

impl Columns {
    const LABEL: usize = 17;
    const NUMBER: usize = 11;
    /// The minimum width of a sparkline. A narrower sparkline has too few readings to be useful.
    const SHORTEST: usize = 8;
    const GAP: usize = 2;

    /// A layout that has three columns of numbers and no sparklines.
    pub(super) const NUMBERS: Self = Self { entered: true, left: true, sparkline: 0 };

    /// Returns the columns that fit into `width` columns of text.
    pub(super) fn within(width: usize) -> Self {
        let numbers = |count| Self::LABEL + count * Self::NUMBER;
        let rest = width.saturating_sub(numbers(3) + Self::GAP);
        Self {
            entered: width >= numbers(2),
            left: width >= numbers(3),
            sparkline: if rest < Self::SHORTEST { 0 } else { rest },
        }
    }

    pub(super) fn heading(self) -> Line {
        let mut text = format!("{:<1$}{2:>3$}", "STATE", Self::LABEL, "NOW", Self::NUMBER);
        for (title, is_shown) in [("ENTERED/s", self.entered), ("LEFT/s", self.left)] {
            if is_shown {
                write!(text, "{title:>0$}", Self::NUMBER).expect("a string takes everything");
            }
        }
        if self.sparkline > 0 {
            text += "  HISTORY";
        }
        Line::of(Tone::Strong, text)
    }

    /// Returns the line of a row. `sparkline` is the last column.
    pub(super) fn row(self, row: &Row, sparkline: &str) -> Line {
        let mut line = Line::of(Tone::Plain, format!("{:<1$}", row.label, Self::LABEL));
        let current = or_unknown(row.current, signed);
        let tone = if row.current == Some(0) { Tone::Faint } else { Tone::Strong };
        line.push(tone, format!("{current:>0$}", Self::NUMBER));
        for (rate, is_shown) in [(row.entered, self.entered), (row.left, self.left)] {
            if is_shown {
                let tone =
                    if rate.is_some_and(|rate| rate > 0.0) { Tone::Plain } else { Tone::Faint };
                line.push(tone, format!("{:>1$}", or_unknown(rate, decimal), Self::NUMBER));
            }
        }
        if self.sparkline > 0 {
            line.push(Tone::Plain, format!("{:1$}{sparkline}", "", Self::GAP));
        }
        line
    }
}

type Words = Vec<(Tone, String)>;

/// Returns the share of `tcp_max_tw_buckets` that is in use, and the number of overflows.
pub(super) fn fullness(time_wait: &TimeWait) -> Words {
    let mut words = Vec::new();
    if let (Some(sockets), Some(limit)) = (time_wait.sockets, time_wait.limit) {
        let share = sockets as f64 / limit.max(1) as f64;
        let tone = match share {
            ..0.8 => Tone::Plain,
            ..0.95 => Tone::Warning,
            _ => Tone::Bad,
        };
        words.push((tone, format!("{} of the limit {}", percent(share), grouped(limit))));
    }
    if let Some(overflows) = time_wait.overflows {
        let tone = if overflows > 0 { Tone::Bad } else { Tone::Plain };
        words.push((tone, format!("overflows {}", grouped(overflows))));
    }
    words
}

/// Returns how many time-wait sockets were removed per second, for each known cause of the removal.
pub(super) fn exits(snapshot: &Snapshot) -> Words {
    let seconds = snapshot.interval.as_secs_f64();
    let words = causes(snapshot.time_wait.exits_in_interval).map(|(cause, count)| {
        let per_second = or_unknown(rate(count, seconds), decimal);
        (Tone::Plain, format!("{cause} {per_second}/s"))
    });
    words.collect()
}

/// Returns how many time-wait sockets were removed, for each known cause of the removal. `other`
/// includes the causes that the hook cannot distinguish.
pub(super) fn causes(exits: Exits) -> impl Iterator<Item = (&'static str, u64)> {
    let Exits { expired, reused, killed, other } = exits;
    let causes = [("expired", expired), ("reused", reused), ("killed", killed), ("other", other)];
    causes.into_iter().filter_map(|(cause, count)| Some((cause, count?)))
}

/// Returns the accuracy of the gauges as short words: whether the gauges are exact, the missed
/// events, and the scans after the first scan.
pub(super) fn accuracy(snapshot: &Snapshot) -> Words {
    let missed = snapshot.missed.events();
    let mut words = vec![
        if snapshot.is_exact() {
            (Tone::Good, "exact".to_owned())
        } else {
            (Tone::Bad, inexact(snapshot))
        },
        (Tone::Plain, format!("missed {}", grouped(missed))),
        (Tone::Plain, format!("scans {}", grouped(snapshot.reconciles))),
    ];
    for (what, count) in [("map full", snapshot.map_full), ("map errors", snapshot.map_errors)] {
        if count > 0 {
            words.push((Tone::Bad, format!("{what} {}", grouped(count))));
        }
    }
    words.extend(audited(snapshot).map(|words| (Tone::Plain, words)));
    words.extend(snapshot.verdict.as_ref().map(verified));
    words
}

/// Returns the result of `--verify`, which compares the gauges with the kernel's list of sockets.
fn verified(verdict: &Verdict) -> (Tone, String) {
    match verdict {
        Verdict::Equal => (Tone::Good, "equal to sock_diag".to_owned()),
        Verdict::Differs(differences) => {
            let differences = differences.iter().map(|Difference { state, current, listed }| {
                format!("{state} {current}, in sock_diag {listed}")
            });
            (Tone::Bad, format!("DIFFERS: {}", differences.collect::<Vec<_>>().join("; ")))
        }
        Verdict::Moving => (Tone::Plain, "not compared: sockets moved".to_owned()),
        Verdict::Inexact => {
            (Tone::Warning, "not compared: not exact until the next scan".to_owned())
        }
    }
}

fn inexact(snapshot: &Snapshot) -> String {
    match snapshot.unreconciled {
        None => "not exact: error unknown".to_owned(),
        Some(0) => "not exact: see limits".to_owned(),
        Some(events) => format!("unreconciled {}", grouped(events)),
    }
}

/// Returns how long ago the gauges were last compared with the kernel's sockets, or `None` if the
/// gauges were compared only at the start.
fn audited(snapshot: &Snapshot) -> Option<String> {
    snapshot.audited.map(|ago| format!("audited {} s ago", ago.as_secs()))
}

/// Returns the CPU time of all BPF programs together, or `None` if this time is not measured.
pub(super) fn cost_of_all(snapshot: &Snapshot) -> Option<(Tone, String)> {
    if snapshot.cost.is_empty() {
        return None;
    }
    let time = snapshot.cost.iter().map(|cost| cost.in_interval.time).sum();
    let share = Runs { count: 0, time }.cpu_share(snapshot.interval);
    Some((Tone::Plain, format!("cost {} of a CPU", or_unknown(share, percent))))
}

/// Returns for each BPF program one line that shows the CPU time of the program.
pub(super) fn costs(snapshot: &Snapshot) -> impl Iterator<Item = Line> {
    let (interval, seconds) = (snapshot.interval, snapshot.interval.as_secs_f64());
    snapshot.cost.iter().map(move |Cost { program, in_interval, .. }| {
        let ns = or_unknown(in_interval.ns_per_run(), |ns| format!("{ns:.0}"));
        let runs = or_unknown(rate(in_interval.count, seconds), decimal);
        let share = or_unknown(in_interval.cpu_share(interval), percent);
        Line::of(
            Tone::Plain,
            format!("{:<26}{ns:>6} ns/run {runs:>12} runs/s {share:>8} of a CPU", escaped(program)),
        )
    })
}

/// A note for users: the times of the BPF programs include the cost of the measurement. `cargo
/// xtask bench --quick` measures the cost of the measurement.
pub(super) const COST_NOTE: &str =
    "these times include measuring: 60 ns for an empty program (AMD EPYC, Linux 6.18)";

/// Returns the hooks of transitions, time-wait sockets and request sockets, as short as possible.
pub(super) fn hooks(hooks: Hooks) -> (Tone, String) {
    let [transitions, time_wait, syn_recv] = hooks.names();
    (Tone::Plain, format!("hooks {transitions}/{time_wait}/{syn_recv}"))
}

/// Returns the hooks of transitions, TIME_WAIT and SYN_RECV as a sentence.
pub(super) fn hooks_in_words(hooks: Hooks) -> String {
    let [transitions, time_wait, syn_recv] = hooks.names();
    format!("transitions by {transitions}, TIME_WAIT by {time_wait}, SYN_RECV by {syn_recv}")
}

/// Returns a text that names the counted network namespaces.
pub(super) fn scope_in_words(scope: Counted) -> String {
    match scope {
        Counted::One(inode) => format!("network namespace {inode}"),
        Counted::All => "all network namespaces".to_owned(),
    }
}

/// Returns the accuracy of the gauges as a sentence: whether the gauges are exact, the missed
/// events, and the scans.
pub(super) fn accuracy_in_words(snapshot: &Snapshot) -> String {
    let missed = &snapshot.missed;
    let mut clauses = vec![
        match snapshot.unreconciled {
            None => "not exact: the size of the error is unknown".to_owned(),
            Some(0) if snapshot.is_exact() => "exact".to_owned(),
            Some(0) => "not exact: some sockets cannot be seen here".to_owned(),
            Some(events) => format!("not exact: {} unreconciled", counted(events, "event")),
        },
        match missed.events() {
            0 => "no event was missed".to_owned(),
            events => format!(
                "{} missed (transitions {}, TIME_WAIT {}, SYN_RECV {})",
                counted(events, "event"),
                grouped(missed.transitions),
                grouped(missed.time_wait),
                grouped(missed.syn_recv),
            ),
        },
    ];
    if snapshot.missed_elsewhere > 0 {
        let events = counted(snapshot.missed_elsewhere, "event");
        clauses.push(format!("{events} of other namespaces missed"));
    }
    clauses.extend(audited(snapshot));
    if snapshot.reconciles > 0 {
        clauses.push(format!("{} after the first scan", counted(snapshot.reconciles, "scan")));
    }
    clauses.extend(snapshot.verdict.as_ref().map(|verdict| verified(verdict).1));
    for (what, count) in [("map full", snapshot.map_full), ("map errors", snapshot.map_errors)] {
        if count > 0 {
            clauses.push(format!("{what} {}", grouped(count)));
        }
    }
    clauses.join("; ")
}

/// Returns as text how many limits the run has, for example `2 limits, listed at the end`. Returns
/// `None` if no limit applies.
pub(super) fn limits_in_short(limits: &[Limit]) -> Option<String> {
    let count = u64::try_from(limits.len()).unwrap_or(u64::MAX);
    (count > 0).then(|| format!("{}, listed at the end", counted(count, "limit")))
}

/// Returns a number with commas, or `-` if the number is unknown.
pub(super) fn count_of(count: Option<u64>) -> String {
    count.map_or_else(|| UNKNOWN.to_owned(), grouped)
}

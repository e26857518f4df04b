//! One moment in lines: what the plain table and the screen have in common.

use std::fmt::Write as _;

use tcpstate_common::State;

use super::{
    line::{Line, Tone},
    number::{UNKNOWN, counted, decimal, grouped, or_unknown, percent, rate, signed},
};
use crate::{
    report::{Cost, Counted, Difference, Exits, Hooks, Runs, Snapshot, Start, TimeWait, Verdict},
    text::escaped,
};

/// Gauges of a block: the states, and all time-wait mini sockets.
pub(super) const ROWS: usize = MINI_SOCKETS + 1;
/// The last of them.
pub(super) const MINI_SOCKETS: usize = State::GAUGES.len();

/// A gauge and its flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    label: &'static str,
    pub(super) current: Option<i64>,
    entered: Option<f64>,
    left: Option<f64>,
}

/// The rows of a moment: by [`State::GAUGES`], then the mini sockets.
pub(super) fn rows(snapshot: &Snapshot) -> [Row; ROWS] {
    let seconds = snapshot.interval.as_secs_f64();
    let time_wait = &snapshot.time_wait;
    let mut rows = [mini_sockets(time_wait); ROWS];
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

/// The rows before the first interval is over.
pub(super) fn opening_rows(start: &Start) -> [Row; ROWS] {
    let mut rows = [mini_sockets(&TimeWait::default()); ROWS];
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

fn mini_sockets(time_wait: &TimeWait) -> Row {
    Row {
        label: "mini sockets",
        current: time_wait.sockets.map(|sockets| i64::try_from(sockets).unwrap_or(i64::MAX)),
        entered: time_wait.entries_per_second,
        left: time_wait.exits_per_second,
    }
}

/// Which columns there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    entered: bool,
    left: bool,
    /// Width of the sparklines; none if zero.
    pub(super) sparkline: usize,
}

impl Columns {
    const LABEL: usize = 12;
    const NUMBER: usize = 12;
    /// Narrower than that a sparkline says nothing.
    const SHORTEST: usize = 8;
    const GAP: usize = 2;

    /// Three columns of numbers, and no sparkline.
    pub(super) const NUMBERS: Self = Self { entered: true, left: true, sparkline: 0 };

    /// As many as a width has room for.
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
            text += "  READINGS";
        }
        Line::of(Tone::Strong, text)
    }

    /// A row, with the sparkline that goes with it.
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

/// How full the table of time-wait sockets is.
pub(super) fn fullness(time_wait: &TimeWait) -> Words {
    let mut words = Vec::new();
    if let (Some(sockets), Some(limit)) = (time_wait.sockets, time_wait.limit) {
        let share = sockets as f64 / limit.max(1) as f64;
        let tone = match share {
            ..0.8 => Tone::Plain,
            ..0.95 => Tone::Warning,
            _ => Tone::Bad,
        };
        words.push((tone, format!("{} of {} allowed", percent(share), grouped(limit))));
    }
    if let Some(overflows) = time_wait.overflows {
        let tone = if overflows > 0 { Tone::Bad } else { Tone::Plain };
        words.push((tone, format!("overflows {}", grouped(overflows))));
    }
    words
}

/// How fast time-wait sockets end, by cause as far as that is known.
pub(super) fn exits(snapshot: &Snapshot) -> Words {
    let seconds = snapshot.interval.as_secs_f64();
    let words = causes(snapshot.time_wait.exits_in_interval).map(|(cause, count)| {
        let per_second = or_unknown(rate(count, seconds), decimal);
        (Tone::Plain, format!("{cause} {per_second}/s"))
    });
    words.collect()
}

/// The causes that are known, with their numbers.
pub(super) fn causes(exits: Exits) -> impl Iterator<Item = (&'static str, u64)> {
    let Exits { expired, reused, killed, other } = exits;
    let all_are_known = [expired, reused, killed].iter().all(Option::is_some);
    // What is left holds all that could not be told apart.
    let rest = if all_are_known { "other" } else { "otherwise" };
    let causes = [("expired", expired), ("reused", reused), ("killed", killed), (rest, other)];
    causes.into_iter().filter_map(|(cause, count)| Some((cause, count?)))
}

/// Whether the numbers can be relied on, and what it took.
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
    words.extend(snapshot.verdict.as_ref().map(verified));
    words
}

/// What a comparison with the kernel's list of sockets showed.
fn verified(verdict: &Verdict) -> (Tone, String) {
    match verdict {
        Verdict::Equal => (Tone::Good, "as sock_diag".to_owned()),
        Verdict::Differs(differences) => {
            let differences = differences.iter().map(|Difference { state, current, listed }| {
                format!("{state} {current}, sock_diag {listed}")
            });
            (Tone::Bad, format!("DIFFERS: {}", differences.collect::<Vec<_>>().join("; ")))
        }
        Verdict::Moving => (Tone::Plain, "not compared: traffic".to_owned()),
        Verdict::Inexact => (Tone::Warning, "not compared: a scan is due".to_owned()),
    }
}

fn inexact(snapshot: &Snapshot) -> String {
    match snapshot.unreconciled {
        0 => "not exact: see limits".to_owned(),
        events => format!("unreconciled {}", grouped(events)),
    }
}

/// What all programs together take, if that is measured.
pub(super) fn cost_of_all(snapshot: &Snapshot) -> Option<(Tone, String)> {
    if snapshot.cost.is_empty() {
        return None;
    }
    let time = snapshot.cost.iter().map(|cost| cost.in_interval.time).sum();
    let share = Runs { count: 0, time }.cpu_share(snapshot.interval);
    Some((Tone::Plain, format!("cost {} of a CPU", or_unknown(share, percent))))
}

/// What each program takes.
pub(super) fn costs(snapshot: &Snapshot) -> impl Iterator<Item = Line> {
    let (interval, seconds) = (snapshot.interval, snapshot.interval.as_secs_f64());
    snapshot.cost.iter().map(move |Cost { program, in_interval, .. }| {
        let ns = or_unknown(in_interval.ns_per_run(), |ns| format!("{ns:.0}"));
        let runs = or_unknown(rate(in_interval.count, seconds), decimal);
        let share = or_unknown(in_interval.cpu_share(interval), percent);
        Line::of(
            Tone::Plain,
            format!(
                "{:<26}{ns:>6} ns a run {runs:>12} runs/s {share:>8} of a CPU",
                escaped(program)
            ),
        )
    })
}

/// What the times of programs include; `cargo xtask bench --quick` measures it.
pub(super) const COST_NOTE: &str =
    "measuring is part of these times: an empty program takes 60 ns (AMD EPYC, 6.18)";

/// What serves, in few words.
pub(super) fn hooks(hooks: Hooks) -> (Tone, String) {
    let [transitions, time_wait, syn_recv] = hooks.names();
    (Tone::Plain, format!("hooks {transitions}/{time_wait}/{syn_recv}"))
}

/// The same in a sentence.
pub(super) fn hooks_in_words(hooks: Hooks) -> String {
    let [transitions, time_wait, syn_recv] = hooks.names();
    format!("transitions by {transitions}, TIME_WAIT by {time_wait}, SYN_RECV by {syn_recv}")
}

/// What is counted.
pub(super) fn scope_in_words(scope: Counted) -> String {
    match scope {
        Counted::One(inode) => format!("network namespace {inode}"),
        Counted::All => "all network namespaces".to_owned(),
    }
}

/// What was missed, and whether it has been made up for; a sentence or two.
pub(super) fn accuracy_in_words(snapshot: &Snapshot) -> String {
    let missed = &snapshot.missed;
    let mut clauses = vec![
        match snapshot.unreconciled {
            0 if snapshot.is_exact() => "exact".to_owned(),
            0 => "not exact: some sockets can't be seen here".to_owned(),
            events => format!("not exact: {} unreconciled", counted(events, "event")),
        },
        match missed.events() {
            0 => "nothing was missed".to_owned(),
            events => format!(
                "{} missed (transitions {}, TIME_WAIT {}, SYN_RECV {})",
                counted(events, "event"),
                grouped(missed.transitions),
                grouped(missed.time_wait),
                grouped(missed.syn_recv),
            ),
        },
    ];
    if snapshot.reconciles > 0 {
        clauses.push(format!("scans after the first: {}", grouped(snapshot.reconciles)));
    }
    clauses.extend(snapshot.verdict.as_ref().map(|verdict| verified(verdict).1));
    for (what, count) in [("map full", snapshot.map_full), ("map errors", snapshot.map_errors)] {
        if count > 0 {
            clauses.push(format!("{what} {}", grouped(count)));
        }
    }
    clauses.join("; ")
}

/// A number and what it is of, or that it is unknown.
pub(super) fn count_of(count: Option<u64>) -> String {
    count.map_or_else(|| UNKNOWN.to_owned(), grouped)
}

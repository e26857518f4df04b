//! For people: a block of lines an interval, within 80 columns, and the whole run at the end.

use std::{
    io::{self, Write},
    time::SystemTime,
};

use jiff::Timestamp;
use tcpstate_common::State;

use super::View;
use crate::aggregate::{Report, Snapshot, Start};

/// Writes plain text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Table;

impl View for Table {
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        match report {
            Report::Start(start) => show_start(start, out),
            Report::Snapshot(snapshot) => show_snapshot(snapshot, out),
            Report::End(snapshot) => show_end(snapshot, out),
        }
    }
}

fn show_start(start: &Start, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "network namespace {}, kernel {}, by {}",
        start.netns, start.kernel, start.hooks.transitions
    )?;
    for limit in &start.degraded {
        writeln!(out, "limit: {limit}")?;
    }
    Ok(())
}

fn show_snapshot(snapshot: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{}  {}", clock(snapshot.time), trust(snapshot))?;
    show_states(snapshot, out)
}

fn show_end(snapshot: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
    let seconds = snapshot.elapsed.as_secs_f64();
    writeln!(out, "\n{}  {seconds:.1} s in all  {}", clock(snapshot.time), trust(snapshot))?;
    show_states(snapshot, out)?;
    if !snapshot.transitions.is_empty() {
        writeln!(out, "\n{:<12}    {:<12}  {:>12}  {:>12}", "FROM", "TO", "COUNT", "COUNT/s")?;
    }
    for pair in &snapshot.transitions {
        let rate = rate(pair.count, seconds);
        writeln!(out, "{:<12} -> {:<12}  {:>12}  {rate:>12}", pair.from, pair.to, pair.count)?;
    }
    Ok(())
}

fn show_states(snapshot: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
    let seconds = snapshot.interval.as_secs_f64();
    writeln!(out, "{:<12}  {:>12}  {:>12}  {:>12}", "STATE", "SOCKETS", "ENTERED/s", "LEFT/s")?;
    for (slot, state) in State::GAUGES.into_iter().enumerate() {
        let current = snapshot.states[slot].current.map_or_else(unknown, |count| count.to_string());
        let (entered, left) = snapshot.moved[slot];
        let per_second =
            |count: Option<u64>| count.map_or_else(unknown, |count| rate(count, seconds));
        writeln!(
            out,
            "{state:<12}  {current:>12}  {:>12}  {:>12}",
            per_second(entered),
            per_second(left)
        )?;
    }
    Ok(())
}

/// Whether the numbers can be relied on, in words.
fn trust(snapshot: &Snapshot) -> String {
    let mut words = vec![if snapshot.is_exact() {
        "exact".to_owned()
    } else {
        format!(
            "not exact: {} event{} unreconciled",
            snapshot.unreconciled,
            plural(snapshot.unreconciled)
        )
    }];
    if snapshot.missed > 0 {
        words.push(format!("missed {}", snapshot.missed));
        words.push(format!("passes {}", snapshot.reconciles));
    }
    if snapshot.map_full > 0 {
        words.push(format!("map full {}", snapshot.map_full));
    }
    words.join("  ")
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn rate(count: u64, seconds: f64) -> String {
    if seconds > 0.0 { format!("{:.1}", count as f64 / seconds) } else { unknown() }
}

/// What stands where a number can't be known.
fn unknown() -> String {
    "-".to_owned()
}

/// The time of day, UTC.
fn clock(time: SystemTime) -> String {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH).strftime("%H:%M:%SZ").to_string()
}

//! For people: a block of lines an interval, within 80 columns, and the whole run at the end.

use std::{
    io::{self, Write},
    time::SystemTime,
};

use jiff::Timestamp;
use tcpstate_common::State;

use super::{View, namespaces};
use crate::{
    aggregate::{Exits, Hooks, InPlace, Report, Snapshot, Start, TimeWait},
    probe::Counted,
};

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
    match start.netns {
        Counted::One(inode) => write!(out, "network namespace {inode}")?,
        Counted::All => write!(out, "all network namespaces")?,
    }
    writeln!(out, ", kernel {}", start.kernel)?;
    show_in_place(&start.in_place, out)
}

fn show_in_place(in_place: &InPlace, out: &mut dyn Write) -> io::Result<()> {
    let Hooks { transitions, time_wait, syn_recv } = in_place.hooks;
    writeln!(
        out,
        "transitions by {transitions}, TIME_WAIT by {time_wait}, SYN_RECV by {syn_recv}"
    )?;
    for limit in &in_place.degraded {
        writeln!(out, "limit: {limit}")?;
    }
    Ok(())
}

fn show_snapshot(snapshot: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
    if let Some(in_place) = &snapshot.in_place {
        writeln!(out)?;
        show_in_place(in_place, out)?;
    }
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
        let moved = snapshot.moved[slot];
        let per_second =
            |count: Option<u64>| count.map_or_else(unknown, |count| rate(count, seconds));
        let entered = per_second(moved.map(|flow| flow.entered));
        let left = per_second(moved.map(|flow| flow.left));
        writeln!(out, "{state:<12}  {current:>12}  {entered:>12}  {left:>12}")?;
    }
    show_time_wait(&snapshot.time_wait, out)?;
    snapshot.namespaces.as_ref().map_or(Ok(()), |rows| namespaces::show(rows, out))
}

/// All time-wait sockets, and how they ended since the start.
fn show_time_wait(time_wait: &TimeWait, out: &mut dyn Write) -> io::Result<()> {
    let Some(sockets) = time_wait.sockets else { return Ok(()) };
    let number = |count: Option<f64>| count.map_or_else(unknown, |count| format!("{count:.1}"));
    writeln!(
        out,
        "{:<12}  {sockets:>12}  {:>12}  {:>12}",
        "time-wait",
        number(time_wait.entries_per_second),
        number(time_wait.exits_per_second)
    )?;
    let Exits { expired, reused, killed, other } = time_wait.exits;
    let causes = [("expired", expired), ("reused", reused), ("killed", killed), ("other", other)];
    let causes = causes.iter().filter_map(|(cause, count)| Some(format!("{cause} {}", (*count)?)));
    let overflows = time_wait.overflows.filter(|&count| count > 0);
    let words: Vec<String> =
        causes.chain(overflows.map(|count| format!("overflows {count}"))).collect();
    if words.is_empty() { Ok(()) } else { writeln!(out, "  ended: {}", words.join(", ")) }
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
    if snapshot.missed.events() > 0 {
        words.push(format!("missed {}", snapshot.missed.events()));
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

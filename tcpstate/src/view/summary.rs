//! The summary of a run: plain text of at most 80 columns that can be pasted into a ticket.

use std::io::{self, Write};

use tcpstate_common::State;

use super::{
    block::{self, COST_NOTE, accuracy_in_words, causes, count_of, hooks_in_words},
    groups::{self, GroupOrder, Span},
    line::wrapped,
    moves::{footnotes, list, moves},
    namespaces,
    number::{UNKNOWN, change, date, decimal, duration, grouped, or_unknown, percent, signed},
};
use crate::{
    report::{Cost, Gauge, Limit, Snapshot, Start},
    text::escaped,
};

/// The maximum width of a line in columns, because mails and most terminals have 80 columns.
const WIDTH: usize = 80;

/// The space for the lists of a summary.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space {
    /// The maximum number of lines of a list, or `None` if there is no limit.
    pub(super) height: Option<usize>,
    /// The order of the groups.
    pub(super) order: GroupOrder,
}

/// Writes the summary of a run without the limits, which the caller writes last. On a terminal the
/// lists of groups and of namespaces fit into the height.
pub(super) fn write(
    start: &Start,
    end: &Snapshot,
    space: Space,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (from, to) = (date(start.time), date(end.time));
    writeln!(out, "tcpstate trace: {}, {from} to {to}", duration(end.elapsed))?;
    writeln!(out, "kernel {}, {}", escaped(&start.kernel), block::scope_in_words(start.netns))?;
    writeln!(out, "{}", hooks_in_words(start.attached.hooks))?;
    write_wrapped(&accuracy_in_words(end), out)?;
    writeln!(out)?;
    write_gauges(start, end, out)?;
    writeln!(out)?;
    write_time_wait(end, out)?;
    write_groups(end, space, out)?;
    write_transitions(end, out)?;
    write_namespaces(end, space.height, out)?;
    writeln!(out)?;
    write_cost(end, out)
}

fn write_gauges(start: &Start, end: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "{:<11}{:>10}{:>10}{:>10}{:>14}{:>14}{:>11}",
        "STATE", "START", "END", "CHANGE", "ENTERED", "LEFT", "CORRECTED"
    )?;
    for (state, (before, after)) in State::GAUGES.iter().zip(start.states.iter().zip(&end.states)) {
        let Gauge { current, entered, left, corrected } = *after;
        let by = before.current.zip(current).map(|(before, after)| after - before);
        writeln!(
            out,
            "{state:<11}{:>10}{:>10}{:>10}{:>14}{:>14}{:>11}",
            or_unknown(before.current, signed),
            or_unknown(current, signed),
            or_unknown(by, change),
            count_of(entered),
            count_of(left),
            or_unknown(corrected, change),
        )?;
    }
    Ok(())
}

/// Writes the number of time-wait sockets, and why time-wait sockets were removed.
fn write_time_wait(end: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
    let time_wait = &end.time_wait;
    if time_wait.sockets.is_none() && time_wait.entries.is_none() {
        return writeln!(out, "time-wait sockets: not counted");
    }
    let fullness = block::fullness(time_wait).into_iter().map(|(_, word)| word);
    let sockets = format!("time-wait sockets {}", count_of(time_wait.sockets));
    writeln!(out, "{}", [sockets].into_iter().chain(fullness).collect::<Vec<_>>().join(", "))?;
    let per_second = |rate| or_unknown(rate, decimal);
    let left = causes(time_wait.exits).map(|(_, count)| count).reduce(|sum, count| sum + count);
    writeln!(
        out,
        "  entered {} ({}/s), left {} ({}/s)",
        count_of(time_wait.entries),
        per_second(time_wait.entries_per_second),
        count_of(left),
        per_second(time_wait.exits_per_second),
    )?;
    let causes: Vec<String> = causes(time_wait.exits)
        .map(|(cause, count)| format!("{cause} {}", grouped(count)))
        .collect();
    write_wrapped(&format!("  by cause: {}", causes.join(", ")), out)
}

/// Writes the counts of each group over the whole run.
fn write_groups(end: &Snapshot, space: Space, out: &mut dyn Write) -> io::Result<()> {
    let Some(owners) = &end.owners else { return Ok(()) };
    let table = groups::Space { width: WIDTH, height: space.height };
    let seconds = end.interval.as_secs_f64();
    writeln!(out)?;
    for line in groups::lines(owners, seconds, Span::Run, space.order, table) {
        line.write(false, out)?;
        writeln!(out)?;
    }
    Ok(())
}

fn write_transitions(end: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
    let moves = moves(end);
    if moves.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let lines = list(&moves, end.interval.as_secs_f64());
    let notes = footnotes(end, &moves, WIDTH);
    lines.iter().chain(&notes).try_for_each(|line| writeln!(out, "{line}"))
}

/// Writes a line for each network namespace, largest first. On a terminal, writes only the lines
/// that fit into `height`.
fn write_namespaces(end: &Snapshot, height: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
    let Some(rows) = &end.namespaces else { return Ok(()) };
    let lines = namespaces::lines(rows);
    writeln!(out)?;
    let shown = match height {
        Some(height) if lines.len() > height => height.saturating_sub(1).max(2),
        _ => lines.len(),
    };
    lines.iter().take(shown).try_for_each(|line| writeln!(out, "{line}"))?;
    match lines.len().saturating_sub(shown) {
        0 => Ok(()),
        1 => writeln!(out, "and 1 more namespace"),
        hidden => writeln!(out, "and {hidden} more namespaces"),
    }
}

/// Writes the CPU time of this process and of its BPF programs.
fn write_cost(end: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
    let seconds = end.elapsed.as_secs_f64();
    let took = end.process_time.as_secs_f64();
    let share = if seconds > 0.0 { percent(took / seconds) } else { UNKNOWN.to_owned() };
    writeln!(out, "cost: tcpstate itself used {took:.3} s, {share} of one CPU")?;
    if end.cost.is_empty() {
        return writeln!(out, "  its programs in the kernel: not measured (--cost measures them)");
    }
    writeln!(
        out,
        "{:<26}{:>14}{:>14}{:>10}{:>16}",
        "PROGRAM", "RUNS", "SECONDS", "NS/RUN", "OF ONE CPU"
    )?;
    for Cost { program, total, .. } in &end.cost {
        let ns = or_unknown(total.ns_per_run(), |ns| format!("{ns:.0}"));
        let share = or_unknown(total.cpu_share(end.elapsed), percent);
        let (runs, time) = (grouped(total.count), total.time.as_secs_f64());
        let program = escaped(program);
        writeln!(out, "{program:<26}{runs:>14}{time:>14.6}{ns:>10}{share:>16}")?;
    }
    writeln!(out, "{COST_NOTE}")
}

/// Writes each limit: which events the active hooks cannot observe, and the reason.
pub(super) fn write_limits(limits: &[Limit], out: &mut dyn Write) -> io::Result<()> {
    for limit in limits {
        write_wrapped(&format!("limit: {}", escaped(limit.to_string())), out)?;
    }
    Ok(())
}

fn write_wrapped(text: &str, out: &mut dyn Write) -> io::Result<()> {
    wrapped(text, WIDTH).iter().try_for_each(|line| writeln!(out, "{line}"))
}

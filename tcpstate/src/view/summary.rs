//! The whole run, for a ticket: plain text within 80 columns that needs nothing beside it to be understood.

use std::io::{self, Write};

use tcpstate_common::State;

use super::{
    block::{self, COST_NOTE, accuracy_in_words, causes, count_of, hooks_in_words},
    line::wrapped,
    matrix,
    number::{
        UNKNOWN, change, date, decimal, duration, grouped, or_unknown, percent, rate, signed,
    },
};
use crate::{
    report::{Cost, Gauge, Limit, Snapshot, Start},
    text::escaped,
};

/// What fits into a mail and a terminal.
const WIDTH: usize = 80;

/// Writes what a run was, given how it began and how it ended.
pub(super) fn write(start: &Start, end: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
    let (from, to) = (date(start.time), date(end.time));
    writeln!(out, "tcpstate trace: {}, {from} to {to}", duration(end.elapsed))?;
    writeln!(out, "kernel {}, {}", escaped(&start.kernel), block::scope_in_words(start.netns))?;
    writeln!(out, "{}", hooks_in_words(start.attached.hooks))?;
    write_wrapped(&accuracy_in_words(end), out)?;
    writeln!(out)?;
    write_gauges(start, end, out)?;
    writeln!(out)?;
    write_time_wait(end, out)?;
    write_transitions(end, out)?;
    writeln!(out)?;
    write_cost(end, out)?;
    write_limits(&start.attached.limits, out)
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

/// All time-wait mini sockets, and how they ended.
fn write_time_wait(end: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
    let time_wait = &end.time_wait;
    if time_wait.sockets.is_none() && time_wait.entries.is_none() {
        return writeln!(out, "mini sockets: not counted");
    }
    let fullness = block::fullness(time_wait).into_iter().map(|(_, word)| word);
    let sockets = format!("mini sockets {}", count_of(time_wait.sockets));
    writeln!(out, "{}", [sockets].into_iter().chain(fullness).collect::<Vec<_>>().join(", "))?;
    let per_second = |rate| or_unknown(rate, decimal);
    let went = causes(time_wait.exits).map(|(_, count)| count).reduce(|sum, count| sum + count);
    writeln!(
        out,
        "  came {} ({}/s), went {} ({}/s)",
        count_of(time_wait.entries),
        per_second(time_wait.entries_per_second),
        count_of(went),
        per_second(time_wait.exits_per_second),
    )?;
    let causes: Vec<String> = causes(time_wait.exits)
        .map(|(cause, count)| format!("{cause} {}", grouped(count)))
        .collect();
    write_wrapped(&format!("  by cause: {}", causes.join(", ")), out)
}

fn write_transitions(end: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
    let seconds = end.interval.as_secs_f64();
    let counts = matrix::grid("COUNT", end, |pair| grouped(pair.count), WIDTH);
    let rates = matrix::grid(
        "PER SECOND",
        end,
        |pair| or_unknown(rate(pair.count, seconds), decimal),
        WIDTH,
    );
    let blocks = match (counts, rates) {
        (Some(counts), Some(rates)) => vec![counts, rates],
        _ => vec![matrix::list(end)],
    };
    for block in blocks.iter().filter(|block| !block.is_empty()) {
        writeln!(out, "\n{}", block.join("\n"))?;
    }
    Ok(())
}

/// What counting took, here and in the kernel.
fn write_cost(end: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
    let seconds = end.elapsed.as_secs_f64();
    let took = end.process_time.as_secs_f64();
    let share = if seconds > 0.0 { percent(took / seconds) } else { UNKNOWN.to_owned() };
    writeln!(out, "cost: tcpstate itself took {took:.3} s, {share} of one CPU")?;
    if end.cost.is_empty() {
        return writeln!(out, "  its programs in the kernel: not measured; --cost does");
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

/// What could not be seen, and why.
pub(super) fn write_limits(limits: &[Limit], out: &mut dyn Write) -> io::Result<()> {
    for limit in limits {
        write_wrapped(&format!("limit: {}", escaped(limit.to_string())), out)?;
    }
    Ok(())
}

fn write_wrapped(text: &str, out: &mut dyn Write) -> io::Result<()> {
    wrapped(text, WIDTH).iter().try_for_each(|line| writeln!(out, "{line}"))
}

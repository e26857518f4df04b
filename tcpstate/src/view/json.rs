//! Reports for programs: one JSON object on each line, with its type and version. Existing keys do
//! not change. New keys may be added.

use std::{
    io::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};
use tcpstate_common::State;

use super::{
    View,
    event_lines::LineWriter,
    events::{EventLines, close_reason},
    groups::{self, GroupOrder, Span},
    json_lines::{VERSION, add_list, write_line},
    number::{rate, rfc3339},
};
use crate::report::{
    Attached, Column, Cost, Difference, Event, Gauge, Histograms, Limit, NamespaceRow,
    NamespaceStart, Report, Snapshot, Start, TimeWait, Totals, Transition, Verdict,
};

/// Writes JSON lines.
#[derive(Debug, Default)]
pub struct Json {
    order: GroupOrder,
    lines: EventLines,
    writer: LineWriter,
}

impl Json {
    /// Creates a view that shows groups in this order, and these lines for events.
    #[must_use]
    pub fn new(order: GroupOrder, lines: EventLines) -> Self {
        Self { order, lines, ..Self::default() }
    }
}

impl View for Json {
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        match report {
            Report::Start(start) => show_start(start, out),
            Report::Snapshot(snapshot) => {
                let groups = self.group_lines(snapshot, Span::Interval);
                write_line(&self.snapshot_line("snapshot", snapshot, groups.len())?, out)?;
                show_namespaces(snapshot, out)?;
                groups.iter().try_for_each(|line| write_line(line, out))
            }
            // The end line is the last line.
            Report::End(snapshot) => {
                show_namespaces(snapshot, out)?;
                let groups = self.group_lines(snapshot, Span::Run);
                groups.iter().try_for_each(|line| write_line(line, out))?;
                if let Some(close_reasons) = &snapshot.close_reasons {
                    let (time, time_unix) = times(snapshot.time);
                    for row in close_reason::rows(close_reasons) {
                        let mut line = json!({
                            "type": "ended",
                            "version": VERSION,
                            "time": time,
                            "time_unix": time_unix,
                        });
                        extend(&mut line, close_reason::row(&row));
                        write_line(&line, out)?;
                    }
                }
                write_line(&self.snapshot_line("end", snapshot, groups.len())?, out)
            }
        }
    }

    fn show_events(&mut self, events: &[Event], out: &mut dyn Write) -> io::Result<()> {
        self.writer.write(events, self.lines, out)
    }
}

impl Json {
    fn snapshot_line(&self, kind: &str, snapshot: &Snapshot, groups: usize) -> io::Result<Value> {
        let mut line = snapshot_line(kind, snapshot, groups)?;
        if let (true, Some(losses)) = (self.lines.connections, &snapshot.losses) {
            line["lost_connections"] = json!(losses.connections());
            line["lost_connections_by_cause"] = json!({
                "ring": losses.dropped_ends,
                "missed": losses.missed_ends,
            });
        }
        Ok(line)
    }

    /// Returns a line for each group of a snapshot.
    fn group_lines(&self, snapshot: &Snapshot, span: Span) -> Vec<Value> {
        let Some(owners) = &snapshot.owners else { return Vec::new() };
        let (time, time_unix) = times(snapshot.time);
        let seconds = snapshot.interval.as_secs_f64();
        let line = |row: &groups::Row<'_>| {
            let mut line = json!({
                "type": "group",
                "version": VERSION,
                "time": time,
                "time_unix": time_unix,
            });
            extend(&mut line, groups::line(&owners.by, row, seconds));
            line
        };
        groups::rows(owners, span, self.order).iter().map(line).collect()
    }
}

fn start_line(start: &Start) -> Value {
    let (time, time_unix) = times(start.time);
    let mut line = json!({
        "type": "start",
        "version": VERSION,
        "time": time,
        "time_unix": time_unix,
        "netns": start.netns.to_string(),
        "kernel": start.kernel,
        "states": by_state(&start.states, current),
    });
    add_in_place(&mut line, &start.attached);
    line
}

/// Writes the start line. If the line has no space for the namespaces, their lines follow.
fn show_start(start: &Start, out: &mut dyn Write) -> io::Result<()> {
    let mut line = start_line(start);
    let row = |row: &NamespaceStart| {
        json!({
            "netns": row.netns.to_string(),
            "name": row.name,
            "states": by_state(&row.states, current),
        })
    };
    let namespaces = start.namespaces.as_deref().unwrap_or_default();
    let is_listed =
        start.namespaces.is_none() || add_list(&mut line, "namespaces", namespaces, row)?;
    if start.namespaces.is_some() {
        line["namespace_lines"] = json!(if is_listed { 0 } else { namespaces.len() });
    }
    write_line(&line, out)?;
    if is_listed {
        return Ok(());
    }
    let (time, time_unix) = times(start.time);
    namespaces.iter().try_for_each(|namespace| {
        write_line(&namespace_line(&time, time_unix, row(namespace)), out)
    })
}

/// Writes a line for each namespace of a snapshot.
fn show_namespaces(snapshot: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
    let (time, time_unix) = times(snapshot.time);
    snapshot
        .namespaces
        .iter()
        .flatten()
        .try_for_each(|row| write_line(&namespace_line(&time, time_unix, namespace(row)), out))
}

fn namespace_line(time: &str, time_unix: f64, row: Value) -> Value {
    let mut line = json!({
        "type": "namespace",
        "version": VERSION,
        "time": time,
        "time_unix": time_unix,
    });
    extend(&mut line, row);
    line
}

/// Adds the keys of another object to a line.
fn extend(line: &mut Value, keys: Value) {
    if let (Value::Object(line), Value::Object(keys)) = (line, keys) {
        line.extend(keys);
    }
}

fn add_in_place(line: &mut Value, attached: &Attached) {
    let [transitions, time_wait, syn_recv] = attached.hooks.names();
    line["hooks"] = json!({
        "transitions": transitions,
        "time_wait": time_wait,
        "syn_recv": syn_recv,
    });
    line["degraded"] = attached.limits.iter().map(Limit::to_string).collect();
}

/// Returns the line of a snapshot. `groups` is the number of lines of groups.
fn snapshot_line(kind: &str, snapshot: &Snapshot, groups: usize) -> io::Result<Value> {
    let (time, time_unix) = times(snapshot.time);
    let missed = &snapshot.missed;
    let mut line = json!({
        "type": kind,
        "version": VERSION,
        "time": time,
        "time_unix": time_unix,
        "elapsed_seconds": snapshot.elapsed.as_secs_f64(),
        "interval_seconds": snapshot.interval.as_secs_f64(),
        "exact": snapshot.is_exact(),
        "unreconciled": snapshot.unreconciled,
        "audited_seconds_ago": snapshot.audited.map(|ago| ago.as_secs_f64()),
        "audits": snapshot.audits,
        "states": by_state(&snapshot.states, gauge_totals),
        "totals": totals(&snapshot.totals()),
        "transitions": transitions(snapshot),
        "time_wait": time_wait(&snapshot.time_wait),
        "missed": missed.events(),
        "missed_by_hook": {
            "transitions": missed.transitions,
            "time_wait": missed.time_wait,
            "syn_recv": missed.syn_recv,
        },
        "missed_elsewhere": snapshot.missed_elsewhere,
        "reconciles": snapshot.reconciles,
        "map_full": snapshot.map_full,
        "map_errors": snapshot.map_errors,
        "lost_events": snapshot.losses.map_or(0, |losses| losses.events()),
        "process_cpu_seconds": snapshot.process_time.as_secs_f64(),
    });
    add_losses(&mut line, snapshot);
    if let Some(owners) = &snapshot.owners {
        line["group_lines"] = json!(groups);
        line["owners_missed"] = json!(owners.missed);
        line["owners_without_room"] = json!(owners.without_room);
    }
    if let Some(verdict) = &snapshot.verdict {
        line["verify"] = verify(verdict);
    }
    if !snapshot.cost.is_empty() {
        line["cost"] = costs(snapshot);
    }
    if let Some(attached) = &snapshot.attached {
        add_in_place(&mut line, attached);
    }
    // The lists come last, because they are added only if the line has space.
    if let Some(close_reasons) = &snapshot.close_reasons {
        line["failed_connects"] = close_reason::failed_connects(close_reasons);
        let rows = close_reason::rows(close_reasons);
        line["ended_lines"] = json!(rows.len());
        add_list(&mut line, "ended", &rows, close_reason::row)?;
    }
    if let Some(namespaces) = &snapshot.namespaces {
        line["namespace_lines"] = json!(namespaces.len());
        line["namespaces_unlisted"] = json!(missed.unlisted);
        add_list(&mut line, "namespaces", namespaces, namespace)?;
    }
    Ok(line)
}

/// Adds the numbers of lost events and lost durations, if the run has events or histograms.
fn add_losses(line: &mut Value, snapshot: &Snapshot) {
    if let Some(losses) = &snapshot.losses {
        line["untracked_events"] = json!(losses.untracked);
        line["lost_events_by_cause"] = json!({
            "ring": losses.dropped,
            "missed": losses.missed,
        });
        line["lost_events_by_hook"] = json!({
            "transitions": losses.events(),
            "time_wait": losses.time_wait,
            "syn_recv": losses.syn_recv,
        });
    }
    if let Some(Histograms { untimed, .. }) = &snapshot.histograms {
        line["untimed"] = json!({
            "missed": untimed.missed,
            "untracked": untimed.untracked,
            "untracked_mini_sockets": untimed.untracked_minis,
            "group_errors": untimed.group_errors,
        });
    }
}

fn transitions(snapshot: &Snapshot) -> Value {
    let seconds = snapshot.interval.as_secs_f64();
    let all: u64 = snapshot.transitions.iter().map(|pair| pair.count).sum();
    let transition = |pair: &Transition| {
        json!({
            "from": pair.from.label(),
            "to": pair.to.label(),
            "count": pair.count,
            "in_interval": pair.in_interval,
            "per_second": rate(pair.in_interval, seconds),
            "share": pair.count as f64 / all as f64,
        })
    };
    snapshot.transitions.iter().map(transition).collect()
}

fn namespace(row: &NamespaceRow) -> Value {
    json!({
        "netns": row.netns.to_string(),
        "name": row.name,
        "gone": row.is_gone,
        "states": by_state(&row.states, gauge_totals),
        "time_wait": time_wait(&row.time_wait),
    })
}

/// Returns the result of `--verify`, and the states whose counts differ.
fn verify(verdict: &Verdict) -> Value {
    let differences: &[Difference] = match verdict {
        Verdict::Differs(differences) => differences,
        Verdict::Equal | Verdict::Moving | Verdict::Inexact => &[],
    };
    let differences = differences.iter().map(|difference| {
        json!({
            "state": difference.state.label(),
            "current": difference.current,
            "listed": difference.listed,
        })
    });
    json!({ "result": verdict.name(), "differences": differences.collect::<Value>() })
}

/// Returns the cost of each program: runs and run time since the start, time per run and share of
/// one CPU in the interval.
fn costs(snapshot: &Snapshot) -> Value {
    let costs = snapshot.cost.iter().map(|Cost { program, total, in_interval }| {
        json!({
            "program": program,
            "runs": total.count,
            "run_seconds": total.time.as_secs_f64(),
            "ns_per_run": in_interval.ns_per_run(),
            "cpu_share": in_interval.cpu_share(snapshot.interval),
        })
    });
    costs.collect()
}

fn current(gauge: &Gauge) -> Value {
    json!({ "current": gauge.current })
}

fn gauge_totals(gauge: &Gauge) -> Value {
    json!({
        "current": gauge.current,
        "entered": gauge.entered,
        "left": gauge.left,
        "corrected": gauge.corrected,
    })
}

/// Returns the counts of all sockets. A count is null if it cannot be known.
fn totals(totals: &Totals) -> Value {
    let mut counts = Map::new();
    for column in Column::ALL {
        counts.insert(column.label().to_owned(), totals.get(column).into());
        if column == Column::Accepted {
            counts.insert("not_accepted".to_owned(), totals.not_accepted.into());
        }
    }
    Value::Object(counts)
}

fn time_wait(time_wait: &TimeWait) -> Value {
    json!({
        "sockets": time_wait.sockets,
        "entries": time_wait.entries,
        "exits": {
            "expired": time_wait.exits.expired,
            "reused": time_wait.exits.reused,
            "killed": time_wait.exits.killed,
            "other": time_wait.exits.other,
        },
        "limit": time_wait.limit,
        "overflows": time_wait.overflows,
        "entries_per_second": time_wait.entries_per_second,
        "exits_per_second": time_wait.exits_per_second,
    })
}

fn by_state(gauges: &[Gauge; 10], show: impl Fn(&Gauge) -> Value) -> Value {
    let states = State::GAUGES.iter().zip(gauges);
    Value::Object(
        states.map(|(state, gauge)| (state.label().to_owned(), show(gauge))).collect::<Map<_, _>>(),
    )
}

/// Returns a time as text (UTC, RFC 3339 with milliseconds) and in seconds since 1970.
pub(super) fn times(time: SystemTime) -> (String, f64) {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    (rfc3339(time), since_1970.as_secs_f64())
}

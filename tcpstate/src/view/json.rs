//! For programs: one JSON object a line, each with its type and version. Keys are kept stable; new ones may come.

use std::{
    io::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tcpstate_common::State;

use super::View;
use crate::aggregate::{
    Gauge, InPlace, NamespaceRow, NamespaceStart, Report, Snapshot, Start, TimeWait,
};

/// The version of the lines' form; grows when a key changes its meaning.
const VERSION: u32 = 1;

/// Writes JSON lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl View for Json {
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        let line = match report {
            Report::Start(start) => start_line(start),
            Report::Snapshot(snapshot) => snapshot_line("snapshot", snapshot),
            Report::End(snapshot) => snapshot_line("end", snapshot),
        };
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")
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
    if let Some(namespaces) = &start.namespaces {
        let row = |row: &NamespaceStart| {
            json!({
                "netns": row.netns.to_string(),
                "name": row.name,
                "states": by_state(&row.states, current),
            })
        };
        line["namespaces"] = namespaces.iter().map(row).collect();
    }
    add_in_place(&mut line, &start.in_place);
    line
}

fn add_in_place(line: &mut Value, in_place: &InPlace) {
    line["hooks"] = json!({
        "transitions": in_place.hooks.transitions,
        "time_wait": in_place.hooks.time_wait,
        "syn_recv": in_place.hooks.syn_recv,
    });
    line["degraded"] = json!(in_place.degraded);
}

fn snapshot_line(kind: &str, snapshot: &Snapshot) -> Value {
    let (time, time_unix) = times(snapshot.time);
    let transitions: Vec<_> = snapshot
        .transitions
        .iter()
        .map(
            |pair| json!({ "from": pair.from.label(), "to": pair.to.label(), "count": pair.count }),
        )
        .collect();
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
        "states": by_state(&snapshot.states, totals),
        "transitions": transitions,
        "time_wait": time_wait(&snapshot.time_wait),
        "missed": missed.events(),
        "missed_by_hook": {
            "transitions": missed.transitions,
            "time_wait": missed.time_wait,
            "syn_recv": missed.syn_recv,
        },
        "reconciles": snapshot.reconciles,
        "map_full": snapshot.map_full,
        "map_errors": snapshot.map_errors,
        "lost_events": 0,
    });
    if let Some(namespaces) = &snapshot.namespaces {
        let row = |row: &NamespaceRow| {
            json!({
                "netns": row.netns.to_string(),
                "name": row.name,
                "gone": row.is_gone,
                "states": by_state(&row.states, totals),
                "time_wait": time_wait(&row.time_wait),
            })
        };
        line["namespaces"] = namespaces.iter().map(row).collect();
        line["namespaces_unlisted"] = json!(missed.unlisted);
    }
    if let Some(in_place) = &snapshot.in_place {
        add_in_place(&mut line, in_place);
    }
    line
}

fn current(gauge: &Gauge) -> Value {
    json!({ "current": gauge.current })
}

fn totals(gauge: &Gauge) -> Value {
    json!({
        "current": gauge.current,
        "entered": gauge.entered,
        "left": gauge.left,
        "corrected": gauge.corrected,
    })
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

/// UTC in RFC 3339 with milliseconds, and the same in seconds since 1970.
fn times(time: SystemTime) -> (String, f64) {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let text = Timestamp::try_from(time)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
        .to_string();
    (text, since_1970.as_secs_f64())
}

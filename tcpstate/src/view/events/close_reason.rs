//! The close reasons of connections and the causes of failed connects, at the end of a run.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use crate::{
    report::{CloseReason, CloseReasons, PortReasons, ReasonCounts},
    view::{line::wrapped, number::grouped},
};

/// The close reasons that have a separate column in the table of established connections.
const COLUMNS: [CloseReason; 6] = [
    CloseReason::LocalFin,
    CloseReason::RemoteFin,
    CloseReason::LocalRst,
    CloseReason::RemoteRst,
    CloseReason::Timeout,
    CloseReason::Abort,
];

/// The maximum width of a line.
const WIDTH: usize = 80;

/// The causes of failed connects.
const CAUSES: [CloseReason; 4] =
    [CloseReason::Refused, CloseReason::Timeout, CloseReason::Unreachable, CloseReason::Abort];

/// The maximum number of local ports that have a separate row.
const MAX_ROWS: usize = 20;

/// Returns the rows of the ended connections: a local port and its counts, then the other ports
/// without a port.
pub(in crate::view) fn rows(close_reasons: &CloseReasons) -> Vec<(Option<u16>, ReasonCounts)> {
    let ports = close_reasons.ports.iter().map(|&PortReasons { port, ends }| (Some(port), ends));
    let others = (close_reasons.others.total() > 0).then_some((None, close_reasons.others));
    ports.chain(others).collect()
}

/// Returns a row of the ended connections as a JSON object.
pub(in crate::view) fn row((port, ends): &(Option<u16>, ReasonCounts)) -> Value {
    let mut row = Map::from_iter([("local_port".to_owned(), json!(port))]);
    row.extend(counts(&COLUMNS, ends));
    Value::Object(row)
}

/// Returns the causes of failed connects as a JSON object.
pub(in crate::view) fn failed_connects(close_reasons: &CloseReasons) -> Value {
    let mut failed: Map<_, _> = counts(&CAUSES, &close_reasons.failed_connects).collect();
    failed.insert("no_local_port".to_owned(), json!(close_reasons.no_local_port));
    Value::Object(failed)
}

fn counts(columns: &[CloseReason], ends: &ReasonCounts) -> impl Iterator<Item = (String, Value)> {
    let known: Vec<_> =
        columns.iter().map(|&by| (by.name().to_owned(), json!(ends.by(by)))).collect();
    known.into_iter().chain([("unknown".to_owned(), json!(rest(columns, ends)))])
}

/// Returns the number of connections whose close reason has no column.
fn rest(columns: &[CloseReason], ends: &ReasonCounts) -> u64 {
    ends.total() - columns.iter().map(|&by| ends.by(by)).sum::<u64>()
}

/// Writes the close reasons and the causes of failed connects as text. A part is left out if all
/// its counts are 0.
pub(in crate::view) fn write(close_reasons: &CloseReasons, out: &mut dyn Write) -> io::Result<()> {
    let (rows, beyond) = close_reasons.ports.split_at(close_reasons.ports.len().min(MAX_ROWS));
    let mut others = close_reasons.others;
    for row in beyond {
        others.add(&row.ends);
    }
    if !rows.is_empty() || others.total() > 0 {
        writeln!(
            out,
            "\n{:>10} {:>9} {:>10} {:>9} {:>10} {:>8} {:>6} {:>8}",
            "LOCAL PORT",
            "LOCAL FIN",
            "REMOTE FIN",
            "LOCAL RST",
            "REMOTE RST",
            "TIMEOUT",
            "ABORT",
            "UNKNOWN"
        )?;
        for PortReasons { port, ends } in rows {
            write_row(&port.to_string(), ends, out)?;
        }
        if others.total() > 0 {
            write_row("other", &others, out)?;
        }
    }
    let ends = &close_reasons.failed_connects;
    let causes = CAUSES.iter().map(|&by| (by.name(), ends.by(by)));
    let causes = causes
        .chain([("no local port", close_reasons.no_local_port), ("unknown", rest(&CAUSES, ends))]);
    let causes: Vec<String> = causes
        .filter(|&(_, count)| count > 0)
        .map(|(cause, count)| format!("{cause} {}", grouped(count)))
        .collect();
    if causes.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let text = format!("failed connects: {}", causes.join(", "));
    wrapped(&text, WIDTH).iter().try_for_each(|line| writeln!(out, "{line}"))
}

fn write_row(port: &str, ends: &ReasonCounts, out: &mut dyn Write) -> io::Result<()> {
    let [local_fin, remote_fin, local_rst, remote_rst, timeout, abort] =
        COLUMNS.map(|by| grouped(ends.by(by)));
    let unknown = grouped(rest(&COLUMNS, ends));
    writeln!(
        out,
        "{port:>10} {local_fin:>9} {remote_fin:>10} {local_rst:>9} {remote_rst:>10} {timeout:>8} {abort:>6} {unknown:>8}"
    )
}

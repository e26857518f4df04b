//! Snapshots for spreadsheets and scripts: a row for each state of each snapshot. The counters in
//! the rows count since the start of the run. An empty field means that the value is unknown.

use std::io::{self, Write};

use serde::Serialize;
use tcpstate_common::State;

use super::{View, number::rfc3339};
use crate::report::{Gauge, Report, Snapshot};

/// Writes comma-separated values.
#[derive(Clone, Debug, Default)]
pub struct Csv {
    netns: String,
}

/// A row of the CSV output. The names of the fields are the column names.
#[derive(Serialize)]
struct Row<'a> {
    time: &'a str,
    elapsed_seconds: f64,
    netns: &'a str,
    state: &'a str,
    current: Option<i64>,
    entered: Option<u64>,
    left: Option<u64>,
    corrected: Option<i64>,
}

const HEADER: [&str; 8] =
    ["time", "elapsed_seconds", "netns", "state", "current", "entered", "left", "corrected"];

impl View for Csv {
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(out);
        match report {
            Report::Start(start) => {
                self.netns = start.netns.to_string();
                writer.write_record(HEADER)?;
            }
            Report::Snapshot(snapshot) => {
                write_rows(&mut writer, snapshot, &self.netns, &snapshot.states)?;
                for namespace in snapshot.namespaces.iter().flatten() {
                    let netns = namespace.netns.to_string();
                    write_rows(&mut writer, snapshot, &netns, &namespace.states)?;
                }
            }
            // The end report has no rows. The totals at the end are the totals of the last snapshot
            // plus the later events.
            Report::End(_) => {}
        }
        writer.flush()
    }
}

/// Writes the rows of the whole scope, or of one network namespace.
fn write_rows(
    writer: &mut csv::Writer<impl Write>,
    snapshot: &Snapshot,
    netns: &str,
    states: &[Gauge; 10],
) -> io::Result<()> {
    let time = rfc3339(snapshot.time);
    for (state, gauge) in State::GAUGES.iter().zip(states) {
        let Gauge { current, entered, left, corrected } = *gauge;
        writer.serialize(Row {
            time: &time,
            elapsed_seconds: snapshot.elapsed.as_secs_f64(),
            netns,
            state: state.label(),
            current,
            entered,
            left,
            corrected,
        })?;
    }
    Ok(())
}

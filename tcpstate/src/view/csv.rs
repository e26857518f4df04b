//! Snapshots for spreadsheets and scripts: a row for each state of each snapshot. The counters in
//! the rows count since the start of the run. An empty field means that the value is unknown.
//!
//! If sockets are grouped, there is a row for each group of each snapshot instead.

use std::io::{self, Write};

use serde::Serialize;
use tcpstate_common::State;

use super::{
    View,
    groups::{self, GroupOrder, Span},
    number::rfc3339,
};
use crate::report::{Gauge, Key, Report, Snapshot};

/// Writes comma-separated values.
#[derive(Clone, Debug, Default)]
pub struct Csv {
    netns: String,
    /// The keys of the groups. The list is empty if sockets are not grouped.
    by: Vec<Key>,
    order: GroupOrder,
}

impl Csv {
    /// Creates a view that shows groups in this order. `by` has the keys of the groups. If `by` is
    /// empty, sockets are not grouped.
    #[must_use]
    pub fn new(by: Vec<Key>, order: GroupOrder) -> Self {
        Self { by, order, ..Self::default() }
    }
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
                if self.by.is_empty() {
                    writer.write_record(HEADER)?;
                } else {
                    writer.write_record(groups::header(&self.by))?;
                }
            }
            Report::Snapshot(snapshot) if !self.by.is_empty() => {
                let Some(owners) = &snapshot.owners else { return Ok(()) };
                let elapsed = format!("{:?}", snapshot.elapsed.as_secs_f64());
                let before = [&*rfc3339(snapshot.time), &*elapsed];
                let rows = groups::rows(owners, Span::Interval, self.order);
                let seconds = snapshot.interval.as_secs_f64();
                groups::write_rows(&mut writer, before, &self.by, &rows, seconds)?;
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

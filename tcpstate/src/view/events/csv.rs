//! Events for spreadsheets and scripts: one row for each event. An empty field means that the value
//! is unknown.

use std::io::{self, Write};

use super::values::{Texts, Values};
use crate::{
    report::{Caller, Event, Report},
    text::{cell, readable},
    view::View,
};

/// Writes events as comma-separated values. Other reports have no rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventCsv;

const HEADER: [&str; 26] = [
    "time",
    "time_unix",
    "time_monotonic",
    "hook",
    "from",
    "to",
    "family",
    "local",
    "local_port",
    "remote",
    "remote_port",
    "netns",
    "cookie",
    "pid",
    "comm",
    "uid",
    "cgroup",
    "container",
    "runtime",
    "unit",
    "duration_seconds",
    "ended_by",
    "closed_by_pid",
    "closed_by_comm",
    "opened_by_pid",
    "opened_by_comm",
];

impl View for EventCsv {
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        match report {
            Report::Start(_) => {
                let mut writer = csv::Writer::from_writer(out);
                writer.write_record(HEADER)?;
                writer.flush()
            }
            Report::Snapshot(_) | Report::End(_) => Ok(()),
        }
    }

    fn show_events(&mut self, events: &[Event], out: &mut dyn Write) -> io::Result<()> {
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(out);
        let mut texts = Texts::default();
        for event in events {
            let (closed_by, opened_by) = (event.closed_by.as_ref(), event.opened_by.as_ref());
            let mut values = Values::of(event, &mut texts);
            for text in
                [&mut values.comm, &mut values.cgroup, &mut values.container, &mut values.unit]
            {
                *text = text.take().map(|text| cell(text.as_ref()).into());
            }
            writer.serialize((values, person(closed_by), person(opened_by)))?;
        }
        writer.flush()
    }
}

/// Returns the id and the name of a process as two cells.
fn person(caller: Option<&Caller>) -> (Option<u32>, Option<String>) {
    let comm = |caller: &Caller| cell(readable(&caller.comm).as_ref());
    (caller.and_then(|caller| caller.pid), caller.map(comm))
}

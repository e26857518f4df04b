//! Recordings in the tree, made on real kernels, and the forms of output that they are shown in.
//!
//! `tests/recordings/README.md` says of each where it was made, and how.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::tz::TimeZone;
use tcpstate::{
    recording::{Part, Reader, Record, Writer},
    view::{Clock, Csv, EventCsv, EventTable, Json, Screen, Size, Table, TerminalCaps, View},
};

/// A form of output.
pub struct Form {
    /// What the file with the expected output is called.
    pub name: &'static str,
    /// What `trace` is told to show it; nothing, if it needs a terminal.
    pub arguments: Option<&'static [&'static str]>,
    /// The view.
    pub view: fn() -> Box<dyn View>,
}

/// Every form that `trace` has. Of those with times of day in them, the one in UTC.
pub const FORMS: [Form; 6] = [
    Form { name: "table", arguments: Some(&[]), view: || Box::new(Table::default()) },
    Form {
        name: "screen",
        arguments: None,
        view: || {
            let caps = TerminalCaps { coloured: true, unicode: true };
            Box::new(Screen::new(caps, || Size { columns: 100, rows: 40 }))
        },
    },
    Form { name: "csv", arguments: Some(&["-o", "csv"]), view: || Box::new(Csv::default()) },
    Form { name: "json", arguments: Some(&["-o", "json", "--events"]), view: || Box::new(Json) },
    Form {
        name: "events",
        arguments: Some(&["--events", "--utc"]),
        view: || Box::new(EventTable::new(Clock::Zone(TimeZone::UTC))),
    },
    Form {
        name: "events.csv",
        arguments: Some(&["-o", "csv", "--events"]),
        view: || Box::new(EventCsv),
    },
];

impl Form {
    /// Records in this form.
    ///
    /// # Panics
    /// If they are no text.
    #[must_use]
    pub fn show<'a>(&self, records: impl IntoIterator<Item = &'a Record>) -> String {
        let (mut view, mut shown) = ((self.view)(), Vec::new());
        for record in records {
            let outcome = match record {
                Record::Report(report) => view.show(report, &mut shown),
                Record::Events(events) => view.show_events(events, &mut shown),
            };
            outcome.expect("memory takes all");
        }
        String::from_utf8(shown).expect("views write UTF-8")
    }
}

/// Records as a file.
///
/// # Panics
/// Never: memory takes all.
#[must_use]
pub fn written(records: &[Record]) -> Vec<u8> {
    let part = Part { has_events: true, ..Part::new("tcpstate-tests") };
    let mut writer = Writer::begin(Vec::new(), &part).expect("memory takes all");
    for record in records {
        match record {
            Record::Report(report) => writer.add_report(Duration::ZERO, report),
            Record::Events(events) => writer.add_events(Duration::ZERO, events),
        }
    }
    writer.flush().expect("memory takes all");
    std::mem::take(writer.file_mut())
}

/// All records of a file.
///
/// # Panics
/// If it is damaged.
#[must_use]
pub fn read(file: &[u8]) -> Vec<Record> {
    let mut reader = Reader::open(file).expect("it is a recording");
    let next = || reader.next_record().expect("it is whole");
    std::iter::from_fn(next).map(|timed| timed.record).collect()
}

/// Where the recordings of the tree are.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings")
}

/// The recordings of the tree, in order.
///
/// # Panics
/// If the folder can't be read.
#[must_use]
pub fn in_tree() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "tcps")).collect();
    files.sort();
    files
}

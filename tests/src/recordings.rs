//! The recordings in the source tree, made on real kernels, and the output formats of recordings.
//!
//! The file `tests/recordings/README.md` says where and how each recording was made.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::tz::TimeZone;
use tcpstate::{
    recording::{Part, Reader, Record, Writer},
    report::Report,
    view::{Clock, Csv, EventCsv, EventTable, Json, Screen, Size, Table, TerminalCaps, View},
};

/// An output format.
pub struct Form {
    /// The name of the file with the expected output.
    pub name: &'static str,
    /// The arguments of `trace` for this format. The value is `None` if the format needs a
    /// terminal.
    pub arguments: Option<&'static [&'static str]>,
    /// Creates the view.
    pub view: fn() -> Box<dyn View>,
}

/// All output formats of `trace`. Formats with a time of day use UTC.
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
    Form {
        name: "json",
        arguments: Some(&["-o", "json", "--events"]),
        view: || Box::new(Json::default()),
    },
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
    /// Returns the output of the records in this format.
    ///
    /// # Panics
    /// Panics if the output is not UTF-8.
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

/// The bytes of a recording that contains these records. The description of the recording has the
/// keys of the groups of the records.
///
/// # Panics
/// Never panics: writing to memory does not fail.
#[must_use]
pub fn written(records: &[Record]) -> Vec<u8> {
    let by = records.iter().find_map(|record| match record {
        Record::Report(report) => match report.as_ref() {
            Report::Snapshot(snapshot) | Report::End(snapshot) => snapshot.owners.as_ref(),
            Report::Start(_) => None,
        },
        Record::Events(_) => None,
    });
    let by = by.map(|owners| owners.by.clone()).unwrap_or_default();
    let part = Part { has_events: true, by, ..Part::new("tcpstate-tests") };
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
/// Panics if the file is damaged.
#[must_use]
pub fn read(file: &[u8]) -> Vec<Record> {
    let mut reader = Reader::open(file).expect("it is a recording");
    let next = || reader.next_record().expect("it is whole");
    std::iter::from_fn(next).map(|timed| timed.record).collect()
}

/// The directory of the recordings in the source tree.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings")
}

/// The recordings in the source tree, in order.
///
/// # Panics
/// Panics if the directory cannot be read.
#[must_use]
pub fn in_tree() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "tcps")).collect();
    files.sort();
    files
}

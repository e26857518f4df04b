//! The functions that the fuzzer calls (`cargo xtask fuzz`). Each kind of input from outside has
//! one fuzz function. A fuzz function must not panic on any input. A fuzz function checks its own
//! result, and panics if the result is wrong.
//!
//! Most fuzz functions are in the modules that they test. The inputs of a fuzz function are in
//! `fuzz/corpus/TARGET`. Inputs that once made a fuzz function fail are in
//! `fuzz/regressions/TARGET`. A test in this file runs all inputs.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use crate::{
    command, doctor, probe, procfs,
    recording::{self, Record},
    report::Key,
    serve, source, text,
    view::{
        Clock, Csv, EventCsv, EventTable, GroupOrder, Json, Screen, Size, Table, TerminalCaps, View,
    },
};

/// A fuzz function. A fuzz function accepts any bytes as its argument.
#[derive(Debug)]
pub struct Target {
    /// The name of the fuzz target. The folders of the target's inputs have the same name.
    pub name: &'static str,
    /// The function that the fuzzer calls with each input. The function panics if a check fails.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "btf", run: probe::fuzz::btf },
    Target { name: "command_line", run: command::fuzz::command_line },
    Target { name: "counters", run: procfs::fuzz::counters },
    Target { name: "escaping", run: escaping },
    Target { name: "filter", run: source::sock_diag::fuzz::filter },
    Target { name: "frames", run: recording::fuzz::frames },
    Target { name: "http", run: serve::http::fuzz::http },
    Target { name: "kernel_files", run: kernel_files },
    Target { name: "netlink", run: source::sock_diag::fuzz::netlink },
    Target { name: "proc_net", run: source::sock_diag::fuzz::proc_net },
    Target { name: "recording", run: recording::fuzz::recording },
    Target { name: "records", run: records },
    Target { name: "settings", run: settings },
    Target { name: "thresholds", run: thresholds },
    Target { name: "tracepoint", run: probe::fuzz::tracepoint },
];

/// Functions with intentional errors. Tests check that the fuzzer finds these errors.
const PLANTED: &[Target] = &[
    Target { name: "planted_panic", run: planted_panic },
    Target { name: "planted_hunger", run: planted_hunger },
];

impl Target {
    /// Returns the target with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        TARGETS.iter().chain(PLANTED).find(|target| target.name == name)
    }
}

/// Checks that escaped text has no effect on a terminal, and that plain text stays unchanged.
fn escaping(bytes: &[u8]) {
    let outside = OsStr::from_bytes(bytes);
    let shown = text::escaped(outside);
    assert!(shown.chars().all(text::is_plain), "{shown:?} can act");
    assert_eq!(text::escaped(&shown), shown, "what is safe stays as it is");
    match str::from_utf8(bytes) {
        Ok(plain) if plain.chars().all(text::is_plain) => assert_eq!(shown, plain),
        _ => {}
    }
    let readable = text::readable(outside);
    assert_eq!(text::escaped(&*readable), shown, "both escape the same bytes");
}

/// Checks that every readable record can be shown, and that the shown lines have no effect on a
/// terminal.
fn records(bytes: &[u8]) {
    let records = recording::fuzz::records(bytes);
    let caps = TerminalCaps { coloured: false, unicode: true };
    let size = || Size { columns: 100, rows: 50 };
    let mut screen = Screen::new(caps, size);
    shown(&mut screen, &records);
    let mut views: [Box<dyn View>; 7] = [
        Box::new(Table::default()),
        Box::new(EventTable::new(Clock::Monotonic)),
        Box::new(EventTable::new(Clock::Zone(jiff::tz::TimeZone::UTC))),
        Box::new(Csv::default()),
        Box::new(Csv::new(Key::ALL.to_vec(), GroupOrder::default())),
        Box::new(EventCsv),
        Box::new(Json::default()),
    ];
    for view in &mut views {
        let text = shown(view.as_mut(), &records);
        assert!(text.chars().all(|c| c == '\n' || text::is_plain(c)), "{text:?} can act");
    }
    for line in shown(&mut Json::default(), &records).lines() {
        let read: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(read.is_ok_and(|line| line["version"] == 1), "{line}");
    }
}

fn shown(view: &mut dyn View, records: &[Record]) -> String {
    let mut text = Vec::new();
    for record in records {
        let written = match record {
            Record::Report(report) => view.show(report, &mut text),
            Record::Events(events) => view.show_events(events, &mut text),
        };
        written.expect("memory takes it");
    }
    String::from_utf8(text).expect("views write text")
}

/// Checks that a threshold file for `doctor` is accepted, or refused with an error of one line.
fn thresholds(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Err(error) = doctor::Thresholds::parse(text) {
        let line = error.to_string();
        assert!(!line.contains('\n'), "{line:?} is more than a line");
    }
}

/// Parses sysctl values in the format of the kernel, and lines of sysctl files.
fn settings(bytes: &[u8]) {
    procfs::fuzz::settings(bytes);
    doctor::facts::fuzz::settings(bytes);
}

/// Parses small files of /proc and /sys from which tcpstate reads one line or one word.
fn kernel_files(bytes: &[u8]) {
    probe::fuzz::kernel_files(bytes);
    source::fuzz::kernel_files(bytes);
    doctor::facts::fuzz::limits(bytes);
}

/// Random inputs almost never contain the bytes that cause this error. A fuzzer that measures
/// coverage and comparisons finds the bytes one after the other.
fn planted_panic(bytes: &[u8]) {
    if let [b't', rest @ ..] = bytes
        && let [b'c', rest @ ..] = rest
        && let [b'p', rest @ ..] = rest
        && let Some(&number) = rest.first_chunk()
    {
        assert!(u64::from_le_bytes(number) != 0x6574_6174_735f_7469, "found what was planted");
    }
}

/// Intentional error for tests of the fuzzer: allocates as many bytes as a number in the input
/// says. A parser must never use a number from the input as an allocation size.
fn planted_hunger(bytes: &[u8]) {
    if let Some(size) = bytes.first_chunk().map(|&size| u32::from_le_bytes(size)) {
        std::hint::black_box(Vec::<u8>::with_capacity(size as usize));
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, panic, path::PathBuf};

    use super::*;

    fn folder(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(name)
    }

    /// Returns the paths of the inputs in a folder.
    fn inputs(kind: &str, target: &Target) -> Vec<PathBuf> {
        let files = fs::read_dir(folder(kind).join(target.name)).into_iter().flatten();
        files.map(|file| file.expect("the folder can be read").path()).collect()
    }

    #[test]
    fn stored_inputs_cause_no_fault() {
        for target in TARGETS {
            let seeds = inputs("corpus", target);
            assert!(!seeds.is_empty(), "{} has no inputs to begin with", target.name);
            for path in seeds.into_iter().chain(inputs("regressions", target)) {
                let input = fs::read(&path).expect("it can be read");
                let outcome = panic::catch_unwind(|| (target.run)(&input));
                assert!(outcome.is_ok(), "{}", path.display());
            }
        }
    }

    #[test]
    fn folders_of_inputs_belong_to_targets() {
        let names: BTreeSet<String> = ["corpus", "regressions"]
            .iter()
            .flat_map(|kind| fs::read_dir(folder(kind)).into_iter().flatten())
            .map(|entry| entry.expect("the folder can be read").file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        let stray: Vec<_> = names.iter().filter(|name| Target::named(name).is_none()).collect();
        assert!(stray.is_empty(), "{stray:?}");
    }

    #[test]
    fn planted_faults_panic() {
        let planted = Target::named("planted_panic").expect("it is planted");
        (planted.run)(b"tcpit_stats");
        assert!(panic::catch_unwind(|| (planted.run)(b"tcpit_state")).is_err());
    }
}

//! Tests recorded runs on this kernel. A replay must print the same text that the run printed.
//!
//! A virtual machine prints each recording in hexadecimal. The host writes each recording to the
//! directory `TCPSTATE_TEST_RECORDINGS`. The recordings in `tests/recordings` were made on virtual
//! machines, as the README in that folder describes.

use std::{env, ffi::OsStr, fmt::Write as _, fs, os::unix::ffi::OsStrExt as _, path::PathBuf};

use tcpstate::{
    probe::{EventOptions, Netns, Options},
    recording::Record,
    report::Report,
    source::Events,
};
use tcpstate_tests::{
    emulated::is_emulated,
    netns::{Namespace, Place},
    recordings::{FORMS, read, written},
    traced::{Traced, options},
    traffic::{Family, Listener, bound, leave_time_wait, reset, shutdown},
    wait,
};

/// The reports and events that a view receives during a run.
struct Run {
    traced: Traced,
    events: Option<Events>,
    records: Vec<Record>,
}

impl Run {
    fn start(options: &Options) -> Self {
        let mut traced = Traced::unaudited(options);
        let events = traced.tracer.take_events();
        let start = Report::Start(traced.tracer.start_report());
        Self { traced, events, records: vec![Record::Report(Box::new(start))] }
    }

    /// Ends an interval of the run. The recording contains earlier events before the interval's
    /// snapshot.
    fn snapshot(&mut self) {
        let snapshot = Report::Snapshot(self.traced.snapshot());
        self.take_events();
        self.records.push(Record::Report(Box::new(snapshot)));
    }

    fn end(&mut self) {
        self.traced.tracer.end_events();
        let summary = Report::End(self.traced.tracer.summary().expect("a summary can be made"));
        self.take_events();
        self.records.push(Record::Report(Box::new(summary)));
    }

    fn take_events(&mut self) {
        let Some(events) = &mut self.events else { return };
        // The function takes at most 20 events at a time, so that the recording contains several
        // event records in sequence.
        loop {
            let taken = events.take(20);
            if taken.is_empty() {
                return;
            }
            self.records.push(Record::Events(taken));
        }
    }

    /// Asserts that a replay of the recording prints the original output in every format, and
    /// exports the recording.
    fn assert_shown_again(self, name: &str) {
        let file = written(&self.records);
        let found = read(&file);
        for form in &FORMS {
            assert_eq!(form.show(&found), form.show(&self.records), "{}", form.name);
        }
        hand_out(name, &file);
    }
}

fn hand_out(name: &str, file: &[u8]) {
    if let Some(folder) = env::var_os("TCPSTATE_TEST_RECORDINGS").map(PathBuf::from) {
        fs::write(folder.join(name), file).expect("the folder can be written to");
    } else if is_emulated() {
        let digits = file.iter().fold(String::new(), |mut digits, byte| {
            write!(digits, "{byte:02x}").expect("memory takes all");
            digits
        });
        // The lines are short, so that no console truncates them.
        for digits in digits.as_bytes().chunks(200) {
            println!("{name}: {}", String::from_utf8_lossy(digits));
        }
    }
}

#[test]
fn recordings_of_events_replay_the_original_output() {
    let _namespace = Namespace::enter();
    leave_time_wait(7, &[Family::V4]);
    let events =
        EventOptions { ring_bytes: 1 << 20, max_sockets: 1 << 10, ..EventOptions::default() };
    let mut run = Run::start(&Options { events: Some(events), statistics: true, ..options() });
    run.snapshot();
    let mut held = Vec::new();
    for family in Family::BOTH {
        let listener = Listener::open(family);
        // The test makes connections that end by the client's close, by the server's close, by a
        // RST and by a half-close, and a refused connection.
        let (client, server) = (listener.connect(), listener.accept());
        drop(client);
        drop(server);
        let (client, server) = (listener.connect(), listener.accept());
        drop(server);
        drop(client);
        let (client, server) = (listener.connect(), listener.accept());
        reset(client);
        drop(server);
        let (client, server) = (listener.connect(), listener.accept());
        shutdown([&client]);
        held.extend([client, server]);
        let address = listener.address().clone();
        drop(listener);
        bound(family).connect(&address).expect_err("nobody listens");
        wait::grace_period();
        run.snapshot();
    }
    drop(held);
    wait::grace_period();
    run.end();
    let reported: usize = run
        .records
        .iter()
        .map(|record| match record {
            Record::Events(events) => events.len(),
            Record::Report(_) => 0,
        })
        .sum();
    // Some kernels withhold some events from BPF programs.
    assert!(reported > 40, "{reported}");
    run.assert_shown_again("connections.tcps");
}

#[test]
fn recordings_of_namespaces_replay_the_original_output() {
    let _namespace = Namespace::enter();
    let (named, evil, nameless) = (Place::new(), Place::new(), Place::new());
    let _name = named.name(OsStr::new("tcpstate-blue"));
    let _evil = evil.name(OsStr::from_bytes(b"tcpstate-\x1b[31mred"));
    let pairs = |place: &Place, count| {
        place.inside(|| {
            let listener = Listener::open(Family::V4);
            let pairs = listener.pairs(count);
            (listener, pairs)
        })
    };
    let mut held = vec![pairs(&named, 3)];
    let mut run = Run::start(&Options { netns: Netns::All, ..options() });
    held.push(pairs(&evil, 5));
    run.snapshot();
    nameless.inside(|| leave_time_wait(7, &[Family::V6]));
    // The namespace is removed only after one more snapshot has contained the namespace.
    drop(nameless);
    run.snapshot();
    held.truncate(1);
    run.snapshot();
    run.end();
    run.assert_shown_again("namespaces.tcps");
}

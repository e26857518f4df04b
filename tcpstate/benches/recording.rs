//! The section `recording` of `cargo xtask bench` measures a recording of many events. The
//! benchmark measures the recording's size in bytes, the time to write the recording, and the time
//! to read and display the recording.
//!
//! `tcpstate_tests::synthetic` generates events like those of a busy host. The benchmark writes
//! 1,024 events at a time, as `trace` does.

use std::{
    hint::black_box,
    io::{Write, sink},
    time::{Duration, Instant},
};

use tcpstate::{
    recording::{Part, Reader, Record, Writer},
    report::Event,
    view::View,
};
use tcpstate_tests::{
    recordings::FORMS,
    rows::{Turns, is_full},
    synthetic,
};

/// The number of events that a view receives in one call.
const AT_ONCE: usize = 1024;
/// The number of events in the recording, and the number of measured runs. The number of runs is
/// odd, so that the median is one of the measurements.
const QUICK: [usize; 2] = [50_000, 1];
const FULL: [usize; 2] = [1_000_000, 9];

fn main() {
    let [count, runs] = if is_full() { FULL } else { QUICK };
    let events = synthetic::events(count);
    let file = record(&events);
    let mut rows = Turns::new("recording", Some(count as u64));
    rows.add("size", "bytes an event", file.len() as f64 / count as f64);
    let mut report = |what: &str, work: &mut dyn FnMut()| {
        for _ in 0..runs {
            let begin = Instant::now();
            work();
            let millions = count as f64 / 1e6;
            rows.add(what, "million events/s", millions / begin.elapsed().as_secs_f64());
        }
    };
    report("written", &mut || {
        black_box(record(&events));
    });
    report("read", &mut || {
        let read = replay(&file, |events| {
            black_box(events);
        });
        assert_eq!(read, count);
    });
    for form in FORMS.iter().filter(|form| ["json", "events", "events.csv"].contains(&form.name)) {
        let mut view = (form.view)();
        report(&format!("read, and shown as {}", form.name), &mut || {
            replay(&file, |events| show(view.as_mut(), events));
        });
    }
    rows.print("written");
}

fn record(events: &[Event]) -> Vec<u8> {
    let mut writer =
        Writer::begin(Vec::new(), &Part::new("bench")).expect("a vector accepts all bytes");
    for events in events.chunks(AT_ONCE) {
        writer.add_events(Duration::ZERO, events);
        if writer.has_a_frame() {
            writer.flush().expect("a vector accepts all bytes");
        }
    }
    writer.flush().expect("a vector accepts all bytes");
    std::mem::take(writer.file_mut())
}

/// Reads a recording and passes its events to `show`. Returns the number of events.
fn replay(file: &[u8], mut show: impl FnMut(&[Event])) -> usize {
    let mut reader = Reader::open(file).expect("it is a recording");
    let mut count = 0;
    while let Some(timed) = reader.next_record().expect("it is whole") {
        if let Record::Events(events) = timed.record {
            count += events.len();
            show(&events);
        }
    }
    count
}

fn show(view: &mut dyn View, events: &[Event]) {
    let mut text = Vec::new();
    view.show_events(events, &mut text).and_then(|()| sink().write_all(&text)).expect("no end");
}

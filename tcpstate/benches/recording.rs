//! What a recording of a million events takes: bytes, time to write, time to read again and to show.
//!
//! The events are made up, in the manner of a busy host (`tcpstate_tests::synthetic`); they come 1,024 at a time, as they do to
//! a view. Medians, and the best and the worst. Run by `cargo xtask bench`.

use std::{
    hint::black_box,
    io::{Write, sink},
    time::{Duration, Instant},
};

use tcpstate::{
    source::{
        Event,
        recording::{Part, Reader, Record, Writer},
    },
    view::View,
};
use tcpstate_tests::{recordings::FORMS, synthetic};

const EVENTS: usize = 1_000_000;
/// As many as a view is given at once.
const AT_ONCE: usize = 1024;
/// Odd, so that there is a median among them.
const RUNS: usize = 9;

fn main() {
    let events = synthetic::events(EVENTS);
    let file = record(&events);
    let bytes = file.len() as f64;
    println!(
        "recording of {EVENTS} events: {:.1} MB, {:.1} bytes each",
        bytes / 1e6,
        bytes / EVENTS as f64
    );
    report("written", || {
        black_box(record(&events));
    });
    report("read", || {
        let read = replay(&file, |events| {
            black_box(events);
        });
        assert_eq!(read, EVENTS);
    });
    for form in FORMS.iter().filter(|form| ["json", "events", "events.csv"].contains(&form.name)) {
        let mut view = (form.view)();
        report(&format!("shown as {}", form.name), || {
            replay(&file, |events| show(view.as_mut(), events));
        });
    }
}

fn record(events: &[Event]) -> Vec<u8> {
    let mut writer = Writer::begin(Vec::new(), &Part::new("bench")).expect("memory takes all");
    for events in events.chunks(AT_ONCE) {
        writer.add_events(Duration::ZERO, events);
        if writer.has_a_frame() {
            writer.flush().expect("memory takes all");
        }
    }
    writer.flush().expect("memory takes all");
    std::mem::take(writer.file_mut())
}

/// How many events there are.
fn replay(file: &[u8], mut show: impl FnMut(&[Event])) -> usize {
    let mut reader = Reader::open(file).expect("it is one");
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

fn report(what: &str, mut work: impl FnMut()) {
    let mut run = || {
        let begin = Instant::now();
        work();
        begin.elapsed()
    };
    let mut times: Vec<Duration> = (0..RUNS).map(|_| run()).collect();
    times.sort_unstable();
    let rate = |time: Duration| EVENTS as f64 / time.as_secs_f64() / 1e6;
    println!(
        "{what:<22} {:>6.2} million events/s ({:.2} to {:.2})",
        rate(times[RUNS / 2]),
        rate(times[RUNS - 1]),
        rate(times[0])
    );
}

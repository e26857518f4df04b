//! Tests that the number of events without a line is exact: the matrix minus the lines.
//!
//! The tests count the lines of full sockets themselves. In some tests, the program that writes
//! lines ignores every seventh event of each CPU, as if the kernel had skipped the program.

use tcpstate::{
    filter::{End, EventFilter},
    probe::{EventOptions, Netns, Options, Testing},
    report::{Family as Kind, Hook, Snapshot, Transitions},
    source::Events,
};
use tcpstate_tests::{
    emulated::scaled,
    netns::Namespace,
    traced::{Traced, options, testing},
    traffic::{Family, Listener, Load, Neighbours, Style, reset},
    truth, wait,
};

/// The program that writes lines ignores every n-th event of each CPU.
const ONE_IN: u32 = 7;

fn with_seeded_misses() -> Options {
    let testing = Testing { drop_one_in: ONE_IN, drop_durations: true, ..testing() };
    Options { events: Some(EventOptions::default()), testing, ..options() }
}

/// Returns the number of lines of full sockets since the last call.
fn lines(events: &mut Events) -> u64 {
    let lines = events.take(usize::MAX);
    lines.iter().filter(|event| event.hook == Hook::Transitions).count() as u64
}

/// Returns how often the kernel skipped the program that writes lines, on the whole host.
fn skipped(traced: &Traced) -> u64 {
    traced.tracer.probe().missed_events().expect("the count can be read")
}

/// Makes connections of both families until `connections` of them are complete.
fn make_connections(connections: u64) {
    let load = Load::start(2, Style::Mixed);
    wait::until("connections", || load.completed() >= connections);
    let _ = load.stop();
    truth::await_end_of_sockets();
}

/// Asserts that the number of missed events is the matrix minus the lines and minus the dropped
/// events.
fn assert_exact(label: &str, snapshot: &Snapshot, lines: u64) {
    let losses = snapshot.losses.expect("events are asked for");
    let (counted, reported) = (snapshot.total(), lines + losses.dropped);
    println!("{label}: {lines} lines, {counted} counted, {losses:?}, {:?}", snapshot.missed);
    assert_eq!(losses.missed, counted.saturating_sub(reported), "{label}: {losses:?}");
    assert_eq!(losses.events(), losses.missed + losses.dropped);
}

/// Asserts that the missed events contain the events that the program ignored: about one seventh
/// of all events. The kernel may have skipped further runs, also of the counting program.
fn assert_seeded(label: &str, snapshot: &Snapshot) {
    let losses = snapshot.losses.expect("events are asked for");
    let least = snapshot.total() / u64::from(ONE_IN + 1);
    let least = least.saturating_sub(snapshot.missed.transitions);
    assert!(losses.missed >= least, "{label}: {losses:?}, at least {least}");
}

#[test]
fn events_missed_by_the_program_of_lines_are_counted_exactly() {
    let cases = [
        ("default", with_seeded_misses()),
        ("raw_tp", Options { transitions: Some(Transitions::RawTp), ..with_seeded_misses() }),
        (
            "tracepoint",
            Options { transitions: Some(Transitions::Tracepoint), ..with_seeded_misses() },
        ),
        ("one family", Options { family: Some(Kind::V6), ..with_seeded_misses() }),
        ("all namespaces", Options { netns: Netns::All, ..with_seeded_misses() }),
    ];
    tcpstate_tests::audit::mount_tracefs();
    for (label, options) in cases {
        let _namespace = Namespace::enter();
        let mut traced = match Traced::try_with(&options) {
            Ok(traced) => traced,
            Err(error) => {
                println!("skipped: {label}: {error}");
                continue;
            }
        };
        let mut events = traced.tracer.take_events().expect("events are asked for");
        let mut all_lines = 0;
        // The second round checks that a cut between two rounds loses no count.
        for _round in 0..2 {
            make_connections(scaled(2_000));
            let snapshot = traced.snapshot();
            all_lines += lines(&mut events);
            assert_exact(label, &snapshot, all_lines);
            assert_seeded(label, &snapshot);
        }
    }
}

#[test]
fn events_at_the_end_of_a_run_are_counted_exactly() {
    let _namespace = Namespace::enter();
    let mut traced = Traced::with(&with_seeded_misses());
    let mut events = traced.tracer.take_events().expect("events are asked for");
    let load = Load::start(2, Style::Rst);
    let connections = scaled(2_000);
    wait::until("connections", || load.completed() >= connections);
    // The traffic continues during the last cut and after the last cut.
    traced.tracer.end_events();
    let end = traced.tracer.summary().expect("a summary can be taken");
    let written = lines(&mut events);
    assert_exact("end", &end, written);
    assert_seeded("end", &end);
    wait::until("connections after the end", || load.completed() >= 2 * connections);
    let _ = load.stop();
    assert_eq!(lines(&mut events), 0, "lines after the end");
    let later = traced.tracer.summary().expect("a summary can be taken");
    assert!(later.total() > end.total());
    let missed = |snapshot: &Snapshot| snapshot.losses.expect("events are asked for").missed;
    assert_eq!(missed(&later), missed(&end), "events after the end are not lost");
}

/// A scan after the end of events must not start the events again.
#[test]
fn events_after_the_end_of_a_run_have_no_lines() {
    let _namespace = Namespace::enter();
    for netns in [Netns::Own, Netns::All] {
        let options =
            Options { events: Some(EventOptions::default()), netns: netns.clone(), ..options() };
        let mut traced = Traced::with(&options);
        let mut events = traced.tracer.take_events().expect("events are asked for");
        make_connections(10);
        traced.tracer.end_events();
        let end = traced.tracer.summary().expect("a summary can be taken");
        assert_exact("end", &end, lines(&mut events));
        traced.tracer.reconcile().expect("a scan can be made");
        make_connections(10);
        assert_eq!(lines(&mut events), 0, "lines after the end, {netns:?}");
        let later = traced.tracer.summary().expect("a summary can be taken");
        assert_eq!(later.losses, end.losses, "events after the end are not lost");
    }
}

/// With a filter, the number of missed events contains missed events that do not match the filter.
/// The lines plus the missed events are therefore at least the matching events.
#[test]
fn events_missed_with_a_filter_are_counted_before_the_filter() {
    const CONNECTIONS: u64 = 50;
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let port = listener.port().to_string().parse().expect("a port");
    let filter = EventFilter { ports: vec![(End::Local, port)], ..EventFilter::default() };
    let mut traced = Traced::with(&Options { event_filter: filter, ..with_seeded_misses() });
    let mut events = traced.tracer.take_events().expect("events are asked for");
    for _ in 0..CONNECTIONS {
        let client = listener.connect();
        let server = listener.accept();
        reset(client);
        drop(server);
    }
    drop(listener);
    let written = lines(&mut events);
    // The program also ignores events that do not match the filter.
    make_connections(scaled(1_000));
    let snapshot = traced.snapshot();
    let losses = snapshot.losses.expect("events are asked for");
    // A server has three events, and the end of the listener is one event.
    let matching = 3 * CONNECTIONS + 1;
    assert!(written > 0 && written < matching, "{written} lines");
    assert!(written + losses.missed >= matching, "{written} lines, {losses:?}");
    assert_eq!(losses.dropped, 0, "{losses:?}");
    assert_seeded("filter", &snapshot);
    let seeded = snapshot.total() / u64::from(ONE_IN);
    let skipped = skipped(&traced) + traced.uncounted();
    assert!(losses.missed <= seeded + skipped, "{losses:?}, at most {seeded} + {skipped}");
}

/// Two namespaces are so busy that the kernel skips runs of the programs. In a third namespace with
/// a few connections, every event has a line or is counted as lost in this namespace.
#[test]
fn events_of_a_quiet_namespace_are_not_lost_in_its_busy_neighbours() {
    let namespace = Namespace::enter();
    let mut traced = Traced::with(&Options { events: Some(EventOptions::default()), ..options() });
    let mut events = traced.tracer.take_events().expect("events are asked for");
    let neighbours = Neighbours::start();
    let listener = Listener::open(Family::V4);
    neighbours.between_connections(|| {
        let (client, server) = (listener.connect(), listener.accept());
        reset(client);
        drop(server);
    });
    drop(listener);
    truth::await_end_of_sockets();
    let snapshot = traced.snapshot();
    let written = events.take(usize::MAX);
    drop(neighbours);
    let inode = namespace.inode();
    assert!(written.iter().all(|event| u64::from(event.netns) == inode), "{written:#?}");
    println!("on the whole host, the kernel skipped the program {} times", skipped(&traced));
    let written = written.iter().filter(|event| event.hook == Hook::Transitions).count() as u64;
    assert_exact("quiet", &snapshot, written);
}

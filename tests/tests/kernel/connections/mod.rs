//! Tests the sums of connections: the bytes, the times and the ends of known connections, and the
//! number of connections without a line.

mod ways;

use std::{collections::HashMap, time::Duration};

use socket2::Socket;
use tcpstate::{
    probe::{EventOptions, HistogramOptions, Options, OwnerOptions},
    report::{CloseReason, Connection, Event, Hook, Key, Role, Snapshot},
    source::Events,
};
use tcpstate_common::State::{self, Close, Listen, TimeWait};
use tcpstate_tests::{
    audit::{ATTEMPTS, has_twin},
    emulated::scaled,
    netns::Namespace,
    traced::{Traced, options},
    traffic::{Family, Listener, Load, Style, port, shutdown, socket, tcp_info},
    truth, wait,
};

use self::ways::{Expected, WAYS, await_acknowledged, receive, run, send};

/// The maximum difference between a time and the time that the script measured.
const TOLERANCE: Duration = Duration::from_millis(5);

const ONLY_CONNECTIONS: EventOptions = EventOptions {
    lines: false,
    connections: true,
    pending: true,
    ring_bytes: 8 << 20,
    max_sockets: 4096,
    acceptors: None,
};

fn with(events: EventOptions) -> (Traced, Events) {
    let mut traced = Traced::with(&Options { events: Some(events), ..options() });
    let events = traced.tracer.take_events().expect("events are asked for");
    (traced, events)
}

/// Asserts that a sum equals what the script knows.
fn assert_end(expected: &Expected, event: &Event, connection: &Connection) {
    let label = format!("{}: {event:#?}", expected.label);
    assert_eq!(connection.role, Some(expected.role), "{label}");
    assert_eq!(connection.bytes_sent, Some(expected.sent), "{label}");
    assert_eq!(connection.bytes_received, Some(expected.received), "{label}");
    assert_eq!(event.ended_by, Some(expected.ended_by), "{label}");
    assert_eq!(connection.time_wait, Some(expected.has_time_wait), "{label}");
    assert!(!connection.is_mptcp, "{label}");
    let duration = connection.duration.expect("the birth was seen");
    let [least, most] = expected.lasted;
    assert!(duration + TOLERANCE >= least && duration <= most + TOLERANCE, "{duration:?}: {label}");
    let of_states = connection.states.iter().map(|(_, time)| time.expect("each event was seen"));
    assert_eq!(of_states.sum::<Duration>(), duration, "the times of all states: {label}");
    if let Some(info) = expected.before_close {
        assert_eq!(connection.retransmits, Some(info.retransmits.into()), "{label}");
        // A FIN can add a sample to the smoothed time.
        assert!(connection.srtt.is_some() && info.srtt > 0, "{label}");
    }
    let handshake = connection.handshake.expect("the handshake was seen");
    assert!(handshake <= duration, "{handshake:?}: {label}");
}

/// Returns the sums among these events, each with the port of its client.
fn sums(events: &[Event], server: u16) -> Vec<(u16, &Event, &Connection)> {
    let with_sum = events.iter().filter_map(|event| Some((event, event.connection.as_deref()?)));
    let with_port = with_sum.filter_map(|(event, connection)| {
        let (local, remote) = (event.local_port?, event.remote_port?);
        Some((if local == server { remote } else { local }, event, connection))
    });
    with_port.collect()
}

/// Ends connections in all ways. Returns whether the kernel kept no event from the programs.
fn assert_all_ways(family: Family, traced: &mut Traced, events: &mut Events) -> bool {
    let before = traced.lost();
    let time_wait = || truth::sockets().minis[TimeWait];
    let earlier = time_wait();
    let listener = Listener::open(family);
    let mut expected: HashMap<(u16, Role), Expected> = HashMap::new();
    for way in WAYS {
        for (port, end) in run(way, &listener, &format!("{family}")) {
            expected.insert((port, end.role), end);
        }
    }
    let server = listener.port();
    drop(listener);
    truth::await_end_of_sockets();
    wait::grace_period();
    let taken = events.take(usize::MAX);
    if traced.lost() != before || has_twin(&taken) {
        println!("{family}: the kernel kept events from the programs");
        return false;
    }
    let ends = sums(&taken, server);
    assert_eq!(ends.len(), expected.len(), "{taken:#?}");
    for (port, event, connection) in &ends {
        let role = connection.role.expect("the birth was seen");
        let expected = expected.remove(&(*port, role));
        assert_end(&expected.expect("one line for each end"), event, connection);
    }
    let left = ends.iter().filter(|(_, _, connection)| connection.time_wait == Some(true)).count();
    assert_eq!(left as u64, time_wait() - earlier, "time-wait sockets");
    true
}

#[test]
fn connections_have_the_bytes_and_the_times_of_their_sockets() {
    for family in Family::BOTH {
        for has_lines in [false, true] {
            let _namespace = Namespace::enter();
            let options = EventOptions { lines: has_lines, ..ONLY_CONNECTIONS };
            let (mut traced, mut events) = with(options);
            let is_done = (0..ATTEMPTS).any(|_| assert_all_ways(family, &mut traced, &mut events));
            assert!(is_done, "{family}: the kernel kept events from the programs each time");
        }
    }
}

#[test]
fn connections_that_fail_have_a_line_and_no_bytes() {
    let _namespace = Namespace::enter();
    let (mut traced, mut events) = with(ONLY_CONNECTIONS);
    for family in Family::BOTH {
        for attempt in 1..=ATTEMPTS {
            let before = traced.lost();
            let nobody = Listener::open(family);
            let to = nobody.address().clone();
            drop(nobody);
            let client = socket(family);
            client.connect(&to).expect_err("nobody listens");
            drop(client);
            wait::grace_period();
            let taken = events.take(usize::MAX);
            if traced.lost() != before {
                println!("attempt {attempt}: the kernel kept events from the programs");
                continue;
            }
            let [event] = &taken[..] else { panic!("{family}: {taken:#?}") };
            let connection = event.connection.as_ref().expect("the event ends a connection");
            assert!(connection.has_failed(), "{event:#?}");
            assert_eq!(event.ended_by, Some(CloseReason::Refused));
            assert_eq!((connection.bytes_sent, connection.bytes_received), (Some(0), Some(0)));
            assert_eq!((connection.handshake, connection.time_wait), (None, Some(false)));
            break;
        }
    }
}

#[test]
fn connections_older_than_tcpstate_have_an_end_and_no_beginning() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let (clients, servers) = listener.pairs(3);
    send(&clients[0], 100);
    receive(&servers[0], 100);
    let (mut traced, mut events) = with(ONLY_CONNECTIONS);
    let before = traced.lost();
    drop(clients);
    wait::until("FINs", || tcp_info(&servers[2]).state == State::CloseWait);
    drop(servers);
    let port = listener.port();
    drop(listener);
    truth::await_end_of_sockets();
    wait::grace_period();
    let taken = events.take(usize::MAX);
    if traced.lost() != before {
        println!("skipped: the kernel kept events from the programs");
        return;
    }
    let ends = sums(&taken, port);
    assert_eq!(ends.len(), 6, "{taken:#?}");
    for (_, event, connection) in &ends {
        assert_eq!((connection.role, connection.opened), (None, None), "{event:#?}");
        assert_eq!((connection.duration, connection.bytes_sent), (None, None), "{event:#?}");
        let (first, time) = connection.states[0];
        assert_eq!((first, time), (State::Established, None), "{event:#?}");
    }
    let received: Option<u64> = ends.iter().map(|(_, _, sum)| sum.bytes_received).sum();
    assert_eq!(received, Some(100));
}

/// Returns the number of ends of connections in the matrix of transitions.
fn ends(snapshot: &Snapshot) -> u64 {
    let is_end = |from, to| to == Close && from != Listen && from != Close;
    let ends = snapshot.transitions.iter().filter(|pair| is_end(pair.from, pair.to));
    ends.map(|pair| pair.count).sum()
}

/// Asserts that lines and lost connections together are all ends.
fn assert_complete(traced: &mut Traced, events: &mut Events) -> u64 {
    truth::await_end_of_sockets();
    wait::grace_period();
    let snapshot = traced.snapshot();
    let losses = snapshot.losses.expect("events are asked for");
    let lines = events.take(usize::MAX);
    assert!(lines.iter().all(|line| line.hook == Hook::Transitions && line.connection.is_some()));
    let (lines, ends) = (lines.len() as u64, ends(&snapshot));
    // The kernel may have withheld some events from one program, and different events from the
    // other program.
    let reported = lines + losses.dropped_ends;
    assert_eq!(losses.missed_ends, ends.saturating_sub(reported), "{losses:?}, {ends} ends");
    let hidden = snapshot.missed.transitions + traced.uncounted();
    assert!(reported <= ends + hidden, "{lines} lines, {losses:?}; {ends} ends, {hidden} hidden");
    losses.dropped_ends
}

#[test]
fn connections_with_lines_and_lost_connections_are_all_ends() {
    let _namespace = Namespace::enter();
    let (mut traced, mut events) = with(ONLY_CONNECTIONS);
    let load = Load::start(2, Style::Mixed);
    wait::until("connections", || ends(&traced.snapshot()) >= scaled(2000));
    assert!(load.stop() > 0);
    let dropped = assert_complete(&mut traced, &mut events);
    assert_eq!(dropped, 0, "the ring has room for all");
    let small = EventOptions { ring_bytes: 4096, ..ONLY_CONNECTIONS };
    let (mut traced, mut events) = with(small);
    let load = Load::start(2, Style::Mixed);
    wait::until("connections", || ends(&traced.snapshot()) >= scaled(2000));
    assert!(load.stop() > 0);
    assert!(assert_complete(&mut traced, &mut events) > 0, "the ring holds few connections");
}

#[test]
fn connections_that_are_open_at_the_end_can_be_read() {
    let _namespace = Namespace::enter();
    for family in Family::BOTH {
        let old_listener = Listener::open(family);
        let _old = old_listener.pairs(2);
        let (mut traced, mut events) = with(ONLY_CONNECTIONS);
        let listener = Listener::open(family);
        let (clients, servers) = listener.pairs(2);
        send(&clients[0], 500);
        receive(&servers[0], 500);
        await_acknowledged(&clients[0]);
        shutdown([&clients[1]]);
        wait::until("a FIN", || tcp_info(&servers[1]).state == State::CloseWait);
        let before = traced.lost();
        traced.tracer.end_events();
        traced.tracer.summary().expect("a snapshot can be taken");
        let records = traced.tracer.pending().expect("sockets can be visited");
        let open = events.of_pending(records);
        if before != (0, 0, 0) {
            println!("{family}: skipped: the kernel kept events from the programs");
            continue;
        }
        assert_eq!(open.len(), 8, "{family}: two ends of each connection, no listener: {open:#?}");
        assert!(open.iter().all(|event| event.from == event.to && event.ended_by.is_none()));
        let own = sums(&open, listener.port());
        let roles = own.iter().filter(|(_, _, it)| it.role == Some(Role::Client)).count();
        let unknown = open.iter().filter_map(|event| event.connection.as_ref());
        let unknown = unknown.filter(|connection| connection.role.is_none()).count();
        assert_eq!((roles, unknown), (2, 4), "{open:#?}");
        let end = |client: &Socket, role| {
            let found = own.iter().find(|(it, _, sum)| *it == port(client) && sum.role == role);
            found.map(|(_, event, sum)| (event.from, sum.bytes_sent, sum.bytes_received))
        };
        let (client, server) = (Some(Role::Client), Some(Role::Server));
        assert_eq!(end(&clients[0], client), Some((State::Established, Some(500), Some(0))));
        assert_eq!(end(&clients[0], server), Some((State::Established, Some(0), Some(500))));
        assert_eq!(end(&clients[1], client), Some((State::FinWait2, Some(0), Some(0))));
        assert_eq!(end(&clients[1], server), Some((State::CloseWait, Some(0), Some(0))));
        let by = own.iter().filter(|(_, _, sum)| sum.role == client);
        assert!(by.clone().all(|(_, event, _)| event.opened_by.is_some()), "{open:#?}");
        let states = own.iter().map(|(_, _, sum)| sum.states.iter().map(|(_, time)| *time));
        for (times, (_, event, sum)) in states.zip(&own) {
            let total: Option<Duration> = times.sum();
            assert_eq!(total, sum.duration, "{event:#?}");
        }
    }
}

#[test]
fn connections_are_summed_up_beside_everything_else() {
    let _namespace = Namespace::enter();
    let all = Options {
        events: Some(EventOptions { lines: true, ..ONLY_CONNECTIONS }),
        histograms: Some(HistogramOptions { max_sockets: 4096, ..HistogramOptions::default() }),
        owners: Some(OwnerOptions::by(vec![Key::Process])),
        ..options()
    };
    let mut traced = Traced::with(&all);
    let mut events = traced.tracer.take_events().expect("events are asked for");
    let is_done = (0..ATTEMPTS).any(|_| assert_all_ways(Family::V4, &mut traced, &mut events));
    assert!(is_done, "the kernel kept events from the programs each time");
}

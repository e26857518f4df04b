//! Tests that each transition makes an event: the event lines of known connections, and the counts
//! when the ring is full.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use tcpstate::{
    probe::{EventOptions, Options},
    report::{Acceptors, Event, Family as Kind, Hook},
    source::Events,
};
use tcpstate_common::State::{
    self, Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
};
use tcpstate_tests::{
    audit::{ATTEMPTS, has_twin},
    emulated::scaled,
    netns::Namespace,
    traced::{Traced, options},
    traffic::{Family, Listener, Load, Style, bound, reset, shutdown, socket},
    truth, wait,
};

/// The minimum time for which a script holds a state.
const HOLD: Duration = Duration::from_millis(30);
/// The maximum difference between a duration in an event and the duration that the script measured.
const TOLERANCE: Duration = Duration::from_millis(1);

fn with_events(events: EventOptions) -> (Traced, Events) {
    let mut traced = Traced::with(&Options { events: Some(events), ..options() });
    let events = traced.tracer.take_events().expect("events are asked for");
    (traced, events)
}

/// The expected events of one socket. `held` is a state that the script held, and the shortest and
/// longest possible duration of the state.
struct ExpectedSocket {
    name: &'static str,
    moves: Vec<(State, State)>,
    held: Option<(State, [Duration; 2])>,
    /// The index of the first transition in which the event must name the test process as the
    /// socket's owner.
    owned_from: Option<usize>,
}

/// Returns the shortest and the longest possible duration. The duration began between two known
/// moments, and ended between two other known moments.
fn bracket(begin: [Instant; 2], end: [Instant; 2]) -> [Duration; 2] {
    [end[0] - begin[1], end[1] - begin[0]]
}

/// Runs `work`. Returns the result of `work` and the moments before and after `work`.
fn timed<T>(work: impl FnOnce() -> T) -> (T, [Instant; 2]) {
    let before = Instant::now();
    let result = work();
    (result, [before, Instant::now()])
}

/// Makes a connection, holds it, and closes it with `end`. The function `end` returns when the
/// client left its state. Returns the expected transitions of the two sockets of the connection.
/// The server receives data before its transition with the number `received_at`.
fn connection(
    (family, acceptors): (Family, Acceptors),
    received_at: Option<usize>,
    client: Vec<(State, State)>,
    server: Vec<(State, State)>,
    end: impl FnOnce(socket2::Socket, socket2::Socket) -> [Instant; 2],
) -> (u16, [ExpectedSocket; 3]) {
    let listener = Listener::open(family);
    let port = listener.port();
    let (ends, connected) = timed(|| (listener.connect(), listener.accept()));
    drop(listener);
    thread::sleep(HOLD);
    let ended = end(ends.0, ends.1);
    let held = bracket(connected, ended);
    let born = |moves: [(State, State); 2], then: Vec<_>| moves.into_iter().chain(then).collect();
    let sockets = [
        ExpectedSocket {
            name: "listener",
            moves: vec![(Close, Listen), (Listen, Close)],
            held: None,
            owned_from: Some(0),
        },
        ExpectedSocket {
            name: "client",
            moves: born([(Close, SynSent), (SynSent, Established)], client),
            held: Some((Established, held)),
            owned_from: Some(0),
        },
        ExpectedSocket {
            name: "server",
            moves: born([(Listen, SynRecv), (SynRecv, Established)], server),
            held: None,
            owned_from: if acceptors == Acceptors::Accept { Some(2) } else { received_at },
        },
    ];
    (port, sockets)
}

/// Makes connections of one family that close in known ways. The key of the result is the port of
/// the listener, which is unique.
fn script(family: Family, acceptors: Acceptors) -> Vec<(u16, Vec<ExpectedSocket>)> {
    let by = (family, acceptors);
    let orderly = || {
        let client = vec![(Established, FinWait1), (FinWait1, FinWait2), (FinWait2, Close)];
        let server = vec![(Established, CloseWait), (CloseWait, LastAck), (LastAck, Close)];
        (client, server)
    };
    let (client, server) = orderly();
    let short = connection(by, Some(3), client, server, |client, server| {
        let ((), ended) = timed(|| drop(client));
        await_peer_closed(&server);
        drop(server);
        ended
    });
    let (client, server) = orderly();
    // The client continues to receive until its peer closes.
    let half_closed = connection(by, Some(3), client, server, |client, server| {
        let ((), ended) = timed(|| shutdown([&client]));
        await_peer_closed(&server);
        thread::sleep(HOLD);
        drop(server);
        await_peer_closed(&client);
        ended
    });
    let to_close = || vec![(Established, Close)];
    let reset = connection(by, None, to_close(), to_close(), |client, server| {
        let ((), ended) = timed(|| reset(client));
        drop(server);
        ended
    });
    let deaf = bound(family);
    let nobody = deaf.local_addr().expect("it is bound");
    let refused = socket(family).connect(&nobody).expect_err("nobody listens there");
    assert_eq!(refused.raw_os_error(), Some(libc::ECONNREFUSED));
    let refused = ExpectedSocket {
        name: "client",
        moves: vec![(Close, SynSent), (SynSent, Close)],
        held: None,
        owned_from: Some(0),
    };
    let port = nobody.as_socket().expect("an address of the internet").port();
    let connections = [short, half_closed, reset];
    let connections = connections.into_iter().map(|(port, sockets)| (port, sockets.into()));
    connections.chain([(port, vec![refused])]).collect()
}

fn await_peer_closed(socket: &socket2::Socket) {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    assert_eq!(socket.recv(&mut byte).expect("the connection stands"), 0, "there was data");
}

/// Returns the role of an event's socket, relative to a listener's port.
fn who(event: &Event, port: u16) -> Option<&'static str> {
    let is_listener = event.to == Listen || (event.from, event.to) == (Listen, Close);
    if event.local_port == Some(port) {
        return Some(if is_listener { "listener" } else { "server" });
    }
    (event.remote_port == Some(port)).then_some("client")
}

/// Asserts that the lines of each socket are the expected lines. The function is long because it
/// compares every field of a line.
fn assert_lines(
    family: Family,
    netns: u64,
    port: u16,
    sockets: &[ExpectedSocket],
    events: &[Event],
) {
    let loopback = family.loopback(0).ip();
    let kind = if loopback.is_ipv4() { Kind::V4 } else { Kind::V6 };
    let pid = std::process::id();
    // The event must contain the name of the process. The name of this thread is different, because
    // it is the name of the test.
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).expect("procfs is mounted");
    for expected_socket in sockets {
        let of_it: Vec<&Event> = events
            .iter()
            .filter(|event| event.family == kind && who(event, port) == Some(expected_socket.name))
            .collect();
        let label = format!("{family:?} {} at {port}: {of_it:#?}", expected_socket.name);
        let moves: Vec<_> = of_it.iter().map(|event| (event.from, event.to)).collect();
        assert_eq!(moves, expected_socket.moves, "{label}");
        let mut peer = None;
        for (index, event) in of_it.iter().enumerate() {
            let before = index.checked_sub(1).map(|before| of_it[before]);
            assert_eq!(event.netns, u32::try_from(netns).expect("inodes are small"), "{label}");
            assert_eq!(event.uid, Some(0), "{label}");
            let owner = expected_socket.owned_from.filter(|&from| index >= from).map(|_| pid);
            assert_eq!(event.pid, owner, "{label}");
            let name = event.comm.as_ref().map(|comm| comm.to_string_lossy().into_owned());
            assert_eq!(name, owner.map(|_| comm.trim_end().to_owned()), "{label}");
            assert_eq!(event.local, Some(loopback), "{label}");
            if expected_socket.name == "listener" {
                assert_eq!((event.remote, event.remote_port), (None, None), "{label}");
            } else {
                assert_eq!(event.remote, Some(loopback), "{label}");
                // A client's port is chosen after its first event, and a child has its peer after
                // its first event. The second event of the socket contains the port and the peer.
                // Later events, including the last event, must have the port and the peer too.
                let other = if expected_socket.name == "client" {
                    event.local_port
                } else {
                    event.remote_port
                };
                assert!(other.is_some(), "{label}");
                assert_eq!(*peer.get_or_insert(other), other, "{label}");
            }
            match before {
                None => assert_eq!(event.duration, None, "{label}"),
                Some(before) => {
                    let passed = event.monotonic.saturating_sub(before.monotonic);
                    assert_eq!(event.duration, Some(passed), "{label}");
                }
            }
        }
        if let Some((state, [least, most])) = expected_socket.held {
            let left = of_it.iter().find(|event| event.from == state).expect("checked above");
            let duration = left.duration.expect("checked above");
            assert!(least >= HOLD, "the script held it for {least:?} only");
            assert!(
                duration + TOLERANCE >= least && duration <= most + TOLERANCE,
                "{duration:?} is not between {least:?} and {most:?}: {label}"
            );
        }
    }
}

#[test]
fn events_of_known_connections_are_the_expected_lines() {
    let namespace = Namespace::enter();
    let (mut traced, mut events) = with_events(EventOptions::default());
    let acceptors = traced.tracer.probe().acceptors().expect("events are asked for");
    // The test is repeated only if the kernel withheld events from the programs.
    for attempt in 1..=ATTEMPTS {
        let before = traced.lost();
        let expected = Family::BOTH.map(|family| (family, script(family, acceptors)));
        truth::await_end_of_sockets();
        let mut lines = events.take(usize::MAX);
        lines.retain(|event| event.hook == Hook::Transitions);
        if traced.lost() != before {
            println!("attempt {attempt}: the kernel kept events from the programs");
            continue;
        }
        if has_twin(&lines) {
            println!("attempt {attempt}: two children of one handshake");
            continue;
        }
        let moves = |(_, sockets): &(u16, Vec<ExpectedSocket>)| {
            sockets.iter().map(|expected_socket| expected_socket.moves.len()).sum::<usize>()
        };
        let all: usize = expected.iter().flat_map(|(_, script)| script).map(moves).sum::<usize>();
        assert_eq!(lines.len(), all, "{lines:#?}");
        for (family, script) in &expected {
            for (port, sockets) in script {
                assert_lines(*family, namespace.inode(), *port, sockets, &lines);
            }
        }
        return;
    }
    panic!("the kernel kept events from the programs each time");
}

#[test]
fn events_without_room_are_counted_and_gauges_stay_exact() {
    let transitions = scaled(20_000);
    let _namespace = Namespace::enter();
    let small = EventOptions { ring_bytes: 4096, ..EventOptions::default() };
    let (mut traced, mut events) = with_events(small);
    let load = Load::start(2, Style::Mixed);
    // No process reads the ring until all transitions are made.
    wait::until("transitions", || traced.snapshot().total() >= transitions);
    let _ = load.stop();
    truth::await_end_of_sockets();
    let snapshot = traced.snapshot();
    let losses = snapshot.losses.expect("events are asked for");
    let is_transition = |event: &&Event| event.hook == Hook::Transitions;
    let lines = events.take(usize::MAX);
    let written = lines.iter().filter(is_transition).count() as u64;
    assert!(written > 0 && losses.dropped > written, "{written} written, {losses:?}");
    // The kernel may have withheld some events from one program, and different events from the
    // other program.
    let (counted, reported) = (snapshot.total(), written + losses.dropped);
    assert_eq!(losses.missed, counted.saturating_sub(reported), "{losses:?}, {counted} counted");
    assert!(
        reported <= counted + snapshot.missed.transitions,
        "{reported} told of, {losses:?}; {counted} counted, {:?}",
        snapshot.missed
    );
    traced.assert_equal("after events were dropped");
}

/// If accept() finds no connection, the process that called accept() does not become the owner of
/// any socket. The process also does not own a connection that it never accepted.
#[test]
fn events_of_unaccepted_connections_have_no_owner() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    // The connections exist before the tracer starts, so the tracer knows nothing about them.
    let clients: Vec<_> = (0..8).map(|_| listener.connect()).collect();
    let (mut traced, mut events) = with_events(EventOptions::default());
    let idle = Listener::open(Family::V4);
    idle.socket().set_nonblocking(true).expect("any socket can be");
    for client in clients {
        let nobody = idle.socket().accept().expect_err("nobody has connected");
        assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
        reset(client);
    }
    let port = listener.port();
    let lines = events.take(usize::MAX);
    let ends = lines.iter().filter(|event| event.local_port == Some(port) && event.to == Close);
    let ends: Vec<_> = ends.filter(|event| event.from == Established).collect();
    let (without_line, missed, uncounted) = traced.lost();
    let lost = without_line + missed + uncounted;
    assert!(ends.len() as u64 + lost >= 8, "{} ends, {lost} lost", ends.len());
    assert!(ends.iter().all(|event| event.pid.is_none()), "{ends:?}");
}

#[test]
fn events_of_untracked_sockets_lack_durations_and_are_counted() {
    let _namespace = Namespace::enter();
    let few = EventOptions { max_sockets: 8, ..EventOptions::default() };
    let (mut traced, mut events) = with_events(few);
    let listener = Listener::open(Family::V4);
    let (clients, servers) = listener.pairs(50);
    let lost = traced.lost();
    let lines = events.take(usize::MAX);
    let lines: Vec<_> = lines.into_iter().filter(|event| event.hook == Hook::Transitions).collect();
    let unknown = lines.iter().filter(|event| event.from != Close && event.from != Listen);
    let unknown = unknown.filter(|event| event.duration.is_none()).count() as u64;
    let untracked = traced.snapshot().losses.expect("events are asked for").untracked;
    assert!(untracked >= 50 && unknown >= 50, "{untracked} untracked, {unknown} unknown, {lost:?}");
    assert!(lines.iter().all(|event| event.pid.is_none_or(|pid| pid == std::process::id())));
    drop((clients, servers));
}

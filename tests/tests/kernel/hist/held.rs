//! A script holds sockets in each state for a known time. The durations that the script measures
//! must be in the histograms.

use std::{
    collections::BTreeMap,
    env,
    io::{Read as _, Write as _},
    thread,
    time::{Duration, Instant},
};

use socket2::Socket;
use tcpstate::{
    filter::{End, EventFilter},
    probe::{HistogramOptions, Options},
    report::{Bucket, Histogram, Histograms, Of, Snapshot, SocketKind},
};
use tcpstate_common::State::{
    self, Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv,
    SynSent, TimeWait,
};
use tcpstate_tests::{
    audit::ATTEMPTS,
    netns::Namespace,
    traced::{Traced, options},
    traffic::{
        Family, Listener, connecting, deafen, hear, port, reset, send_reset, sequence_number,
        shutdown, state,
    },
    truth, wait,
};

use super::{TOLERANCE, assert_totals, summary, timed_by};

/// The minimum and the maximum of a duration.
pub(super) type Span = [Duration; 2];
/// The moments before and after an action of the script.
pub(super) type Moment = [Instant; 2];

/// Runs `work`. Returns the result of `work` and the moments before and after `work`.
pub(super) fn timed<T>(work: impl FnOnce() -> T) -> (T, Moment) {
    let before = Instant::now();
    let result = work();
    (result, [before, Instant::now()])
}

/// How long each socket was in each state.
#[derive(Debug, Default)]
struct Held(Vec<(Of, Span)>);

impl Held {
    fn add(&mut self, of: Of, begin: Moment, end: Moment) {
        let least = end[0].saturating_duration_since(begin[1]);
        self.0.push((of, [least, end[1] - begin[0]]));
    }

    fn full(&mut self, state: State, begin: Moment, end: Moment) {
        self.add(Of::State(state, SocketKind::Full), begin, end);
    }
}

/// Waits until the socket is in a state. Returns the bounds of the moment at which the socket
/// entered the state. `began` is the moment when the wait began.
pub(super) fn await_state(socket: &Socket, expected: State, began: Instant) -> Moment {
    wait::until_equal("a socket's state", &expected, || state(socket));
    [began, Instant::now()]
}

/// Both sockets of a connection, and the moment when it was made.
struct Connection {
    client: Socket,
    server: Socket,
    made: Moment,
}

fn connect(family: Family, held: &mut Held) -> Connection {
    let (listener, opened) = timed(|| Listener::open(family));
    let ((client, server), made) = timed(|| (listener.connect(), listener.accept()));
    let ((), closed) = timed(|| drop(listener));
    held.full(Listen, opened, closed);
    held.full(SynSent, made, made);
    held.full(SynRecv, made, made);
    held.add(Of::State(SynRecv, SocketKind::Mini), made, made);
    held.add(Of::ConnectClient, made, made);
    held.add(Of::ConnectServer, made, made);
    Connection { client, server, made }
}

/// Holds a listener without connections.
fn hold_listen(family: Family, time: Duration) -> Held {
    let mut held = Held::default();
    let (listener, opened) = timed(|| Listener::open(family));
    thread::sleep(time);
    let ((), closed) = timed(|| drop(listener));
    held.full(Listen, opened, closed);
    held
}

/// Holds a client whose SYN gets no answer.
fn hold_syn_sent(family: Family, time: Duration) -> Held {
    let mut held = Held::default();
    let (listener, opened) = timed(|| Listener::open(family));
    deafen([listener.socket()]);
    let (client, begun) = timed(|| connecting(family, listener.address()));
    thread::sleep(time);
    let ((), given_up) = timed(|| drop(client));
    held.full(SynSent, begun, given_up);
    let ((), closed) = timed(|| drop(listener));
    held.full(Listen, opened, closed);
    held
}

/// Holds a connection in ESTABLISHED, then half-closed, then in TIME_WAIT, each for `time`.
fn hold_orderly(family: Family, time: Duration) -> Held {
    let mut held = Held::default();
    let Connection { mut client, server, made } = connect(family, &mut held);
    thread::sleep(time);
    let (eof, half_closed) = timed(|| {
        shutdown([&client]);
        (&server).read(&mut [0])
    });
    assert_eq!(eof.expect("the client closes"), 0);
    let half_closed = await_state(&client, FinWait2, half_closed[0]);
    held.full(Established, made, half_closed);
    held.full(Established, made, half_closed);
    held.full(FinWait1, half_closed, half_closed);
    thread::sleep(time);
    let ports = [&client, &server].map(port);
    let sequence = sequence_number(&server).wrapping_add(1);
    let (eof, closed) = timed(|| {
        drop(server);
        client.read(&mut [0])
    });
    assert_eq!(eof.expect("the server closes"), 0);
    let closed = await_state(&client, Close, closed[0]);
    held.full(CloseWait, half_closed, closed);
    held.full(LastAck, closed, closed);
    held.full(FinWait2, half_closed, closed);
    held.add(Of::Lifetime, made, closed);
    held.add(Of::Lifetime, made, closed);
    thread::sleep(time);
    let has_mini = || truth::has_mini(family, ports);
    assert!(has_mini(), "the client left a time-wait socket");
    let ((), killed) = timed(|| {
        send_reset(family, ports[1], ports[0], sequence);
        wait::until("the time-wait socket to end", || !has_mini());
    });
    held.add(Of::State(TimeWait, SocketKind::Mini), closed, killed);
    held.add(Of::TimeWaitHold, closed, killed);
    held
}

/// Holds an orphan: the client closes first, and the client's mini socket stays in FIN_WAIT2 until
/// the server sends data.
fn hold_orphan(family: Family, time: Duration) -> Held {
    let mut held = Held::default();
    let Connection { client, mut server, made } = connect(family, &mut held);
    let ports = [&client, &server].map(port);
    let ((), half_closed) = timed(|| shutdown([&client]));
    // If a FIN is acknowledged during close(), the socket may stay a full socket. The function
    // therefore waits for the acknowledgement before it closes the socket.
    let half_closed = await_state(&client, FinWait2, half_closed[0]);
    held.full(Established, made, half_closed);
    held.full(Established, made, half_closed);
    held.full(FinWait1, half_closed, half_closed);
    let ((), orphaned) = timed(|| drop(client));
    held.full(FinWait2, half_closed, orphaned);
    held.add(Of::Lifetime, made, orphaned);
    thread::sleep(time);
    let ((), killed) = timed(|| {
        server.write_all(b"still here").expect("the kernel takes it");
        wait::until("the mini socket to end", || !truth::has_mini(family, ports));
    });
    // The kernel answers the data of the server with a RST.
    let killed = await_state(&server, Close, killed[0]);
    held.add(Of::State(FinWait2, SocketKind::Mini), orphaned, killed);
    held.add(Of::TimeWaitHold, orphaned, killed);
    held.full(CloseWait, half_closed, killed);
    held.add(Of::Lifetime, made, killed);
    held
}

/// Holds a client whose FIN is not received for a while, then a server whose FIN is not received
/// for a while.
fn hold_unheard(family: Family, time: Duration) -> Held {
    let mut held = Held::default();
    let Connection { client, server, made } = connect(family, &mut held);
    deafen([&server]);
    let ((), shut) = timed(|| shutdown([&client]));
    held.full(Established, made, shut);
    thread::sleep(time);
    let began = Instant::now();
    hear([&server]);
    let heard = await_state(&client, FinWait2, began);
    held.full(FinWait1, shut, heard);
    held.full(Established, made, heard);
    deafen([&client]);
    let ((), server_shut) = timed(|| shutdown([&server]));
    held.full(CloseWait, heard, server_shut);
    thread::sleep(time);
    let began = Instant::now();
    hear([&client]);
    let over = await_state(&server, Close, began);
    held.full(LastAck, server_shut, over);
    held.full(FinWait2, heard, over);
    held.add(Of::Lifetime, made, over);
    held.add(Of::Lifetime, made, over);
    held
}

/// Holds a connection whose two sides close at the same time. The client receives the server's FIN,
/// and the server receives the client's FIN a while later.
fn hold_closing(family: Family, time: Duration) -> Held {
    let mut held = Held::default();
    let Connection { client, server, made } = connect(family, &mut held);
    deafen([&client, &server]);
    let ((), shut) = timed(|| shutdown([&client, &server]));
    held.full(Established, made, shut);
    held.full(Established, made, shut);
    let began = Instant::now();
    hear([&client]);
    let closing = await_state(&client, Closing, began);
    held.full(FinWait1, shut, closing);
    thread::sleep(time);
    let began = Instant::now();
    hear([&server]);
    let over = await_state(&client, Close, began);
    let server_over = await_state(&server, Close, began);
    held.full(Closing, closing, over);
    // One packet of the client makes the server pass through several states.
    held.full(FinWait1, shut, server_over);
    held.add(Of::Lifetime, made, over);
    held.add(Of::Lifetime, made, server_over);
    held
}

/// Holds a half-open connection: the client does not receive the SYN-ACK for a while.
fn hold_half_open(family: Family, time: Duration) -> Held {
    let mut held = Held::default();
    let (listener, opened) = timed(|| Listener::open(family));
    let client = tcpstate_tests::traffic::socket(family);
    deafen([&client]);
    client.set_nonblocking(true).expect("sockets can be non-blocking");
    let (_, sent) = timed(|| client.connect(listener.address()));
    thread::sleep(time);
    let began = Instant::now();
    hear([&client]);
    let server = listener.accept();
    let made = [began, Instant::now()];
    held.full(SynSent, sent, made);
    held.full(SynRecv, made, made);
    held.add(Of::State(SynRecv, SocketKind::Mini), sent, made);
    held.add(Of::ConnectClient, sent, made);
    held.add(Of::ConnectServer, sent, made);
    let ((), ended) = timed(|| reset(client));
    let ended = await_state(&server, Close, ended[0]);
    // The client's lifetime begins with its SYN. The server's lifetime begins with the birth of its
    // child socket.
    for born in [sent, made] {
        held.full(Established, made, ended);
        held.add(Of::Lifetime, born, ended);
    }
    let ((), closed) = timed(|| drop(listener));
    held.full(Listen, opened, closed);
    held
}

/// Checks that each measured span matches exactly one duration in the buckets, and that each
/// duration matches exactly one span. The function goes through the buckets in order. For each
/// duration of a bucket, the function takes the matching span with the lowest maximum.
fn match_every_one(of: Of, spans: &[Span], histogram: &Histogram) -> Result<(), String> {
    let mut open: Vec<Span> = spans.to_vec();
    open.sort_by_key(|span| span[1]);
    for Bucket { above, up_to, count } in histogram.buckets() {
        for _ in 0..count {
            let fits = |[least, most]: &Span| {
                *most + TOLERANCE >= above
                    && up_to.is_none_or(|up_to| least.saturating_sub(TOLERANCE) <= up_to)
            };
            let Some(taken) = open.iter().position(fits) else {
                return Err(format!("{of:?}: ({above:?}, {up_to:?}] is nobody's: {open:?}"));
            };
            open.remove(taken);
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("{of:?}: in no bucket: {open:?}")) }
}

/// Compares the durations of all states with the times for which the script held the states.
fn match_all(held: &BTreeMap<Of, Vec<Span>>, histograms: &Histograms) -> Result<(), String> {
    for (of, spans) in held {
        let Some(histogram) = histograms.of(*of).next() else {
            return Err(format!("nothing was in {of:?}"));
        };
        if histogram.tally.unknown > 0 {
            return Err(format!("{of:?}: {} are unknown", histogram.tally.unknown));
        }
        // The last states of the server in a simultaneous close are not held, so their durations
        // are not compared.
        let is_whole = histogram.tally.count() == spans.len() as u64;
        if is_whole || *of != Of::State(FinWait2, SocketKind::Full) {
            match_every_one(*of, spans, histogram)?;
        }
    }
    Ok(())
}

/// Compares the measured durations with the times for which the script held each state. Returns the
/// number of lost events. Returns `None` if events were lost and the durations differ from the
/// times that the script measured.
fn matched(
    attempt: u32,
    held: &BTreeMap<Of, Vec<Span>>,
    traced: &mut Traced,
) -> Option<(Snapshot, Histograms, u64)> {
    let (snapshot, histograms) = summary(traced);
    let lost = snapshot.missed.events() + histograms.untimed.missed + traced.uncounted();
    match match_all(held, &histograms) {
        Err(difference) if lost > 0 => {
            println!("attempt {attempt}: {lost} events were kept from BPF: {difference}");
            None
        }
        outcome => {
            assert_eq!(outcome, Ok(()));
            Some((snapshot, histograms, lost))
        }
    }
}

#[test]
fn hist_of_sockets_held_for_known_times_fills_the_right_buckets() {
    type Script = fn(Family, Duration) -> Held;
    const SCRIPTS: [Script; 6] =
        [hold_listen, hold_syn_sent, hold_orderly, hold_orphan, hold_unheard, hold_closing];
    let mut holds = vec![1, 5, 20, 100, 400, 1000];
    if let Ok(seconds) = env::var("TCPSTATE_TEST_LONGEST_HOLD") {
        holds.push(1000 * seconds.parse::<u64>().expect("a number of seconds"));
    }
    // The test is repeated only if the kernel withheld events from the programs.
    for attempt in 1..=ATTEMPTS {
        // Each attempt uses a new namespace, because ports of an earlier attempt are in TIME_WAIT.
        let _namespace = Namespace::enter();
        let mut traced = timed_by(HistogramOptions::default());
        let mut held: BTreeMap<Of, Vec<Span>> = BTreeMap::new();
        thread::scope(|scope| {
            let mut scripts = Vec::new();
            for family in Family::BOTH {
                for &millis in &holds {
                    for script in SCRIPTS {
                        let time = Duration::from_millis(millis);
                        scripts.push(scope.spawn(move || script(family, time)));
                    }
                }
                let half_open = Duration::from_millis(300);
                scripts.push(scope.spawn(move || hold_half_open(family, half_open)));
            }
            for script in scripts {
                let Held(spans) = script.join().expect("the script runs to its end");
                for (of, span) in spans {
                    held.entry(of).or_default().push(span);
                }
            }
        });
        truth::await_end_of_sockets();
        let Some((snapshot, histograms, lost)) = matched(attempt, &held, &mut traced) else {
            continue;
        };
        if lost == 0 {
            assert_totals(&snapshot, &histograms);
        }
        return;
    }
    panic!("the kernel kept events from the programs each time");
}

#[test]
fn hist_filtered_by_address_has_matching_mini_sockets_only() {
    const HOLD: Duration = Duration::from_millis(20);
    for attempt in 1..=ATTEMPTS {
        let _namespace = Namespace::enter();
        let addresses = "::1".parse().expect("an address");
        let event_filter =
            EventFilter { addresses: vec![(End::Either, addresses)], ..EventFilter::default() };
        let histograms = Some(HistogramOptions::default());
        let mut traced = Traced::with(&Options { histograms, event_filter, ..options() });
        let mut held: BTreeMap<Of, Vec<Span>> = BTreeMap::new();
        for script in [hold_orderly, hold_orphan] {
            script(Family::V4, HOLD);
            for (of, span) in script(Family::V6, HOLD).0 {
                held.entry(of).or_default().push(span);
            }
        }
        truth::await_end_of_sockets();
        if matched(attempt, &held, &mut traced).is_some() {
            return;
        }
    }
    panic!("the kernel kept events from the programs each time");
}

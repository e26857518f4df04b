//! Histograms: sockets held for known times land in the right buckets, all that ended is in them, and what nobody knows is
//! unknown.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    env,
    io::{Read as _, Write as _},
    thread,
    time::{Duration, Instant},
};

use socket2::Socket;
use tcpstate::{
    filter::{End, EventFilter, Ports},
    probe::{EventOptions, HistogramOptions, Options, Testing},
    report::{Bucket, Event, Group, Histogram, Histograms, Of, Snapshot, SocketKind},
};
use tcpstate_common::{
    State::{
        self, Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv,
        SynSent, TimeWait,
    },
    abi::is_birth,
    histogram::{By, RELATIVE_ERROR},
};
use tcpstate_tests::{
    audit::ATTEMPTS,
    emulated::{is_emulated, scaled},
    netns::{Namespace, Sysctl},
    traced::{Traced, options, testing},
    traffic::{
        Family, Idle, Listener, Load, Style, connecting, deafen, hear, port, reset, send_reset,
        sequence_number, shutdown, state,
    },
    truth, wait,
};

/// By how much the programs' clock may be off a script's.
const TOLERANCE: Duration = Duration::from_micros(100);

fn timed_by(histograms: HistogramOptions) -> Traced {
    Traced::with(&Options { histograms: Some(histograms), ..options() })
}

/// All that ended since the start, as of now.
fn summary(traced: &mut Traced) -> (Snapshot, Histograms) {
    let mut snapshot = traced.tracer.summary().expect("a summary can be taken");
    let histograms = snapshot.histograms.take().expect("histograms are asked for");
    (snapshot, histograms)
}

/// All of one kind, whatever the group.
fn all_of(histograms: &Histograms, of: Of) -> (u64, u64) {
    let tallies = histograms.of(of).map(|histogram| &histogram.tally);
    tallies.fold((0, 0), |(count, unknown), tally| (count + tally.count(), unknown + tally.unknown))
}

/// Asserts that each pair of the matrix that leaves a state has as many durations, less what was missed.
fn assert_totals(snapshot: &Snapshot, histograms: &Histograms) {
    let mut differences = 0;
    for pair in &snapshot.transitions {
        let (from, to) = (pair.from, pair.to);
        if from == to || is_birth(from.number(), to.number()) {
            continue;
        }
        let (count, unknown) = all_of(histograms, Of::Transition(from, to));
        let timed = count + unknown;
        println!("{from} -> {to}: {} counted, {count} timed, {unknown} unknown", pair.count);
        differences += timed.abs_diff(pair.count);
    }
    let missed = histograms.untimed.missed + snapshot.missed.transitions;
    assert!(differences <= missed, "{differences} differ, {missed} were missed");
}

// ---- known times ----

/// A stretch of time that is at least and at most as long.
type Span = [Duration; 2];
/// Something happened between two moments.
type Moment = [Instant; 2];

/// Does something, and says between which moments.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Moment) {
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

/// Waits for a state of the socket. Says between which moments it came, given when the wait began.
fn await_state(socket: &Socket, expected: State, began: Instant) -> Moment {
    wait::until_equal("a socket's state", &expected, || state(socket));
    [began, Instant::now()]
}

/// Both ends of a connection, and when it was made.
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

/// A listener that nobody connects to.
fn hold_listen(family: Family, time: Duration) -> Held {
    let mut held = Held::default();
    let (listener, opened) = timed(|| Listener::open(family));
    thread::sleep(time);
    let ((), closed) = timed(|| drop(listener));
    held.full(Listen, opened, closed);
    held
}

/// A SYN that nobody answers.
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

/// A connection that is held in ESTABLISHED, then half closed as long, then in TIME_WAIT as long.
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

/// A client that closes first: its mini socket is in FIN_WAIT2 until the server sends something.
fn hold_orphan(family: Family, time: Duration) -> Held {
    let mut held = Held::default();
    let Connection { client, mut server, made } = connect(family, &mut held);
    let ports = [&client, &server].map(port);
    let ((), half_closed) = timed(|| shutdown([&client]));
    // One whose FIN is acknowledged while close() is at work may stay a full socket.
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
    // The answer is a RST.
    let killed = await_state(&server, Close, killed[0]);
    held.add(Of::State(FinWait2, SocketKind::Mini), orphaned, killed);
    held.add(Of::TimeWaitHold, orphaned, killed);
    held.full(CloseWait, half_closed, killed);
    held.add(Of::Lifetime, made, killed);
    held
}

/// A client whose FIN is not heard, then a server whose FIN is not.
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

/// Both close at once: the client hears of it, and is heard a while later.
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
    // The server goes through whatever the client's packet leads it through, all at once.
    held.full(FinWait1, shut, server_over);
    held.add(Of::Lifetime, made, over);
    held.add(Of::Lifetime, made, server_over);
    held
}

/// A client that does not hear the SYN-ACK for a while: half open.
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
    // The client's life begins with its SYN, the server's with its child.
    for born in [sent, made] {
        held.full(Established, made, ended);
        held.add(Of::Lifetime, born, ended);
    }
    let ((), closed) = timed(|| drop(listener));
    held.full(Listen, opened, closed);
    held
}

/// Whether each span can have a duration of its own among the buckets, and each duration a span: the buckets in order, each
/// takes those spans that end first.
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

/// All states at once.
fn match_all(held: &BTreeMap<Of, Vec<Span>>, histograms: &Histograms) -> Result<(), String> {
    for (of, spans) in held {
        let Some(histogram) = histograms.of(*of).next() else {
            return Err(format!("nothing was in {of:?}"));
        };
        if histogram.tally.unknown > 0 {
            return Err(format!("{of:?}: {} are unknown", histogram.tally.unknown));
        }
        // What the server of a simultaneous close goes through at its end is not held.
        let is_whole = histogram.tally.count() == spans.len() as u64;
        if is_whole || *of != Of::State(FinWait2, SocketKind::Full) {
            match_every_one(*of, spans, histogram)?;
        }
    }
    Ok(())
}

/// What was timed, which is what was held, and how many events were lost: `None` if it is not, and some were.
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
fn hist_of_sockets_held_for_known_times_has_every_one_in_its_bucket() {
    type Script = fn(Family, Duration) -> Held;
    const SCRIPTS: [Script; 6] =
        [hold_listen, hold_syn_sent, hold_orderly, hold_orphan, hold_unheard, hold_closing];
    let mut holds = vec![1, 5, 20, 100, 400, 1000];
    if let Ok(seconds) = env::var("TCPSTATE_TEST_LONGEST_HOLD") {
        holds.push(1000 * seconds.parse::<u64>().expect("a number of seconds"));
    }
    // Tried again only where the kernel itself says that it kept events from the programs.
    for attempt in 1..=ATTEMPTS {
        // Ports that nobody had: those of an earlier attempt are in TIME_WAIT.
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
fn hist_filtered_by_addresses_has_their_mini_sockets_and_no_others() {
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

// ---- the same run by events ----

#[test]
fn hist_agrees_with_the_matrix_and_with_the_events_of_the_same_run() {
    let _namespace = Namespace::enter();
    let ring_bytes = 64 << 20;
    let mut traced = Traced::with(&Options {
        histograms: Some(HistogramOptions::default()),
        events: Some(EventOptions { ring_bytes, ..EventOptions::default() }),
        ..options()
    });
    let mut events = traced.tracer.take_events().expect("events are asked for");
    let load = Load::start(2, Style::Mixed);
    let connections = scaled(5_000);
    wait::until("connections", || load.completed() >= connections);
    let _ = load.stop();
    truth::await_end_of_sockets();
    let lines = events.take(usize::MAX);
    let (snapshot, histograms) = summary(&mut traced);
    assert_totals(&snapshot, &histograms);
    let lost = snapshot.losses.expect("events are asked for").events();
    let missed = lost + histograms.untimed.missed + traced.uncounted();
    let pairs = snapshot.transitions.iter().filter(|pair| pair.from != pair.to);
    for pair in pairs.filter(|pair| !is_birth(pair.from.number(), pair.to.number())) {
        let of = |event: &&Event| (event.from, event.to) == (pair.from, pair.to);
        let mut durations: Vec<Duration> =
            lines.iter().filter(of).filter_map(|event| event.duration).collect();
        durations.sort_unstable();
        let histogram = histograms.of(Of::Transition(pair.from, pair.to)).next();
        let histogram = histogram.expect("the matrix has them");
        let known = histogram.tally.count();
        assert!(known.abs_diff(durations.len() as u64) <= 2 * missed, "{pair:?}: {known} known");
        if missed > 0 || durations.is_empty() {
            continue;
        }
        for percent in [50, 90, 99] {
            let rank = (durations.len() * usize::from(percent)).div_ceil(100).max(1);
            let shown = histogram.percentile(percent).expect("some are known");
            // The two programs look at the clock one after the other, and what runs them may be halted in between: on
            // this machine for some events in a thousand, while it is emulated for some in a hundred.
            let halted = durations.len().div_ceil(if is_emulated() { 10 } else { 500 });
            let least = durations[(rank - 1).saturating_sub(halted)];
            let most = durations.get(rank - 1 + halted);
            let error = |truth: Duration| truth.mul_f64(RELATIVE_ERROR) + TOLERANCE;
            let is_within = shown + error(least) >= least
                && most.is_none_or(|&most| shown <= most + error(most));
            assert!(is_within, "{pair:?} p{percent}: {shown:?}, {least:?} to {most:?}");
        }
    }
}

// ---- what is unknown ----

#[test]
fn hist_of_sockets_older_than_the_start_is_unknown_and_nothing_else_is() {
    let _namespace = Namespace::enter();
    for family in Family::BOTH {
        for attempt in 1..=ATTEMPTS {
            let listener = Listener::open(family);
            let (clients, servers) = listener.pairs(7);
            let mut traced = timed_by(HistogramOptions::default());
            clients.into_iter().for_each(reset);
            for server in servers {
                let began = Instant::now();
                await_state(&server, Close, began);
            }
            let (client, server) = (listener.connect(), listener.accept());
            reset(client);
            await_state(&server, Close, Instant::now());
            drop((listener, server));
            let (snapshot, histograms) = summary(&mut traced);
            if snapshot.missed.events() + histograms.untimed.missed + traced.uncounted() > 0 {
                println!("{family}, attempt {attempt}: events were kept from the programs");
                assert!(attempt < 5, "each time");
                continue;
            }
            assert_totals(&snapshot, &histograms);
            let ended = |of| all_of(&histograms, of);
            assert_eq!(ended(Of::Transition(Established, Close)), (2, 14), "{family}");
            assert_eq!(ended(Of::Lifetime), (2, 14), "{family}");
            assert_eq!(ended(Of::Transition(Listen, Close)), (0, 1), "{family}");
            assert_eq!(ended(Of::ConnectClient), (1, 0), "{family}");
            break;
        }
    }
}

/// What the program misses makes durations unknown, and none longer: connections are short here, and far apart.
#[test]
fn hist_that_misses_events_has_fewer_durations_and_no_longer_ones() {
    const PAUSE: Duration = Duration::from_millis(20);
    let _namespace = Namespace::enter();
    let histograms = Some(HistogramOptions::default());
    let testing = Testing { drop_one_in: 7, drop_durations: true, ..testing() };
    let mut traced = Traced::with(&Options { histograms, testing, ..options() });
    let listener = Listener::open(Family::V4);
    let mut longest = Duration::ZERO;
    for _ in 0..40 {
        let ((), [begun, ended]) = timed(|| {
            let (client, server) = (listener.connect(), listener.accept());
            reset(client);
            await_state(&server, Close, Instant::now());
        });
        longest = longest.max(ended - begun);
        thread::sleep(PAUSE);
    }
    let (snapshot, histograms) = summary(&mut traced);
    let missed = histograms.untimed.missed;
    assert!(missed >= 30, "{missed} missed");
    assert_totals(&snapshot, &histograms);
    let (_, unknown) = all_of(&histograms, Of::Lifetime);
    assert!(unknown >= 5, "{unknown} unknown");
    // Of a state that nobody saw begin it is not known either, if that was not the birth.
    let (_, unknown) = all_of(&histograms, Of::Transition(Established, Close));
    assert!(unknown >= 5, "{unknown} unknown");
    for histogram in histograms.all.iter().filter(|histogram| histogram.of != Of::TimeWaitHold) {
        let most = histogram.tally.longest.unwrap_or_default();
        assert!(most <= longest + TOLERANCE, "{:?}: {most:?} of {longest:?}", histogram.of);
    }
}

/// As many sockets at once as there is room for: a third of them find their seat taken, and are remembered elsewhere. And again,
/// for which what the first ones had must be free; and half of them closed and opened again, who find seats as it happens.
#[test]
fn hist_with_just_enough_room_remembers_each_socket() {
    const SOCKETS: u32 = 4096;
    const ROUNDS: u64 = 3;
    /// Eighths of them.
    const CHURNED: u64 = 16;
    const EIGHTH: usize = SOCKETS as usize / 8;
    let _namespace = Namespace::enter();
    let options = HistogramOptions { most_sockets: SOCKETS, ..HistogramOptions::default() };
    let mut traced = timed_by(options);
    for _ in 0..ROUNDS {
        drop(Idle::open(SOCKETS as usize, &Family::BOTH));
        truth::await_end_of_sockets();
    }
    let open = || Idle::open(EIGHTH, &Family::BOTH);
    let mut held: VecDeque<Idle> = std::iter::repeat_with(open).take(8).collect();
    for _ in 0..CHURNED {
        drop(held.pop_front());
        held.push_back(open());
    }
    drop(held);
    truth::await_end_of_sockets();
    let (snapshot, histograms) = summary(&mut traced);
    let untimed = histograms.untimed;
    assert_eq!((untimed.untracked, untimed.untracked_minis), (0, 0));
    assert_totals(&snapshot, &histograms);
    let (known, unknown) = all_of(&histograms, Of::Lifetime);
    // Of both ends; a hook that was kept from one event leaves a life unknown, or takes it away.
    let missed = untimed.missed + snapshot.missed.transitions;
    assert!(
        known + unknown + missed >= (ROUNDS + 1) * u64::from(SOCKETS) + CHURNED * EIGHTH as u64
            && unknown <= missed,
        "{known} known, {unknown} unknown, {missed} missed"
    );
}

#[test]
fn hist_without_room_to_remember_sockets_says_so() {
    let _namespace = Namespace::enter();
    let mut traced = timed_by(HistogramOptions { most_sockets: 8, ..HistogramOptions::default() });
    let listener = Listener::open(Family::V4);
    let (clients, servers) = listener.pairs(50);
    drop((clients, servers, listener));
    truth::await_end_of_sockets();
    let (snapshot, histograms) = summary(&mut traced);
    assert!(histograms.untimed.untracked >= 80, "{:?}", histograms.untimed);
    assert_totals(&snapshot, &histograms);
}

// ---- groups ----

#[test]
fn hist_by_each_grouping_names_its_groups() {
    let _namespace = Namespace::enter();
    let comm = std::fs::read_to_string("/proc/self/comm").expect("procfs is mounted");
    let inode = std::os::unix::fs::MetadataExt::ino(
        &std::fs::metadata("/proc/thread-self/ns/net").expect("procfs is mounted"),
    );
    for family in Family::BOTH {
        let address = family.loopback(0).ip();
        for by in By::ALL {
            let mut traced =
                timed_by(HistogramOptions { by: Some(by), ..HistogramOptions::default() });
            let listener = Listener::open(family);
            let port = listener.port();
            let (client, server) = (listener.connect(), listener.accept());
            let client_port = client.local_addr().expect("it is connected").as_socket();
            let client_port = client_port.expect("an address of the internet").port();
            reset(client);
            await_state(&server, Close, Instant::now());
            drop((server, listener));
            let (snapshot, histograms) = summary(&mut traced);
            assert_totals(&snapshot, &histograms);
            if snapshot.missed.events() + histograms.untimed.missed + traced.uncounted() > 0 {
                println!("{family} {by:?}: skipped: events were kept from the programs");
                continue;
            }
            let mut lifetimes: Vec<Group> =
                histograms.of(Of::Lifetime).filter_map(|row| row.group.clone()).collect();
            lifetimes.sort();
            let mut expected = match by {
                By::LocalPort | By::RemotePort => {
                    vec![Group::Port(port), Group::Port(client_port)]
                }
                By::Remote => vec![Group::Address(address)],
                By::Netns => vec![Group::Netns(inode)],
                By::Comm => vec![Group::Comm(comm.trim_end().into()), Group::None],
                By::Cgroup => Vec::new(),
            };
            if by == By::Cgroup {
                // Which it is, if there are any, is not the test's to say.
                assert!(
                    matches!(lifetimes[..], [Group::Cgroup(..) | Group::None]),
                    "{lifetimes:?}"
                );
                continue;
            }
            expected.sort();
            assert_eq!(lifetimes, expected, "{family} {by:?}");
        }
    }
}

#[test]
fn hist_with_more_groups_than_room_sums_the_others_and_loses_none() {
    let _namespace = Namespace::enter();
    let few =
        HistogramOptions { by: Some(By::LocalPort), most_groups: 3, ..HistogramOptions::default() };
    let mut traced = timed_by(few);
    for _ in 0..11 {
        let listener = Listener::open(Family::V6);
        let (client, server) = (listener.connect(), listener.accept());
        reset(client);
        await_state(&server, Close, Instant::now());
    }
    let (snapshot, histograms) = summary(&mut traced);
    assert_totals(&snapshot, &histograms);
    let mut groups: Vec<&Group> =
        histograms.all.iter().filter_map(|histogram| histogram.group.as_ref()).collect();
    groups.sort();
    groups.dedup();
    assert_eq!(groups.len(), 4, "{groups:?}");
    assert!(groups.contains(&&Group::Other), "{groups:?}");
}

#[test]
fn hist_that_is_filtered_gives_groups_to_nothing_else() {
    let _namespace = Namespace::enter();
    let meant = Listener::open(Family::V4);
    let ports: Ports = meant.port().to_string().parse().expect("a port");
    let one =
        HistogramOptions { by: Some(By::LocalPort), most_groups: 1, ..HistogramOptions::default() };
    let event_filter = EventFilter { ports: vec![(End::Local, ports)], ..EventFilter::default() };
    let mut traced = Traced::with(&Options { histograms: Some(one), event_filter, ..options() });
    // Not of the port: two full sockets, and a client's mini socket.
    let _soon = Sysctl::held("net.ipv4.tcp_fin_timeout", "1");
    let listener = Listener::open(Family::V4);
    let (client, server) = (listener.connect(), listener.accept());
    shutdown([&client]);
    wait::until("its FIN to be acknowledged", || truth::sockets().full[FinWait2] == 1);
    drop(client);
    wait::until("the orphan to expire", || truth::sockets().minis.total() == 0);
    drop((server, listener));
    let (client, server) = (meant.connect(), meant.accept());
    reset(client);
    await_state(&server, Close, Instant::now());
    let (_, histograms) = summary(&mut traced);
    let groups: BTreeSet<&Group> =
        histograms.all.iter().filter_map(|histogram| histogram.group.as_ref()).collect();
    assert_eq!(groups, BTreeSet::from([&Group::Port(meant.port())]));
}

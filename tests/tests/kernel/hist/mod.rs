//! Tests histograms of durations.
//!
//! - Sockets that stay in a state for a known time are in the right buckets.
//! - Every ended duration is counted.
//! - Durations without an observed start are unknown.

mod groups;
mod held;

use std::{
    collections::VecDeque,
    thread,
    time::{Duration, Instant},
};

use tcpstate::{
    probe::{EventOptions, HistogramOptions, Options, Testing},
    report::{Event, Histograms, Of, Snapshot},
};
use tcpstate_common::{
    State::{Close, Established, Listen},
    abi::is_birth,
    histogram::RELATIVE_ERROR,
};
use tcpstate_tests::{
    audit::ATTEMPTS,
    emulated::{is_emulated, scaled},
    netns::Namespace,
    traced::{Traced, options, testing},
    traffic::{Family, Idle, Listener, Load, Neighbours, Style, reset},
    truth, wait,
};

use self::held::{await_state, timed};

/// The maximum difference between the programs' clock and the script's clock.
const TOLERANCE: Duration = Duration::from_micros(100);

fn timed_by(histograms: HistogramOptions) -> Traced {
    Traced::with(&Options { histograms: Some(histograms), ..options() })
}

/// Returns all durations that have ended since the start.
fn summary(traced: &mut Traced) -> (Snapshot, Histograms) {
    let mut snapshot = traced.tracer.summary().expect("a summary can be taken");
    let histograms = snapshot.histograms.take().expect("histograms are asked for");
    (snapshot, histograms)
}

/// Returns two numbers for one kind of duration: the known durations of all groups, and the unknown
/// durations of all groups.
fn all_of(histograms: &Histograms, of: Of) -> (u64, u64) {
    let tallies = histograms.of(of).map(|histogram| &histogram.tally);
    tallies.fold((0, 0), |(count, unknown), tally| (count + tally.count(), unknown + tally.unknown))
}

/// Asserts that every transition out of a state has a duration. The program records no duration for
/// births of sockets and for missed events.
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

#[test]
fn hist_agrees_with_the_matrix_and_with_the_events() {
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
            // The two programs read the clock one after the other, and may be interrupted between
            // the two reads. Interruptions affect a few of a thousand events, and a few of a
            // hundred events on an emulated machine.
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

#[test]
fn hist_of_older_sockets_is_unknown() {
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

/// If the program misses an event, some durations become unknown, but no duration becomes longer.
/// The connections are short, and the pauses between them are long.
#[test]
fn hist_that_misses_events_never_overstates_a_duration() {
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
    let skipped = traced.tracer.probe().missed_events().expect("the count can be read");
    let lost = skipped + traced.uncounted();
    let most = snapshot.total() / 7 + lost;
    assert!(missed >= 30 && missed <= most, "{missed} missed of {}", snapshot.total());
    assert_totals(&snapshot, &histograms);
    let (_, unknown) = all_of(&histograms, Of::Lifetime);
    assert!(unknown >= 5, "{unknown} unknown");
    // If the program did not observe the start of a state, the duration of the state is unknown,
    // unless the state began with the socket's birth.
    let (_, unknown) = all_of(&histograms, Of::Transition(Established, Close));
    assert!(unknown >= 5, "{unknown} unknown");
    for histogram in histograms.all.iter().filter(|histogram| histogram.of != Of::TimeWaitHold) {
        let most = histogram.tally.longest.unwrap_or_default();
        assert!(most <= longest + TOLERANCE, "{:?}: {most:?} of {longest:?}", histogram.of);
    }
}

/// The kernel skips runs of the program for two busy namespaces. In a third namespace, no event is
/// missed, and every duration is known.
#[test]
fn hist_of_a_quiet_namespace_has_no_missed_events_of_its_busy_neighbours() {
    let _namespace = Namespace::enter();
    let mut traced = timed_by(HistogramOptions::default());
    let neighbours = Neighbours::start();
    let listener = Listener::open(Family::V4);
    neighbours.between_connections(|| {
        let (client, server) = (listener.connect(), listener.accept());
        reset(client);
        await_state(&server, Close, Instant::now());
    });
    let (snapshot, histograms) = summary(&mut traced);
    drop(neighbours);
    let skipped = traced.tracer.probe().missed_events().expect("the count can be read");
    println!("on the whole host, the kernel skipped the program {skipped} times");
    assert_totals(&snapshot, &histograms);
    let (known, unknown) = all_of(&histograms, Of::Lifetime);
    let missed = histograms.untimed.missed;
    // A neighbour may also interrupt the program while it handles an event of this namespace.
    assert!(missed == 0 || known < 20, "{missed} missed, {known} known, {unknown} unknown");
}

/// The test opens as many sockets as the table has space for. For a third of the sockets, another
/// socket already uses the slot, so a third of the sockets is in the overflow map. Later rounds
/// succeed only if the program has freed the table entries of the closed sockets. At the end, an
/// eighth of the sockets is closed and opened again several times, so the slots are taken in
/// another order.
#[test]
fn hist_with_just_enough_room_remembers_each_socket() {
    const SOCKETS: u32 = 4096;
    const ROUNDS: u64 = 3;
    /// The number of rounds in which the test closes an eighth of the sockets and opens them again.
    const CHURNED: u64 = 16;
    const EIGHTH: usize = SOCKETS as usize / 8;
    let _namespace = Namespace::enter();
    let options = HistogramOptions { max_sockets: SOCKETS, ..HistogramOptions::default() };
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
    // Both sockets of a connection have a lifetime. If the kernel withholds an event from a hook, a
    // lifetime is unknown or missing.
    let missed = untimed.missed + snapshot.missed.transitions;
    assert!(
        known + unknown + missed >= (ROUNDS + 1) * u64::from(SOCKETS) + CHURNED * EIGHTH as u64
            && unknown <= missed,
        "{known} known, {unknown} unknown, {missed} missed"
    );
}

#[test]
fn hist_without_room_for_sockets_is_reported() {
    let _namespace = Namespace::enter();
    let mut traced = timed_by(HistogramOptions { max_sockets: 8, ..HistogramOptions::default() });
    let listener = Listener::open(Family::V4);
    let (clients, servers) = listener.pairs(50);
    drop((clients, servers, listener));
    truth::await_end_of_sockets();
    let (snapshot, histograms) = summary(&mut traced);
    assert!(histograms.untimed.untracked >= 80, "{:?}", histograms.untimed);
    assert_totals(&snapshot, &histograms);
}

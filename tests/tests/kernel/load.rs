//! Tests that counts are exact under heavy traffic: when a tracer starts, after missed events, and
//! in long runs. Rates are only printed, and no test asserts a rate.

use std::{
    process,
    time::{Duration, Instant},
};

use tcpstate::{
    aggregate::Reconcile,
    filter::Filter,
    probe::{Error, Options, Testing},
    report::{Difference, Minis, Provider, Snapshot, Verdict},
    source::sock_diag,
};
use tcpstate_common::State;
use tcpstate_tests::{
    emulated::{is_emulated, scaled},
    measure::resident_bytes,
    netns::Namespace,
    traced::{Traced, options, testing},
    traffic::{Family, Idle, Load, Style},
    truth, wait,
};

/// Returns the sum of all gauges without time-wait sockets. Each gauge is a number of sockets, so
/// no gauge is negative.
fn sum_of_gauges(snapshot: &Snapshot) -> i64 {
    let time_wait = snapshot.time_wait.sockets.expect("something counts time-wait sockets here");
    let gauges = State::GAUGES
        .into_iter()
        .filter_map(|state| Some((state, snapshot.gauge(state)?.current?)));
    gauges
        .inspect(|(state, current)| assert!(*current >= 0, "{state} is {current}"))
        .map(|(_, current)| current)
        .sum::<i64>()
        - time_wait.cast_signed()
}

/// Waits until no full socket is left. The last servers close a moment after their clients.
fn await_end_of_sockets() {
    truth::await_end_of_sockets();
    wait::grace_period();
}

#[test]
fn load_twenty_starts_among_20_000_sockets_are_exact() {
    const WORKERS: usize = 2;
    let _namespace = Namespace::enter();
    let sockets = scaled(20_000);
    let idle = Idle::open(usize::try_from(sockets).expect("few"), &Family::BOTH);
    let (mut connections, mut seconds) = (0, 0.0);
    for start in 0..if is_emulated() { 3 } else { 20 } {
        let load = Load::start(WORKERS, Style::Mixed);
        let began = Instant::now();
        wait::until("the load", || load.completed() >= 101);
        let mut traced = Traced::start();
        let at_once = traced.snapshot();
        // Some sockets stay in their state: the idle sockets, and the listeners of the traffic.
        let listeners =
            at_once.gauge(State::Listen).and_then(|gauge| gauge.current).expect("LISTEN is seen");
        let held = sockets.cast_signed() + listeners;
        for _ in 0..3 {
            let snapshot = traced.snapshot();
            let missed = usize::try_from(snapshot.missed.total()).expect("few");
            let slack = i64::try_from(WORKERS + missed).expect("few");
            let sum = sum_of_gauges(&snapshot);
            assert!(
                // A connection consists of its client, its server and, for a moment, the server's
                // request socket.
                (held - slack..=held + 3 * slack).contains(&sum),
                "start {start}: {sum} of {held} sockets"
            );
        }
        connections += load.stop();
        seconds += began.elapsed().as_secs_f64();
        traced.assert_equal(&format!("start {start}"));
    }
    println!("20 starts at {:.0} connections/s", connections as f64 / seconds);
    drop(idle);
}

#[test]
fn load_with_dropped_events_is_reported_and_corrected_by_one_scan() {
    let transitions = scaled(1_000_000);
    let _namespace = Namespace::enter();
    let mut traced =
        Traced::with(&Options { testing: Testing { drop_one_in: 97, ..testing() }, ..options() });
    let load = Load::start(2, Style::Mixed);
    let mut snapshot = traced.snapshot();
    while snapshot.total() + snapshot.missed.transitions < transitions {
        std::thread::sleep(Duration::from_millis(100));
        snapshot = traced.snapshot();
        assert!(sum_of_gauges(&snapshot) >= 0);
        assert!(
            snapshot.missed.transitions == 0 || !snapshot.is_exact(),
            "exact with {} missed",
            snapshot.missed.transitions
        );
    }
    let _ = load.stop();
    await_end_of_sockets();
    let snapshot = traced.snapshot();
    assert!(
        snapshot.missed.transitions >= transitions / 98,
        "{} of {transitions} were dropped",
        snapshot.missed.transitions
    );
    assert!(!snapshot.is_exact());
    assert!(traced.compare().is_err(), "one event in 97 was dropped, and no gauge is off");
    traced.reconcile();
    assert!(traced.snapshot().is_exact());
    traced.compare().expect("one scan makes every gauge equal");
}

#[test]
fn load_makes_auto_reconcile_scan_by_itself() {
    let _namespace = Namespace::enter();
    let mut traced =
        Traced::with(&Options { testing: Testing { drop_one_in: 97, ..testing() }, ..options() });
    // The dropped events may leave every gauge right. The audit then makes a scan unnecessary, and
    // the test makes more connections, in at most ten attempts.
    let has_scanned = (1..=10).any(|attempt| {
        let load = Load::start(1, Style::Mixed);
        wait::until("1,009 connections", || load.completed() >= 1009);
        traced.tracer.reconcile_if_due(Reconcile::Off).expect("nothing to do");
        assert_eq!(traced.snapshot().reconciles, 0);
        let _ = load.stop();
        await_end_of_sockets();
        traced.tracer.reconcile_if_due(Reconcile::Auto).expect("a scan can be made");
        let snapshot = traced.snapshot();
        println!("attempt {attempt}: {} scans, {} audits", snapshot.reconciles, snapshot.audits);
        assert!(snapshot.is_exact() && snapshot.missed.transitions > 0, "{snapshot:?}");
        snapshot.reconciles == 1
    });
    assert!(has_scanned, "no dropped event made a gauge wrong");
    traced.tracer.reconcile_if_due(Reconcile::Auto).expect("nothing to do");
    assert_eq!(traced.snapshot().reconciles, 1, "a second scan without a miss");
    traced.assert_equal("after the load");
}

#[test]
fn load_with_uncounted_losses_is_detected_when_it_pauses() {
    let _namespace = Namespace::enter();
    // The value of `drop_one_in` is not a power of two and not a multiple of six, the number of
    // transitions of a connection. Each kind of transition is therefore dropped sometimes.
    let options = Options {
        testing: Testing { drop_one_in: 97, drop_in_silence: true, ..testing() },
        ..options()
    };
    let mut traced = Traced::with(&options);
    // If as many births as ends of sockets were lost, the sums that the tracer compares are equal.
    // The test then makes more connections, in at most ten attempts.
    let is_found_out = (1..=10).any(|attempt| {
        let load = Load::start(1, Style::Mixed);
        wait::until("1,009 connections", || load.completed() >= 1009);
        let _ = load.stop();
        await_end_of_sockets();
        let _ = traced.snapshot();
        let snapshot = traced.snapshot();
        assert_eq!(snapshot.missed.events(), 0, "the kernel is silent");
        println!("attempt {attempt}: exact is {}", snapshot.is_exact());
        !snapshot.is_exact()
    });
    assert!(is_found_out, "but its own sums are not");
    traced.tracer.reconcile_if_due(Reconcile::Auto).expect("a scan can be made");
    let corrected = traced.snapshot();
    assert_eq!((corrected.reconciles, corrected.is_exact()), (1, true));
    traced.compare().expect("one scan makes every gauge equal");
}

/// When a program is removed, the kernel discards the program's counts. This test compares the
/// number of program runs and the total time of the runs, because the kernel always has both
/// counts. The test also compares the numbers of missed events, but events are missed only by
/// chance.
#[test]
fn load_counts_of_programs_do_not_fall_when_hooks_are_replaced() {
    let _namespace = Namespace::enter();
    let timers = Some(Provider::Timer);
    let options = Options { time_wait: timers, syn_recv: timers, statistics: true, ..options() };
    let mut traced = Traced::with(&options);
    let live = traced.tracer.live();
    let load = Load::start(2, Style::Mixed);
    wait::until("101 connections", || load.completed() >= 101);
    let mut before = live.read().expect("a cut can be made");
    let timer_start = before.runs.iter().find(|runs| runs.program == "timer_start");
    assert!(timer_start.is_some_and(|runs| runs.runs > 0), "{:?}", before.runs);
    for minis in Minis::BOTH {
        live.replace(minis, "a test has it replaced").expect("the kernel takes programs out");
        let after = live.read().expect("a cut can be made");
        let (then, now) = (before.missed, after.missed);
        println!("{} replaced: {then:?}, then {now:?}", minis.name());
        assert!(now.time_wait >= then.time_wait, "{then:?}, then {now:?}");
        assert!(now.syn_recv >= then.syn_recv, "{then:?}, then {now:?}");
        for then in &before.runs {
            let now = after.runs.iter().find(|now| now.program == then.program);
            let goes_on = now.is_some_and(|now| now.runs >= then.runs && now.time >= then.time);
            assert!(goes_on, "{}: {then:?}, then {now:?}", minis.name());
        }
        before = after;
    }
    let _ = load.stop();
}

#[test]
fn load_is_verified_when_it_pauses() {
    let _namespace = Namespace::enter();
    let mut traced = Traced::with(&options());
    let load = Load::start(1, Style::Mixed);
    wait::until("1,009 connections", || load.completed() >= 1009);
    assert_eq!(verify(&mut traced, 0), Verdict::Moving);
    let _ = load.stop();
    await_end_of_sockets();
    // If the kernel reported a missed event, the tracer does not compare the gauges with the list.
    if verify(&mut traced, 0) == Verdict::Inexact {
        traced.reconcile();
    }
    assert_eq!(verify(&mut traced, 0), Verdict::Equal);
    let difference = Difference { state: State::Closing, current: 0, listed: 2 };
    assert_eq!(verify(&mut traced, 2), Verdict::Differs(vec![difference]));
}

/// Compares the gauges with a list of sockets, to which the test adds `made_up` sockets in CLOSING.
fn verify(traced: &mut Traced, made_up: u64) -> Verdict {
    let list = || -> Result<_, Error> {
        let list = sock_diag::count_by_state(&Filter::default());
        let mut listed = list.expect("this kernel has sock_diag");
        listed[State::Closing.number()] += made_up;
        Ok(listed)
    };
    traced.tracer.verify(list).expect("a cut can be made")
}

#[test]
fn load_without_a_scan_equals_the_count_of_perf() {
    const TRANSITIONS: u64 = 200_000;
    if !is_emulated() {
        println!(
            "skipped: perf counts the whole machine, so it takes one of its own: `cargo xtask vm`"
        );
        return;
    }
    let _namespace = Namespace::enter();
    let mut traced = Traced::start();
    let load = Load::start(2, Style::Mixed);
    while traced.snapshot().total() < TRANSITIONS {
        std::thread::sleep(Duration::from_millis(100));
    }
    let _ = load.stop();
    await_end_of_sockets();
    let snapshot = traced.snapshot();
    let (seen, missed) = (snapshot.total(), snapshot.missed.transitions);
    println!("{seen} transitions, {missed} missed");
    assert_eq!(seen + missed, traced.fired(), "by BPF and by perf");
    if snapshot.is_exact() {
        traced.compare().expect("nothing was missed, and no scan made");
    }
}

#[test]
fn load_of_ten_million_transitions_ends_exact_and_takes_no_memory() {
    let transitions = scaled(10_000_000);
    let _namespace = Namespace::enter();
    let mut traced = Traced::start();
    let load = Load::start(2, Style::Rst);
    let began = Instant::now();
    wait::until("the load", || load.completed() >= 10_007);
    // One scan and one snapshot are made first, so that their buffers are allocated.
    traced.reconcile();
    let mut snapshot = traced.snapshot();
    let before = resident_bytes(process::id());
    while snapshot.total() + snapshot.missed.transitions < transitions {
        std::thread::sleep(Duration::from_millis(200));
        traced.tracer.reconcile_if_due(Reconcile::Auto).expect("a scan can be made");
        snapshot = traced.snapshot();
        sum_of_gauges(&snapshot);
    }
    let growth = resident_bytes(process::id()).saturating_sub(before);
    let rate = snapshot.total() as f64 / began.elapsed().as_secs_f64();
    let _ = load.stop();
    traced.assert_equal(&format!("after {transitions} transitions"));
    let missed = traced.snapshot().missed.transitions;
    println!("{rate:.0} transitions/s, missed {missed}, resident memory grew by {growth} bytes");
    // Memory may grow by less than one byte per transition. An emulated machine makes a fiftieth of
    // the transitions but needs the same amount of memory.
    let most = if is_emulated() { 16 << 20 } else { 2 << 20 };
    assert!(growth < most, "resident memory grew by {growth} bytes");
}

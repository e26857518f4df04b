//! The books, kept over made-up readings.

use std::time::{Instant, SystemTime};

use tcpstate_common::abi::{Flow, MiniCounters, TRANSITION_SLOTS, transition_slot};

use super::*;
use crate::{
    aggregate::Runs,
    source::{Counts, KernelCounters, Moment, ProgramRuns},
};

/// Counts of so many transitions `from -> to`, as the kernel half keeps them.
fn counts(events: &[(State, State, u64)]) -> Counts {
    let mut states = [Flow::default(); STATE_SLOTS];
    let mut transitions = [0; TRANSITION_SLOTS];
    for &(from, to, count) in events {
        states[from.number()].left += count;
        states[to.number()].entered += count;
        transitions[transition_slot(from.number(), to.number())] += count;
    }
    Counts::new(&states, &transitions, &MiniCounters::default())
}

/// Only full sockets are counted.
const FULL_ONLY: Providers = Providers { time_wait: Provider::None, syn_recv: Provider::None };

fn missed(transitions: u64) -> Missed {
    Missed { transitions, ..Missed::default() }
}

fn reading(counts: Counts, transitions: u64) -> Reading {
    let at = Moment { monotonic: Instant::now(), wall: SystemTime::now() };
    Reading {
        at,
        counts,
        missed: missed(transitions),
        kernel: KernelCounters::default(),
        runs: Vec::new(),
        process_time: Duration::ZERO,
    }
}

fn pass(base: &[(State, u64)], zero: Counts, end: Reading, missed_before: u64) -> Pass {
    let mut population = Population::default();
    for &(state, sockets) in base {
        population.full[state.number()] = sockets;
    }
    Pass {
        zero,
        base: population,
        end,
        missed_before: missed(missed_before),
        visited: 0,
        map_full: 0,
        map_errors: 0,
        cost: Duration::from_millis(1),
    }
}

const CLOSING_DOWN: (State, State) = (State::Established, State::CloseWait);

fn closing_down(count: u64) -> Counts {
    counts(&[(CLOSING_DOWN.0, CLOSING_DOWN.1, count)])
}

fn opened_with_100_established() -> Ledger {
    Ledger::open(
        &pass(&[(State::Established, 100)], Counts::default(), reading(Counts::default(), 0), 0),
        FULL_ONLY,
    )
}

fn assert_identity(ledger: &Ledger, snapshot: &Snapshot) {
    for (opening, now) in ledger.opening().iter().zip(snapshot.states) {
        let (Some(opening), Some(current)) = (opening.current, now.current) else { continue };
        let (entered, left) = (now.entered.expect("seen"), now.left.expect("seen"));
        let moved = i64::try_from(entered).expect("small") - i64::try_from(left).expect("small");
        assert_eq!(current, opening + moved + now.corrected.expect("seen"));
    }
}

#[test]
fn what_moved_during_the_first_pass_is_in_the_opening_and_not_in_the_totals() {
    let during = reading(closing_down(3), 0);
    let mut ledger =
        Ledger::open(&pass(&[(State::Established, 100)], Counts::default(), during, 0), FULL_ONLY);
    let snapshot = ledger.snapshot(&reading(closing_down(5), 0));
    assert_eq!(snapshot.gauge(State::Established).and_then(|gauge| gauge.current), Some(95));
    assert_eq!(snapshot.gauge(State::CloseWait).and_then(|gauge| gauge.current), Some(5));
    assert_eq!(snapshot.gauge(State::CloseWait).and_then(|gauge| gauge.entered), Some(2));
    assert_eq!(snapshot.count(CLOSING_DOWN.0, CLOSING_DOWN.1), 2);
    assert_identity(&ledger, &snapshot);
}

#[test]
fn a_pass_corrects_what_was_missed_and_the_identity_holds() {
    let mut ledger = opened_with_100_established();
    // Ten sockets moved; four of the events were missed.
    let before = ledger.snapshot(&reading(closing_down(6), 4));
    assert!(!before.is_exact());
    assert_eq!(before.unreconciled, 4);
    ledger.correct(&pass(
        &[(State::Established, 90), (State::CloseWait, 10)],
        closing_down(6),
        reading(closing_down(7), 4),
        4,
    ));
    let after = ledger.snapshot(&reading(closing_down(7), 4));
    assert!(after.is_exact());
    assert_eq!(after.missed.events(), 4);
    assert_eq!(after.reconciles, 1);
    assert_eq!(after.gauge(State::Established).and_then(|gauge| gauge.current), Some(89));
    assert_eq!(after.gauge(State::CloseWait).and_then(|gauge| gauge.corrected), Some(4));
    assert_identity(&ledger, &after);
}

#[test]
fn misses_during_a_pass_bound_the_error() {
    let mut ledger = opened_with_100_established();
    ledger.correct(&pass(
        &[(State::Established, 100)],
        Counts::default(),
        reading(Counts::default(), 7),
        4,
    ));
    assert_eq!(ledger.snapshot(&reading(Counts::default(), 7)).unreconciled, 3);
}

#[test]
fn a_full_map_is_no_exact_pass() {
    let mut ledger = opened_with_100_established();
    let mut full =
        pass(&[(State::Established, 90)], Counts::default(), reading(Counts::default(), 0), 0);
    full.map_full = 10;
    ledger.correct(&full);
    let snapshot = ledger.snapshot(&reading(Counts::default(), 0));
    assert_eq!((snapshot.map_full, snapshot.unreconciled, snapshot.is_exact()), (10, 10, false));
}

#[test]
fn no_gauge_is_below_zero_and_the_missing_event_is_owned_up_to() {
    let mut ledger = opened_with_100_established();
    let impossible = counts(&[(State::LastAck, State::Close, 2)]);
    let snapshot = ledger.snapshot(&reading(impossible, 0));
    assert_eq!(snapshot.gauge(State::LastAck).and_then(|gauge| gauge.current), Some(0));
    assert_eq!(snapshot.unreconciled, 2);
    assert_identity(&ledger, &snapshot);
}

#[test]
fn time_wait_is_unknown_rather_than_zero() {
    let snapshot = opened_with_100_established().snapshot(&reading(Counts::default(), 0));
    assert_eq!(snapshot.gauge(State::TimeWait), Some(Gauge::default()));
}

#[test]
fn a_clock_that_is_set_back_changes_no_rate_and_no_duration() {
    let begin = reading(Counts::default(), 0);
    let mut ledger = Ledger::open(
        &pass(&[(State::Established, 100)], Counts::default(), begin.clone(), 0),
        FULL_ONLY,
    );
    let mut after = |seconds, wall: SystemTime, closed| {
        let monotonic = begin.at.monotonic + Duration::from_secs(seconds);
        let at = Moment { monotonic, wall };
        ledger.snapshot(&Reading { at, ..reading(closing_down(closed), 0) })
    };
    let hour = Duration::from_secs(3600);
    let before = after(2, begin.at.wall + Duration::from_secs(2), 10);
    let set_back = after(4, begin.at.wall - hour, 20);
    let set_ahead = after(6, begin.at.wall + hour, 30);
    for (snapshot, elapsed) in [(before, 2), (set_back, 4), (set_ahead, 6)] {
        assert_eq!(snapshot.elapsed, Duration::from_secs(elapsed));
        assert_eq!(snapshot.interval, Duration::from_secs(2));
        assert_eq!(snapshot.moved[6].map(|flow| flow.entered), Some(10), "CLOSE_WAIT");
        assert_eq!(snapshot.transitions[0].in_interval, 10);
    }
}

#[test]
fn cost_is_counted_from_the_start_and_from_the_interval_before() {
    let measured = |runs, micros| Reading {
        runs: vec![ProgramRuns {
            program: "inet_sock_set_state".into(),
            runs,
            time: Duration::from_micros(micros),
        }],
        ..reading(Counts::default(), 0)
    };
    let mut ledger = Ledger::open(&pass(&[], Counts::default(), measured(1000, 100), 0), FULL_ONLY);
    ledger.snapshot(&measured(1100, 110));
    let cost = &ledger.snapshot(&measured(1300, 150)).cost[0];
    assert_eq!((cost.total.count, cost.total.time), (300, Duration::from_micros(50)));
    assert_eq!(cost.in_interval.ns_per_run(), Some(200.0));
    assert_eq!(cost.in_interval.cpu_share(Duration::from_millis(4)), Some(0.01));
    assert_eq!(Runs::default().ns_per_run(), None);
}

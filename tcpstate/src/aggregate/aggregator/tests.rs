//! Tests that compute gauges from synthetic readings. The file is long because all tests share the
//! functions that make readings.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Instant, SystemTime},
};

use tcpstate_common::abi::{
    Cause, Flow, MiniCounters, STATE_SLOTS, TRANSITION_SLOTS, transition_slot,
};

use super::*;
use crate::{
    report::Runs,
    source::{
        Activity, Counts, KernelCounters, Listing, Moment, Namespace, OwnerReading, Population,
        ProgramRuns,
    },
};

/// Returns counters with the given number of transitions for each pair of states.
fn counts(events: &[(State, State, u64)]) -> Counts {
    let mut states = [Flow::default(); STATE_SLOTS];
    let mut transitions = [0; TRANSITION_SLOTS];
    for &(from, to, count) in events {
        states[from.number()].left += count;
        states[to.number()].entered += count;
        transitions[transition_slot(from.number(), to.number())] += count;
    }
    Counts::new(Flows::new(&states, &MiniCounters::default()), &transitions)
}

/// Providers for tests that count only full sockets.
const FULL_ONLY: Providers = Providers { time_wait: Provider::None, syn_recv: Provider::None };

fn missed(transitions: u64) -> Missed {
    Missed { transitions, ..Missed::default() }
}

fn reading(counts: Counts, transitions: u64) -> Reading {
    let at = Moment { monotonic: Instant::now(), wall: SystemTime::now() };
    Reading {
        at,
        counts,
        families: None,
        namespaces: None,
        missed: missed(transitions),
        losses: None,
        histograms: None,
        kernel: KernelCounters::default(),
        owners: None,
        is_still: false,
        runs: Vec::new(),
        process_time: Duration::ZERO,
    }
}

fn scan(base: &[(State, u64)], zero: Counts, end: Reading, missed_before: u64) -> Scan {
    let mut population = Population::default();
    for &(state, sockets) in base {
        population.full[state.number()] = sockets;
    }
    Scan {
        zero: reading(zero, missed_before),
        base: population,
        family_bases: None,
        bases: BTreeMap::new(),
        end,
        missed_before: missed(missed_before),
        visited: 0,
        map_full: 0,
        map_errors: 0,
        unentered: 0,
        hidden: BTreeSet::new(),
        cost: Duration::from_millis(1),
    }
}

const CLOSING_DOWN: (State, State) = (State::Established, State::CloseWait);

fn closing_down(count: u64) -> Counts {
    counts(&[(CLOSING_DOWN.0, CLOSING_DOWN.1, count)])
}

fn opened_with_100_established() -> Aggregator {
    Aggregator::open(
        &scan(&[(State::Established, 100)], Counts::default(), reading(Counts::default(), 0), 0),
        FULL_ONLY,
    )
}

fn assert_identity(aggregator: &Aggregator, snapshot: &Snapshot) {
    for (opening, now) in aggregator.opening().iter().zip(snapshot.states) {
        let (Some(opening), Some(current)) = (opening.current, now.current) else { continue };
        let (entered, left) = (now.entered.expect("seen"), now.left.expect("seen"));
        let moved = i64::try_from(entered).expect("small") - i64::try_from(left).expect("small");
        assert_eq!(current, opening + moved + now.corrected.expect("seen"));
    }
}

#[test]
fn moves_during_the_first_scan_are_in_the_start_and_not_in_the_totals() {
    let during = reading(closing_down(3), 0);
    let mut aggregator = Aggregator::open(
        &scan(&[(State::Established, 100)], Counts::default(), during, 0),
        FULL_ONLY,
    );
    let snapshot = aggregator.snapshot(&reading(closing_down(5), 0));
    assert_eq!(snapshot.gauge(State::Established).and_then(|gauge| gauge.current), Some(95));
    assert_eq!(snapshot.gauge(State::CloseWait).and_then(|gauge| gauge.current), Some(5));
    assert_eq!(snapshot.gauge(State::CloseWait).and_then(|gauge| gauge.entered), Some(2));
    assert_eq!(snapshot.count(CLOSING_DOWN.0, CLOSING_DOWN.1), 2);
    assert_identity(&aggregator, &snapshot);
}

#[test]
fn a_scan_corrects_missed_moves_and_keeps_the_identity() {
    let mut aggregator = opened_with_100_established();
    // Ten sockets changed state, and tracing missed four of the ten events.
    let before = aggregator.snapshot(&reading(closing_down(6), 4));
    assert!(!before.is_exact());
    assert_eq!(before.unreconciled, Some(4));
    aggregator.correct(
        &scan(
            &[(State::Established, 90), (State::CloseWait, 10)],
            closing_down(6),
            reading(closing_down(7), 4),
            4,
        ),
        false,
    );
    let after = aggregator.snapshot(&reading(closing_down(7), 4));
    assert_eq!(after.unreconciled, Some(0));
    assert!(!after.is_exact(), "no provider sees mini sockets");
    assert_eq!(after.missed.events(), 4);
    assert_eq!(after.reconciles, 1);
    assert_eq!(after.gauge(State::Established).and_then(|gauge| gauge.current), Some(89));
    assert_eq!(after.gauge(State::CloseWait).and_then(|gauge| gauge.corrected), Some(4));
    assert_identity(&aggregator, &after);
}

#[test]
fn what_scans_correct_bounds_the_error_of_counts_by_owner() {
    let mut aggregator = opened_with_100_established();
    let now = |missed| Reading {
        owners: Some(Arc::new(OwnerReading { untracked: missed, ..OwnerReading::default() })),
        ..reading(Counts::default(), 0)
    };
    let missed = |snapshot: &Snapshot| snapshot.owners.as_ref().expect("by owner").missed;
    assert_eq!(missed(&aggregator.snapshot(&now(2))), 2);
    for found in [97, 99] {
        let base = [(State::Established, found)];
        aggregator.correct(&scan(&base, Counts::default(), now(2), 0), false);
    }
    assert_eq!(missed(&aggregator.snapshot(&now(2))), 2 + 3 + 2);
}

#[test]
fn misses_during_a_scan_bound_the_error() {
    let mut aggregator = opened_with_100_established();
    aggregator.correct(
        &scan(&[(State::Established, 100)], Counts::default(), reading(Counts::default(), 7), 4),
        false,
    );
    assert_eq!(aggregator.snapshot(&reading(Counts::default(), 7)).unreconciled, Some(3));
}

/// In an earlier version, the total of missed events decreased when a dead hook was replaced. The
/// module `source` now keeps the missed events of a replaced hook in the total. If a count of
/// missed events decreases anyway, the difference must not wrap around, and must not hide other
/// missed events.
#[test]
fn decreased_miss_counts_do_not_wrap() {
    let with = |transitions, time_wait| Missed { transitions, time_wait, ..Missed::default() };
    let reading_with = |missed| Reading { missed, ..reading(Counts::default(), 0) };
    let mut aggregator =
        Aggregator::open(&scan(&[], Counts::default(), reading_with(with(1, 9)), 0), FULL_ONLY);
    let mut second = scan(&[], Counts::default(), reading_with(with(4, 20)), 0);
    (second.missed_before, second.zero.missed) = (with(4, 20), with(4, 20));
    aggregator.correct(&second, false);
    let fell = with(6, 2);
    let snapshot = aggregator.snapshot(&reading_with(fell));
    assert_eq!((snapshot.unreconciled, snapshot.missed), (Some(2), with(5, 0)));
}

#[test]
fn a_full_map_makes_a_scan_inexact() {
    let mut aggregator = opened_with_100_established();
    let mut full =
        scan(&[(State::Established, 90)], Counts::default(), reading(Counts::default(), 0), 0);
    full.map_full = 10;
    aggregator.correct(&full, false);
    let snapshot = aggregator.snapshot(&reading(Counts::default(), 0));
    assert_eq!(
        (snapshot.map_full, snapshot.unreconciled, snapshot.is_exact()),
        (10, Some(10), false)
    );
}

#[test]
fn gauges_are_never_negative_and_the_missed_event_is_reported() {
    let mut aggregator = opened_with_100_established();
    let impossible = counts(&[(State::LastAck, State::Close, 2)]);
    let snapshot = aggregator.snapshot(&reading(impossible, 0));
    assert_eq!(snapshot.gauge(State::LastAck).and_then(|gauge| gauge.current), Some(0));
    assert_eq!(snapshot.unreconciled, None, "nothing bounds the error");
    assert_identity(&aggregator, &snapshot);
}

#[test]
fn an_audit_bounds_the_error_only_while_nothing_moves() {
    let with = |activity| {
        let kernel = KernelCounters { activity, ..KernelCounters::default() };
        Reading { kernel, ..reading(Counts::default(), 0) }
    };
    let still = with(Some(Activity::default()));
    let mut aggregator = opened_with_100_established();
    let zero = still.clone();
    let found = scan(&[(State::Established, 97)], Counts::default(), still.clone(), 0);
    aggregator.compare(&Scan { zero, ..found });
    assert_eq!(aggregator.snapshot(&still).unreconciled, Some(3));
    // More events may be lost in silence. Lost events do not change the counts.
    assert_eq!(aggregator.snapshot(&with(None)).unreconciled, None);
}

#[test]
fn silent_hooks_are_believed_only_as_long_as_an_audit_proves_the_gauges() {
    let with = |born| {
        let kernel = KernelCounters {
            counts_births: true,
            time_wait_sockets: Some(0),
            time_wait_turnover: Some(born),
            ..KernelCounters::default()
        };
        Reading { kernel, ..reading(Counts::default(), 0) }
    };
    let providers = Providers { time_wait: Provider::Timer, syn_recv: Provider::None };
    let first = scan(&[], Counts::default(), with(0), 0);
    let mut aggregator = Aggregator::open(&first, providers);
    assert_eq!(aggregator.snapshot(&with(0)).unreconciled, Some(0));
    let after_a_birth = with(1);
    assert_eq!(aggregator.snapshot(&after_a_birth).unreconciled, None);
    let cost = Duration::from_millis(1);
    aggregator.audited(&after_a_birth, Some((0, &Listing::default())), cost);
    assert_eq!(aggregator.snapshot(&with(1)).unreconciled, Some(0));
    assert_eq!(aggregator.snapshot(&with(2)).unreconciled, None);
}

#[test]
fn time_wait_is_unknown_instead_of_zero() {
    let snapshot = opened_with_100_established().snapshot(&reading(Counts::default(), 0));
    assert_eq!(snapshot.gauge(State::TimeWait), Some(Gauge::default()));
}

#[test]
fn clock_changes_affect_no_rate_and_no_duration() {
    let begin = reading(Counts::default(), 0);
    let mut aggregator = Aggregator::open(
        &scan(&[(State::Established, 100)], Counts::default(), begin.clone(), 0),
        FULL_ONLY,
    );
    let mut after = |seconds, wall: SystemTime, closed| {
        let monotonic = begin.at.monotonic + Duration::from_secs(seconds);
        let at = Moment { monotonic, wall };
        aggregator.snapshot(&Reading { at, ..reading(closing_down(closed), 0) })
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
    let mut aggregator =
        Aggregator::open(&scan(&[], Counts::default(), measured(1000, 100), 0), FULL_ONLY);
    aggregator.snapshot(&measured(1100, 110));
    let cost = &aggregator.snapshot(&measured(1300, 150)).cost[0];
    assert_eq!((cost.total.count, cost.total.time), (300, Duration::from_micros(50)));
    assert_eq!(cost.in_interval.ns_per_run(), Some(200.0));
    assert_eq!(cost.in_interval.cpu_share(Duration::from_millis(4)), Some(0.01));
    assert_eq!(Runs::default().ns_per_run(), None);
}

const ONE: Identity = Identity(1);
const OTHER: Identity = Identity(2);

/// Returns a reading with the given counts of the given namespaces.
fn reading_of(namespaces: &[(Identity, bool, Counts)], unlisted: u64) -> Reading {
    let counts = namespaces.iter().fold(Counts::default(), |sum, (_, _, one)| sum + one.clone());
    let row = |(identity, is_gone, counts): &(Identity, bool, Counts)| {
        let namespace = Namespace {
            inode: 4_026_532_000 + identity.0,
            name: None,
            is_gone: *is_gone,
            flows: counts.flows,
        };
        (*identity, namespace)
    };
    let missed = Missed { unlisted, ..Missed::default() };
    Reading { namespaces: Some(namespaces.iter().map(row).collect()), missed, ..reading(counts, 0) }
}

/// Returns a scan during which no socket changed.
fn scan_of(end: Reading, unlisted_before: u64, bases: &[(Identity, State, u64)]) -> Scan {
    let mut scan = scan(&[], Counts::default(), reading(Counts::default(), 0), 0);
    for &(identity, state, sockets) in bases {
        let base: &mut Population = scan.bases.entry(identity).or_default();
        base.full[state.number()] = sockets;
        scan.base.full[state.number()] += sockets;
    }
    scan.missed_before = Missed { unlisted: unlisted_before, ..Missed::default() };
    scan.zero = end.clone();
    scan.end = end;
    scan
}

fn namespaces(snapshot: &Snapshot) -> Vec<(u64, i64)> {
    let slot = State::GAUGES.iter().position(|&state| state == State::Established);
    let gauge = |states: &[Gauge; 10]| states[slot.expect("it is a gauge")].current.expect("seen");
    let namespaces = snapshot.namespaces.iter().flatten();
    namespaces.map(|row| (row.netns - 4_026_532_000, gauge(&row.states))).collect()
}

#[test]
fn namespaces_have_rows_until_they_are_gone_and_empty() {
    let nothing = reading_of(&[], 0);
    let mut aggregator = Aggregator::open(&scan_of(nothing, 0, &[]), FULL_ONLY);
    let lone = counts(&[(State::Close, State::Established, 3)]);
    let snapshot = aggregator.snapshot(&reading_of(&[(ONE, false, lone.clone())], 0));
    assert_eq!(namespaces(&snapshot), [(1, 3)]);
    // The namespace no longer exists, but three sockets of the namespace remain.
    let snapshot = aggregator.snapshot(&reading_of(&[(ONE, true, lone.clone())], 0));
    assert_eq!((namespaces(&snapshot), aggregator.take_finished()), (vec![(1, 3)], vec![]));
    let ended = lone + counts(&[(State::Established, State::Close, 3)]);
    let last = reading_of(&[(ONE, true, ended.clone())], 0);
    assert_eq!(namespaces(&aggregator.snapshot(&last)), [(1, 0)], "its last numbers");
    assert_eq!(aggregator.take_finished(), [ONE]);
    assert_eq!(aggregator.take_finished(), []);
}

#[test]
fn namespaces_that_reappear_start_at_zero() {
    let timers = Providers { time_wait: Provider::Timer, syn_recv: Provider::Timer };
    let mut aggregator = Aggregator::open(&scan_of(reading_of(&[], 0), 0, &[]), timers);
    // Five time-wait sockets were created, and all five expired.
    let mut minis = MiniCounters::default();
    minis.states[State::TimeWait.number()] = Flow { entered: 5, left: 5 };
    minis.exits[Cause::Expired as usize] = 5;
    let expired =
        Counts::new(Flows::new(&[Flow::default(); STATE_SLOTS], &minis), &[0; TRANSITION_SLOTS]);
    aggregator.snapshot(&reading_of(&[(ONE, true, expired)], 0));
    assert_eq!(aggregator.take_finished(), [ONE]);
    // If an event of the namespace arrives late, the BPF programs create another entry for the
    // namespace.
    let late = counts(&[(State::Close, State::Established, 1)]);
    let snapshot = aggregator.snapshot(&reading_of(&[(ONE, true, late)], 0));
    let row = &snapshot.namespaces.as_ref().expect("there are rows")[0];
    assert_eq!(row.time_wait.exits_in_interval.expired, Some(0));
    assert_eq!(namespaces(&snapshot), [(1, 1)]);
}

#[test]
fn a_partly_seen_namespace_has_no_row_until_a_scan() {
    let mut aggregator = Aggregator::open(&scan_of(reading_of(&[], 0), 0, &[]), FULL_ONLY);
    let one = (ONE, false, counts(&[(State::Close, State::Established, 5)]));
    // The map was already full when the first events of the other namespace occurred.
    let other = (OTHER, false, counts(&[(State::Established, State::CloseWait, 1)]));
    let snapshot = aggregator.snapshot(&reading_of(std::slice::from_ref(&one), 0));
    assert_eq!(namespaces(&snapshot), [(1, 5)]);
    let reading = reading_of(&[one.clone(), other.clone()], 7);
    let snapshot = aggregator.snapshot(&reading);
    assert_eq!((namespaces(&snapshot), snapshot.map_full), (vec![(1, 5)], 7));
    assert_eq!(aggregator.unlisted(reading.missed), 7);
    let bases = [(ONE, State::Established, 5), (OTHER, State::Established, 2)];
    aggregator.correct(&scan_of(reading.clone(), 7, &bases), false);
    let snapshot = aggregator.snapshot(&reading);
    assert_eq!(namespaces(&snapshot), [(1, 5), (2, 2)]);
    assert_eq!(aggregator.unlisted(reading.missed), 0);
}

#[test]
fn a_row_keeps_the_identity_and_a_scan_corrects_it() {
    let start = reading_of(&[(ONE, false, Counts::default())], 0);
    let mut aggregator =
        Aggregator::open(&scan_of(start, 0, &[(ONE, State::Established, 4)]), FULL_ONLY);
    let opening = aggregator.opening_rows().expect("there are rows");
    assert_eq!(opening.len(), 1);
    let reading = reading_of(&[(ONE, false, Counts::default())], 0);
    aggregator.correct(&scan_of(reading.clone(), 0, &[(ONE, State::Established, 3)]), false);
    let snapshot = aggregator.snapshot(&reading);
    let row = &snapshot.namespaces.as_ref().expect("there are rows")[0];
    for (opening, now) in opening[0].states.iter().zip(row.states) {
        let moved = now.entered.unwrap_or(0).cast_signed() - now.left.unwrap_or(0).cast_signed();
        let sum = opening.current.map(|then| then + moved + now.corrected.unwrap_or(0));
        assert_eq!(now.current, sum.filter(|_| now.current.is_some()));
    }
    assert_eq!(namespaces(&snapshot), [(1, 3)]);
}

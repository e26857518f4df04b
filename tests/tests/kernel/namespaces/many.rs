//! Tests hundreds of namespaces, and more namespaces than the map has space for. Memory must be
//! bounded, the counts of each namespace must be right, and a lack of space must be reported.

use std::{
    process,
    time::{Duration, Instant},
};

use tcpstate::{aggregate::Reconcile, probe::Options, report::Snapshot};
use tcpstate_common::State;
use tcpstate_tests::{
    measure::resident_bytes,
    netns::{Namespace, Place},
    traced::Traced,
    traffic::{Family, Idle, Listener, Load, Style, shutdown},
    wait,
};

use super::{Mixture, all, assert_rows_equal, assert_sum, current, is_hidden, is_lossless, row};

/// The number of namespaces in a test. The default number is lower on an emulated machine. An
/// environment variable can set the number of namespaces.
fn many(variable: &str, here: usize, emulated: usize) -> usize {
    let asked_for = std::env::var(variable).ok().and_then(|number| number.parse().ok());
    asked_for.unwrap_or(if is_lossless() { emulated } else { here })
}

#[test]
fn namespaces_removed_by_the_hundred_leave_no_growth() {
    let count = many("TCPSTATE_TEST_CHURN", 500, 60);
    let _namespace = Namespace::enter();
    let [steady, other] = [Place::new(), Place::new()];
    let _sockets = steady.inside(|| Mixture::open(Family::V6, 5));
    let mut traced = Traced::unaudited(&all());
    let rows_before = traced.tracer.live().rows().expect("the map can be read");
    let load = other.inside(|| Load::start(1, Style::Rst));
    let (mut bytes_before, mut max_namespaces) = (0, 0);
    let began = Instant::now();
    for number in 0..count {
        let place = Place::new();
        let family = Family::BOTH[number % 2];
        place.inside(|| {
            let listener = Listener::open(family);
            let (clients, servers) = listener.pairs(1);
            shutdown(&clients);
            if number % 3 == 0 {
                drop((clients, servers));
            } else {
                drop((servers, clients));
            }
        });
        if number % 10 == 9 {
            let snapshot = traced.snapshot();
            assert_sum(&snapshot, "while namespaces come and go");
            max_namespaces = max_namespaces.max(snapshot.namespaces.as_ref().map_or(0, Vec::len));
            for row in snapshot.namespaces.iter().flatten() {
                assert!(row.states.iter().all(|gauge| gauge.current >= Some(0)), "{row:?}");
            }
            traced.tracer.reconcile_if_due(Reconcile::Auto).expect("a scan can be made");
        }
        if number == count / 5 {
            bytes_before = resident_bytes(process::id());
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let _ = load.stop();
    let long = Duration::from_secs(120);
    wait::until_within(long, "the rows of those that are gone to go", || {
        traced.tracer.reconcile_if_due(Reconcile::Auto).expect("a scan can be made");
        traced.snapshot();
        traced.tracer.live().rows().expect("the map can be read") <= rows_before + 1
    });
    let growth = resident_bytes(process::id()).saturating_sub(bytes_before);
    println!(
        "{count} namespaces in {seconds:.1} s, {max_namespaces} rows at most, {growth} bytes more"
    );
    assert!(growth < 4 << 20, "{growth} bytes more");
    assert_rows_equal(&mut traced, &[&steady, &other], "afterwards");
    assert_eq!(traced.snapshot().map_full, 0);
}

#[test]
fn namespaces_by_the_hundred_are_bounded_and_right() {
    let count = many("TCPSTATE_TEST_NAMESPACES", 200, 40);
    let _namespace = Namespace::enter();
    let open = |place: &Place| place.inside(|| Idle::open(2, &Family::BOTH[..1]));
    let began = Instant::now();
    let places: Vec<Place> = (0..count).map(|_| Place::new()).collect();
    let _before: Vec<_> = places.iter().step_by(2).map(open).collect();
    let made = began.elapsed();
    let began = Instant::now();
    let bytes_before = resident_bytes(process::id());
    let mut traced = Traced::unaudited(&all());
    let started = began.elapsed();
    let _since: Vec<_> = places.iter().skip(1).step_by(2).map(open).collect();
    let began = Instant::now();
    let snapshot = traced.snapshot();
    let read = began.elapsed();
    assert_sum(&snapshot, "many namespaces");
    for place in &places {
        let shown = row(&snapshot, place).expect("each has a row");
        assert_eq!(current(shown, State::Established), 2, "namespace {}", place.inode());
    }
    let growth = resident_bytes(process::id()).saturating_sub(bytes_before);
    let (_, cost) = traced.tracer.last_scan();
    println!(
        "{count} namespaces, made in {made:.1?}: start in {started:.2?} with a scan of {cost:.2?}, a reading in {read:.2?}, {} KiB more",
        growth >> 10
    );
}

#[test]
fn namespaces_without_room_are_reported_and_get_rows_later() {
    let _namespace = Namespace::enter();
    let in_use = {
        let mut traced = Traced::unaudited(&all());
        traced.tracer.live().rows().expect("the map can be read")
    };
    let max_namespaces = u32::try_from(in_use).expect("few") + 3;
    if !is_lossless() && is_hidden(&mut Traced::unaudited(&all())) {
        println!("skipped: others' sockets in namespaces to which no way leads may take the room");
        return;
    }
    let first: Vec<Place> = (0..3).map(|_| Place::new()).collect();
    let open = |place: &Place| place.inside(|| Mixture::open(Family::V4, 3));
    let first_sockets: Vec<_> = first.iter().map(open).collect();
    let mut traced = Traced::unaudited(&Options { max_namespaces: Some(max_namespaces), ..all() });
    let later: Vec<Place> = (0..4).map(|_| Place::new()).collect();
    let _later_sockets: Vec<_> = later.iter().map(open).collect();
    let snapshot = traced.snapshot();
    assert!(snapshot.map_full > 0, "seven namespaces more fit into three rows more");
    assert_eq!(snapshot.map_full, snapshot.missed.unlisted);
    let with_row = |places: &[Place], snapshot: &Snapshot| {
        places.iter().filter(|place| row(snapshot, place).is_some()).count()
    };
    assert_eq!(with_row(&later, &snapshot), 0, "{:?}", snapshot.namespaces);
    // Returns whether the host's numbers contain all sockets, including sockets of namespaces that
    // are not counted separately.
    let has_all = |snapshot: &Snapshot| {
        let syn_recv = snapshot.gauge(State::SynRecv).and_then(|gauge| gauge.current);
        syn_recv >= Some(7 * 6)
    };
    if !snapshot.is_exact() || !has_all(&snapshot) {
        // If the counts are not exact or are too low, events were missed or lost. A full map cannot
        // be the cause, because a scan would then not correct the counts.
        traced.reconcile();
        let snapshot = traced.snapshot();
        let missed = &snapshot.missed;
        assert!(snapshot.is_exact(), "the host is counted all the same: {missed:?}");
        assert!(has_all(&snapshot), "{:?}", snapshot.states);
    }

    drop((first_sockets, first));
    let long = Duration::from_secs(60);
    wait::until_within(long, "rows for those that had none", || {
        let snapshot = traced.snapshot();
        traced.tracer.reconcile_if_due(Reconcile::Auto).expect("a scan can be made");
        // Other namespaces of the machine may take the free entries of the map first.
        with_row(&later, &snapshot) >= if is_lossless() { 3 } else { 1 }
    });
    let snapshot = traced.snapshot();
    let with_rows: Vec<_> = later.iter().filter(|place| row(&snapshot, place).is_some()).collect();
    assert_rows_equal(&mut traced, &with_rows, "rows made when there was room");
}

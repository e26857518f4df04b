//! Tests other network namespaces: a single namespace, all namespaces counted separately, and one
//! family of sockets.
//!
//! The counts of each namespace are compared with the sockets in the namespace. The machine also
//! has namespaces that the tests did not create. The tests therefore only assert that the host's
//! counts are the sum of the counts of all namespaces.

mod families;
mod many;

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, thread, time::Duration};

use socket2::Socket;
use tcpstate::{
    aggregate::Reconcile,
    probe::{Netns, Options},
    report::{Counted, Limit, NamespaceRow, Provider, Snapshot, Transitions},
};
use tcpstate_common::State;
use tcpstate_tests::{
    audit,
    netns::{Namespace, Place},
    paths,
    traced::{Traced, compare, options, row_of},
    traffic::{Family, Listener, deafen, shutdown},
    truth, wait,
};

fn all() -> Options {
    Options { netns: Netns::All, ..options() }
}

/// Returns options with each hook and provider. If this kernel refuses a hook, the run in virtual
/// machines tests the hook.
fn by_each_provider(options: &Options) -> Vec<Options> {
    audit::mount_tracefs();
    let timers = Options {
        transitions: Some(Transitions::RawTp),
        time_wait: Some(Provider::Timer),
        syn_recv: Some(Provider::Timer),
        ..options.clone()
    };
    let record = Options { transitions: Some(Transitions::Tracepoint), ..options.clone() };
    vec![options.clone(), timers, record]
}

/// Returns whether the kernel counts every event that it withholds from BPF programs (see `audit`).
/// In a virtual machine of the tests, the kernel counts every lost event.
fn is_lossless() -> bool {
    std::env::var_os("TCPSTATE_TEST_EMULATED").is_some()
}

/// Returns whether the kernel counts every event that this tracer's programs do not receive. Before
/// Linux 6.12 the kernel does not count all events that it withholds from the program of the
/// classic tracepoint. The uncounted events are events of a softirq that interrupts a run of the
/// program (`trace_call_bpf`).
fn are_losses_counted(traced: &Traced) -> bool {
    let probe = traced.tracer.probe();
    let is_classic = probe.transitions == Transitions::Tracepoint;
    is_lossless() && (!is_classic || probe.kernel.counts_misses_of_tracepoints())
}

/// Returns the number of namespaces that tcpstate could not find or enter. The result is `None` if
/// tcpstate found and entered every namespace.
fn hidden_namespaces(limits: &[Limit]) -> Option<u64> {
    limits.iter().find_map(|limit| match limit {
        Limit::Namespaces { unentered } => Some(*unentered),
        _ => None,
    })
}

/// Returns whether tcpstate could not find or enter some namespace.
fn is_hidden(traced: &mut Traced) -> bool {
    hidden_namespaces(&traced.tracer.live().limits()).is_some()
}

/// Asserts that the counts of each namespace equal the sockets in the namespace. If the counts
/// differ because events were missed or lost, the function runs one scan and compares the counts
/// again.
fn assert_rows_equal(traced: &mut Traced, places: &[&Place], label: &str) {
    let found = differences(traced, places, label);
    if found.is_empty() {
        return;
    }
    let missed = traced.snapshot().missed;
    let may_differ = !are_losses_counted(traced) || missed.total() > 0;
    assert!(may_differ, "{found:?}, and nothing was missed");
    println!("{found:?}, {missed:?}: one scan");
    traced.reconcile();
    let found = differences(traced, places, label);
    assert!(found.is_empty(), "after a scan too: {found:?}");
}

/// Returns the counts that differ from the number of sockets in the namespace. The function
/// compares the counts only while no socket changes its state. Half-open connections may end at any
/// time, so the function repeats the readings.
fn differences(traced: &mut Traced, places: &[&Place], label: &str) -> Vec<String> {
    let sockets = || places.iter().map(|place| place.inside(truth::sockets)).collect::<Vec<_>>();
    let mut found = None;
    wait::until(&format!("{label}: sockets to stay as they are"), || {
        let before = sockets();
        wait::grace_period();
        let snapshot = traced.snapshot();
        assert_sum(&snapshot, label);
        let probe = traced.tracer.probe();
        let compare = |place: &&Place| {
            let different = place.inside(|| compare(&snapshot, probe)).err()?;
            Some(format!("{label}, namespace {}: {different}", place.inode()))
        };
        let differences = places.iter().filter_map(compare).collect();
        found = (before == sockets()).then_some(differences);
        found.is_some()
    });
    found.expect("awaited")
}

/// Asserts that the host's counts are the sum of the counts of all namespaces. The counts of the
/// host and of the namespaces are from one cut, so they agree in every reading.
fn assert_sum(snapshot: &Snapshot, label: &str) {
    let rows = snapshot.namespaces.as_ref().expect("each namespace has a row");
    for (slot, state) in State::GAUGES.into_iter().enumerate() {
        let sum: Option<i64> = rows.iter().map(|row| row.states[slot].current).sum();
        // The sums differ if tcpstate set negative gauges to zero, or if the map had no space for a
        // namespace.
        if snapshot.is_exact() && snapshot.missed.unlisted == 0 {
            assert_eq!(
                snapshot.states[slot].current, sum,
                "{label}: {state} of the host, and of all rows"
            );
        }
    }
    let inodes: Vec<_> = rows.iter().map(|row| row.netns).collect();
    assert!(inodes.is_sorted(), "{label}: rows are sorted by inode: {inodes:?}");
}

fn row<'a>(snapshot: &'a Snapshot, place: &Place) -> Option<&'a NamespaceRow> {
    row_of(snapshot.namespaces.as_ref().expect("each namespace has a row"), place.inode())
}

fn current(row: &NamespaceRow, state: State) -> i64 {
    let slot = State::GAUGES.iter().position(|&gauge| gauge == state).expect("it is a gauge");
    row.states[slot].current.expect("it is seen")
}

/// Sockets of one namespace, in many states at the same time.
struct Mixture {
    _listener: Listener,
    _open: (Vec<Socket>, Vec<Socket>),
    _half_closed: (Vec<Socket>, Vec<Socket>),
    _deaf: Vec<Socket>,
}

impl Mixture {
    /// Opens connections in ESTABLISHED, FIN_WAIT2 and CLOSE_WAIT, half-open connections, and
    /// time-wait sockets.
    fn open(family: Family, connections: usize) -> Self {
        let listener = Listener::open(family);
        let open = listener.pairs(connections);
        let half_closed = listener.pairs(connections + 1);
        shutdown(&half_closed.0);
        let (clients, servers) = listener.pairs(connections + 2);
        shutdown(&clients);
        wait::until("FINs to be acknowledged", || truth::sockets().full[State::FinWait1] == 0);
        let time_wait = || truth::sockets().minis[State::TimeWait];
        let closed = u64::try_from(servers.len()).expect("few") + time_wait();
        drop((servers, clients));
        wait::until_equal("time-wait sockets", &closed, time_wait);
        let deaf: Vec<Socket> = (0..connections + 3)
            .map(|_| {
                let client = tcpstate_tests::traffic::socket(family);
                deafen([&client]);
                client.set_nonblocking(true).expect("sockets can be non-blocking");
                let _ = client.connect(listener.address());
                client
            })
            .collect();
        wait::until("half-open connections", || {
            truth::sockets().requests >= u64::try_from(connections).expect("few")
        });
        Self { _listener: listener, _open: open, _half_closed: half_closed, _deaf: deaf }
    }
}

#[test]
fn namespaces_rows_equal_the_kernel_on_every_path() {
    const TRACERS: usize = 6;
    let variants = by_each_provider(&all());
    follow_paths(TRACERS, |tracer| variants[tracer % variants.len()].clone());
}

/// At each checkpoint of every path, compares the counts of each namespace with the sockets in the
/// namespace. The paths are spread over `tracers` threads, each with its own tracer.
fn follow_paths(tracers: usize, options: impl Fn(usize) -> Options) {
    let _namespace = Namespace::enter();
    let mut idle = Traced::start();
    let unexplained: u64 = thread::scope(|scope| {
        let follow = |tracer| {
            let options = options(tracer);
            scope.spawn(move || {
                let _namespace = Namespace::enter();
                let mut traced = Traced::unaudited(&options);
                for path in paths::ALL.iter().skip(tracer).step_by(tracers) {
                    path.run(&mut |label: &str| traced.assert_equal(label));
                }
                traced.unexplained()
            })
        };
        let threads: Vec<_> = (0..tracers).map(follow).collect();
        let results = threads.into_iter().map(thread::ScopedJoinHandle::join);
        results.map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).sum()
    });
    let lost = idle.uncounted();
    assert!(unexplained <= 2 * lost, "off by {unexplained}, and {lost} events were lost");
}

#[test]
fn namespaces_rows_equal_the_sockets_whatever_holds_the_namespace() {
    let [named, inhabited, held] = [Place::new(), Place::new(), Place::new()];
    let name = named.name(OsStr::from_bytes(b"tcpstate-\x1b[31m\xff"));
    let inhabitant = inhabited.inhabit();
    let places = [&named, &inhabited, &held];
    let open = |connections| {
        move || (Mixture::open(Family::V4, connections), Mixture::open(Family::V6, connections + 7))
    };
    let _before: Vec<_> =
        places.iter().zip([3, 5, 11]).map(|(place, count)| place.inside(open(count))).collect();
    for options in by_each_provider(&all()) {
        let _namespace = Namespace::enter();
        let mut traced = Traced::unaudited(&options);
        let start = traced.tracer.start_report();
        let opening = start.namespaces.expect("each namespace has a row");
        for place in places {
            assert!(opening.iter().any(|row| row.netns == place.inode()), "{opening:?}");
        }
        assert_rows_equal(&mut traced, &places, "sockets that were there before");
        let snapshot = traced.snapshot();
        let shown = row(&snapshot, &named).and_then(|row| row.name.clone());
        assert_eq!(shown.as_deref(), Some("tcpstate-\u{1b}[31m\\xff"), "no string is broken");
        assert_eq!(row(&snapshot, &held).map(|row| row.name.clone()), Some(None));

        let young = Place::new();
        let during: Vec<_> = places
            .iter()
            .chain([&&young])
            .zip([2, 4, 6, 8])
            .map(|(place, count)| place.inside(|| Mixture::open(Family::V4, count)))
            .collect();
        let all = [&named, &inhabited, &held, &young];
        assert_rows_equal(&mut traced, &all, "sockets that came since, and a new namespace");
        traced.reconcile();
        assert_rows_equal(&mut traced, &all, "after a scan");
        drop(during);
        assert_rows_equal(&mut traced, &all, "after some went");
    }
    drop((name, inhabitant));
}

#[test]
fn namespaces_that_end_lose_their_rows() {
    let _namespace = Namespace::enter();
    let mut traced = Traced::unaudited(&all());
    let before = traced.tracer.live().rows().expect("the map can be read");
    for round in 0..3 {
        let place = Place::new();
        let name = place.name(OsStr::new("tcpstate-again"));
        let connections = 7 + round;
        // Only time-wait sockets are left, which do not keep the namespace alive.
        place.inside(|| {
            let listener = Listener::open(Family::V4);
            let (clients, servers) = listener.pairs(connections);
            shutdown(&clients);
            wait::until("FINs", || truth::sockets().full[State::FinWait1] == 0);
            drop((servers, clients, listener));
            truth::await_end_of_sockets();
        });
        assert_rows_equal(&mut traced, &[&place], "time-wait sockets alone");
        let snapshot = traced.snapshot();
        let shown = row(&snapshot, &place).expect("it has a row");
        let connections = i64::try_from(connections).expect("few");
        assert_eq!(current(shown, State::TimeWait), connections, "round {round}");
        assert_eq!(
            shown.time_wait.entries,
            Some(connections.unsigned_abs()),
            "the row is a new one"
        );
        assert_eq!(shown.name.as_deref(), Some("tcpstate-again"));
        let inode = place.inode();
        drop((name, place));
        let long = Duration::from_secs(60);
        wait::until_within(long, "the row to go", || {
            traced.tracer.reconcile_if_due(Reconcile::Auto).expect("a scan can be made");
            let snapshot = traced.snapshot();
            assert_sum(&snapshot, "while a namespace goes");
            let rows = snapshot.namespaces.expect("each namespace has a row");
            !rows
                .iter()
                .any(|row| row.netns == inode && row.name.as_deref() == Some("tcpstate-again"))
        });
    }
    wait::until_within(Duration::from_secs(60), "the map to be as before", || {
        traced.snapshot();
        traced.tracer.live().rows().expect("the map can be read") <= before
    });
}

#[test]
fn namespaces_that_cannot_be_entered_are_reported() {
    let _namespace = Namespace::enter();
    let place = Place::new();
    let inode = place.inode();
    let listener = place.inside(|| Listener::open(Family::V4));
    let (clients, _servers) = place.inside(|| listener.pairs(3));
    // Now the namespace exists only because sockets still refer to the namespace. The kernel does
    // not report the namespace of a socket.
    drop(place);
    let mut traced = Traced::unaudited(&all());
    shutdown(&clients);
    wait::grace_period();
    let snapshot = traced.snapshot();
    assert!(row_of(snapshot.namespaces.as_deref().unwrap_or_default(), inode).is_some());
    assert!(!snapshot.is_exact(), "sockets left ESTABLISHED that were never seen to come");
    traced.reconcile();
    assert!(!traced.snapshot().is_exact(), "the scan found no way to it either");
    // Orphans of earlier tests and of other programs may keep further namespaces alive.
    let limits = traced.tracer.live().limits();
    assert!(hidden_namespaces(&limits).is_some_and(|count| count >= 1), "{limits:?}");
    // The row of the hidden namespace would be below zero now. The row and the host both show the
    // number without the sockets that were never seen to come.
    drop((clients, listener));
    wait::grace_period();
    let snapshot = traced.snapshot();
    assert_sum(&snapshot, "after the end of hidden sockets");
    let scans = snapshot.reconciles;
    for _ in 0..3 {
        traced.tracer.reconcile_if_due(Reconcile::Auto).expect("nothing to do");
    }
    let snapshot = traced.snapshot();
    assert_sum(&snapshot, "after some looks");
    assert!(snapshot.reconciles <= scans + 1, "scans do not help against a hidden namespace");
}

#[test]
fn namespaces_are_chosen_by_name_path_and_process() {
    let [named, inhabited] = [Place::new(), Place::new()];
    let _name = named.name(OsStr::new("tcpstate-test"));
    let inhabitant = inhabited.inhabit();
    let _before = [
        named.inside(|| Mixture::open(Family::V4, 3)),
        inhabited.inside(|| Mixture::open(Family::V6, 5)),
    ];
    for (netns, place) in [
        (Netns::Name("tcpstate-test".into()), &named),
        (Netns::Path(named.path()), &named),
        (Netns::Pid(inhabitant.id()), &inhabited),
        (Netns::Path(inhabited.path()), &inhabited),
    ] {
        let follow = || {
            let mut traced = Traced::unaudited(&Options { netns: netns.clone(), ..options() });
            let counted = traced.tracer.start_report().netns;
            assert_eq!(counted, Counted::One(place.inode()), "{netns}");
            // The tracer's thread is in the namespace now.
            traced.assert_equal(&format!("{netns}: before"));
            let _more = Mixture::open(Family::V4, 4);
            wait::grace_period();
            traced.assert_equal(&format!("{netns}: more"));
            traced.reconcile();
            traced.assert_equal(&format!("{netns}: after a scan"));
        };
        thread::scope(|scope| scope.spawn(follow).join()).expect("it does not panic");
    }
}

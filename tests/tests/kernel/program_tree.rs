//! Tests the filter that selects the process tree of a program: the children of the program and a
//! daemon are members, and other processes are not.

use std::io::{Read as _, pipe};

use nix::unistd::{getpid, getppid};
use tcpstate::{
    filter::EventFilter,
    probe::{EventOptions, HistogramOptions, Options, OwnerOptions},
    report::{Event, Hook, Key, Of, OwnerKind, Provider},
};
use tcpstate_common::State::{Close, SynSent};
use tcpstate_tests::{
    actor::{Actor, Costume},
    netns::Namespace,
    traced::{Traced, options},
    traffic::{Family, Listener},
    truth, wait,
};

/// The number of connections of the program, of its child, and of the daemon.
const CONNECTIONS: [usize; 3] = [1, 2, 3];
/// The number of connections of processes outside the tree.
const OTHERS: usize = 4;

fn connect(listener: &Listener, connections: usize) {
    for _ in 0..connections {
        drop(listener.connect());
    }
}

/// Runs `work` in a new process of the tree.
fn fork(name: &'static str, work: impl FnOnce()) -> Actor {
    let mut child = Actor::start(Costume::named(name), work);
    child.cue();
    child
}

/// Returns a program that connects, and starts a child and a daemon that connect too. The process
/// between the program and the daemon has ended when the daemon connects.
fn program(listener: &Listener) -> Actor {
    Actor::start(Costume::named("program"), || {
        let [own, of_child, of_daemon] = CONNECTIONS;
        connect(listener, own);
        fork("child", || connect(listener, of_child)).join();
        let (mut done, finished) = pipe().expect("there are descriptors left");
        fork("between", || {
            let between = getpid();
            let daemon = fork("daemon", || {
                wait::until("the parent to end", || getppid() != between);
                connect(listener, of_daemon);
            });
            std::mem::forget(daemon);
        })
        .join();
        drop(finished);
        // The pipe closes when the daemon has ended.
        assert_eq!(done.read(&mut [0]).expect("the pipe is readable"), 0);
    })
}

fn filtered(program: &Actor, options: Options) -> Options {
    let filter = EventFilter { program: Some(program.pid()), ..EventFilter::default() };
    Options { event_filter: filter, ..options }
}

/// Runs the program and strangers until all their sockets have ended.
fn run(mut program: Actor, listener: &Listener) {
    connect(listener, OTHERS);
    let mut stranger = Actor::start(Costume::named("stranger"), || connect(listener, OTHERS));
    stranger.cue();
    program.cue();
    program.join();
    stranger.join();
    wait::grace_period();
}

#[test]
fn program_tree_selects_lines() {
    let _namespace = Namespace::enter();
    for time_wait in [None, Some(Provider::Timer)] {
        let listener = Listener::open(Family::V4);
        let program = program(&listener);
        let events = Some(EventOptions::default());
        let wanted = filtered(&program, Options { events, time_wait, ..options() });
        let mut traced = Traced::with(&wanted);
        let mut events = traced.tracer.take_events().expect("events are on");
        run(program, &listener);
        let lines = events.take(usize::MAX);
        let opened = lines.iter().filter(|it| (it.from, it.to) == (Close, SynSent));
        let names: Vec<&str> = opened
            .map(|it| it.comm.as_ref().and_then(|name| name.to_str()).expect("a name"))
            .collect();
        let [own, of_child, of_daemon] = CONNECTIONS;
        let expected = [vec!["program"; own], vec!["child"; of_child], vec!["daemon"; of_daemon]];
        assert_eq!(names, expected.concat(), "{time_wait:?}: {lines:#?}");
        let is_member = |it: &Event| {
            let closer = it.closed_by.as_ref().map(|by| &by.comm);
            let owner = it.comm.as_ref().or(closer).and_then(|name| name.to_str());
            owner.is_some_and(|name| ["program", "child", "daemon"].contains(&name))
        };
        assert!(lines.iter().all(is_member), "{lines:#?}");
        let births = lines.iter().filter(|it| it.hook == Hook::TimeWait && it.from == Close);
        assert_eq!(births.count(), 6, "{lines:#?}");
        assert_eq!(traced.tracer.probe().missed_forks().expect("the map is readable"), 0);
        drop(listener);
        truth::await_end_of_sockets();
    }
}

#[test]
fn program_tree_selects_durations() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V6);
    let program = program(&listener);
    let histograms = Some(HistogramOptions::default());
    let wanted = filtered(&program, Options { histograms, ..options() });
    let mut traced = Traced::with(&wanted);
    run(program, &listener);
    let summary = traced.snapshot();
    let all = summary.histograms.expect("durations are on");
    let connects: u64 = all.of(Of::ConnectClient).map(|it| it.tally.count()).sum();
    assert_eq!(connects, 6, "{all:#?}");
}

#[test]
fn program_tree_selects_groups() {
    let _namespace = Namespace::enter();
    for by in [vec![Key::Process], vec![Key::Comm, Key::Remote]] {
        let listener = Listener::open(Family::V4);
        let program = program(&listener);
        let owners = Some(OwnerOptions::by(by.clone()));
        let mut traced = Traced::with(&filtered(&program, Options { owners, ..options() }));
        run(program, &listener);
        let owners = traced.snapshot().owners.expect("owners are on");
        let opened = |is_wanted: fn(&OwnerKind) -> bool| {
            let groups = owners.groups.iter().filter(|group| is_wanted(&group.kind));
            groups.map(|group| group.total.opened).sum::<u64>()
        };
        let of_tree = opened(|kind| matches!(kind, OwnerKind::Group(_) | OwnerKind::Gone));
        let of_others = opened(|kind| matches!(kind, OwnerKind::Other));
        assert_eq!((of_tree, of_others), (6, 2 * OTHERS as u64), "{by:?}: {owners:#?}");
    }
}

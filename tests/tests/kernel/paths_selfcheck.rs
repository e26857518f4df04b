//! Compares the independent counts with each other, at each checkpoint of every path: `/proc`, `ss`
//! and the kernel's counters.

use std::{thread, time::Instant};

use tcpstate_common::State;
use tcpstate_tests::{
    netns::Namespace,
    paths::{self, Path},
    traffic::{Family, Idle},
    truth::{sockets, sockstat, ss},
};

fn compare(label: &str) {
    let sockets = sockets();
    assert_eq!(sockets.all(), ss(), "{label}: /proc, ss");
    let sockstat = sockstat();
    assert_eq!(sockets.minis.total(), sockstat.tw, "{label}: /proc, sockstat's tw");
    assert_eq!(
        sockets.full.total(),
        sockstat.inuse + sockstat.inuse6,
        "{label}: /proc, sockstat's inuse"
    );
}

#[test]
fn truths_agree_on_every_path() {
    // Most of the time is spent waiting for the kernel's timers. Several paths therefore run at the
    // same time, each in its own namespace.
    thread::scope(|scope| {
        for group in paths::ALL.chunks(5) {
            scope.spawn(|| {
                let _namespace = Namespace::enter();
                group.iter().for_each(truths_agree);
            });
        }
    });
}

fn truths_agree(path: &Path) {
    let (mut checkpoints, start) = (0, Instant::now());
    path.run(&mut |label: &str| {
        compare(label);
        checkpoints += 1;
    });
    eprintln!("{}: {checkpoints} checkpoints in {:?}", path.name, start.elapsed());
}

#[test]
fn paths_ignore_other_sockets() {
    let _namespace = Namespace::enter();
    let idle = Idle::open(202, &Family::BOTH);
    let path = &paths::ALL[0];
    path.run(&mut |label: &str| {
        compare(label);
        assert!(sockets().full[State::Established] >= 202, "{label}");
    });
    drop(idle);
}

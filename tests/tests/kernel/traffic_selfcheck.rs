//! Tests the helpers for other tests: namespaces, test traffic and idle connections.

use std::{
    os::unix::fs::MetadataExt,
    thread,
    time::{Duration, Instant},
};

use tcpstate::probe::kernel::Kernel;
use tcpstate_common::State;
use tcpstate_tests::{
    netns::{Namespace, Sysctl},
    traffic::{Family, Idle, Listener, Load, Style},
    truth::{self, Counts, sockets},
    wait,
};

#[test]
fn a_namespace_is_left_on_drop() {
    let inode = || std::fs::metadata("/proc/thread-self/ns/net").expect("threads have one").ino();
    let before = inode();
    let namespace = Namespace::enter();
    assert_ne!(namespace.inode(), before);
    assert_eq!(namespace.inode(), inode());
    assert_eq!(
        std::fs::metadata(namespace.path()).expect("the guard holds it open").ino(),
        inode()
    );
    let inner = Namespace::fresh(|inner| {
        let _listener = Listener::open(Family::V6);
        assert_eq!(sockets().full[State::Listen], 1);
        inner.inode()
    });
    assert_ne!(inner, namespace.inode());
    assert_eq!(sockets().all(), Counts::default());
    drop(namespace);
    assert_eq!(inode(), before);
}

#[test]
fn a_sysctl_is_held_in_its_namespace_only() {
    let timeout =
        || std::fs::read_to_string("/proc/sys/net/ipv4/tcp_fin_timeout").expect("Linux has it");
    let _namespace = Namespace::enter();
    let before = timeout();
    let held = Sysctl::held("net.ipv4.tcp_fin_timeout", "7");
    assert_eq!(timeout(), "7\n");
    assert_eq!(Namespace::fresh(|_| timeout()), before);
    drop(held);
    assert_eq!(timeout(), before);
}

#[test]
fn load_leaves_the_sockets_of_its_style() {
    let _namespace = Namespace::enter();
    // On a small machine, the default limit of time-wait sockets is lower.
    let _room = Sysctl::held("net.ipv4.tcp_max_tw_buckets", "262144");
    // Over loopback, the kernel may reuse the port of a time-wait socket after one second, which
    // would end the time-wait socket.
    let _hold = Sysctl::held("net.ipv4.tcp_tw_reuse", "0");
    let counts_births = Kernel::running().expect("it runs").counts_time_wait_births();
    for style in [Style::Rst, Style::Close, Style::Mixed] {
        let before = (sockets().minis[State::TimeWait], truth::tcp_ext("TW"));
        let start = Instant::now();
        let load = Load::start(2, style);
        // The pause is long enough to make some connections. The rate is printed only for
        // information.
        thread::sleep(Duration::from_millis(500));
        let connections = load.stop();
        eprintln!(
            "{style:?}: {:.0} connections/s",
            connections as f64 / start.elapsed().as_secs_f64()
        );
        wait::until_equal("nothing but TIME_WAIT", &Counts::default(), || {
            sockets().all().without(State::TimeWait)
        });
        let minis = sockets().minis[State::TimeWait] - before.0;
        let entries = truth::tcp_ext("TW") - before.1;
        match style {
            Style::Rst => assert_eq!(minis, 0),
            Style::Close => assert_eq!(minis, connections),
            Style::Mixed => assert!(minis.abs_diff(connections / 2) <= 4),
        }
        if counts_births {
            assert_eq!(entries, minis);
        }
        assert!(connections > 0, "{style:?}: no connection in half a second");
    }
}

#[test]
fn idle_connections_are_established_and_nothing_else() {
    let _namespace = Namespace::enter();
    let start = Instant::now();
    let idle = Idle::open(20_002, &Family::BOTH);
    eprintln!("20,002 sockets in {:?}", start.elapsed());
    let expected = Counts::from([(State::Established, 20_002)].as_slice());
    wait::until_equal("20,002 sockets", &expected, || sockets().all());
    let sockstat = truth::sockstat();
    assert_eq!((sockstat.inuse, sockstat.inuse6), (10_002, 10_000), "by family");
    assert_eq!(truth::ss(), expected);
    drop(idle);
    wait::until_equal("no socket", &Counts::default(), || sockets().all());
}

//! Tests a scan step by step. A scan must give exact gauges although events happen between t0 and
//! the walk, and between the walk and the clearing of the scan flag.

use std::net::Shutdown;

use socket2::Socket;
use tcpstate::probe::Options;
use tcpstate_common::State;
use tcpstate_tests::{
    netns::Namespace,
    traced::{Traced, options},
    traffic::{Family, Idle, Listener, Load, Style, disconnect, reset},
    truth, wait,
};

/// Runs a scan, calls `before_walk` before the walk and `after_walk` after the walk, and then
/// compares the gauges.
fn scan_around(
    traced: &mut Traced,
    label: &str,
    before_walk: impl FnOnce(),
    after_walk: impl FnOnce(),
) {
    traced.tracer.live().begin_scan().expect("a scan can begin");
    before_walk();
    traced.tracer.live().walk().expect("the sockets can be walked");
    after_walk();
    traced.tracer.end_scan().expect("a scan can end");
    traced.assert_equal(label);
}

#[test]
fn scan_counts_sockets_born_before_the_walk_once() {
    let _namespace = Namespace::enter();
    let mut traced = Traced::start();
    for family in Family::BOTH {
        let listener = Listener::open(family);
        let _before = listener.pairs(11);
        let mut born = Vec::new();
        scan_around(&mut traced, "births before the walk", || born.push(listener.pairs(7)), || ());
        let mut born = Vec::new();
        scan_around(&mut traced, "births after the walk", || (), || born.push(listener.pairs(5)));
    }
}

#[test]
fn scan_counts_sockets_that_moved_before_the_walk_in_their_old_state() {
    let _namespace = Namespace::enter();
    let mut traced = Traced::start();
    for family in Family::BOTH {
        let listener = Listener::open(family);
        let (clients, servers) = listener.pairs(13);
        let finish = |sockets: &[Socket]| {
            for socket in sockets {
                socket.shutdown(Shutdown::Write).expect("connected sockets can be shut down");
            }
        };
        let close_wait = || truth::sockets().full[State::CloseWait];
        let half_close = || {
            finish(&clients);
            wait::until("13 sockets in CLOSE_WAIT", || close_wait() == 13);
        };
        scan_around(&mut traced, "moves before the walk", half_close, || ());
        scan_around(&mut traced, "moves after the walk", || (), || finish(&servers));
        clients.into_iter().for_each(reset);
        servers.into_iter().for_each(reset);
        traced.assert_equal("all closed");
    }
}

#[test]
fn scan_counts_closed_sockets_whose_memory_is_reused() {
    let _namespace = Namespace::enter();
    let mut traced = Traced::start();
    let listener = Listener::open(Family::V4);
    let (clients, _servers) = listener.pairs(17);
    let mut reborn = Vec::new();
    let churn = || {
        clients.into_iter().for_each(reset);
        // The kernel's allocator reuses the addresses of freed sockets.
        reborn.push(listener.pairs(17));
    };
    scan_around(&mut traced, "closed and born again before the walk", churn, || ());

    let socket = listener.connect();
    let reuse = || {
        disconnect(&socket).expect("a connected socket can be disconnected");
        socket.connect(listener.address()).expect("the listener has room");
    };
    scan_around(&mut traced, "one socket, two connections", reuse, || ());
}

#[test]
fn scan_with_a_full_map_is_reported_and_the_next_corrects() {
    let _namespace = Namespace::enter();
    let mut traced = Traced::with(&Options { max_scan_sockets: Some(1009), ..options() });
    let idle = Idle::open(5002, &Family::BOTH);
    traced.reconcile();
    let snapshot = traced.snapshot();
    assert!(snapshot.map_full > 0, "5,002 sockets fit into 1,009 entries");
    assert!(!snapshot.is_exact(), "exact, though the map was full {} times", snapshot.map_full);
    drop(idle);
    traced.reconcile();
    assert!(traced.snapshot().is_exact(), "not exact, though everything fits");
    traced.assert_equal("after the load");
}

#[test]
fn scan_under_load_is_exact_when_the_load_pauses() {
    let _namespace = Namespace::enter();
    let mut traced = Traced::start();
    let _idle = Idle::open(2002, &Family::BOTH);
    for round in 0..5 {
        let load = Load::start(2, Style::Mixed);
        wait::until("1,009 connections", || load.completed() >= 1009);
        traced.reconcile();
        let _ = load.stop();
        traced.assert_equal(&format!("round {round}"));
    }
}

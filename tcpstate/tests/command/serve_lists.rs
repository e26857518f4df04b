//! Tests the metrics of `tcpstate serve` that come from lists of sockets: the drops of listeners,
//! and the local ports in use.
#![allow(clippy::float_cmp, reason = "counts are whole numbers, which floats hold exactly")]

use std::fs;

use socket2::SockAddr;
use tcpstate_tests::{
    netns::{Namespace, Place, sysctl},
    traffic::{Family, Listener, begin_connect, socket},
    truth, wait,
};

use super::served::{PATIENCE, Server, serve};

/// Opens a listener on this port whose queue has room for one connection.
fn listener(port: u16) -> Listener {
    let socket = socket(Family::V4);
    socket.set_reuse_address(true).expect("sockets have this option");
    socket.bind(&SockAddr::from(Family::V4.loopback(port))).expect("the port is free");
    Listener::on(Family::V4, socket, 0)
}

/// Makes the kernel drop packets to a listener, and returns all drops of its namespace.
fn overflow(listener: &Listener) -> f64 {
    let before = truth::tcp_ext("ListenDrops");
    let connect = || {
        let client = socket(Family::V4);
        begin_connect(&client, listener.address());
        client
    };
    let clients: Vec<_> = (0..5).map(|_| connect()).collect();
    wait::until("drops", || truth::tcp_ext("ListenDrops") > before);
    drop(clients);
    truth::tcp_ext("ListenDrops") as f64
}

#[test]
fn serve_counts_the_drops_of_listeners_over_a_restart() {
    const PORT: u16 = 4000;
    let _namespace = Namespace::enter();
    let place = Place::new();
    let first = place.inside(|| listener(PORT));
    place.inside(|| overflow(&first));
    let netns = format!("path:{}", place.path().display());
    let server = Server::start(&mut serve(&["--netns", &netns]));
    let drops =
        || server.metrics()[&format!("tcpstate_listen_drops_total{{local_port=\"{PORT}\"}}")];
    assert_eq!(drops(), 0.0, "drops before the start do not count");
    let start = place.inside(|| truth::tcp_ext("ListenDrops")) as f64;
    let equals = |end: f64| {
        wait::until_within(PATIENCE, "the drops of the kernel", || drops() == end - start);
    };
    equals(place.inside(|| overflow(&first)));
    let before = drops();
    assert!(before > 0.0);
    drop(first);
    assert_eq!(drops(), before, "without the listener");
    let second = place.inside(|| listener(PORT));
    assert_eq!(drops(), before, "after the restart");
    equals(place.inside(|| overflow(&second)));
    assert!(drops() > before);
    assert!(server.end().success());
}

/// Returns the number of sockets in `/proc/net/tcp` to a port of the peer, which is in the last
/// columns of the addresses.
fn sockets_to(port: u16) -> usize {
    let table = fs::read_to_string("/proc/thread-self/net/tcp").expect("it can be read");
    let to = format!(":{port:04X}");
    let peer = |line: &str| line.split_ascii_whitespace().nth(2).map(str::to_owned);
    table.lines().skip(1).filter_map(peer).filter(|peer| peer.ends_with(&to)).count()
}

#[test]
fn serve_shows_the_share_of_local_ports_in_use() {
    let _namespace = Namespace::enter();
    let place = Place::new();
    place.inside(|| {
        sysctl("net.ipv4.ip_local_port_range", "40000 40019");
        sysctl("net.ipv4.ip_local_reserved_ports", "40004-40007");
    });
    let netns = format!("path:{}", place.path().display());
    let server = Server::start(&mut serve(&["--netns", &netns]));
    let ports = || {
        let metrics = server.metrics();
        (metrics["tcpstate_local_ports_used_ratio"], metrics["tcpstate_local_ports_available"])
    };
    assert_eq!(ports(), (0.0, 16.0), "from the first answer on");
    let held = place.inside(|| {
        let (one, two) = (listener_with_room(4000), listener_with_room(4001));
        let pairs = (one.pairs(6), two.pairs(3));
        (one, two, pairs)
    });
    let used = place.inside(|| sockets_to(4000)) as f64;
    assert_eq!(used, 6.0);
    wait::until_within(PATIENCE, "an audit", || ports() == (used / 16.0, 16.0));
    drop(held);
}

fn listener_with_room(port: u16) -> Listener {
    let socket = socket(Family::V4);
    socket.bind(&SockAddr::from(Family::V4.loopback(port))).expect("the port is free");
    Listener::on(Family::V4, socket, 128)
}

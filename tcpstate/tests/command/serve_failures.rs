//! Tests the failed connects of `tcpstate serve` by reason: each reason has the connects of the
//! test, and all reasons together have all failed connects.
#![allow(clippy::float_cmp, reason = "counts are whole numbers, which floats hold exactly")]

use std::{collections::BTreeMap, net::SocketAddr, process::Command};

use socket2::{SockAddr, Socket};
use tcpstate_tests::{
    netns::{Namespace, Place, sysctl},
    traced::Traced,
    traffic::{Family, Listener, begin_connect, bound, socket},
    wait,
};

use super::served::{Metrics, PATIENCE, Server, serve};

/// Returns the failed connects of each reason that has any.
fn failed(metrics: &Metrics) -> BTreeMap<String, f64> {
    let reason = |series: &str| {
        let labels = series.strip_prefix("tcpstate_failed_connects_total{reason=\"")?;
        Some(labels.strip_suffix("\"}")?.to_owned())
    };
    let all = metrics.iter().filter_map(|(series, &count)| Some((reason(series)?, count)));
    all.filter(|(_, count)| *count > 0.0).collect()
}

fn begin(family: Family, to: &SockAddr) -> Socket {
    let client = socket(family);
    begin_connect(&client, to);
    client
}

/// Waits until a connect has failed.
fn await_failure(client: &Socket) {
    wait::until_within(PATIENCE, "an error", || {
        client.take_error().expect("sockets have this option").is_some()
    });
}

/// Opens a listener that answers no SYN, because its queue is full. Also returns the connection in
/// the queue.
fn silent() -> (Listener, Socket) {
    let listener = Listener::on(Family::V4, bound(Family::V4), 0);
    let first = listener.connect();
    (listener, first)
}

/// Adds a network in which no host answers, and returns the address of a host.
fn deserted() -> SockAddr {
    let ip = |arguments: &str| {
        let status = Command::new("ip").args(arguments.split(' ')).status().expect("ip can be run");
        assert!(status.success(), "ip {arguments}");
    };
    ip("link add one type veth peer name two");
    ip("link set one up");
    ip("link set two up");
    ip("address add 192.0.2.1/24 dev one");
    sysctl("net.ipv4.neigh.one.mcast_solicit", "1");
    sysctl("net.ipv4.neigh.one.retrans_time_ms", "50");
    SocketAddr::from(([192, 0, 2, 9], 443)).into()
}

/// Lets connects fail: 6 are refused, 2 time out, the program gives 1 up, 1 host is unreachable,
/// and 1 connect finds no local port.
fn fail() {
    sysctl("net.ipv4.tcp_syn_retries", "1");
    for family in Family::BOTH {
        for _ in 0..3 {
            let closed = bound(family);
            let to = closed.local_addr().expect("it is bound");
            let refused = socket(family).connect(&to).expect_err("nothing listens");
            assert_eq!(refused.raw_os_error(), Some(libc::ECONNREFUSED));
        }
    }
    let (listener, _first) = silent();
    let slow: Vec<Socket> = (0..2).map(|_| begin(Family::V4, listener.address())).collect();
    drop(begin(Family::V4, listener.address()));
    let host = deserted();
    let lost = begin(Family::V4, &host);
    await_failure(&lost);
    slow.iter().for_each(await_failure);
    drop((slow, lost));
    let open = Listener::open(Family::V4);
    sysctl("net.ipv4.ip_local_port_range", "40000 40003");
    let mut held = Vec::new();
    let full = loop {
        let client = socket(Family::V4);
        match client.connect(open.address()) {
            Ok(()) => held.push(client),
            Err(error) => break error,
        }
    };
    assert_eq!(full.raw_os_error(), Some(libc::EADDRNOTAVAIL), "no port is left");
    drop(held);
}

#[test]
fn serve_counts_failed_connects_by_reason() {
    let _namespace = Namespace::enter();
    let place = Place::new();
    let mut idle = Traced::start();
    let netns = format!("path:{}", place.path().display());
    let server = Server::start(&mut serve(&["--netns", &netns, "--by", "process"]));
    assert_eq!(failed(&server.metrics()), BTreeMap::new());
    place.inside(fail);
    wait::grace_period();
    let metrics = server.exact_metrics();
    if idle.uncounted() > 0 {
        println!("skipped: the kernel kept events from the programs");
        return;
    }
    let expected = [
        ("refused", 6.0),
        ("timeout", 2.0),
        ("abort", 1.0),
        ("unreachable", 1.0),
        ("no_local_port", 1.0),
    ];
    let expected = expected.map(|(reason, count)| (reason.to_owned(), count));
    assert_eq!(failed(&metrics), BTreeMap::from(expected));
    let of = |name: &str| {
        let all = metrics.iter().filter(|(series, _)| series.starts_with(name));
        all.map(|(_, count)| count).sum::<f64>()
    };
    let all = of("tcpstate_transitions_total{from=\"syn_sent\",to=\"close\"");
    assert_eq!(all, 11.0);
    assert_eq!(of("tcpstate_process_failed_connects_total"), all);
    assert!(server.end().success());
}

//! Floods of half-open connections: the listener's SYN-ACKs are never answered, so each request
//! ends by its timer.

use std::time::Duration;

use socket2::Socket;
use tcpstate_common::State;

use super::{
    Family, Listener, Tun, Wire, begin_connect, deafen,
    segment::{SYN, Segment},
    socket,
};
use crate::{
    netns::sysctl,
    truth::{Kind, Rows},
    wait,
};

/// The longest wait for a flood to arrive, and for its requests to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// The number of peers. A host that sends each SYN from another port would run out of ports.
const PEERS: usize = 500;
/// The first port of the peers.
const FIRST_PORT: usize = 1024;

/// Sysctls that give a listener room for a flood. The listener sends each SYN-ACK twice, and a
/// request ends after three seconds.
const SYSCTLS: &[(&str, &str)] = &[
    ("net.core.somaxconn", "65535"),
    ("net.ipv4.tcp_max_syn_backlog", "65535"),
    ("net.ipv4.tcp_syncookies", "0"),
    ("net.ipv4.tcp_synack_retries", "1"),
    // Clients give up before the requests end. A later SYN would begin another request.
    ("net.ipv4.tcp_syn_retries", "1"),
];

/// Sends this number of SYNs over the wire, half of them with IPv6. Returns when the last request
/// has ended, with the number of requests that the kernel had at the same time.
///
/// # Panics
/// Panics if the kernel did not have a request for at least 19 in 20 SYNs.
#[must_use]
pub fn flood(wire: &Wire, number: usize) -> usize {
    for (name, value) in SYSCTLS {
        sysctl(name, value);
    }
    let listeners = Family::BOTH.map(|family| {
        let socket = socket(family);
        let address = (Tun::address(family), 0);
        socket.bind(&std::net::SocketAddr::from(address).into()).expect("there are ports");
        Listener::on(family, socket, 65_535)
    });
    for number in 0..number {
        let family = Family::BOTH[number % 2];
        let listener = &listeners[number % 2];
        let port = FIRST_PORT + number / PEERS;
        let from = (
            Tun::peer(family, (number % PEERS) as u64),
            u16::try_from(port).expect("a flood is not that large"),
        );
        let to = (Tun::address(family), listener.port());
        wire.send(&Segment::new(from.into(), to.into(), SYN, 0x5eed));
    }
    let most = requests();
    assert!(most >= number * 19 / 20, "{most} requests of {number} SYNs");
    await_end();
    most
}

/// Begins this number of connections over loopback, of which no client receives the SYN-ACK.
/// Returns when all connects have timed out and the last request has ended, with the number of
/// requests that the kernel had at the same time.
///
/// # Panics
/// Panics if the kernel did not have a request for at least 19 in 20 clients.
#[must_use]
pub fn deaf_flood(number: usize) -> usize {
    for (name, value) in SYSCTLS {
        sysctl(name, value);
    }
    let listener = Listener::open(Family::V4);
    listener.socket().listen(65_535).expect("a listener may get more room");
    let clients: Vec<Socket> = (0..number)
        .map(|_| {
            let client = socket(Family::V4);
            deafen([&client]);
            begin_connect(&client, listener.address());
            client
        })
        .collect();
    let most = requests();
    assert!(most >= number * 19 / 20, "{most} requests of {number} clients");
    await_end();
    // A closed client would answer a late SYN-ACK with a RST.
    drop(clients);
    most
}

fn requests() -> usize {
    Rows::read().of_kind(Kind::Request)
}

/// Waits until the listeners are the only sockets.
fn await_end() {
    let others = |rows: &Rows| rows.counts(None).without(State::Listen).total();
    wait::until_within(PATIENCE, "the last request", || others(&Rows::read()) == 0);
}

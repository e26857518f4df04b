//! Sockets of both families in all states that can be held for a minute, including mini sockets.

use std::net::Ipv6Addr;

use socket2::Socket;
use tcpstate_common::State;

use super::{
    Family, Idle, Listener, begin_connect, connecting, deafen, leave_time_wait, shutdown, socket,
};
use crate::{truth, wait};

/// The number of connections per family in each state that has few sockets. The number is prime, so
/// a wrong sum cannot look right by chance.
const FEW: usize = 7;

/// A mixture of sockets in many states. Dropping the value closes the sockets.
#[derive(Debug)]
pub struct Mixed {
    _established: Idle,
    _listeners: Vec<Listener>,
    _sockets: Vec<Socket>,
}

impl Mixed {
    /// Opens about this number of sockets. Half of the sockets are ESTABLISHED, a third are in
    /// TIME_WAIT, and each other state has some sockets. When the function returns, all sockets
    /// have reached their final states.
    ///
    /// # Panics
    /// Panics if the number is below 1000, or if loopback does not work.
    #[must_use = "dropped, the sockets are closed"]
    pub fn open(sockets: usize) -> Self {
        assert!(sockets >= 1000, "{sockets} are no mixture");
        // TIME_WAIT sockets are made first, because they stay for a minute without a program.
        leave_time_wait(sockets / 3, &Family::BOTH);
        let (mut listeners, mut held) = (Vec::new(), Vec::new());
        for (number, family) in Family::BOTH.into_iter().enumerate() {
            let listener = Listener::open(family);
            half_closed(&listener, sockets / 24, &mut held);
            unacknowledged(&listener, number * FEW, &mut held);
            orphans(&listener, &mut held);
            let silent = Listener::open(family);
            half_open(family, &silent, &mut held);
            listeners.extend([listener, silent]);
        }
        let dual_stack = Listener::on(Family::V6, any_address(), 128);
        mapped(&dual_stack, &mut held);
        listeners.push(dual_stack);
        let established = Idle::open(sockets / 4 * 2, &Family::BOTH);
        acknowledged_but(Family::BOTH.len() * FEW);
        Self { _established: established, _listeners: listeners, _sockets: held }
    }
}

/// Creates clients in FIN_WAIT2 and servers in CLOSE_WAIT.
fn half_closed(listener: &Listener, connections: usize, held: &mut Vec<Socket>) {
    let (clients, servers) = listener.pairs(connections);
    shutdown(&clients);
    held.extend(clients.into_iter().chain(servers));
}

/// Creates servers in LAST_ACK with deaf clients, and clients in FIN_WAIT1. `already` is the number
/// of sockets that were in FIN_WAIT1 before.
fn unacknowledged(listener: &Listener, already: usize, held: &mut Vec<Socket>) {
    let (clients, servers) = listener.pairs(FEW);
    shutdown(&clients);
    acknowledged_but(already);
    deafen(&clients);
    shutdown(&servers);
    held.extend(clients.into_iter().chain(servers));

    let (clients, servers) = listener.pairs(FEW);
    deafen(&servers);
    shutdown(&clients);
    held.extend(clients.into_iter().chain(servers));
}

/// Waits until exactly `few` FINs are not acknowledged. The peer may need a while to acknowledge a
/// FIN.
fn acknowledged_but(few: usize) {
    let unacknowledged = || truth::sockets().all()[State::FinWait1];
    wait::until_equal("FINs to be acknowledged", &(few as u64), unacknowledged);
}

/// Creates closed clients, which are mini sockets in FIN_WAIT2.
fn orphans(listener: &Listener, held: &mut Vec<Socket>) {
    let (clients, servers) = listener.pairs(FEW);
    drop(clients);
    held.extend(servers);
}

/// Creates clients in SYN_SENT that do not receive the SYN-ACK, and their request sockets in
/// SYN_RECV.
fn half_open(family: Family, listener: &Listener, held: &mut Vec<Socket>) {
    for _ in 0..FEW {
        let client = socket(family);
        deafen([&client]);
        begin_connect(&client, listener.address());
        held.push(client);
    }
}

/// Creates IPv6 sockets with IPv4 connections.
fn mapped(listener: &Listener, held: &mut Vec<Socket>) {
    let here = Family::V4.loopback(listener.port()).into();
    let clients: Vec<Socket> = (0..FEW).map(|_| connecting(Family::V4, &here)).collect();
    let servers: Vec<Socket> = clients.iter().map(|_| listener.accept()).collect();
    held.extend(clients.into_iter().chain(servers));
}

/// Returns a socket for connections of both families.
fn any_address() -> Socket {
    let socket = socket(Family::V6);
    socket.set_only_v6(false).expect("a fresh socket may choose");
    socket
        .bind(&std::net::SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())
        .expect("there are ports");
    socket
}

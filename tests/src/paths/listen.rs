//! Listeners: the connections in their queues, and the ways in which listeners open and close.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use socket2::{SockAddr, Socket};
use tcpstate_common::State::{Established, Listen, SynSent};

use super::Stage;
use crate::{
    traffic::{Family, Listener, bound, connecting, disconnect, reset, socket},
    wait,
};

/// When a listener closes, the kernel also closes the child sockets in the listener's queue.
pub(super) fn never_accepted(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let _clients: Vec<Socket> = (0..7).map(|_| listener.connect()).collect();
    stage.check("connected", &[(Listen, 1), (Established, 14)]);
    drop(listener);
    stage.check("listener closed", &[]);
}

/// A queue of length two has space for three connections. The kernel drops the SYNs of further
/// clients.
pub(super) fn queue_full(stage: &mut Stage<'_>) {
    let listener = Listener::on(stage.family, bound(stage.family), 2);
    let queued: Vec<Socket> = (0..3).map(|_| listener.connect()).collect();
    let _waiting: Vec<Socket> =
        (0..5).map(|_| connecting(stage.family, listener.address())).collect();
    stage.check("queue full", &[(Listen, 1), (Established, 6), (SynSent, 5)]);
    queued.into_iter().for_each(reset);
}

/// One listener with three kinds of clients: IPv6, IPv4, and IPv4 on an IPv6 socket.
pub(super) fn dual_stack(stage: &mut Stage<'_>) {
    let (listener, port) = listener_on_any_address(false);
    let clients: Vec<Socket> = [v6_client, v4_client, mapped_client]
        .into_iter()
        .zip([2, 3, 5])
        .flat_map(|(client, number)| (0..number).map(move |_| client(port)))
        .collect();
    let servers: Vec<Socket> = clients.iter().map(|_| listener.accept()).collect();
    stage.check("connected", &[(Listen, 1), (Established, 20)]);
    drop(servers);
    drop(clients);
    stage.check("closed", &[(Listen, 1)]);
}

/// An IPv6-only listener does not occupy the IPv4 port with the same number.
pub(super) fn v6_only(stage: &mut Stage<'_>) {
    let (v6, port) = listener_on_any_address(true);
    let v4_socket = socket(Family::V4);
    v4_socket.bind(&Family::V4.loopback(port).into()).expect("IPv4's port is free");
    let v4 = Listener::on(Family::V4, v4_socket, 5);
    let (clients, servers) = v4.pairs(3);
    stage.check("connected by IPv4", &[(Listen, 2), (Established, 6)]);
    let more: Vec<Socket> = (0..2).flat_map(|_| [v6_client(port), v6.accept()]).collect();
    stage.check("connected by IPv6", &[(Listen, 2), (Established, 10)]);
    drop((clients, servers, more, v4));
    stage.check("closed", &[(Listen, 1)]);
}

/// A listener can be shut down or disconnected, and can listen again. When the listener stops, the
/// connections in its queue are lost.
pub(super) fn stops_and_starts(stage: &mut Stage<'_>) {
    let mut listener = stage.listener();
    let _lost: Vec<Socket> = (0..3).map(|_| listener.connect()).collect();
    listener.socket().shutdown(Shutdown::Read).expect("a listener can be shut down");
    stage.check("shut down", &[]);
    listener.restart();
    let (clients, servers) = listener.pairs(2);
    stage.check("listening again", &[(Listen, 1), (Established, 4)]);
    disconnect(listener.socket()).expect("a listener can be disconnected");
    stage.check("disconnected", &[(Established, 4)]);
    drop(servers);
    drop(clients);
    stage.check("connections closed", &[]);
    listener.restart();
    stage.check("listening once more", &[(Listen, 1)]);
    listener.socket().listen(7).expect("a listener may change its backlog");
    stage.check("backlog changed", &[(Listen, 1)]);
}

/// Two sockets may share a port until one of them listens.
pub(super) fn refused(stage: &mut Stage<'_>) {
    let [first, second] = [socket(stage.family), socket(stage.family)];
    first.set_reuse_address(true).expect("sockets can share");
    second.set_reuse_address(true).expect("sockets can share");
    first.bind(&stage.family.loopback(0).into()).expect("there is a port left");
    second.bind(&first.local_addr().expect("the socket is bound")).expect("the port is shared");
    first.listen(5).expect("nobody listens there yet");
    for _ in 0..3 {
        let error = second.listen(5).expect_err("somebody listens there");
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }
    stage.check("refused", &[(Listen, 1)]);
    disconnect(&first).expect("a listener can be disconnected");
    second.listen(5).expect("nobody listens there any more");
    stage.check("listening", &[(Listen, 1)]);
}

/// The listener closes while clients connect. The kernel refuses some clients, and resets the
/// connections of other clients.
pub(super) fn closed_under_connects(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let (family, address) = (stage.family, listener.address().clone());
    let attempts = AtomicU32::new(0);
    let attempt = |_| {
        let client = socket(family);
        _ = client.connect(&address);
        attempts.fetch_add(1, Ordering::Relaxed);
        client
    };
    let clients: Vec<Socket> = thread::scope(|scope| {
        let clients = scope.spawn(|| (0..997).map(attempt).collect());
        wait::until("some clients", || attempts.load(Ordering::Relaxed) > 100);
        drop(listener);
        clients.join().expect("who is refused does not panic")
    });
    // If a client's last ACK arrives while the listener closes, the client may stay ESTABLISHED.
    // After the close, no socket is left that could send the client a RST.
    clients.into_iter().for_each(reset);
    stage.check("clients reset", &[]);
}

fn listener_on_any_address(v6_only: bool) -> (Listener, u16) {
    let socket = socket(Family::V6);
    socket.set_only_v6(v6_only).expect("IPv6 sockets have the option");
    socket
        .bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())
        .expect("there is a port left");
    let listener = Listener::on(Family::V6, socket, 23);
    let port = listener.port();
    (listener, port)
}

fn v6_client(port: u16) -> Socket {
    client(Family::V6, &Family::V6.loopback(port).into())
}

fn v4_client(port: u16) -> Socket {
    client(Family::V4, &Family::V4.loopback(port).into())
}

fn mapped_client(port: u16) -> Socket {
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    client(Family::V6, &SocketAddr::from((mapped, port)).into())
}

fn client(family: Family, to: &SockAddr) -> Socket {
    let client = socket(family);
    client.connect(to).expect("the listener has room");
    client
}

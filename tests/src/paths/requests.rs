//! Half-open connections: request sockets, which `ss` shows in `SYN_RECV`.

use std::time::Duration;

use socket2::{Protocol, Socket, Type};
use tcpstate_common::State::{CloseWait, Established, FinWait2, Listen, SynRecv, SynSent};

use super::Stage;
use crate::{
    emulated::is_emulated,
    netns::Sysctl,
    traffic::{Family, Listener, bound, deaf_clients, hear, reset, set_option},
    truth::{sockets, tcp_ext},
    wait,
};

/// Seven clients do not receive the listener's SYN-ACK. Four of the clients then receive the
/// SYN-ACK, and three clients are closed.
pub(super) fn half_open(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let mut clients = deaf_clients(&listener, stage.family, 7);
    stage.check("unanswered", &[(Listen, 1), (SynSent, 7), (SynRecv, 7)]);
    clients.truncate(4);
    hear(&clients);
    // The listener sends its next SYN-ACK after 1 s.
    stage.check("4 connected, 3 refused", &[(Listen, 1), (Established, 8)]);
    clients.into_iter().for_each(reset);
}

/// The listener sends the SYN-ACK only once. The request sockets expire after 1 s.
pub(super) fn half_open_expires(stage: &mut Stage<'_>) {
    let _once = Sysctl::held("net.ipv4.tcp_synack_retries", "0");
    let listener = stage.listener();
    drop(deaf_clients(&listener, stage.family, 5));
    // There is no earlier checkpoint, because on a busy machine the requests could expire during
    // the checkpoint.
    stage.check("expired", &[(Listen, 1)]);
}

/// With SYN cookies the listener stores nothing about a half-open connection.
pub(super) fn syn_cookies(stage: &mut Stage<'_>) {
    let _always = Sysctl::held("net.ipv4.tcp_syncookies", "2");
    let listener = stage.listener();
    let (clients, servers) = listener.pairs(3);
    let half_open = deaf_clients(&listener, stage.family, 5);
    stage.check("3 connected", &[(Listen, 1), (Established, 6), (SynSent, 5)]);
    drop((half_open, servers));
    stage.check("servers closed", &[(Listen, 1), (FinWait2, 3), (CloseWait, 3)]);
    drop(clients);
}

/// Creates thousands of half-open connections. The listener sends each SYN-ACK again until the
/// request sockets expire.
pub(super) fn flood(stage: &mut Stage<'_>) {
    // Request sockets expire after 15 s. An emulated machine needs longer to create all request
    // sockets, so its request sockets expire after 31 s. No request socket may expire before the
    // last request socket is created.
    let (number, retries) = if is_emulated() { (1009, "4") } else { (3001, "3") };
    let _retries = Sysctl::held("net.ipv4.tcp_synack_retries", retries);
    let _room = Sysctl::held("net.ipv4.tcp_max_syn_backlog", "4096");
    let listener = stage.listener();
    let clients = deaf_clients(&listener, stage.family, number);
    let long = Duration::from_secs(60);
    let most = number as u64 * 29 / 30;
    wait::until_within(long, "the flood's requests", || sockets().requests > most);
    drop(clients);
    stage.check_within(long, "forgotten", &[(Listen, 1)]);
}

/// The listener has space for only a few request sockets. When the space is used up, the listener
/// creates no request socket for further SYNs.
pub(super) fn backlog_full(stage: &mut Stage<'_>) {
    for (cookies, refusals) in [("0", "TCPReqQFullDrop"), ("1", "TCPReqQFullDoCookies")] {
        let _cookies = Sysctl::held("net.ipv4.tcp_syncookies", cookies);
        let _room = Sysctl::held("net.ipv4.tcp_max_syn_backlog", "8");
        let before = tcp_ext(refusals);
        let listener = Listener::on(stage.family, bound(stage.family), 5);
        let clients = deaf_clients(&listener, stage.family, 23);
        wait::until("a SYN for which there is no room", || tcp_ext(refusals) > before);
        let requests = sockets().requests;
        stage.check("full", &[(Listen, 1), (SynSent, 23), (SynRecv, requests)]);
        hear(&clients);
        clients.into_iter().for_each(reset);
        // The listener sends its next SYN-ACK to a port without a client socket, and the kernel
        // answers with a RST.
        stage.check("clients gone", &[(Listen, 1)]);
    }
}

/// The accept queue is full when the last ACK of the handshake arrives. The request socket stays,
/// and the handshake is completed later.
pub(super) fn accept_queue_full(stage: &mut Stage<'_>) {
    // The queue has space for one connection more than its length.
    let listener = Listener::on(stage.family, bound(stage.family), 4);
    let late = deaf_clients(&listener, stage.family, 3);
    let early: Vec<Socket> = (0..5).map(|_| listener.connect()).collect();
    stage.check("unanswered", &[(Listen, 1), (Established, 10), (SynSent, 3), (SynRecv, 3)]);
    hear(&late);
    // The listener sends another SYN-ACK after 1 s, but the accept queue is still full.
    stage.check("queue full", &[(Listen, 1), (Established, 13), (SynRecv, 3)]);
    let servers: Vec<Socket> = (0..8).map(|_| listener.accept()).collect();
    stage.check("accepted", &[(Listen, 1), (Established, 16)]);
    early.into_iter().chain(late).for_each(reset);
    drop(servers);
}

/// The listener creates a child only when data arrives. The clients are connected, and the request
/// sockets wait for data.
pub(super) fn deferred(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    defer_accept(listener.socket());
    let clients: Vec<Socket> = (0..7).map(|_| listener.connect()).collect();
    stage.check("waiting for data", &[(Listen, 1), (Established, 7), (SynRecv, 7)]);
    for client in &clients {
        client.send(b"data").expect("the client is connected");
    }
    stage.check("data came", &[(Listen, 1), (Established, 14)]);
    clients.into_iter().for_each(reset);
}

/// Request sockets exist longer than their listener. The kernel removes a request socket when the
/// timer of the request socket finds that the listener is closed.
pub(super) fn listener_closed(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let clients = deaf_clients(&listener, stage.family, 5);
    stage.check("unanswered", &[(Listen, 1), (SynSent, 5), (SynRecv, 5)]);
    drop(listener);
    drop(clients);
    stage.check("forgotten", &[]);
}

/// When a listener closes, its requests move to another listener on the same port.
pub(super) fn migrated(stage: &mut Stage<'_>) {
    let Some(_migrate) = Sysctl::try_held("net.ipv4.tcp_migrate_req", "1") else {
        return stage.skip("this kernel has no tcp_migrate_req, which came with 5.14");
    };
    let first = sharing(stage.family, 0);
    let second = sharing(stage.family, first.port());
    let clients = deaf_clients(&first, stage.family, 17);
    stage.check("unanswered", &[(Listen, 2), (SynSent, 17), (SynRecv, 17)]);
    drop(first);
    hear(&clients);
    // The remaining listener sends each request's SYN-ACK again within a second.
    stage.check("connected to the other", &[(Listen, 1), (Established, 34)]);
    let servers: Vec<Socket> = (0..17).map(|_| second.accept()).collect();
    clients.into_iter().for_each(reset);
    drop(servers);
}

/// A listener that shares its port with other listeners.
fn sharing(family: Family, port: u16) -> Listener {
    let socket = Socket::new(family.domain(), Type::STREAM, Some(Protocol::TCP))
        .expect("there is a file descriptor left");
    socket.set_reuse_port(true).expect("sockets can share");
    socket.bind(&family.loopback(port).into()).expect("the port is shared");
    Listener::on(family, socket, 97)
}

fn defer_accept(listener: &Socket) {
    let seconds: libc::c_int = 30;
    set_option(listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)
        .expect("every listener has the option");
}

//! Mini sockets in `TIME_WAIT`, and the ways in which the kernel removes mini sockets.

use std::{io::Read as _, time::Duration};

use socket2::{SockAddr, Socket};
use tcpstate_common::State::{
    self, CloseWait, Established, FinWait2, LastAck, Listen, SynRecv, SynSent, TimeWait,
};

use super::Stage;
use crate::{
    netns::Sysctl,
    traffic::{
        Family, Listener, begin_connect, bound, deafen, disconnect, hear, port, reset, send_reset,
        sequence_number, shutdown, socket,
    },
    truth::{sockets, ss_kill, tcp_ext},
    wait,
};

/// The kernel is not allowed to create mini sockets. The kernel removes closed clients immediately,
/// and answers late FINs with a RST.
pub(super) fn no_room(stage: &mut Stage<'_>) {
    let _none = Sysctl::held("net.ipv4.tcp_max_tw_buckets", "0");
    let listener = stage.listener();
    let (clients, servers) = listener.pairs(7);
    stage.close_into_minis(clients);
    stage.check("clients closed", &[(Listen, 1), (CloseWait, 7)]);
    drop(servers);
    stage.check("servers closed", &[(Listen, 1)]);
}

/// Clients connect again from ports for which the listener's side has sockets in `TIME_WAIT`.
pub(super) fn taken_over(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    // All clients get their ports at the same time, because a port that becomes free may be chosen
    // again.
    let clients: Vec<Socket> = (0..5).map(|_| bound(stage.family)).collect();
    let ports: Vec<SockAddr> = clients
        .into_iter()
        .map(|client| {
            client.connect(listener.address()).expect("the listener has room");
            drop(listener.accept());
            // If the client closed before it received the FIN, the TIME_WAIT socket would be on the
            // client's side.
            let end = (&client).read(&mut [0]).expect("the server closes");
            assert_eq!(end, 0, "nobody sent anything");
            client.local_addr().expect("the client is bound")
        })
        .collect();
    stage.check("closed", &[(Listen, 1)]);
    let clients: Vec<Socket> = ports
        .iter()
        .map(|port| {
            let client = socket(stage.family);
            client.bind(port).expect("the port is the other side's");
            client.connect(listener.address()).expect("a later SYN ends the TIME_WAIT");
            client
        })
        .collect();
    let servers: Vec<Socket> = clients.iter().map(|_| listener.accept()).collect();
    stage.check("connected again", &[(Listen, 1), (Established, 10)]);
    drop(servers);
    stage.check("servers closed", &[(Listen, 1), (FinWait2, 5), (CloseWait, 5)]);
    for client in &clients {
        disconnect(client).expect("every socket can be disconnected");
    }
    stage.check("clients disconnected", &[(Listen, 1)]);
}

/// The limit allows three more mini sockets. Of seven clients that close, the kernel therefore
/// removes four immediately.
pub(super) fn room_for_some(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let (clients, servers) = listener.pairs(7);
    let room = (sockets().minis.total() + 3).to_string();
    let _few = Sysctl::held("net.ipv4.tcp_max_tw_buckets", &room);
    let before = tcp_ext("TCPTimeWaitOverflow");
    stage.close_into_minis(clients);
    stage.check("clients closed", &[(Listen, 1), (FinWait2, 3), (CloseWait, 7)]);
    assert_eq!(tcp_ext("TCPTimeWaitOverflow") - before, 4);
    drop(servers);
    stage.check("servers closed", &[(Listen, 1)]);
    stage.await_time_wait(&listener, 3);
}

/// Clients connect again from the ports of their earlier connections, which are in TIME_WAIT.
pub(super) fn reused_by_connect(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let clients: Vec<Socket> = (0..7).map(|_| returning(stage.family, 0)).collect();
    let ports: Vec<u16> = clients.iter().map(|client| connect(client, &listener)).collect();
    let servers: Vec<Socket> = clients.iter().map(|_| listener.accept()).collect();
    drop(clients);
    stage.check("clients closed", &[(Listen, 1), (FinWait2, 7), (CloseWait, 7)]);
    drop(servers);
    stage.check("servers closed", &[(Listen, 1)]);
    stage.await_time_wait(&listener, 7);
    let before = tcp_ext("TWRecycled");
    let again: Vec<Socket> = ports.iter().map(|&port| returning(stage.family, port)).collect();
    for client in &again {
        connect(client, &listener);
    }
    let servers: Vec<Socket> = again.iter().map(|_| listener.accept()).collect();
    stage.check("connected again", &[(Listen, 1), (Established, 14)]);
    assert_eq!(tcp_ext("TWRecycled") - before, 7);
    stage.await_time_wait(&listener, 0);
    again.into_iter().for_each(reset);
    drop(servers);
}

/// The server does not receive the ACK of its FIN and sends the FIN again. The timer of the mini
/// socket starts again with one minute.
pub(super) fn gets_fin_again(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let (clients, servers) = listener.pairs(5);
    drop(clients);
    stage.check("clients closed", &[(Listen, 1), (FinWait2, 5), (CloseWait, 5)]);
    deafen(&servers);
    let before = tcp_ext("TCPTimeouts") + tcp_ext("TCPLossProbes");
    shutdown(&servers);
    stage.check("servers closed, deaf", &[(Listen, 1), (LastAck, 5)]);
    wait::until("FINs sent again", || {
        tcp_ext("TCPTimeouts") + tcp_ext("TCPLossProbes") >= before + 5
    });
    stage.check("sent again", &[(Listen, 1), (LastAck, 5)]);
    hear(&servers);
    stage.check("servers hear", &[(Listen, 1)]);
    stage.await_time_wait(&listener, 5);
}

/// If a socket in TIME_WAIT receives a RST with the right sequence number, the kernel removes the
/// socket (RFC 1337 calls this event an assassination).
pub(super) fn gets_reset(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let (clients, servers) = listener.pairs(5);
    let ports: Vec<u16> = clients.iter().map(port).collect();
    let next: Vec<u32> = servers.iter().map(sequence_number).collect();
    drop(clients);
    stage.check("clients closed", &[(Listen, 1), (FinWait2, 5), (CloseWait, 5)]);
    drop(servers);
    stage.check("servers closed", &[(Listen, 1)]);
    stage.await_time_wait(&listener, 5);
    for (&port, &next) in ports.iter().zip(&next) {
        // The FIN of the server used one sequence number, so the RST needs the next number.
        send_reset(stage.family, listener.port(), port, next.wrapping_add(1));
    }
    stage.await_time_wait(&listener, 0);
    stage.check("assassinated", &[(Listen, 1)]);
}

/// The command `ss -K` closes mini sockets of all three kinds. All clients must be mini sockets,
/// because a destroyed full socket sends its peer a RST.
pub(super) fn destroyed(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let (clients, mut servers) = listener.pairs(7);
    stage.close_into_minis(clients);
    stage.check("clients closed", &[(Listen, 1), (FinWait2, 7), (CloseWait, 7)]);
    servers.truncate(3);
    stage.await_time_wait(&listener, 4);
    let half_open: Vec<Socket> = (0..3)
        .map(|_| {
            let client = socket(stage.family);
            deafen([&client]);
            begin_connect(&client, listener.address());
            client
        })
        .collect();
    let orphans = [(FinWait2, 3), (CloseWait, 3)];
    let and_orphans = |states: &[(State, u64)]| [states, &orphans].concat();
    stage.check("half-open", &and_orphans(&[(Listen, 1), (SynSent, 3), (SynRecv, 3)]));
    ss_kill(&["state", "time-wait"]);
    if sockets().minis[TimeWait] > 0 {
        drop(half_open);
        return stage.skip("this kernel lets nobody end mini sockets, as those before 6.1 do not");
    }
    stage.await_time_wait(&listener, 0);
    // The half-open clients are closed before the request sockets are removed, because the clients'
    // next SYNs would create new request sockets.
    drop(half_open);
    ss_kill(&["state", "syn-recv"]);
    ss_kill(&["state", "fin-wait-2"]);
    stage.check("destroyed", &[(Listen, 1), (CloseWait, 3)]);
    drop(servers);
    stage.check("all closed", &[(Listen, 1)]);
}

/// Mini sockets expire: orphans after `tcp_fin_timeout`, sockets in TIME_WAIT after one minute.
pub(super) fn expire(stage: &mut Stage<'_>) {
    let mut listeners = Vec::new();
    let mut held = Vec::new();
    for family in Family::BOTH {
        let listener = Listener::open(family);
        for (timeout, orphans) in [("3", 5), ("60", 7)] {
            let _timeout = Sysctl::held("net.ipv4.tcp_fin_timeout", timeout);
            let (clients, servers) = listener.pairs(orphans);
            stage.close_into_minis(clients);
            held.push(servers);
        }
        let (clients, servers) = listener.pairs(11);
        drop(clients);
        drop(servers);
        listeners.push(listener);
    }
    let started = [(Listen, 2), (FinWait2, 24), (CloseWait, 24)];
    stage.check("closed", &started);
    stage.check_within(
        Duration::from_secs(15),
        "orphans of 3 s expired",
        &[(Listen, 2), (FinWait2, 14), (CloseWait, 24)],
    );
    let minute = Duration::from_secs(75);
    stage.check_within(minute, "orphans of 60 s expired", &[(Listen, 2), (CloseWait, 24)]);
    wait::until_within(minute, "TIME_WAIT to expire", || sockets().minis.total() == 0);
    wait::grace_period();
    stage.check("all expired", &[(Listen, 2), (CloseWait, 24)]);
}

/// Returns a socket that may use a port in TIME_WAIT.
fn returning(family: Family, port: u16) -> Socket {
    let socket = socket(family);
    socket.set_reuse_address(true).expect("sockets can share");
    socket.bind(&family.loopback(port).into()).expect("the port waits for nobody else");
    socket
}

fn connect(client: &Socket, listener: &Listener) -> u16 {
    client.connect(listener.address()).expect("the listener has room");
    port(client)
}

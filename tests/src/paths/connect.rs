//! Scripts for every way in which connect() fails, and for connections without a listener.

use std::{io, net::Shutdown, time::Duration};

use socket2::Socket;
use tcpstate_common::State::{Established, FinWait1, Listen, SynRecv, SynSent};

use super::Stage;
use crate::{
    netns::Sysctl,
    traffic::{
        Family, Listener, begin_connect, bound, connecting, deafen, disconnect, hear, reset,
        shutdown, socket,
    },
};

/// A connect() to a port without a listener is refused.
pub(super) fn refused(stage: &mut Stage<'_>) {
    let nobody = bound(stage.family).local_addr().expect("the socket is bound");
    for _ in 0..11 {
        let refused = socket(stage.family).connect(&nobody);
        assert_eq!(kind(refused), Some(io::ErrorKind::ConnectionRefused));
    }
    stage.check("refused", &[]);
}

/// The listener never answers, so connect() times out.
pub(super) fn timed_out(stage: &mut Stage<'_>) {
    // The first retransmission happens after 1 s on every kernel. The sysctl makes the first
    // retransmission the last.
    let _once = Sysctl::held("net.ipv4.tcp_syn_retries", "1");
    let listener = deaf_listener(stage);
    let clients: Vec<Socket> = (0..5)
        .map(|_| {
            let client = socket(stage.family);
            client
                .set_tcp_user_timeout(Some(Duration::from_millis(100)))
                .expect("TCP has the option");
            begin_connect(&client, listener.address());
            client
        })
        .collect();
    stage.check("timed out", &[(Listen, 1)]);
    for client in clients {
        let error = client.take_error().expect("sockets have an error");
        assert_eq!(error.map(|error| error.kind()), Some(io::ErrorKind::TimedOut));
    }
}

/// The client closes its socket before the SYN is answered.
pub(super) fn abandoned(stage: &mut Stage<'_>) {
    let listener = deaf_listener(stage);
    let mut clients: Vec<Socket> =
        (0..11).map(|_| connecting(stage.family, listener.address())).collect();
    stage.check("SYNs sent", &[(Listen, 1), (SynSent, 11)]);
    clients.truncate(7);
    stage.check("4 closed", &[(Listen, 1), (SynSent, 7)]);
    clients
        .iter()
        .take(2)
        .for_each(|client| disconnect(client).expect("every socket can be disconnected"));
    stage.check("2 disconnected", &[(Listen, 1), (SynSent, 5)]);
    clients.iter().skip(2).for_each(|client| _ = client.shutdown(Shutdown::Both));
    stage.check("5 shut down", &[(Listen, 1)]);
}

/// A test makes more connections than the host has free ports.
pub(super) fn ports_exhausted(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    // If the number of ports in the range is odd, the kernel leaves one port unused, which it
    // chooses at random.
    let _six_ports = Sysctl::held("net.ipv4.ip_local_port_range", "20001 20006");
    let (clients, servers) = listener.pairs(6);
    let late: Vec<Socket> = (0..5).map(|_| socket(stage.family)).collect();
    for client in &late {
        assert_eq!(kind(client.connect(listener.address())), Some(io::ErrorKind::AddrNotAvailable));
    }
    stage.check("5 too many", &[(Listen, 1), (Established, 12)]);
    clients.into_iter().for_each(reset);
    drop(servers);
    stage.check("ports free again", &[(Listen, 1)]);
    let client = &late[0];
    client.connect(listener.address()).expect("there are ports again");
    stage.check("connected after all", &[(Listen, 1), (Established, 2)]);
    late.into_iter().for_each(reset);
}

/// A socket connects, is disconnected, connects again, and becomes a listener.
pub(super) fn socket_reused(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let reused = socket(stage.family);
    for _ in 0..3 {
        reused.connect(listener.address()).expect("the listener has room");
        let _server = listener.accept();
        stage.check("connected", &[(Listen, 1), (Established, 2)]);
        disconnect(&reused).expect("every socket can be disconnected");
        stage.check("disconnected", &[(Listen, 1)]);
    }
    reused.bind(&stage.family.loopback(0).into()).expect("the socket is as good as new");
    let second = Listener::on(stage.family, reused, 5);
    let (clients, _servers) = second.pairs(3);
    stage.check("listening", &[(Listen, 2), (Established, 6)]);
    clients.into_iter().for_each(reset);
}

/// A socket connects to its own port. The connection begins with a simultaneous open and ends with
/// a simultaneous close.
pub(super) fn to_itself(stage: &mut Stage<'_>) {
    let sockets: Vec<Socket> = (0..3)
        .map(|_| {
            let socket = bound(stage.family);
            let itself = socket.local_addr().expect("the socket is bound");
            socket.connect(&itself).expect("simultaneous open needs no listener");
            socket
        })
        .collect();
    stage.check("connected", &[(Established, 3)]);
    shutdown(&sockets);
    stage.check("shut down", &[]);
}

/// Two sockets connect to each other. The first socket is in SYN_RECV, as a full socket, while the
/// second socket receives no packets.
pub(super) fn simultaneous(stage: &mut Stage<'_>) {
    let (mut first, mut second) = crossing_syns(stage.family, 5);
    stage.check("SYNs crossed", &[(SynRecv, 5), (SynSent, 5)]);
    first.truncate(3);
    stage.check("2 closed in SYN_RECV", &[(FinWait1, 2), (SynRecv, 3), (SynSent, 5)]);
    second.truncate(3);
    hear(&second);
    stage.check("the others connected", &[(Established, 6)]);
}

/// Returns pairs of sockets that have connected to each other. The second socket of each pair is
/// deaf.
fn crossing_syns(family: Family, pairs: usize) -> (Vec<Socket>, Vec<Socket>) {
    let pair = |_| {
        let (first, second) = (bound(family), bound(family));
        // The kernel answers a SYN to a port without a listener with a RST. The sockets are deaf,
        // so that the sockets do not receive the RST.
        deafen([&first, &second]);
        begin_connect(&first, &second.local_addr().expect("the socket is bound"));
        hear([&first]);
        begin_connect(&second, &first.local_addr().expect("the socket is bound"));
        (first, second)
    };
    (0..pairs).map(pair).unzip()
}

fn deaf_listener(stage: &Stage<'_>) -> Listener {
    let listener = stage.listener();
    deafen([listener.socket()]);
    listener
}

fn kind(result: io::Result<()>) -> Option<io::ErrorKind> {
    result.err().map(|error| error.kind())
}

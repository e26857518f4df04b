//! Features that some kernels lack: Fast Open, repair and MPTCP.

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Protocol, Socket, Type};
use tcpstate_common::State::{Established, Listen, SynRecv, SynSent};

use super::Stage;
use crate::{
    netns::Sysctl,
    traffic::{Listener, bound, deafen, hear, socket},
};

/// Fast Open for clients and for all listeners, without cookies.
const FAST_OPEN: &str = "0x607";

/// The SYN of a Fast Open client carries data. The listener creates its child as a full socket in
/// SYN_RECV before it sends the SYN-ACK.
pub(super) fn fast_open(stage: &mut Stage<'_>) {
    let _on = Sysctl::held("net.ipv4.tcp_fastopen", FAST_OPEN);
    let listener = stage.listener();
    let clients: Vec<Socket> = (0..5)
        .map(|_| {
            let client = socket(stage.family);
            deafen([&client]);
            client.set_nonblocking(true).expect("sockets can be non-blocking");
            let sent = client.send_to_with_flags(b"early", listener.address(), libc::MSG_FASTOPEN);
            assert!(sent.is_ok_and(|bytes| bytes == 5), "the SYN takes the data");
            client
        })
        .collect();
    stage.check("clients deaf", &[(Listen, 1), (SynSent, 5), (SynRecv, 5)]);
    let servers: Vec<Socket> = (0..3).map(|_| listener.accept()).collect();
    stage.check("3 accepted", &[(Listen, 1), (SynSent, 5), (SynRecv, 5)]);
    hear(&clients);
    stage.check("clients hear", &[(Listen, 1), (Established, 10)]);
    drop(clients);
    drop(servers);
}

/// A connection that is restored from a checkpoint becomes ESTABLISHED without a packet. The
/// restored connection can also close without a packet.
pub(super) fn repair(stage: &mut Stage<'_>) {
    if let Err(cause) = setsockopt(&socket(stage.family), sockopt::TcpRepair, &1) {
        return stage.skip(&format!("TCP_REPAIR: {cause}"));
    }
    let set_repair = |socket: &Socket| {
        setsockopt(socket, sockopt::TcpRepair, &1).expect("this kernel has repair");
    };
    let listener = stage.listener();
    let restored: Vec<Socket> = (0..3)
        .map(|_| {
            let socket = bound(stage.family);
            set_repair(&socket);
            socket.connect(listener.address()).expect("nobody is asked");
            socket
        })
        .collect();
    stage.check("restored", &[(Listen, 1), (Established, 3)]);
    drop(restored);
    stage.check("gone silently", &[(Listen, 1)]);
    let (clients, servers) = listener.pairs(5);
    clients.iter().for_each(set_repair);
    drop(clients);
    stage.check("clients gone silently", &[(Listen, 1), (Established, 5)]);
    drop(servers);
    stage.check("servers closed", &[(Listen, 1)]);
}

/// tcpstate counts only the subflows of an MPTCP connection, as `ss -t` does. The MPTCP sockets of
/// the program are not TCP sockets.
pub(super) fn mptcp(stage: &mut Stage<'_>) {
    let new = || Socket::new(stage.family.domain(), Type::STREAM, Some(Protocol::MPTCP));
    let socket = match new() {
        Ok(socket) => socket,
        Err(cause) => return stage.skip(&format!("MPTCP: {cause}")),
    };
    socket.bind(&stage.family.loopback(0).into()).expect("there is a port left");
    let listener = Listener::on(stage.family, socket, 97);
    let clients: Vec<Socket> = (0..61)
        .map(|_| {
            let client = new().expect("this kernel has MPTCP");
            client.connect(listener.address()).expect("the listener has room");
            client
        })
        .collect();
    let servers: Vec<Socket> = (0..61).map(|_| listener.accept()).collect();
    stage.check("connected", &[(Listen, 1), (Established, 122)]);
    let (plain_clients, plain_servers) = listener.pairs(3);
    stage.check("connected by plain clients", &[(Listen, 1), (Established, 128)]);
    drop((clients, servers));
    stage.check("closed", &[(Listen, 1), (Established, 6)]);
    drop((plain_clients, plain_servers));
    stage.check("plain clients closed", &[(Listen, 1)]);
}

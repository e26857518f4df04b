//! Ends that leave no `TIME_WAIT`, or not for long.

use socket2::{SockAddr, Socket};
use tcpstate_common::State::{CloseWait, Established, FinWait2, Listen};

use super::Stage;
use crate::{
    netns::Sysctl,
    traffic::{bound, disconnect, socket},
};

/// No more mini sockets are allowed: closed clients are gone at once, and late FINs are answered with a RST.
pub(super) fn no_room(stage: &mut Stage<'_>) {
    let _none = Sysctl::held("net.ipv4.tcp_max_tw_buckets", "0");
    let listener = stage.listener();
    let (clients, servers) = listener.pairs(7);
    drop(clients);
    stage.check("clients closed", &[(Listen, 1), (CloseWait, 7)]);
    drop(servers);
    stage.check("servers closed", &[(Listen, 1)]);
}

/// Clients come back from the ports that the listener's side holds in `TIME_WAIT`.
pub(super) fn taken_over(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let ports: Vec<SockAddr> = (0..5)
        .map(|_| {
            let client = bound(stage.family);
            client.connect(listener.address()).expect("the listener has room");
            drop(listener.accept());
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

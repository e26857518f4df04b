//! Scripts for connections that one side closes with a RST.

use std::{io::Write, mem::MaybeUninit};

use tcpstate_common::State::{CloseWait, Established, FinWait2, Listen};

use super::Stage;
use crate::traffic::{reset, shutdown};

/// The sockets have a linger time of 0: some clients close first, then the remaining servers close.
pub(super) fn by_linger(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let (mut clients, mut servers) = listener.pairs(13);
    clients.drain(..7).for_each(reset);
    stage.check("by clients", &[(Listen, 1), (Established, 12)]);
    servers.drain(7..).for_each(reset);
    stage.check("by servers", &[(Listen, 1)]);
}

/// The client closes before it has read all data.
pub(super) fn by_unread_data(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let (clients, servers) = listener.pairs(5);
    for (client, mut server) in clients.iter().zip(&servers) {
        server.write_all(b"unread").expect("the socket is connected");
        client.peek(&mut [MaybeUninit::uninit()]).expect("data is on the way");
    }
    stage.check("data unread", &[(Listen, 1), (Established, 10)]);
    drop(clients);
    stage.check("clients closed", &[(Listen, 1)]);
}

/// The server sends a RST after the client has shut down.
pub(super) fn of_half_closed(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let (clients, servers) = listener.pairs(3);
    shutdown(&clients);
    stage.check("clients shut down", &[(Listen, 1), (FinWait2, 3), (CloseWait, 3)]);
    servers.into_iter().for_each(reset);
    stage.check("reset", &[(Listen, 1)]);
}

/// The client sends a RST before the server accepts. accept() still returns the reset connection.
pub(super) fn before_accept(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let clients: Vec<_> = (0..7).map(|_| listener.connect()).collect();
    stage.check("connected", &[(Listen, 1), (Established, 14)]);
    clients.into_iter().for_each(reset);
    stage.check("reset", &[(Listen, 1)]);
    let servers: Vec<_> = (0..7).map(|_| listener.accept()).collect();
    stage.check("accepted", &[(Listen, 1)]);
    drop(servers);
    stage.check("servers closed", &[(Listen, 1)]);
}

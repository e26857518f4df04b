//! Scripts for connections that both sides close with a FIN.

use std::{
    io::{Read, Write},
    thread,
};

use tcpstate_common::State::{
    CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen,
};

use super::Stage;
use crate::traffic::{deafen, hear, shutdown};

/// The client closes, then the server closes.
pub(super) fn active(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    stage.check("listening", &[(Listen, 1)]);
    let (clients, servers) = listener.pairs(7);
    stage.check("connected", &[(Listen, 1), (Established, 14)]);
    drop(clients);
    stage.check("clients closed", &[(Listen, 1), (FinWait2, 7), (CloseWait, 7)]);
    drop(servers);
    stage.check("servers closed", &[(Listen, 1)]);
}

/// The server shuts down, then the client closes. The server does not receive the client's FIN for
/// a while.
pub(super) fn passive(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let (clients, servers) = listener.pairs(5);
    shutdown(&servers);
    stage.check("servers shut down", &[(Listen, 1), (FinWait2, 5), (CloseWait, 5)]);
    deafen(&servers);
    drop(clients);
    stage.check("clients closed, unheard", &[(Listen, 1), (FinWait2, 5), (LastAck, 5)]);
    hear(&servers);
    stage.check("clients heard", &[(Listen, 1)]);
}

/// The client shuts down its sending side and continues to read.
pub(super) fn half(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let (clients, servers) = listener.pairs(11);
    shutdown(&clients);
    stage.check("clients shut down", &[(Listen, 1), (FinWait2, 11), (CloseWait, 11)]);
    for (mut client, mut server) in clients.iter().zip(&servers) {
        server.write_all(b"still here").expect("the other half is open");
        client.read_exact(&mut [0; 10]).expect("the other half is open");
    }
    stage.check("data passed", &[(Listen, 1), (FinWait2, 11), (CloseWait, 11)]);
    drop(servers);
    stage.check("servers closed", &[(Listen, 1)]);
}

/// The client shuts down, then closes. The server does not receive the client's packets for a
/// while.
pub(super) fn unacknowledged(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let (clients, servers) = listener.pairs(3);
    deafen(&servers);
    shutdown(&clients);
    stage.check("clients shut down, unheard", &[(Listen, 1), (FinWait1, 3), (Established, 3)]);
    drop(clients);
    stage.check("clients closed, unheard", &[(Listen, 1), (FinWait1, 3), (Established, 3)]);
    hear(&servers);
    stage.check("clients heard", &[(Listen, 1), (FinWait2, 3), (CloseWait, 3)]);
}

/// Both sides shut down before they receive the peer's FIN. The server receives the client's FIN
/// first, and the client receives the server's FIN later.
pub(super) fn simultaneous(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let (clients, servers) = listener.pairs(5);
    deafen(clients.iter().chain(&servers));
    shutdown(&clients);
    shutdown(&servers);
    stage.check("both shut down, unheard", &[(Listen, 1), (FinWait1, 10)]);
    hear(&servers);
    stage.check("clients heard", &[(Listen, 1), (FinWait1, 5), (Closing, 5)]);
    hear(&clients);
    stage.check("servers heard", &[(Listen, 1)]);
}

/// Both sides shut down at about the same time, on two threads. The FINs may be sent in any order.
pub(super) fn racing(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let (clients, servers) = listener.pairs(53);
    thread::scope(|scope| {
        scope.spawn(|| shutdown(&clients));
        shutdown(&servers);
    });
    stage.check("both shut down", &[(Listen, 1)]);
}

/// The script opens and closes many connections, one after the other.
pub(super) fn many_short(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    for _ in 0..211 {
        let (client, server) = (listener.connect(), listener.accept());
        drop(client);
        drop(server);
    }
    stage.check("done", &[(Listen, 1)]);
}

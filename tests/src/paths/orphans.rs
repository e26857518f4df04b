//! Orphans: sockets in `FIN_WAIT2` that their programs have closed. Orphans are mini sockets,
//! unless `tcp_fin_timeout` is longer than a minute.

use std::{io::Write, thread, time::Duration};

use tcpstate_common::State::{CloseWait, FinWait2, Listen};

use super::Stage;
use crate::{
    netns::Sysctl,
    traffic::{reset, shutdown},
};

const TIMEOUT: &str = "net.ipv4.tcp_fin_timeout";

/// No program can read data of an orphan, so the orphan answers data with a RST.
pub(super) fn gets_data(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let (clients, servers) = listener.pairs(7);
    shutdown(&clients);
    stage.check("clients shut down", &[(Listen, 1), (FinWait2, 7), (CloseWait, 7)]);
    drop(clients);
    stage.check("clients closed", &[(Listen, 1), (FinWait2, 7), (CloseWait, 7)]);
    for mut server in &servers {
        server.write_all(b"anyone?").expect("the server does not know yet");
    }
    stage.check("data sent", &[(Listen, 1)]);
}

/// The orphans expire before the server closes. Other orphans of this path have a longer timeout.
/// If tcpstate counted the end of an orphan twice, tcpstate's number of remaining orphans would be
/// wrong.
pub(super) fn expires(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let (patient, peers) = listener.pairs(37);
    stage.close_into_minis(patient);
    stage.check("patient clients closed", &[(Listen, 1), (FinWait2, 37), (CloseWait, 37)]);
    let _short = Sysctl::held(TIMEOUT, "1");
    let (clients, servers) = listener.pairs(31);
    stage.close_into_minis(clients);
    stage.check("orphans expired", &[(Listen, 1), (FinWait2, 37), (CloseWait, 68)]);
    drop(servers);
    stage.check("servers closed", &[(Listen, 1), (FinWait2, 37), (CloseWait, 37)]);
    drop(peers);
    stage.check("peers closed", &[(Listen, 1)]);
}

/// With a timeout above one minute, the kernel keeps the full socket.
pub(super) fn stays_full(stage: &mut Stage<'_>) {
    let _long = Sysctl::held(TIMEOUT, "120");
    let listener = stage.listener();
    let (clients, servers) = listener.pairs(5);
    drop(clients);
    stage.check("clients closed", &[(Listen, 1), (FinWait2, 5), (CloseWait, 5)]);
    drop(servers);
    stage.check("servers closed", &[(Listen, 1)]);
}

/// The server closes immediately after the client. The mini sockets move to TIME_WAIT before their
/// timers have advanced.
pub(super) fn gets_fin_at_once(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let (clients, servers) = listener.pairs(11);
    drop(clients);
    stage.check("clients closed", &[(Listen, 1), (FinWait2, 11), (CloseWait, 11)]);
    drop(servers);
    stage.check("servers closed", &[(Listen, 1)]);
    stage.await_time_wait(&listener, 11);
}

/// The server closes after 3 s. The FIN of the server restarts the timers of the mini sockets.
pub(super) fn gets_fin_late(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let (clients, servers) = listener.pairs(13);
    drop(clients);
    stage.check("clients closed", &[(Listen, 1), (FinWait2, 13), (CloseWait, 13)]);
    // The wait must be longer than a slot of the kernel's timer wheel, so the test sleeps for a
    // fixed time.
    thread::sleep(Duration::from_secs(3));
    drop(servers);
    stage.check("servers closed", &[(Listen, 1)]);
    stage.await_time_wait(&listener, 13);
}

/// The server sends a RST, which removes the client's orphan.
pub(super) fn gets_reset(stage: &mut Stage<'_>) {
    let listener = stage.listener();
    let (clients, servers) = listener.pairs(5);
    drop(clients);
    stage.check("clients closed", &[(Listen, 1), (FinWait2, 5), (CloseWait, 5)]);
    servers.into_iter().for_each(reset);
    stage.check("servers reset", &[(Listen, 1)]);
    stage.await_time_wait(&listener, 0);
}

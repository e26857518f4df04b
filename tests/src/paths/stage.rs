//! Where a path plays: its family, its sockets' states awaited, its checkpoints.

use std::time::Duration;

use socket2::Socket;
use tcpstate_common::State;

use super::Checkpoints;
use crate::{
    traffic::{Family, Listener, shutdown},
    truth::{Counts, sockets, time_wait_of},
    wait,
};

/// What a script works with.
pub(crate) struct Stage<'a> {
    pub(crate) family: Family,
    path: &'static str,
    checkpoints: &'a mut dyn Checkpoints,
    /// Sockets that are none of the path's.
    others: Counts,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(
        path: &'static str,
        family: Family,
        checkpoints: &'a mut dyn Checkpoints,
    ) -> Self {
        Self { family, path, checkpoints, others: living() }
    }

    /// On a port of which nothing waits any more: earlier paths may have left time-wait sockets, and Linux 5.10 likes to choose
    /// their ports again.
    pub(crate) fn listener(&self) -> Listener {
        // Held until one is found, lest a port be chosen twice.
        let mut taken = Vec::new();
        loop {
            let listener = Listener::open(self.family);
            if time_wait_of(listener.port()) == 0 {
                return listener;
            }
            taken.push(listener);
        }
    }

    /// Waits until the path's sockets, mini sockets included, are in these states and no others; then lets the
    /// caller look.
    pub(crate) fn check(&mut self, moment: &str, expected: &[(State, u64)]) {
        /// Far more than most things take.
        const SOON: Duration = Duration::from_secs(10);
        self.check_within(SOON, moment, expected);
    }

    /// The same, for what takes longer.
    pub(crate) fn check_within(&mut self, time: Duration, moment: &str, expected: &[(State, u64)]) {
        let label = format!("{}, {}: {moment}", self.path, self.family);
        wait::until_equal_within(time, &label, &(self.others + Counts::from(expected)), living);
        wait::grace_period();
        self.checkpoints.check(&label);
    }

    /// Waits until so many mini sockets in `TIME_WAIT` have this listener at one of their ends.
    pub(crate) fn await_time_wait(&self, listener: &Listener, expected: u64) {
        let label = format!("{}, {}: time-wait sockets", self.path, self.family);
        wait::until_equal(&label, &expected, || time_wait_of(listener.port()));
    }

    /// Closes these, and each becomes a mini socket at once. One whose FIN is acknowledged while close() is at work may
    /// stay a full socket (the "bad case" of `tcp_rcv_state_process`), so they wait for that first.
    pub(crate) fn close_into_minis(&self, clients: Vec<Socket>) {
        shutdown(&clients);
        let label = format!("{}, {}: FINs to be acknowledged", self.path, self.family);
        wait::until(&label, || sockets().full[State::FinWait1] == 0);
        drop(clients);
    }

    /// Says why the rest of the path is left out.
    pub(crate) fn skip(&self, cause: &str) {
        eprintln!("{}, {}: skipped: {cause}", self.path, self.family);
    }
}

/// As `ss` shows, but `TIME_WAIT`: those of earlier paths may end at any time.
fn living() -> Counts {
    sockets().all().without(State::TimeWait)
}

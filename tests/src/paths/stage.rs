//! The environment of a path: its family, its checkpoints, and the wait for expected states.

use std::time::Duration;

use socket2::Socket;
use tcpstate_common::State;

use super::Checkpoints;
use crate::{
    traffic::{Family, Listener, shutdown},
    truth::{Counts, sockets, time_wait_of},
    wait,
};

/// The environment of a script.
pub(crate) struct Stage<'a> {
    pub(crate) family: Family,
    path: &'static str,
    checkpoints: &'a mut dyn Checkpoints,
    /// The number of sockets in the namespace that do not belong to the path, in each state.
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

    /// A listener on a port without time-wait sockets. Earlier paths may have left time-wait
    /// sockets, and Linux 5.10 often chooses the ports of these sockets again.
    pub(crate) fn listener(&self) -> Listener {
        // Rejected listeners stay open during the search, so the kernel does not choose their ports
        // again.
        let mut taken = Vec::new();
        loop {
            let listener = Listener::open(self.family);
            if time_wait_of(listener.port()) == 0 {
                return listener;
            }
            taken.push(listener);
        }
    }

    /// Waits until the path's sockets, including mini sockets, are in exactly the expected states.
    /// The function then calls the checkpoint.
    pub(crate) fn check(&mut self, moment: &str, expected: &[(State, u64)]) {
        /// This deadline is far longer than most steps take.
        const SOON: Duration = Duration::from_secs(10);
        self.check_within(SOON, moment, expected);
    }

    /// Like [`check`](Self::check), with a longer deadline.
    pub(crate) fn check_within(&mut self, time: Duration, moment: &str, expected: &[(State, u64)]) {
        let label = format!("{}, {}: {moment}", self.path, self.family);
        wait::until_equal_within(time, &label, &(self.others + Counts::from(expected)), living);
        wait::grace_period();
        self.checkpoints.check(&label);
    }

    /// Waits until the expected number of mini sockets in `TIME_WAIT` has the listener's port as
    /// local or remote port.
    pub(crate) fn await_time_wait(&self, listener: &Listener, expected: u64) {
        let label = format!("{}, {}: time-wait sockets", self.path, self.family);
        wait::until_equal(&label, &expected, || time_wait_of(listener.port()));
    }

    /// Closes these sockets so that each socket becomes a mini socket immediately. If a FIN is
    /// acknowledged during close(), the socket may stay a full socket (the "bad case" of
    /// `tcp_rcv_state_process`). This function therefore waits for the acknowledgements before it
    /// closes the sockets.
    pub(crate) fn close_into_minis(&self, clients: Vec<Socket>) {
        shutdown(&clients);
        let label = format!("{}, {}: FINs to be acknowledged", self.path, self.family);
        wait::until(&label, || sockets().full[State::FinWait1] == 0);
        drop(clients);
    }

    /// Prints the reason why the rest of the path is skipped.
    pub(crate) fn skip(&self, cause: &str) {
        eprintln!("{}, {}: skipped: {cause}", self.path, self.family);
    }
}

/// Returns the counts of `ss` without `TIME_WAIT`, because time-wait sockets of earlier paths may
/// end at any time.
fn living() -> Counts {
    sockets().all().without(State::TimeWait)
}

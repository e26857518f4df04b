//! Where a path plays: its family, its sockets' states awaited, its checkpoints.

use tcpstate_common::State;

use super::Checkpoints;
use crate::{
    traffic::{Family, Listener},
    truth::{Counts, sockets},
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

    pub(crate) fn listener(&self) -> Listener {
        Listener::open(self.family)
    }

    /// Waits until the path's sockets, mini sockets included, are in these states and no others; then lets the
    /// caller look.
    pub(crate) fn check(&mut self, moment: &str, expected: &[(State, u64)]) {
        let label = format!("{}, {}: {moment}", self.path, self.family);
        wait::until_equal(&label, &(self.others + Counts::from(expected)), living);
        wait::grace_period();
        self.checkpoints.check(&label);
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

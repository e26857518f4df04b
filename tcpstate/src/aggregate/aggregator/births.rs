//! Remembers when the last sockets with a bounded life were born.

use std::time::Instant;

use tcpstate_common::State;

use crate::{aggregate::audit::Audits, source::Reading};

/// The states of mini sockets, which the kernel ends by a timer.
const BOUNDED: [State; 3] = [State::SynRecv, State::FinWait2, State::TimeWait];

/// For each state of [`BOUNDED`], the number of mini sockets that entered the state, and when the
/// number last grew.
#[derive(Clone, Copy, Debug)]
pub(super) struct Births([(u64, Instant); 3]);

impl Births {
    pub(super) fn new(reading: &Reading) -> Self {
        Self(BOUNDED.map(|state| (reading.counts.flows.minis(state).entered, reading.at.monotonic)))
    }

    pub(super) fn observe(&mut self, reading: &Reading) {
        for (state, (entered, last)) in BOUNDED.into_iter().zip(&mut self.0) {
            let now = reading.counts.flows.minis(state).entered;
            if now != *entered {
                (*entered, *last) = (now, reading.at.monotonic);
            }
        }
    }

    /// Returns whether sockets of a state have outlived their bound. `minis` returns the gauge of
    /// the mini sockets in a state.
    pub(super) fn is_overdue(
        &self,
        audits: &Audits,
        now: Instant,
        minis: impl Fn(State) -> i64,
    ) -> bool {
        let mut states = BOUNDED.into_iter().zip(self.0);
        states.any(|(state, (_, last))| minis(state) > 0 && audits.is_overdue(last, now))
    }
}

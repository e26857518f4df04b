//! Gauges of one scope: of all that is counted, or of one network namespace in it.

use tcpstate_common::{
    State,
    abi::{Flow, STATE_SLOTS},
};

use crate::{
    report::Gauge,
    source::{Flows, Population},
};

/// `current = start + entered - left + corrected`, for full sockets and mini sockets by themselves.
#[derive(Clone, Debug, Default)]
pub(super) struct Gauges {
    full: Baseline,
    minis: Baseline,
}

impl Gauges {
    /// Opens them with the sockets that a scan found, and what came and went during it.
    pub(super) fn open(base: &Population, in_scan: &Flows) -> Self {
        Self {
            full: Baseline::open(&base.full, |state| in_scan.full(state)),
            minis: Baseline::open(&base.minis, |state| in_scan.minis(state)),
        }
    }

    /// Makes them say what a scan found.
    pub(super) fn correct(&mut self, base: &Population, in_scan: &Flows, since_start: &Flows) {
        self.full.correct(&base.full, |state| in_scan.full(state), |state| since_start.full(state));
        self.minis.correct(
            &base.minis,
            |state| in_scan.minis(state),
            |state| since_start.minis(state),
        );
    }

    /// Lifts gauges from below zero; returns by how much, all together. In a consistent cut none is, unless an event was
    /// missed.
    pub(super) fn floor(&mut self, since_start: &Flows) -> u64 {
        self.full.floor(|state| since_start.full(state))
            + self.minis.floor(|state| since_start.minis(state))
    }

    /// The gauge with which the gauges were opened.
    pub(super) fn opening(&self, state: State) -> Gauge {
        let slot = state.number();
        let start = self.full.start[slot] + self.minis.start[slot];
        Gauge { current: Some(start), entered: Some(0), left: Some(0), corrected: Some(0) }
    }

    /// The gauge now.
    pub(super) fn gauge(&self, state: State, since_start: &Flows) -> Gauge {
        let slot = state.number();
        let flow = since_start.flow(state);
        Gauge {
            current: Some(self.current(state, since_start)),
            entered: Some(flow.entered),
            left: Some(flow.left),
            corrected: Some(self.full.corrected[slot] + self.minis.corrected[slot]),
        }
    }

    /// Time-wait sockets, whatever state they show.
    pub(super) fn time_wait_sockets(&self, since_start: &Flows) -> i64 {
        [State::FinWait2, State::TimeWait]
            .into_iter()
            .map(|state| self.minis.current(state, since_start.minis(state)))
            .sum()
    }

    /// Full sockets in any state.
    pub(super) fn full_sockets(&self, since_start: &Flows) -> i64 {
        let current = |state| self.full.current(state, since_start.full(state));
        State::GAUGES.into_iter().map(current).sum()
    }

    /// Whether there is no socket in any state.
    pub(super) fn is_empty(&self, since_start: &Flows) -> bool {
        State::GAUGES.into_iter().all(|state| self.current(state, since_start) == 0)
    }

    fn current(&self, state: State, since_start: &Flows) -> i64 {
        self.full.current(state, since_start.full(state))
            + self.minis.current(state, since_start.minis(state))
    }
}

/// Sockets of one kind by state.
#[derive(Clone, Debug, Default)]
struct Baseline {
    start: [i64; STATE_SLOTS],
    corrected: [i64; STATE_SLOTS],
}

impl Baseline {
    fn open(base: &[u64; STATE_SLOTS], flow: impl Fn(State) -> Flow) -> Self {
        let mut baseline = Self::default();
        for state in State::ALL {
            baseline.start[state.number()] = at_end(base, state, flow(state)).max(0);
        }
        baseline
    }

    fn current(&self, state: State, flow: Flow) -> i64 {
        let slot = state.number();
        self.start[slot] + net(flow) + self.corrected[slot]
    }

    fn correct(
        &mut self,
        base: &[u64; STATE_SLOTS],
        in_scan: impl Fn(State) -> Flow,
        since_start: impl Fn(State) -> Flow,
    ) {
        for state in State::ALL {
            let found = at_end(base, state, in_scan(state)).max(0);
            self.corrected[state.number()] += found - self.current(state, since_start(state));
        }
    }

    fn floor(&mut self, since_start: impl Fn(State) -> Flow) -> u64 {
        let mut lifted = 0;
        for state in State::ALL {
            let current = self.current(state, since_start(state));
            if current < 0 {
                self.corrected[state.number()] -= current;
                lifted += current.unsigned_abs();
            }
        }
        lifted
    }
}

/// Sockets at the end of a scan: those at t0, and what came and went since. Not below zero unless events
/// were missed during it.
fn at_end(base: &[u64; STATE_SLOTS], state: State, in_scan: Flow) -> i64 {
    base[state.number()].cast_signed() + net(in_scan)
}

fn net(flow: Flow) -> i64 {
    flow.entered.wrapping_sub(flow.left).cast_signed()
}

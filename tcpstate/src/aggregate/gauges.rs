//! The gauges of one scope: of all counted sockets, or of one network namespace.

use tcpstate_common::{
    State,
    abi::{Flow, STATE_SLOTS},
};

use crate::{
    report::Gauge,
    source::{Flows, Population},
};

/// The gauges of full sockets and of mini sockets. For both kinds of sockets, `current = start +
/// entered - left + corrected`.
#[derive(Clone, Debug, Default)]
pub(super) struct Gauges {
    full: Baseline,
    minis: Baseline,
}

impl Gauges {
    /// Initializes the gauges from the result of a scan: the sockets at t0, and the changes of
    /// state during the scan.
    pub(super) fn open(base: &Population, in_scan: &Flows) -> Self {
        Self {
            full: Baseline::open(&base.full, |state| in_scan.full(state)),
            minis: Baseline::open(&base.minis, |state| in_scan.minis(state)),
        }
    }

    /// Corrects the gauges so that the gauges equal the result of a scan.
    pub(super) fn correct(&mut self, base: &Population, in_scan: &Flows, since_start: &Flows) {
        self.full.correct(&base.full, |state| in_scan.full(state), |state| since_start.full(state));
        self.minis.correct(
            &base.minis,
            |state| in_scan.minis(state),
            |state| since_start.minis(state),
        );
    }

    /// Raises negative gauges to zero. Returns how many sockets were added in total to raise
    /// negative gauges to zero. If the counts are a consistent cut, a gauge can be negative only if
    /// tracing missed an event.
    pub(super) fn floor(&mut self, since_start: &Flows) -> u64 {
        self.full.floor(|state| since_start.full(state))
            + self.minis.floor(|state| since_start.minis(state))
    }

    /// Initializes the gauges with the sums of other gauges at the start.
    pub(super) fn open_with_sums<'a>(parts: &(impl Iterator<Item = &'a Self> + Clone)) -> Self {
        let sum = |of: fn(&Self) -> &Baseline| {
            let mut baseline = Baseline::default();
            for part in parts.clone() {
                for (sum, start) in baseline.start.iter_mut().zip(of(part).start) {
                    *sum += start;
                }
            }
            baseline
        };
        Self { full: sum(|gauges| &gauges.full), minis: sum(|gauges| &gauges.minis) }
    }

    /// Corrects the gauges so that the gauges equal the sums of other gauges. Each pair has the
    /// gauges of a part and the part's counts since its start.
    pub(super) fn adopt_sums<'a>(
        &mut self,
        parts: impl Iterator<Item = (&'a Self, Flows)>,
        since_start: &Flows,
    ) {
        let mut sums = [[0; STATE_SLOTS]; 2];
        for (part, since) in parts {
            for state in State::ALL {
                let slot = state.number();
                sums[0][slot] += part.full.current(state, since.full(state));
                sums[1][slot] += part.minis.current(state, since.minis(state));
            }
        }
        for state in State::ALL {
            let slot = state.number();
            self.full.corrected[slot] +=
                sums[0][slot] - self.full.current(state, since_start.full(state));
            self.minis.corrected[slot] +=
                sums[1][slot] - self.minis.current(state, since_start.minis(state));
        }
    }

    /// Returns the gauge of a state at the start.
    pub(super) fn opening(&self, state: State) -> Gauge {
        let slot = state.number();
        let start = self.full.start[slot] + self.minis.start[slot];
        Gauge { current: Some(start), entered: Some(0), left: Some(0), corrected: Some(0) }
    }

    /// Returns the current gauge of a state.
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

    /// Returns the number of time-wait sockets in both substates.
    pub(super) fn time_wait_sockets(&self, since_start: &Flows) -> i64 {
        [State::FinWait2, State::TimeWait]
            .into_iter()
            .map(|state| self.minis.current(state, since_start.minis(state)))
            .sum()
    }

    /// Returns the number of full sockets in all states.
    pub(super) fn full_sockets(&self, since_start: &Flows) -> i64 {
        let current = |state| self.full.current(state, since_start.full(state));
        State::GAUGES.into_iter().map(current).sum()
    }

    /// Returns the number of mini sockets in a state.
    pub(super) fn minis(&self, state: State, since_start: &Flows) -> i64 {
        self.minis.current(state, since_start.minis(state))
    }

    /// Returns the number of request sockets.
    pub(super) fn requests(&self, since_start: &Flows) -> i64 {
        self.minis(State::SynRecv, since_start)
    }

    /// Returns the number of sockets in all states.
    pub(super) fn sockets(&self, since_start: &Flows) -> i64 {
        State::GAUGES.into_iter().map(|state| self.current(state, since_start)).sum()
    }

    /// Returns whether the gauges of all states are 0.
    pub(super) fn is_empty(&self, since_start: &Flows) -> bool {
        State::GAUGES.into_iter().all(|state| self.current(state, since_start) == 0)
    }

    fn current(&self, state: State, since_start: &Flows) -> i64 {
        self.full.current(state, since_start.full(state))
            + self.minis.current(state, since_start.minis(state))
    }
}

/// For each state, the number of full or mini sockets at the start, and the total of the
/// corrections.
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

/// Returns the number of sockets in a state at the end of a scan: the sockets in the state at t0,
/// plus the sockets that entered the state since t0, minus the sockets that left the state since
/// t0. The number is negative only if events were missed during the scan.
fn at_end(base: &[u64; STATE_SLOTS], state: State, in_scan: Flow) -> i64 {
    base[state.number()].cast_signed() + net(in_scan)
}

fn net(flow: Flow) -> i64 {
    flow.entered.wrapping_sub(flow.left).cast_signed()
}

//! The books: gauges from what passes found and what was counted since.
//!
//! `current = start + entered - left + corrected` holds for every state at every moment. A pass says how many
//! sockets there really are; the difference to the books goes to `corrected`.

use std::time::Duration;

use tcpstate_common::{
    State,
    abi::{Flow, STATE_SLOTS},
};

use super::{
    cost, silence,
    snapshot::{Gauge, Snapshot, Transition},
    time_wait,
};
use crate::{
    probe::{Minis, Provider},
    source::{Counts, Missed, Pass, Population, Reading},
};

/// What serves each kind of mini sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Providers {
    /// Time-wait sockets.
    pub time_wait: Provider,
    /// Request sockets.
    pub syn_recv: Provider,
}

impl Providers {
    /// What serves this kind.
    #[must_use]
    pub fn of(self, minis: Minis) -> Provider {
        match minis {
            Minis::TimeWait => self.time_wait,
            Minis::SynRecv => self.syn_recv,
        }
    }
}

/// The books of one run.
#[derive(Clone, Debug)]
pub struct Ledger {
    providers: Providers,
    /// Since when each of them serves.
    time_wait_since: Reading,
    syn_recv_since: Reading,
    /// The end of the first pass: totals are since here.
    origin: Reading,
    /// Where the last snapshot was taken.
    previous: Reading,
    full: Account,
    minis: Account,
    last_pass: LastPass,
    /// Passes but the first.
    reconciles: u64,
    /// Totals over all passes.
    map_full: u64,
    map_errors: u64,
}

/// Sockets of one kind by state: `start + entered - left + corrected`.
#[derive(Clone, Debug, Default)]
struct Account {
    start: [i64; STATE_SLOTS],
    corrected: [i64; STATE_SLOTS],
}

impl Account {
    fn open(base: &[u64; STATE_SLOTS], flow: impl Fn(State) -> Flow) -> Self {
        let mut account = Self::default();
        for state in State::ALL {
            account.start[state.number()] = at_end(base, state, flow(state)).max(0);
        }
        account
    }

    fn current(&self, state: State, flow: Flow) -> i64 {
        let slot = state.number();
        self.start[slot] + net(flow) + self.corrected[slot]
    }

    /// Makes the books say what a pass found.
    fn correct(
        &mut self,
        base: &[u64; STATE_SLOTS],
        in_pass: impl Fn(State) -> Flow,
        since_start: impl Fn(State) -> Flow,
    ) {
        for state in State::ALL {
            let found = at_end(base, state, in_pass(state)).max(0);
            self.corrected[state.number()] += found - self.current(state, since_start(state));
        }
    }

    /// Lifts gauges from below zero; returns by how much, all together.
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

/// Sockets at the end of a pass: those at moment zero, and what came and went since. Not below zero unless events
/// were missed during it.
fn at_end(base: &[u64; STATE_SLOTS], state: State, in_pass: Flow) -> i64 {
    base[state.number()].cast_signed() + net(in_pass)
}

fn net(flow: Flow) -> i64 {
    flow.entered.wrapping_sub(flow.left).cast_signed()
}

/// What the last pass leaves open.
#[derive(Clone, Debug)]
struct LastPass {
    end: Reading,
    cost: Duration,
    /// What was missed before is made up for.
    missed_before: Missed,
    /// Touches that the pass could not settle.
    unsettled: u64,
    /// Sockets that left a state without ever coming into it: each proves a miss that the kernel did not count.
    impossible: u64,
}

impl LastPass {
    fn of(pass: &Pass) -> Self {
        Self {
            end: pass.end.clone(),
            cost: pass.cost,
            missed_before: pass.missed_before,
            unsettled: pass.map_full + pass.map_errors,
            impossible: 0,
        }
    }
}

impl Ledger {
    /// Opens the books with the first pass.
    #[must_use]
    pub fn open(first: &Pass, providers: Providers) -> Self {
        let in_pass = first.end.counts.since(&first.zero);
        let Population { full, minis } = &first.base;
        Self {
            providers,
            time_wait_since: first.end.clone(),
            syn_recv_since: first.end.clone(),
            origin: first.end.clone(),
            previous: first.end.clone(),
            full: Account::open(full, |state| in_pass.full(state)),
            minis: Account::open(minis, |state| in_pass.minis(state)),
            last_pass: LastPass::of(first),
            reconciles: 0,
            map_full: first.map_full,
            map_errors: first.map_errors,
        }
    }

    /// Puts the books right by a further pass.
    pub fn correct(&mut self, pass: &Pass) {
        let in_pass = pass.end.counts.since(&pass.zero);
        let since = self.since_origin(&pass.end);
        let Population { full, minis } = &pass.base;
        self.full.correct(full, |state| in_pass.full(state), |state| since.full(state));
        self.minis.correct(minis, |state| in_pass.minis(state), |state| since.minis(state));
        self.last_pass = LastPass::of(pass);
        self.reconciles += 1;
        self.map_full += pass.map_full;
        self.map_errors += pass.map_errors;
    }

    /// How the hooks for these sockets are silent while the kernel's counters move, if they are.
    #[must_use]
    pub fn silence(&self, minis: Minis, reading: &Reading) -> Option<&'static str> {
        let since = match minis {
            Minis::TimeWait => &self.time_wait_since,
            Minis::SynRecv => &self.syn_recv_since,
        };
        let is_exact = self.providers.of(minis).is_exact();
        is_exact.then(|| silence::of(minis, since, &self.previous, reading)).flatten()
    }

    /// Something else serves since this pass, which puts the books right.
    pub fn replace(&mut self, minis: Minis, provider: Provider, pass: &Pass) {
        match minis {
            Minis::TimeWait => {
                (self.providers.time_wait, self.time_wait_since) = (provider, pass.end.clone());
            }
            Minis::SynRecv => {
                (self.providers.syn_recv, self.syn_recv_since) = (provider, pass.end.clone());
            }
        }
        self.correct(pass);
    }

    /// What was missed and no pass has made up for, given what was missed since the load.
    #[must_use]
    pub fn unreconciled(&self, missed: Missed) -> u64 {
        let last = &self.last_pass;
        missed.total() - last.missed_before.total() + last.unsettled + last.impossible
    }

    /// The cut with which the last pass ended, and the processor time that it took.
    #[must_use]
    pub fn last_pass(&self) -> (&Reading, Duration) {
        (&self.last_pass.end, self.last_pass.cost)
    }

    /// Events counted since the last snapshot, and since the last pass.
    #[must_use]
    pub fn events_since(&self, reading: &Reading) -> (u64, u64) {
        let total = reading.counts.total();
        (total - self.previous.counts.total(), total - self.last_pass.end.counts.total())
    }

    /// The state of things at a reading; the interval ends here, and the next one begins.
    pub fn snapshot(&mut self, reading: &Reading) -> Snapshot {
        self.floor(reading);
        let snapshot = self.aggregate(reading, &self.previous);
        self.previous = reading.clone();
        snapshot
    }

    /// The whole run up to a reading, as one interval.
    pub fn summary(&mut self, reading: &Reading) -> Snapshot {
        self.floor(reading);
        self.aggregate(reading, &self.origin)
    }

    /// The gauges with which the books were opened.
    #[must_use]
    pub fn opening(&self) -> [Gauge; 10] {
        State::GAUGES.map(|state| {
            let slot = state.number();
            let seen = self.is_seen(state);
            Gauge {
                current: seen.then_some(self.full.start[slot] + self.minis.start[slot]),
                entered: seen.then_some(0),
                left: seen.then_some(0),
                corrected: seen.then_some(0),
            }
        })
    }

    /// No gauge is shown below zero. In a consistent cut none can be, unless an event was missed.
    fn floor(&mut self, reading: &Reading) {
        let since = self.since_origin(reading);
        self.last_pass.impossible += self.full.floor(|state| since.full(state));
        self.last_pass.impossible += self.minis.floor(|state| since.minis(state));
    }

    fn since_origin(&self, reading: &Reading) -> Counts {
        reading.counts.since(&self.origin.counts)
    }

    fn gauge(&self, state: State, since: &Counts) -> Gauge {
        if !self.is_seen(state) {
            return Gauge::default();
        }
        let slot = state.number();
        let flow = since.flow(state);
        let current = self.full.current(state, since.full(state))
            + self.minis.current(state, since.minis(state));
        Gauge {
            current: Some(current),
            entered: Some(flow.entered),
            left: Some(flow.left),
            corrected: Some(self.full.corrected[slot] + self.minis.corrected[slot]),
        }
    }

    /// Time-wait sockets, whatever state they show.
    fn time_wait_sockets(&self, since: &Counts) -> i64 {
        [State::FinWait2, State::TimeWait]
            .into_iter()
            .map(|state| self.minis.current(state, since.minis(state)))
            .sum()
    }

    fn aggregate(&self, reading: &Reading, interval_start: &Reading) -> Snapshot {
        let since = self.since_origin(reading);
        let in_interval = reading.counts.since(&interval_start.counts);
        let mut transitions = Vec::new();
        for from in State::ALL {
            for to in State::ALL {
                let count = since.transitions(from, to);
                if count > 0 {
                    let in_interval = in_interval.transitions(from, to);
                    transitions.push(Transition { from, to, count, in_interval });
                }
            }
        }
        let passed = |since: &Reading| reading.at.monotonic.duration_since(since.at.monotonic);
        let provider = self.providers.time_wait;
        let missed = |of: fn(&Missed) -> u64| of(&reading.missed) - of(&self.origin.missed);
        Snapshot {
            time: reading.at.wall,
            elapsed: passed(&self.origin),
            interval: passed(interval_start),
            in_place: None,
            unreconciled: self.unreconciled(reading.missed),
            states: State::GAUGES.map(|state| self.gauge(state, &since)),
            moved: State::GAUGES.map(|state| self.is_seen(state).then(|| in_interval.flow(state))),
            transitions,
            time_wait: if provider.is_exact() {
                time_wait::counted(
                    provider,
                    self.time_wait_sockets(&since),
                    (reading, &self.origin),
                    (&in_interval, passed(interval_start)),
                )
            } else {
                time_wait::polled(provider, reading, &self.origin, interval_start)
            },
            missed: Missed {
                transitions: missed(|missed| missed.transitions),
                time_wait: missed(|missed| missed.time_wait),
                syn_recv: missed(|missed| missed.syn_recv),
                unrecorded: missed(|missed| missed.unrecorded),
            },
            reconciles: self.reconciles,
            map_full: self.map_full + missed(|missed| missed.unrecorded),
            map_errors: self.map_errors,
            cost: cost::of(reading, &self.origin, interval_start),
            process_time: reading.process_time.saturating_sub(self.origin.process_time),
        }
    }

    /// Whether what is in place can see sockets in this state. Only time-wait sockets are ever in TIME_WAIT.
    fn is_seen(&self, state: State) -> bool {
        state != State::TimeWait || self.providers.time_wait.is_exact()
    }
}

#[cfg(test)]
mod tests;

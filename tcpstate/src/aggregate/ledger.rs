//! The books: gauges from what passes found and what was counted since.
//!
//! `current = start + entered - left + corrected` holds for every state at every moment. A pass says how many
//! sockets there really are; the difference to the books goes to `corrected`.

use std::time::Duration;

use tcpstate_common::{State, abi::STATE_SLOTS};

use super::snapshot::{Gauge, Snapshot, TimeWait, Transition};
use crate::source::{Pass, Reading};

/// The books of one run.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// The end of the first pass: totals are since here.
    origin: Reading,
    /// Where the last snapshot was taken.
    previous: Reading,
    start: [i64; STATE_SLOTS],
    corrected: [i64; STATE_SLOTS],
    last_pass: LastPass,
    /// Passes but the first.
    reconciles: u64,
    /// Totals over all passes.
    map_full: u64,
    map_errors: u64,
}

/// What the last pass leaves open.
#[derive(Clone, Debug)]
struct LastPass {
    end: Reading,
    cost: Duration,
    /// What was missed before is made up for.
    missed_before: u64,
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
    pub fn open(first: &Pass) -> Self {
        let mut ledger = Self {
            origin: first.end.clone(),
            previous: first.end.clone(),
            start: [0; STATE_SLOTS],
            corrected: [0; STATE_SLOTS],
            last_pass: LastPass::of(first),
            reconciles: 0,
            map_full: first.map_full,
            map_errors: first.map_errors,
        };
        for state in State::ALL {
            ledger.start[state.number()] = first.at_end(state).max(0);
        }
        ledger
    }

    /// Puts the books right by a further pass.
    pub fn correct(&mut self, pass: &Pass) {
        for state in State::ALL {
            let difference = pass.at_end(state).max(0) - self.current(state, &pass.end);
            self.corrected[state.number()] += difference;
        }
        self.last_pass = LastPass::of(pass);
        self.reconciles += 1;
        self.map_full += pass.map_full;
        self.map_errors += pass.map_errors;
    }

    /// Events missed that no pass has made up for, given the number missed since the load.
    #[must_use]
    pub fn unreconciled(&self, missed: u64) -> u64 {
        let last = &self.last_pass;
        missed - last.missed_before + last.unsettled + last.impossible
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
            let seen = is_seen(state);
            Gauge {
                current: seen.then_some(self.start[state.number()]),
                entered: seen.then_some(0),
                left: seen.then_some(0),
                corrected: seen.then_some(0),
            }
        })
    }

    /// No gauge is shown below zero. In a consistent cut none can be, unless an event was missed.
    fn floor(&mut self, reading: &Reading) {
        for state in State::ALL {
            let current = self.current(state, reading);
            if current < 0 {
                self.corrected[state.number()] -= current;
                self.last_pass.impossible += current.unsigned_abs();
            }
        }
    }

    fn current(&self, state: State, reading: &Reading) -> i64 {
        let since = reading.counts.since(&self.origin.counts);
        let moved = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let slot = state.number();
        self.start[slot] + moved(since.entered(state)) - moved(since.left(state))
            + self.corrected[slot]
    }

    fn gauge(&self, state: State, reading: &Reading) -> Gauge {
        if !is_seen(state) {
            return Gauge::default();
        }
        let since = reading.counts.since(&self.origin.counts);
        Gauge {
            current: Some(self.current(state, reading)),
            entered: Some(since.entered(state)),
            left: Some(since.left(state)),
            corrected: Some(self.corrected[state.number()]),
        }
    }

    fn aggregate(&self, reading: &Reading, interval_start: &Reading) -> Snapshot {
        let since_origin = reading.counts.since(&self.origin.counts);
        let in_interval = reading.counts.since(&interval_start.counts);
        let mut transitions = Vec::new();
        for from in State::ALL {
            for to in State::ALL {
                let count = since_origin.transitions(from, to);
                if count > 0 {
                    transitions.push(Transition { from, to, count });
                }
            }
        }
        let passed = |since: &Reading| reading.at.monotonic.duration_since(since.at.monotonic);
        Snapshot {
            time: reading.at.wall,
            elapsed: passed(&self.origin),
            interval: passed(interval_start),
            unreconciled: self.unreconciled(reading.missed),
            states: State::GAUGES.map(|state| self.gauge(state, reading)),
            moved: State::GAUGES.map(|state| {
                let seen = |count| is_seen(state).then_some(count);
                (seen(in_interval.entered(state)), seen(in_interval.left(state)))
            }),
            transitions,
            time_wait: TimeWait::default(),
            missed: reading.missed - self.origin.missed,
            reconciles: self.reconciles,
            map_full: self.map_full,
            map_errors: self.map_errors,
        }
    }
}

/// Full sockets are never in TIME_WAIT, and nothing in place sees mini sockets yet.
fn is_seen(state: State) -> bool {
    state != State::TimeWait
}

#[cfg(test)]
mod tests;

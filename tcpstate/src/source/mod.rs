//! Where numbers come from: totals since the load, as one consistent cut through all CPUs.

pub mod live;

use std::time::{Instant, SystemTime};

use tcpstate_common::{
    State,
    abi::{Flow, STATE_SLOTS, TRANSITION_SLOTS, transition_slot},
};

/// Counts of all CPUs together. They only grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    states: [Flow; STATE_SLOTS],
    transitions: [u64; TRANSITION_SLOTS],
}

impl Default for Counts {
    fn default() -> Self {
        Self { states: [Flow::default(); STATE_SLOTS], transitions: [0; TRANSITION_SLOTS] }
    }
}

impl Counts {
    /// Sockets that came into a state.
    #[must_use]
    pub fn entered(&self, state: State) -> u64 {
        self.states[state.number()].entered
    }

    /// Sockets that went out of a state.
    #[must_use]
    pub fn left(&self, state: State) -> u64 {
        self.states[state.number()].left
    }

    /// Events of this pair, as the tracepoint reported them.
    #[must_use]
    pub fn transitions(&self, from: State, to: State) -> u64 {
        self.transitions[transition_slot(from.number(), to.number())]
    }

    /// All events.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.transitions.iter().sum()
    }

    /// Adds what was counted elsewhere, or at another time.
    pub fn add(&mut self, states: &[Flow; STATE_SLOTS], transitions: &[u64; TRANSITION_SLOTS]) {
        for (sum, more) in self.states.iter_mut().zip(states) {
            sum.entered += more.entered;
            sum.left += more.left;
        }
        add_each(&mut self.transitions, transitions);
    }

    /// What was counted since an earlier cut.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.clone();
        for (now, before) in counts.states.iter_mut().zip(&earlier.states) {
            now.entered -= before.entered;
            now.left -= before.left;
        }
        for (now, before) in counts.transitions.iter_mut().zip(&earlier.transitions) {
            *now -= before;
        }
        counts
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        Self::add(&mut self, &other.states, &other.transitions);
        self
    }
}

pub(crate) fn add_each(sums: &mut [u64], counts: &[u64]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum += count;
    }
}

/// A moment on both clocks: the monotonic one for durations, the wall's for people.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For durations and rates.
    pub monotonic: Instant,
    /// For showing.
    pub wall: SystemTime,
}

impl Moment {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }
}

/// One consistent cut: if an event is in it, so is every event that came before.
#[derive(Clone, Debug)]
pub struct Reading {
    /// When the cut was made.
    pub at: Moment,
    /// All that was counted before it, since the load.
    pub counts: Counts,
    /// Events that the program did not see, since the load; at least all before the cut.
    pub missed: u64,
}

/// What a pass found.
#[derive(Clone, Debug)]
pub struct Pass {
    /// What was counted before moment zero.
    pub zero: Counts,
    /// Full sockets by state at moment zero.
    pub base: [u64; STATE_SLOTS],
    /// The cut at which the gate closed.
    pub end: Reading,
    /// Events missed before moment zero, since the load; at most all before it.
    pub missed_before: u64,
    /// Sockets that the iterator visited.
    pub visited: u64,
    /// Touches that found the map full.
    pub map_full: u64,
    /// Touches that the map refused otherwise.
    pub map_errors: u64,
    /// Processor time that the walk took.
    pub cost: std::time::Duration,
}

impl Pass {
    /// Full sockets in this state at the end of the pass. Not below zero unless events were missed during it.
    #[must_use]
    pub fn at_end(&self, state: State) -> i64 {
        let since = |after: u64, before: u64| i64::try_from(after - before).unwrap_or(i64::MAX);
        since(self.base[state.number()], 0)
            + since(self.end.counts.entered(state), self.zero.entered(state))
            - since(self.end.counts.left(state), self.zero.left(state))
    }
}

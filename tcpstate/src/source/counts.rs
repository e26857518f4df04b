//! What was counted of all sockets in scope, or of one network namespace's, as one cut.

use tcpstate_common::{
    State,
    abi::{
        Cause, EXIT_SLOTS, Flow, MiniCounters, NamespaceCounters, STATE_SLOTS, TRANSITION_SLOTS,
        transition_slot,
    },
};

/// What came into and went out of each state since the load, or since an earlier cut.
///
/// Sums wrap: what one CPU added another one may take back, and what came before an earlier cut may end after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flows {
    full: [Flow; STATE_SLOTS],
    minis: MiniCounters,
}

impl Flows {
    /// Flows as the kernel half keeps them.
    #[must_use]
    pub fn new(full: &[Flow; STATE_SLOTS], minis: &MiniCounters) -> Self {
        Self { full: *full, minis: *minis }
    }

    /// What came into a state and what went out of it, as `ss` would show it.
    ///
    /// A full socket in FIN_WAIT2 that becomes a mini socket in FIN_WAIT2 does neither. The mini socket is counted
    /// first: a cut in between finds both.
    #[must_use]
    pub fn flow(&self, state: State) -> Flow {
        let (full, minis) = (self.full(state), self.minis(state));
        let handed_over = if state == State::FinWait2 { minis.entered } else { 0 };
        let entered = full.entered.wrapping_add(minis.entered).wrapping_sub(handed_over);
        let left = full.left.wrapping_add(minis.left).wrapping_sub(handed_over);
        // Below zero since an earlier cut, when something was in flight there or is now: then it goes to the other side.
        let below = |count: u64| if count.cast_signed() < 0 { count.wrapping_neg() } else { 0 };
        let debt = below(entered).max(below(left));
        Flow { entered: entered.wrapping_add(debt), left: left.wrapping_add(debt) }
    }

    /// Full sockets alone.
    #[must_use]
    pub fn full(&self, state: State) -> Flow {
        self.full[state.number()]
    }

    /// Mini sockets alone.
    #[must_use]
    pub fn minis(&self, state: State) -> Flow {
        self.minis.states[state.number()]
    }

    /// Time-wait sockets that were made.
    #[must_use]
    pub fn time_wait_entries(&self) -> u64 {
        self.of_time_wait(|flow| flow.entered)
    }

    /// Time-wait sockets that ended.
    #[must_use]
    pub fn time_wait_exits(&self) -> u64 {
        self.of_time_wait(|flow| flow.left)
    }

    fn of_time_wait(&self, side: impl Fn(Flow) -> u64) -> u64 {
        let both =
            side(self.minis(State::FinWait2)).wrapping_add(side(self.minis(State::TimeWait)));
        let count = both.wrapping_sub(self.minis.moved);
        // One that is being re-armed ended, and did not.
        if count.cast_signed() < 0 { 0 } else { count }
    }

    /// Time-wait sockets that ended by this cause.
    #[must_use]
    pub fn exits(&self, cause: Cause) -> u64 {
        self.minis.exits[cause as usize & (EXIT_SLOTS - 1)]
    }

    /// What was counted since an earlier cut.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.combine(earlier, u64::wrapping_sub)
    }

    fn combine(mut self, other: &Self, operation: fn(u64, u64) -> u64) -> Self {
        let flows = |into: &mut [Flow], from: &[Flow]| {
            for (into, from) in into.iter_mut().zip(from) {
                into.entered = operation(into.entered, from.entered);
                into.left = operation(into.left, from.left);
            }
        };
        // Every field by name: a new counter does not compile until it is here.
        let Self { full, minis: MiniCounters { states, moved, exits } } = &mut self;
        flows(full, &other.full);
        flows(states, &other.minis.states);
        combine_each(exits, &other.minis.exits, operation);
        *moved = operation(*moved, other.minis.moved);
        self
    }
}

impl From<&NamespaceCounters> for Flows {
    fn from(counters: &NamespaceCounters) -> Self {
        Self::new(&counters.states, &counters.minis)
    }
}

impl std::ops::Add for Flows {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.combine(&other, u64::wrapping_add)
    }
}

/// All that is counted of the sockets in scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// By state.
    pub flows: Flows,
    transitions: [u64; TRANSITION_SLOTS],
}

impl Default for Counts {
    fn default() -> Self {
        Self { flows: Flows::default(), transitions: [0; TRANSITION_SLOTS] }
    }
}

impl Counts {
    /// Counts as the kernel half keeps them.
    #[must_use]
    pub fn new(flows: Flows, transitions: &[u64; TRANSITION_SLOTS]) -> Self {
        Self { flows, transitions: *transitions }
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

    /// What was counted since an earlier cut.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.clone().combine(earlier, u64::wrapping_sub)
    }

    fn combine(mut self, other: &Self, operation: fn(u64, u64) -> u64) -> Self {
        self.flows = self.flows.combine(&other.flows, operation);
        combine_each(&mut self.transitions, &other.transitions, operation);
        self
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.combine(&other, u64::wrapping_add)
    }
}

fn combine_each(into: &mut [u64], from: &[u64], operation: fn(u64, u64) -> u64) {
    for (into, from) in into.iter_mut().zip(from) {
        *into = operation(*into, *from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(full: &[(State, Flow)], minis: &[(State, Flow)], moved: u64) -> Flows {
        let mut counts = Flows::default();
        for &(state, flow) in full {
            counts.full[state.number()] = flow;
        }
        for &(state, flow) in minis {
            counts.minis.states[state.number()] = flow;
        }
        counts.minis.moved = moved;
        counts
    }

    fn flow(entered: u64, left: u64) -> Flow {
        Flow { entered, left }
    }

    #[test]
    fn an_orphan_that_becomes_a_mini_socket_enters_and_leaves_nothing() {
        // 7 sockets came to FIN_WAIT2; 5 were orphaned, of which 3 went on to TIME_WAIT.
        let counts = counts(
            &[(State::FinWait2, flow(7, 5))],
            &[(State::FinWait2, flow(5, 3)), (State::TimeWait, flow(3, 1))],
            3,
        );
        assert_eq!(counts.flow(State::FinWait2), flow(7, 3));
        assert_eq!(counts.flow(State::TimeWait), flow(3, 1));
        assert_eq!((counts.time_wait_entries(), counts.time_wait_exits()), (5, 1));
    }

    #[test]
    fn a_cut_between_a_mini_socket_and_the_end_of_its_full_one_shows_both() {
        let counts = counts(&[(State::FinWait2, flow(0, 0))], &[(State::FinWait2, flow(1, 0))], 0);
        assert_eq!(counts.flow(State::FinWait2), flow(1, 0));
    }

    #[test]
    fn what_is_taken_back_after_a_cut_is_not_an_enormous_number() {
        let earlier = counts(&[], &[(State::SynRecv, flow(3, 2))], 0);
        let later = counts(&[], &[(State::SynRecv, flow(3, 1))], 0);
        assert_eq!(later.since(&earlier).flow(State::SynRecv), flow(1, 0));
    }
}

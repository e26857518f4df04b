//! The counts of all counted sockets, or of one network namespace, in one consistent cut.

use tcpstate_common::{
    State,
    abi::{
        Cause, EXIT_SLOTS, Flow, MiniCounters, NamespaceCounters, STATE_SLOTS, TRANSITION_SLOTS,
        transition_slot,
    },
};

/// The numbers of sockets that entered and left each state since the BPF programs were loaded or
/// since an earlier cut.
///
/// The totals over all CPUs use wrapping arithmetic, because one CPU may subtract a number that
/// another CPU added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flows {
    full: [Flow; STATE_SLOTS],
    minis: MiniCounters,
}

impl Flows {
    /// Converts the counters of the BPF programs to this type.
    #[must_use]
    pub fn new(full: &[Flow; STATE_SLOTS], minis: &MiniCounters) -> Self {
        Self { full: *full, minis: *minis }
    }

    /// Returns how many sockets entered and left a state. The states are the states that `ss`
    /// shows.
    ///
    /// If a full socket in FIN_WAIT2 becomes a mini socket in FIN_WAIT2, the state of the socket
    /// does not change. The BPF programs add the mini socket before they subtract the full socket,
    /// so a cut between the two events contains both sockets.
    #[must_use]
    pub fn flow(&self, state: State) -> Flow {
        let (full, minis) = (self.full(state), self.minis(state));
        let handed_over = if state == State::FinWait2 { minis.entered } else { 0 };
        let entered = full.entered.wrapping_add(minis.entered).wrapping_sub(handed_over);
        let left = full.left.wrapping_add(minis.left).wrapping_sub(handed_over);
        // A number of sockets since an earlier cut is negative if one of the two cuts contains only
        // the first of two events of a socket. The function adds the absolute value of the negative
        // number to both counters, so that the difference of the counters does not change.
        let below = |count: u64| if count.cast_signed() < 0 { count.wrapping_neg() } else { 0 };
        let debt = below(entered).max(below(left));
        Flow { entered: entered.wrapping_add(debt), left: left.wrapping_add(debt) }
    }

    /// Returns the numbers of full sockets that entered and left a state.
    #[must_use]
    pub fn full(&self, state: State) -> Flow {
        self.full[state.number()]
    }

    /// Returns the numbers of mini sockets that entered and left a state.
    #[must_use]
    pub fn minis(&self, state: State) -> Flow {
        self.minis.states[state.number()]
    }

    /// Returns the number of time-wait sockets that were created.
    #[must_use]
    pub fn time_wait_entries(&self) -> u64 {
        self.of_time_wait(|flow| flow.entered)
    }

    /// Returns the number of time-wait sockets that ended.
    #[must_use]
    pub fn time_wait_exits(&self) -> u64 {
        self.of_time_wait(|flow| flow.left)
    }

    fn of_time_wait(&self, side: impl Fn(Flow) -> u64) -> u64 {
        let both =
            side(self.minis(State::FinWait2)).wrapping_add(side(self.minis(State::TimeWait)));
        let count = both.wrapping_sub(self.minis.moved);
        // The result can be negative if the kernel cancels and restarts the timer of a mini socket:
        // the cancellation adds one ended socket, and the restart subtracts that socket.
        if count.cast_signed() < 0 { 0 } else { count }
    }

    /// Returns the number of time-wait sockets that ended with this cause.
    #[must_use]
    pub fn exits(&self, cause: Cause) -> u64 {
        self.minis.exits[cause as usize & (EXIT_SLOTS - 1)]
    }

    /// Returns how much each number has grown since an earlier cut.
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
        // This function names each field, so that code with a new counter does not compile until
        // this function handles the counter.
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

/// All counts of the counted sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// The numbers of sockets that entered and left each state.
    pub flows: Flows,
    transitions: [u64; TRANSITION_SLOTS],
}

impl Default for Counts {
    fn default() -> Self {
        Self { flows: Flows::default(), transitions: [0; TRANSITION_SLOTS] }
    }
}

impl Counts {
    /// Combines the numbers of sockets in each state with the transition counters of the BPF
    /// programs.
    #[must_use]
    pub fn new(flows: Flows, transitions: &[u64; TRANSITION_SLOTS]) -> Self {
        Self { flows, transitions: *transitions }
    }

    /// Returns the number of times that the tracepoint reported the transition between two states.
    #[must_use]
    pub fn transitions(&self, from: State, to: State) -> u64 {
        self.transitions[transition_slot(from.number(), to.number())]
    }

    /// Returns the total number of transitions.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.transitions.iter().sum()
    }

    /// Returns the number of transitions that ended a connection. The close of a listener is none.
    #[must_use]
    pub fn connection_ends(&self) -> u64 {
        let from = State::ALL.iter().filter(|from| !matches!(from, State::Close | State::Listen));
        from.map(|&from| self.transitions(from, State::Close)).sum()
    }

    /// Returns how much each count has grown since an earlier cut.
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
    fn orphans_that_become_mini_sockets_do_not_change_state() {
        // Seven sockets entered FIN_WAIT2. Five of the seven sockets became orphans, and three
        // orphans moved to TIME_WAIT.
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
    fn cuts_between_a_mini_socket_and_the_end_of_its_full_socket_show_both() {
        let counts = counts(&[(State::FinWait2, flow(0, 0))], &[(State::FinWait2, flow(1, 0))], 0);
        assert_eq!(counts.flow(State::FinWait2), flow(1, 0));
    }

    #[test]
    fn negative_differences_do_not_wrap() {
        let earlier = counts(&[], &[(State::SynRecv, flow(3, 2))], 0);
        let later = counts(&[], &[(State::SynRecv, flow(3, 1))], 0);
        assert_eq!(later.since(&earlier).flow(State::SynRecv), flow(1, 0));
    }
}

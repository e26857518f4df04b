//! For each state, the number of sockets. For each pair of states, the number of transitions. The
//! numbers include all sockets, or only the sockets of one address family.

use tcpstate_common::State;

/// The numbers of sockets that are in one state, entered the state and left the state. In every
/// snapshot, `current = current at the start + entered - left + corrected`.
///
/// A field is `None` if no attached hook observes the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauge {
    /// The number of sockets in the state now.
    pub current: Option<i64>,
    /// The number of sockets that entered the state since the start.
    pub entered: Option<u64>,
    /// The number of sockets that left the state since the start.
    pub left: Option<u64>,
    /// The total of the corrections of the gauge since the start. A scan corrects the gauge if
    /// events were missed.
    pub corrected: Option<i64>,
}

/// A transition between two states, and how often the tracepoint reported the transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The old state.
    pub from: State,
    /// The new state.
    pub to: State,
    /// The number of transitions since the start.
    pub count: u64,
    /// The number of transitions in the interval.
    pub in_interval: u64,
}

/// The counts of the sockets of one address family. Totals count from the start of the run.
#[derive(Clone, Debug)]
pub struct FamilyRow {
    /// The gauges, in the order of [`State::GAUGES`].
    pub states: [Gauge; 10],
    /// The number of each transition that occurred since the start, in the order of the kernel's
    /// state numbers.
    pub transitions: Vec<Transition>,
}

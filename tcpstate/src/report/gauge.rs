//! The numbers of sockets by state, and the numbers of transitions between states. The numbers
//! cover all sockets or one address family.

use tcpstate_common::State;

/// The sockets in one state. In every snapshot, `current = current at the start + entered - left +
/// corrected`.
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
    /// The sum of the corrections that scans made since the start. Scans correct a gauge after
    /// missed events.
    pub corrected: Option<i64>,
}

/// A pair of states, and the number of times that the tracepoint reported the transition between
/// them.
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

/// The counts of the sockets of one address family. Totals are counted since the start.
#[derive(Clone, Debug)]
pub struct FamilyRow {
    /// The gauges, in the order of [`State::GAUGES`].
    pub states: [Gauge; 10],
    /// The transitions that occurred since the start, in the order of the kernel's state numbers.
    pub transitions: Vec<Transition>,
}

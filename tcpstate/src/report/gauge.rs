//! Sockets by state and transitions between states, of everything counted or of one family.

use tcpstate_common::State;

/// One state's sockets. `current = current at the start + entered - left + corrected`, in every
/// snapshot.
///
/// `None` where nothing in place can see that state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauge {
    /// Sockets in the state now.
    pub current: Option<i64>,
    /// Sockets that came into it since the start.
    pub entered: Option<u64>,
    /// Sockets that went out of it since the start.
    pub left: Option<u64>,
    /// What scans of the sockets changed since the start, because events had been missed.
    pub corrected: Option<i64>,
}

/// A pair of states, and how often the tracepoint reported it since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The old state.
    pub from: State,
    /// The new state.
    pub to: State,
    /// How often.
    pub count: u64,
    /// How often in the interval.
    pub in_interval: u64,
}

/// A family's part of all that is counted. Totals are since the start.
#[derive(Clone, Debug)]
pub struct FamilyRow {
    /// By [`State::GAUGES`].
    pub states: [Gauge; 10],
    /// Only pairs that occurred, by kernel number; as of the whole run, not of an interval.
    pub transitions: Vec<Transition>,
}

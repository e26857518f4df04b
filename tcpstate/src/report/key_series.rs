//! The counters of a run by one key, for exporters that keep a series for each value of a key.

use tcpstate_common::State;

use super::{Key, OwnerCounts, key::Value};

/// The series of one key. The counts of a series never fall, and neither do the sums of the counts
/// over all series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySeries {
    /// The key. Each value of the key has one series.
    pub key: Key,
    /// All series, in no order.
    pub series: Vec<OwnerSeries>,
    /// How often a value of the key found no room. The sockets of such a value count in
    /// [`SeriesOf::Other`].
    pub without_room: u64,
}

/// The counters of the sockets that have one value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerSeries {
    /// The sockets that the series counts.
    pub of: SeriesOf,
    /// The number of sockets in each state now, in the order of [`State::GAUGES`].
    pub states: [u64; State::GAUGES.len()],
    /// The counts since the start of the series.
    pub counts: OwnerCounts,
}

/// The sockets that a series counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeriesOf {
    /// The sockets with one value of the key.
    Value(Value),
    /// The sockets whose value found no room.
    Other,
    /// The sockets whose value cannot be known.
    Unknown,
    /// The counts of the series that have ended.
    Gone,
}

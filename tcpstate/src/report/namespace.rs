//! The counted network namespaces, and the counts of each namespace.

use super::{Gauge, TimeWait};

/// The network namespaces that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// The network namespace with this inode.
    One(u64),
    /// All network namespaces.
    All,
}

/// The gauges of one network namespace at the time when counting begins.
#[derive(Clone, Debug)]
pub struct NamespaceStart {
    /// The inode of the namespace.
    pub netns: u64,
    /// The name of the namespace, if the namespace has a name.
    pub name: Option<String>,
    /// The gauges, in the order of [`State::GAUGES`](tcpstate_common::State::GAUGES).
    pub states: [Gauge; 10],
}

/// The counts of one network namespace at one moment. Totals count from the start of the run, and
/// rates cover only the interval.
#[derive(Clone, Debug)]
pub struct NamespaceRow {
    /// The inode of the namespace. Two entries can have equal inodes, because a new namespace can
    /// reuse the inode of a removed namespace.
    pub netns: u64,
    /// The name of the namespace, if the namespace has a name.
    pub name: Option<String>,
    /// Whether the network namespace is no longer in use. The report contains the namespace until
    /// the kernel has removed the last socket of the namespace.
    pub is_gone: bool,
    /// The gauges, in the order of [`State::GAUGES`](tcpstate_common::State::GAUGES).
    pub states: [Gauge; 10],
    /// The counts of time-wait sockets.
    pub time_wait: TimeWait,
}

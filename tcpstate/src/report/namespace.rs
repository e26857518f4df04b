//! Network namespaces: which of them are counted, and the numbers of each one.

use super::{Gauge, TimeWait};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// The network namespace with this inode.
    One(u64),
    /// Every one.
    All,
}

/// A network namespace when counting begins.
#[derive(Clone, Debug)]
pub struct NamespaceStart {
    /// Its inode.
    pub netns: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// By [`State::GAUGES`](tcpstate_common::State::GAUGES).
    pub states: [Gauge; 10],
}

/// A network namespace at one moment. Totals are since the start, rates over the interval.
#[derive(Clone, Debug)]
pub struct NamespaceRow {
    /// Its inode. Two rows may have the same one: a namespace that is gone, and then a new one.
    pub netns: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Nobody uses it any more. Its row goes when its last socket has.
    pub is_gone: bool,
    /// By [`State::GAUGES`](tcpstate_common::State::GAUGES).
    pub states: [Gauge; 10],
    /// TIME_WAIT.
    pub time_wait: TimeWait,
}

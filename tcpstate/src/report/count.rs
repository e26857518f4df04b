//! The report of `count`: the numbers of sockets at one moment, by state and by further keys.

use std::time::SystemTime;

use tcpstate_common::State;

use super::key::{Key, Value};

/// The number of sockets in each of the ten states, in the order of [`State::GAUGES`].
pub type States = [u64; State::GAUGES.len()];

/// Returns the total number of sockets in all states.
#[must_use]
pub fn total(states: &States) -> u64 {
    states.iter().sum()
}

/// The report of `count`: the sockets at one moment. The views of `count` show this report.
#[derive(Clone, Debug)]
pub struct Count {
    /// When the sockets were counted.
    pub time: SystemTime,
    /// The counted network namespaces.
    pub netns: Place,
    /// The number of all counted sockets in each state.
    pub states: States,
    /// The numbers of sockets per group, if groups are requested.
    pub groups: Option<Groups>,
}

/// The network namespaces of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The network namespace with this inode.
    One(u64),
    /// All network namespaces of the host.
    All,
    /// One network namespace, whose inode cannot be known.
    Unknown,
}

/// The numbers of sockets per group.
#[derive(Clone, Debug)]
pub struct Groups {
    /// The keys by which sockets are grouped. A group has one value for each key.
    pub by: Vec<Key>,
    /// The largest groups, largest first.
    pub rows: Vec<Group>,
    /// The sockets without a value for some key, in the order of [`Lack::ALL`].
    pub without: Vec<(Lack, States)>,
    /// The totals of the groups that are not shown.
    pub other: Other,
}

/// A group of sockets.
#[derive(Clone, Debug)]
pub struct Group {
    /// The values that all sockets of the group have in common.
    pub values: Vec<Value>,
    /// The number of sockets in each state.
    pub states: States,
}

/// The reason why a socket has no value for a key, and so belongs to no group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lack {
    /// Only the kernel uses the socket. In TIME_WAIT, in a half-open connection and after close(),
    /// a socket has no process.
    None,
    /// The program closed the socket while the sockets were counted.
    ClosedMeanwhile,
    /// The value cannot be known.
    Unknown,
}

impl Lack {
    /// All reasons, in the order of output.
    pub const ALL: [Self; 3] = [Self::None, Self::ClosedMeanwhile, Self::Unknown];

    /// Returns the name used in tables and CSV.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClosedMeanwhile => "closed meanwhile",
            Self::Unknown => "unknown",
        }
    }

    /// Returns the name used in JSON.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::ClosedMeanwhile => "closed_meanwhile",
            other => other.name(),
        }
    }
}

/// The groups that are not shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Other {
    /// For each state, the total number of sockets in the groups that are not shown.
    pub states: States,
    /// The number of groups that are in the table but are not shown.
    pub groups: usize,
    /// The number of sockets whose groups did not fit in the table. If some sockets did not fit, a
    /// group that is not shown can be larger than a shown group.
    pub beyond: u64,
}

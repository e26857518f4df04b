//! The report of `count`: the numbers of sockets at one moment, by state and by one more property.

use std::{net::IpAddr, time::SystemTime};

use tcpstate_common::State;

use super::Process;

/// The number of sockets in each of the ten states, in the order of [`State::GAUGES`].
pub type States = [u64; State::GAUGES.len()];

/// The property by which sockets are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The local port.
    LocalPort,
    /// The peer's address. A mapped IPv4 address counts as the IPv4 address.
    Remote,
    /// The peer's port.
    RemotePort,
    /// The process that has the socket open. If several processes have the socket open, the value
    /// is the process with the lowest id.
    Process,
    /// The user.
    Uid,
    /// The cgroup.
    Cgroup,
    /// The state.
    State,
}

impl By {
    /// All properties.
    pub const ALL: [Self; 7] = [
        Self::LocalPort,
        Self::Remote,
        Self::RemotePort,
        Self::Process,
        Self::Uid,
        Self::Cgroup,
        Self::State,
    ];

    /// Returns the name used in flags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LocalPort => "local-port",
            Self::Remote => "remote",
            Self::RemotePort => "remote-port",
            Self::Process => "process",
            Self::Uid => "uid",
            Self::Cgroup => "cgroup",
            Self::State => "state",
        }
    }

    /// Returns the name used in JSON and CSV.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::LocalPort => "local_port",
            Self::RemotePort => "remote_port",
            other => other.name(),
        }
    }
}

/// The common property of the sockets of a group. `P` is the type of a process, and `C` is the type
/// of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key<P = u32, C = u64> {
    /// A port.
    Port(u16),
    /// An address.
    Address(IpAddr),
    /// A process.
    Process(P),
    /// A user.
    Uid(u32),
    /// A cgroup.
    Cgroup(C),
    /// A state.
    State(State),
    /// The socket has no owner, because only the kernel uses the socket.
    None,
    /// The socket has an owner, but the owner cannot be known.
    Unknown,
}

/// The id and the path of a cgroup, in the form that output shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// The id of the cgroup.
    pub id: u64,
    /// The path of the cgroup, if the path can be known.
    pub path: Option<String>,
}

/// The common property of a group, in the form that output shows.
pub type Name = Key<Process, Cgroup>;

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
    /// The inode of the network namespace, if the inode can be known.
    pub netns: Option<u64>,
    /// The number of all counted sockets in each state.
    pub states: States,
    /// The numbers of sockets per group, if groups are requested.
    pub groups: Option<Groups>,
}

/// The numbers of sockets per group.
#[derive(Clone, Debug)]
pub struct Groups {
    /// The property by which sockets are grouped.
    pub by: By,
    /// The largest groups, largest first. The groups `none` and `unknown` are last.
    pub rows: Vec<Group>,
    /// The totals of the groups that are not shown.
    pub other: Other,
}

/// A group of sockets.
#[derive(Clone, Debug)]
pub struct Group {
    /// The value (for example, a port) that all sockets of the group have in common.
    pub name: Name,
    /// The number of sockets in each state.
    pub states: States,
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

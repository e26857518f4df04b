//! How many sockets there are at one moment, by state and by one more property: the report of
//! `count`.

use std::{net::IpAddr, time::SystemTime};

use tcpstate_common::State;

use super::Process;

/// Sockets in each of the ten states, in the order of [`State::GAUGES`].
pub type States = [u64; State::GAUGES.len()];

/// What sockets are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// This end's port.
    LocalPort,
    /// The peer's address; a mapped IPv4 address is that IPv4 address.
    Remote,
    /// The peer's port.
    RemotePort,
    /// The first process that has it open.
    Process,
    /// The user.
    Uid,
    /// The cgroup.
    Cgroup,
    /// The state.
    State,
}

impl By {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::LocalPort,
        Self::Remote,
        Self::RemotePort,
        Self::Process,
        Self::Uid,
        Self::Cgroup,
        Self::State,
    ];

    /// As it is called in flags.
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

    /// As machines read it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::LocalPort => "local_port",
            Self::RemotePort => "remote_port",
            other => other.name(),
        }
    }
}

/// What the sockets of a group have in common. `P` stands for a process, `C` for a cgroup.
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
    /// Nobody has them: the kernel alone does.
    None,
    /// Somebody has them, and who can't be known.
    Unknown,
}

/// A cgroup, for showing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// Its number.
    pub id: u64,
    /// Where it is, if that can be known.
    pub path: Option<String>,
}

/// A key, for showing.
pub type Name = Key<Process, Cgroup>;

/// The sockets of all states.
#[must_use]
pub fn total(states: &States) -> u64 {
    states.iter().sum()
}

/// One moment's sockets: what the views of `count` show.
#[derive(Clone, Debug)]
pub struct Count {
    /// When they were counted.
    pub time: SystemTime,
    /// The network namespace's number, if it can be known.
    pub netns: Option<u64>,
    /// All of them.
    pub states: States,
    /// The same in groups, if asked for.
    pub groups: Option<Groups>,
}

/// The sockets, in groups.
#[derive(Clone, Debug)]
pub struct Groups {
    /// What makes a group.
    pub by: By,
    /// The largest ones, largest first, then nobody's and unknown ones'.
    pub rows: Vec<Group>,
    /// The others in sum.
    pub other: Other,
}

/// A group.
#[derive(Clone, Debug)]
pub struct Group {
    /// What they have in common.
    pub name: Name,
    /// The sockets.
    pub states: States,
}

/// The groups that are not shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Other {
    /// Their sockets.
    pub states: States,
    /// How many groups they are, without those there was no room for.
    pub groups: usize,
    /// Sockets among them for whose groups there was no room. If any, a larger group than those
    /// shown may be among them.
    pub beyond: u64,
}

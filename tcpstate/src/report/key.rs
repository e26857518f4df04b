//! The properties by which sockets are grouped, and the values of these properties.

use std::net::IpAddr;

use tcpstate_common::State;

use super::{Cgroup, Process};

/// A property by which sockets are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The process that opened the socket, or that accepted the connection.
    Process,
    /// The name of that process.
    Comm,
    /// The user that created the socket.
    User,
    /// The cgroup in which the socket was created.
    Cgroup,
    /// The systemd unit of the cgroup.
    Unit,
    /// The container of the cgroup.
    Container,
    /// The network namespace.
    Netns,
    /// The local port. All ports that connect() chose are one value.
    LocalPort,
    /// The address of the peer.
    Remote,
    /// The port of the peer. The ports of all clients of this side's listeners are one value.
    RemotePort,
    /// The state, for `count` only.
    State,
}

impl Key {
    /// All keys.
    pub const ALL: [Self; 11] = [
        Self::Process,
        Self::Comm,
        Self::User,
        Self::Cgroup,
        Self::Unit,
        Self::Container,
        Self::Netns,
        Self::LocalPort,
        Self::Remote,
        Self::RemotePort,
        Self::State,
    ];

    /// Returns the name used in flags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Comm => "comm",
            Self::User => "user",
            Self::Cgroup => "cgroup",
            Self::Unit => "unit",
            Self::Container => "container",
            Self::Netns => "netns",
            Self::LocalPort => "local-port",
            Self::Remote => "remote",
            Self::RemotePort => "remote-port",
            Self::State => "state",
        }
    }

    /// Returns the name used in JSON, CSV and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::LocalPort => "local_port",
            Self::RemotePort => "remote_port",
            other => other.name(),
        }
    }

    /// Returns whether the key describes the process that uses the socket.
    #[must_use]
    pub const fn is_of_process(self) -> bool {
        matches!(self, Self::Process | Self::Comm)
    }
}

/// The value of a [`Key`] that all sockets of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// A process.
    Process(Process),
    /// The name of a process.
    Comm(String),
    /// A user, by the number of the initial user namespace.
    User(u32),
    /// A cgroup.
    Cgroup(Cgroup),
    /// The name of a systemd unit.
    Unit(String),
    /// The id of a container.
    Container(String),
    /// A network namespace: its inode, and its name if it has one.
    Netns(u64, Option<String>),
    /// A port.
    Port(u16),
    /// A port that connect() chose: the local port of a client, or the remote port of a server.
    Client,
    /// The address of a peer. The address is IPv4 if the peer has a mapped IPv4 address.
    Address(IpAddr),
    /// A state.
    State(State),
    /// The sockets have no value of this key. For example, a cgroup may belong to no container, and
    /// a listener has no peer.
    None,
}

//! A transition of one socket, with its connection.

use std::{
    ffi::OsString,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tcpstate_common::State;

use super::{Cgroup, CloseReason, Family};

/// The source of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// The tracepoint, for full sockets.
    Transitions,
    /// The provider of time-wait sockets.
    TimeWait,
    /// The provider of request sockets.
    SynRecv,
}

impl Hook {
    /// Returns the name used in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transitions => "transitions",
            Self::TimeWait => "time_wait",
            Self::SynRecv => "syn_recv",
        }
    }
}

/// One transition of a socket, and the connection of the socket.
///
/// For a full socket, it is a transition that the tracepoint reported. For a mini socket, it is its
/// creation, its move from FIN_WAIT2 to TIME_WAIT, or its end. An unknown field is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The source of the event.
    pub hook: Hook,
    /// The wall-clock time.
    pub time: SystemTime,
    /// The time of the monotonic clock.
    pub monotonic: Duration,
    /// The old state.
    pub from: State,
    /// The new state.
    pub to: State,
    /// The address family of the socket.
    pub family: Family,
    /// The local address. A child has none at its creation, unless its listener is bound to an
    /// address.
    pub local: Option<IpAddr>,
    /// The local port. At connect() and listen() it is unknown if the kernel has not chosen a port
    /// yet.
    pub local_port: Option<u16>,
    /// The peer's address. A listener has none, and a child has none at its creation.
    pub remote: Option<IpAddr>,
    /// The peer's port.
    pub remote_port: Option<u16>,
    /// The inode of the network namespace.
    pub netns: u32,
    /// The socket cookie. The kernel assigns it when a program first asks for it.
    pub cookie: Option<u64>,
    /// The process that connected, listened or accepted.
    pub pid: Option<u32>,
    /// The name of the process.
    pub comm: Option<OsString>,
    /// The user id of the socket. For a child, it is the listener's user id until accept().
    pub uid: Option<u32>,
    /// The cgroup in which the socket was created. For a child, it is the listener's cgroup.
    pub cgroup: Option<Arc<Cgroup>>,
    /// The time that the socket spent in the old state.
    pub duration: Option<Duration>,
    /// The close reason, if this event is the end of the connection.
    pub ended_by: Option<CloseReason>,
}

/// Returns an event with two states and no other information.
#[cfg(test)]
pub(crate) fn bare(from: State, to: State) -> Event {
    Event {
        hook: Hook::Transitions,
        time: SystemTime::UNIX_EPOCH,
        monotonic: Duration::ZERO,
        from,
        to,
        family: Family::V4,
        local: None,
        local_port: None,
        remote: None,
        remote_port: None,
        netns: 0,
        cookie: None,
        pid: None,
        comm: None,
        uid: None,
        cgroup: None,
        duration: None,
        ended_by: None,
    }
}

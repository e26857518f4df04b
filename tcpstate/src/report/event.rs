//! A transition of one socket, with its connection.

use std::{
    ffi::OsString,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tcpstate_common::State;

use super::{Cgroup, CloseReason, Family};

/// What told of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// The tracepoint, of a full socket.
    Transitions,
    /// The provider for time-wait sockets.
    TimeWait,
    /// The provider for request sockets.
    SynRecv,
}

impl Hook {
    /// As it is called in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transitions => "transitions",
            Self::TimeWait => "time_wait",
            Self::SynRecv => "syn_recv",
        }
    }
}

/// One transition of a socket, and the connection that made it: of a full socket as the tracepoint
/// reported it; of a mini socket its birth, its move from FIN_WAIT2 to TIME_WAIT, or its end. What
/// can't be known is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What told of it.
    pub hook: Hook,
    /// When, by the wall's clock.
    pub time: SystemTime,
    /// When, by the monotonic clock.
    pub monotonic: Duration,
    /// The old state.
    pub from: State,
    /// The new state.
    pub to: State,
    /// The socket's.
    pub family: Family,
    /// The socket's address; none for a child at its birth, unless its listener is bound to one.
    pub local: Option<IpAddr>,
    /// The socket's port; none at connect() and listen() while the kernel has yet to choose one.
    pub local_port: Option<u16>,
    /// The peer's address; none for a listener, and for a child at its birth.
    pub remote: Option<IpAddr>,
    /// The peer's port.
    pub remote_port: Option<u16>,
    /// Inode of the network namespace.
    pub netns: u32,
    /// The kernel's name for the socket, if anybody ever asked for it.
    pub cookie: Option<u64>,
    /// The process that connected, listened or accepted.
    pub pid: Option<u32>,
    /// Its name.
    pub comm: Option<OsString>,
    /// The user who made the socket; for a child the listener's, until it is accepted.
    pub uid: Option<u32>,
    /// The cgroup in which the socket was made; for a child its listener's.
    pub cgroup: Option<Arc<Cgroup>>,
    /// How long the socket was in the old state.
    pub duration: Option<Duration>,
    /// Who ended the connection, where this is its end.
    pub ended_by: Option<CloseReason>,
}

/// An event of which nothing is known but the states.
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

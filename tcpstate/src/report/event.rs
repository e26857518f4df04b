//! A transition of one socket, and the connection of this socket.

use std::{
    ffi::OsString,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tcpstate_common::State;

use super::{Cgroup, CloseReason, Connection, Family};

/// The hook that reported an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// The tracepoint `inet_sock_set_state`, which reports transitions of full sockets.
    Transitions,
    /// The hooks that observe time-wait sockets.
    TimeWait,
    /// The hooks that observe request sockets.
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
/// The event of a full socket is a transition that the tracepoint reported. The event of a mini
/// socket is the creation of the socket, the move from FIN_WAIT2 to TIME_WAIT, or the destruction
/// of the socket. The value of a field is `None` if the value is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The hook that reported the event.
    pub hook: Hook,
    /// The wall-clock time of the event.
    pub time: SystemTime,
    /// The monotonic time of the event.
    pub monotonic: Duration,
    /// The state before the transition.
    pub from: State,
    /// The state after the transition.
    pub to: State,
    /// The address family of the socket.
    pub family: Family,
    /// The local address. When the kernel creates a child, the child has a local address only if
    /// the listener is bound to an address.
    pub local: Option<IpAddr>,
    /// The local port. The local port is unknown in events of connect() and listen() if the kernel
    /// has not chosen a port yet.
    pub local_port: Option<u16>,
    /// The peer's address. A listener has no peer. When the kernel creates a child, the peer of the
    /// child is unknown.
    pub remote: Option<IpAddr>,
    /// The peer's port.
    pub remote_port: Option<u16>,
    /// The inode of the network namespace.
    pub netns: u32,
    /// The socket cookie. The kernel assigns a cookie to a socket when a program first requests the
    /// cookie.
    pub cookie: Option<u64>,
    /// The id of the process that called connect(), listen() or accept() for the socket. A mini
    /// socket has no such process; see [`Self::opened_by`].
    pub pid: Option<u32>,
    /// The name of the process.
    pub comm: Option<OsString>,
    /// The user id of the socket. Before accept() returns a child, the child has the user id of the
    /// listener.
    pub uid: Option<u32>,
    /// The cgroup in which the socket was created. A child has the listener's cgroup.
    pub cgroup: Option<Arc<Cgroup>>,
    /// How long the socket was in the state before the transition.
    pub duration: Option<Duration>,
    /// The close reason, if this event closes the connection.
    pub ended_by: Option<CloseReason>,
    /// The process that closed this side of the connection, in the last event of a full socket and
    /// in the events of a time-wait socket.
    pub closed_by: Option<Caller>,
    /// The process that called connect(), listen() or accept() for the socket, in the same events.
    pub opened_by: Option<Caller>,
    /// The connection that ends with this event, if connections are recorded.
    pub connection: Option<Box<Connection>>,
}

/// The process that opened or closed a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The process id. The id is unknown if the process has none in this PID namespace.
    pub pid: Option<u32>,
    /// The name of the process.
    pub comm: OsString,
}

/// Returns an event that contains two states and no other information.
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
        closed_by: None,
        opened_by: None,
        connection: None,
    }
}

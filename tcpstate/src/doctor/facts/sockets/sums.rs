//! The sums of sockets, and their keys.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{doctor::facts::groups::Sum, source::sock_diag::SocketFile};

/// The lifetime of a time-wait socket (`TCP_TIMEWAIT_LEN`).
pub const TIME_WAIT: Duration = Duration::from_secs(60);
/// The number of age groups into which the lifetime of a time-wait socket is divided.
pub const AGES: usize = 6;
/// The duration of an age group.
pub const AGE: Duration = Duration::from_secs(TIME_WAIT.as_secs() / AGES as u64);

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The local address.
    pub local: SocketAddr,
    /// The number of connections that wait for accept().
    pub waiting: u32,
    /// The limit of the accept queue, as listen() set it. The queue holds one connection more.
    pub backlog: Option<u32>,
    /// The program that holds the listener.
    pub holder: Option<SocketFile>,
}

/// A source address and a destination. Two connections with equal source address and destination
/// cannot share a local port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// The local address.
    pub local: IpAddr,
    /// The remote address and port.
    pub remote: SocketAddr,
}

/// The sockets to one destination. Each socket uses one local port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortUse {
    /// The number of all sockets.
    pub sockets: u64,
    /// The sockets in TIME_WAIT by age group, youngest first.
    pub time_wait: [u64; AGES],
    /// The number of sockets in TIME_WAIT that are too young: connect() may not reuse their ports
    /// yet.
    pub young: u64,
    /// The program that holds one of the sockets.
    pub holder: Option<SocketFile>,
}

impl Sum for PortUse {
    fn sockets(&self) -> u64 {
        self.sockets
    }
}

impl PortUse {
    /// The number of sockets in TIME_WAIT.
    #[must_use]
    pub fn in_time_wait(&self) -> u64 {
        self.time_wait.iter().sum()
    }
}

/// Connections in SYN_SENT by the number of SYN retransmissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// The number of connections for 0, 1, 2, ... retransmissions. The last entry counts
    /// connections with 7 or more retransmissions.
    pub by_retransmits: [u64; 8],
    /// The program that opens one of the connections.
    pub holder: Option<SocketFile>,
}

impl Attempts {
    /// The number of connections with at least this number of retransmissions.
    #[must_use]
    pub fn at_least(&self, retransmits: u64) -> u64 {
        let first = usize::try_from(retransmits).unwrap_or(usize::MAX).min(7);
        self.by_retransmits[first..].iter().sum()
    }
}

impl Sum for Attempts {
    fn sockets(&self) -> u64 {
        self.by_retransmits.iter().sum()
    }
}

//! The groups that sockets are counted in, and the totals of each group.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{doctor::facts::groups::Sum, source::sock_diag::SocketFile};

/// The lifetime of a time-wait socket (`TCP_TIMEWAIT_LEN`).
pub const TIME_WAIT: Duration = Duration::from_secs(60);
/// The number of age groups into which the lifetime of a time-wait socket is divided.
pub const AGES: usize = 6;
/// The range of ages in one age group: ten seconds.
pub const AGE: Duration = Duration::from_secs(TIME_WAIT.as_secs() / AGES as u64);

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The local address.
    pub local: SocketAddr,
    /// The number of connections that wait for accept().
    pub waiting: u32,
    /// The backlog that listen() set. The accept queue holds at most `backlog + 1` connections.
    pub backlog: Option<u32>,
    /// The program that holds the listener.
    pub holder: Option<SocketFile>,
}

/// A local IP address and a remote address with port. Two connections for which all three are equal
/// cannot share a local port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// The local address.
    pub local: IpAddr,
    /// The remote address and port.
    pub remote: SocketAddr,
}

/// The totals of the sockets that connect to one destination. Each of these sockets uses one local
/// port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortUse {
    /// The number of sockets to this destination, in all states.
    pub sockets: u64,
    /// The number of sockets in TIME_WAIT in each age group, youngest group first.
    pub time_wait: [u64; AGES],
    /// The number of sockets in TIME_WAIT whose ports connect() may not reuse yet.
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
    /// Returns the number of sockets in TIME_WAIT.
    #[must_use]
    pub fn in_time_wait(&self) -> u64 {
        self.time_wait.iter().sum()
    }
}

/// The number of connections in SYN_SENT for each number of SYN retransmissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Entry `n` is the number of connections whose SYN was retransmitted `n` times. The last entry
    /// counts connections whose SYN was retransmitted 7 or more times.
    pub by_retransmits: [u64; 8],
    /// The program that opens one of the connections.
    pub holder: Option<SocketFile>,
}

impl Attempts {
    /// Returns the number of connections whose SYN was retransmitted at least this number of times.
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

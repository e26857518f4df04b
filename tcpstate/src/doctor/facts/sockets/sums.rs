//! What sockets are summed in, and by what.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{doctor::facts::groups::Sum, source::sock_diag::SocketFile};

/// How long a time-wait socket lives (`TCP_TIMEWAIT_LEN`).
pub const TIME_WAIT: Duration = Duration::from_secs(60);
/// In so many parts is that life divided.
pub const AGES: usize = 6;
/// How long each part is.
pub const AGE: Duration = Duration::from_secs(TIME_WAIT.as_secs() / AGES as u64);

/// A socket that accepts connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub local: SocketAddr,
    /// Connections that wait to be accepted.
    pub waiting: u32,
    /// The limit that listen() set; one more fits in.
    pub backlog: Option<u32>,
    /// Who has it.
    pub holder: Option<SocketFile>,
}

/// From where to where: connections that can't share a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// This end's address.
    pub local: IpAddr,
    /// The other end.
    pub remote: SocketAddr,
}

/// The sockets to one destination: as many ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortUse {
    /// All of them.
    pub sockets: u64,
    /// In TIME_WAIT, those in the first tenth of a minute at first.
    pub time_wait: [u64; AGES],
    /// In TIME_WAIT, but not long enough to be used again.
    pub young: u64,
    /// Who has one of them.
    pub holder: Option<SocketFile>,
}

impl Sum for PortUse {
    fn sockets(&self) -> u64 {
        self.sockets
    }
}

impl PortUse {
    /// All in TIME_WAIT.
    #[must_use]
    pub fn in_time_wait(&self) -> u64 {
        self.time_wait.iter().sum()
    }
}

/// Connections that are being opened, by how often the SYN was sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// So many times, the last one for all beyond.
    pub by_retransmits: [u64; 8],
    /// Who makes one of them.
    pub holder: Option<SocketFile>,
}

impl Attempts {
    /// Those that were sent again at least so often.
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

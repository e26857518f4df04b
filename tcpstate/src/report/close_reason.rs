//! The reasons why connections closed: the reason of one connection, and the numbers of connections
//! per reason.

/// The reason why a connection closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CloseReason {
    /// An orderly close in which the local side sent the first FIN.
    LocalFin,
    /// An orderly close in which the peer sent the first FIN.
    RemoteFin,
    /// The local side sent a RST. The local side closed with unread data or with a linger time of
    /// zero, or the local side received data after its close.
    LocalRst,
    /// The peer sent a RST.
    RemoteRst,
    /// The peer stopped responding.
    Timeout,
    /// The peer responded to the SYN with a RST, or the network reported that the port is closed.
    Refused,
    /// Before the connection was established, the network reported that the peer is unreachable.
    Unreachable,
    /// The local side gave up: the program closed the socket while connecting, or an operator
    /// destroyed the socket (`ss -K`).
    Abort,
}

impl CloseReason {
    /// All reasons.
    pub const ALL: [Self; 8] = [
        Self::LocalFin,
        Self::RemoteFin,
        Self::LocalRst,
        Self::RemoteRst,
        Self::Timeout,
        Self::Refused,
        Self::Unreachable,
        Self::Abort,
    ];

    /// Returns the name used in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LocalFin => "local_fin",
            Self::RemoteFin => "remote_fin",
            Self::LocalRst => "local_rst",
            Self::RemoteRst => "remote_rst",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Abort => "abort",
        }
    }
}

/// For each close reason, the number of closed connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReasonCounts {
    /// The numbers of connections whose close reason is known, in the order of
    /// [`CloseReason::ALL`].
    pub known: [u64; CloseReason::ALL.len()],
    /// The number of connections whose close reason is unknown.
    pub unknown: u64,
}

impl ReasonCounts {
    /// Returns the number of connections with this reason.
    #[must_use]
    pub fn by(&self, by: CloseReason) -> u64 {
        self.known[by as usize]
    }

    /// Returns the number of all connections.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.known.iter().sum::<u64>() + self.unknown
    }

    /// Adds one closed connection.
    pub fn count(&mut self, by: Option<CloseReason>) {
        match by {
            Some(by) => self.known[by as usize] += 1,
            None => self.unknown += 1,
        }
    }

    /// Adds the counts of `other` to the counts of `self`.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.known.iter_mut().zip(other.known) {
            *sum += count;
        }
        self.unknown += other.unknown;
    }
}

/// The close reasons of the connections of one local port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortReasons {
    /// The local port.
    pub port: u16,
    /// For each close reason, the number of closed connections of the port.
    pub ends: ReasonCounts,
}

/// The close reasons of all connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloseReasons {
    /// The close reasons for each local port that listened or accepted a connection while events
    /// were recorded. The port with the most closed connections is first.
    pub ports: Vec<PortReasons>,
    /// The connections whose local port is not in `ports`. Most of these connections are outgoing,
    /// and most outgoing connections have different local ports.
    pub others: ReasonCounts,
    /// For each close reason, the number of failed connection attempts.
    pub failed_connects: ReasonCounts,
    /// The number of connection attempts for which no local port was free. `failed_connects` does
    /// not include these attempts.
    pub no_local_port: u64,
}

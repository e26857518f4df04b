//! How connections ended, each by itself and in sum.

/// Who or what ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CloseReason {
    /// In order; this side sent its FIN first.
    LocalFin,
    /// In order; the peer sent its FIN first.
    RemoteFin,
    /// This side sent a RST: it closed with data unread, with a linger time of zero, or got data
    /// after its close.
    LocalRst,
    /// The peer sent a RST.
    RemoteRst,
    /// Nobody answered any more.
    Timeout,
    /// A RST in answer to a SYN, or word that nobody listens on that port.
    Refused,
    /// Word from the network that there is no way to the peer, before the connection stood.
    Unreachable,
    /// Given up here: closed while connecting, or destroyed (`ss -K`).
    Abort,
}

impl CloseReason {
    /// All of them.
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

    /// As it is called in output.
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

/// ReasonCounts by who or what ended them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReasonCounts {
    /// In the order of [`CloseReason::ALL`].
    pub known: [u64; CloseReason::ALL.len()],
    /// Of which that is not known.
    pub unknown: u64,
}

impl ReasonCounts {
    /// How many ended by this.
    #[must_use]
    pub fn by(&self, by: CloseReason) -> u64 {
        self.known[by as usize]
    }

    /// How many there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.known.iter().sum::<u64>() + self.unknown
    }

    /// Counts one end.
    pub fn count(&mut self, by: Option<CloseReason>) {
        match by {
            Some(by) => self.known[by as usize] += 1,
            None => self.unknown += 1,
        }
    }

    /// Adds others up.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.known.iter_mut().zip(other.known) {
            *sum += count;
        }
        self.unknown += other.unknown;
    }
}

/// ReasonCounts of connections that one port served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortReasons {
    /// The local port.
    pub port: u16,
    /// How they ended.
    pub ends: ReasonCounts,
}

/// How connections ended, all over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloseReasons {
    /// A row for each port that was listened on or accepted a connection while lines were written,
    /// those with most ends first.
    pub ports: Vec<PortReasons>,
    /// All other connections: mostly those that were opened from here, each by a port of its own.
    pub others: ReasonCounts,
    /// Connects that came to nothing, by what ended them.
    pub failed_connects: ReasonCounts,
    /// Connects for which no local port was free; not among the former.
    pub no_local_port: u64,
}

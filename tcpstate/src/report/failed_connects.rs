//! Failed connects by reason.

/// The reason why a connect failed after the kernel had begun it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum ConnectFailure {
    /// The peer responded with a RST, or the network reported that the port is closed.
    Refused,
    /// The peer did not respond.
    Timeout,
    /// The connection was reset.
    Reset,
    /// The network reported that the peer is unreachable.
    Unreachable,
    /// The program closed the socket before the peer responded, or an operator destroyed the
    /// socket.
    Abort,
    /// No local port was free.
    NoLocalPort,
    /// The socket had another error.
    Other,
}

impl ConnectFailure {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::Refused,
        Self::Timeout,
        Self::Reset,
        Self::Unreachable,
        Self::Abort,
        Self::NoLocalPort,
        Self::Other,
    ];

    /// Returns the name used in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Unreachable => "unreachable",
            Self::Abort => "abort",
            Self::NoLocalPort => "no_local_port",
            Self::Other => "other",
        }
    }
}

/// The number of failed connects for each reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailedConnects([u64; ConnectFailure::ALL.len()]);

impl FailedConnects {
    /// Adds failed connects.
    pub fn add(&mut self, reason: ConnectFailure, number: u64) {
        self.0[reason as usize] += number;
    }

    /// Returns the number of failed connects of a reason.
    #[must_use]
    pub fn get(&self, reason: ConnectFailure) -> u64 {
        self.0[reason as usize]
    }

    /// Returns these numbers minus earlier numbers.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at].saturating_sub(earlier.0[at])))
    }
}

//! The result of comparing gauges with the kernel's list of sockets.

use tcpstate_common::State;

/// The result of comparing gauges with the kernel's list of sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every gauge equals the number of sockets in the kernel's list.
    Equal,
    /// At least one gauge differs from the kernel's list, although tcpstate reported the gauges as
    /// exact. The value is the list of these gauges.
    Differs(Vec<Difference>),
    /// Sockets changed state while the list was read, so a comparison was not possible.
    Moving,
    /// tcpstate did not compare the gauges, because the gauges are inexact until the next scan.
    Inexact,
}

impl Verdict {
    /// Returns the name used in output.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Differs(_) => "differs",
            Self::Moving => "moving",
            Self::Inexact => "inexact",
        }
    }
}

/// A gauge that differs from the kernel's list of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The TCP state whose sockets the gauge counts.
    pub state: State,
    /// The number of sockets that the gauge shows.
    pub current: i64,
    /// The number of sockets in the kernel's list.
    pub listed: i64,
}

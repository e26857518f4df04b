//! The outcome of comparing gauges with the kernel's list of sockets.

use tcpstate_common::State;

/// What a comparison showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every gauge is the number of sockets in the list.
    Equal,
    /// These are not, and nobody had said so.
    Differs(Vec<Difference>),
    /// Something moved while the list was made: there was nothing to compare.
    Moving,
    /// It is known that gauges are off, and a scan will put them right: not compared.
    Inexact,
}

impl Verdict {
    /// In a word.
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

/// A gauge, and what the list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Whose gauge it is.
    pub state: State,
    /// The gauge.
    pub current: i64,
    /// Sockets in the list.
    pub listed: i64,
}

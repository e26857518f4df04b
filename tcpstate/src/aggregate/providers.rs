//! The active providers of mini sockets. A gauge can be exact only if the active providers observe
//! every socket of the gauge.

use crate::report::{Minis, Provider};

/// The active provider of each kind of mini sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Providers {
    /// The provider of time-wait sockets.
    pub time_wait: Provider,
    /// The provider of request sockets.
    pub syn_recv: Provider,
}

impl Providers {
    /// Returns the provider of one kind of mini sockets.
    #[must_use]
    pub fn of(self, minis: Minis) -> Provider {
        match minis {
            Minis::TimeWait => self.time_wait,
            Minis::SynRecv => self.syn_recv,
        }
    }
}

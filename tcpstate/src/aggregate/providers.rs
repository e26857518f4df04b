//! The providers in place, which decide how far gauges can be trusted.

use crate::report::{Minis, Provider};

/// What serves each kind of mini sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Providers {
    /// Time-wait sockets.
    pub time_wait: Provider,
    /// Request sockets.
    pub syn_recv: Provider,
}

impl Providers {
    /// What serves this kind.
    #[must_use]
    pub fn of(self, minis: Minis) -> Provider {
        match minis {
            Minis::TimeWait => self.time_wait,
            Minis::SynRecv => self.syn_recv,
        }
    }
}

//! Numbers that no event shows, from lists of sockets: the packets that listeners dropped, and the
//! local ports that connections use.

use std::collections::BTreeMap;

/// The packets that listeners dropped since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenDrops {
    /// The number of drops of each local port. A port keeps its number when its listener closes.
    pub ports: BTreeMap<u16, u64>,
    /// The number of drops of all other ports.
    pub other: u64,
}

/// The local ports that connect() can choose from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalPorts {
    /// The number of ports.
    pub available: u64,
    /// The number of ports in use, for the source address, destination address and destination port
    /// with the most ports in use.
    pub used: u64,
}

impl LocalPorts {
    /// Returns the share of the ports that are in use.
    #[must_use]
    pub fn used_ratio(&self) -> f64 {
        if self.available == 0 { 1.0 } else { self.used as f64 / self.available as f64 }
    }

    /// Returns the fuller of the ports of two network namespaces.
    #[must_use]
    pub fn fuller(self, other: Self) -> Self {
        if other.used_ratio() > self.used_ratio() { other } else { self }
    }
}

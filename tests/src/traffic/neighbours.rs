//! Busy network namespaces beside the namespace of a test.

use super::{Load, Style};
use crate::{
    emulated::scaled,
    netns::{Place, spread_loopback},
    wait,
};

/// Two network namespaces in which connections open and close as fast as possible. The packets
/// arrive in soft interrupts on all CPUs, so the kernel skips runs of the BPF programs.
pub struct Neighbours(Vec<(Place, Load)>);

impl Neighbours {
    /// Creates the namespaces and starts the traffic.
    ///
    /// # Panics
    /// Panics if the caller is not root.
    #[must_use = "dropped, the traffic ends"]
    pub fn start() -> Self {
        let start = |_| {
            let place = Place::new();
            let load = place.inside(|| {
                if !spread_loopback() {
                    println!("this kernel cannot distribute packets over CPUs");
                }
                Load::start(2, Style::Rst)
            });
            (place, load)
        };
        Self((0..2).map(start).collect())
    }

    /// Calls a function ten times, each time after many further connections of the neighbours.
    ///
    /// # Panics
    /// Panics if there is no traffic.
    pub fn between_connections(&self, mut work: impl FnMut()) {
        let step = scaled(2_000);
        for round in 1..=10 {
            self.await_connections(round * step);
            work();
        }
    }

    /// Waits until the namespaces have completed this number of connections since the start.
    ///
    /// # Panics
    /// Panics if there is no traffic.
    pub fn await_connections(&self, connections: u64) {
        let completed = || self.0.iter().map(|(_, load)| load.completed()).sum::<u64>();
        wait::until("connections of neighbours", || completed() >= connections);
    }
}

//! Shows that a thread makes progress, although a step such as a scan may take minutes.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// The time of the last sign of progress of a thread. Other threads may read the time.
#[derive(Debug)]
pub struct Pulse {
    start: Instant,
    /// The time of the last beat, in milliseconds since `start`.
    last: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0) }
    }
}

impl Pulse {
    /// Records progress now.
    pub fn beat(&self) {
        let since = self.start.elapsed().as_millis();
        self.last.store(u64::try_from(since).unwrap_or(u64::MAX), Relaxed);
    }

    /// Returns the time since the last progress.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.start.elapsed().saturating_sub(Duration::from_millis(self.last.load(Relaxed)))
    }
}

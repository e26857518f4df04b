//! The processor time of programs in the kernel.

use std::time::Duration;

/// What a program in the kernel costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The program's name.
    pub program: String,
    /// Since the start.
    pub total: Runs,
    /// In the interval.
    pub in_interval: Runs,
}

/// Runs of a program, and the time that they took together, the kernel's measuring included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// How many.
    pub count: u64,
    /// All together, on all CPUs.
    pub time: Duration,
}

impl Runs {
    /// What a run takes on average; unknown if there was none.
    #[must_use]
    pub fn ns_per_run(&self) -> Option<f64> {
        (self.count > 0).then(|| self.time.as_nanos() as f64 / self.count as f64)
    }

    /// The share of one CPU that they took of this time.
    #[must_use]
    pub fn cpu_share(&self, of: Duration) -> Option<f64> {
        (of > Duration::ZERO).then(|| self.time.as_secs_f64() / of.as_secs_f64())
    }
}

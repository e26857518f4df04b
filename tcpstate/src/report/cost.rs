//! The CPU time of BPF programs.

use std::time::Duration;

/// The cost of one BPF program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The name of the program.
    pub program: String,
    /// The number and the total time of the runs since the start.
    pub total: Runs,
    /// The number and the total time of the runs in the interval.
    pub in_interval: Runs,
}

/// The number of runs of a program, and the total time of these runs. The time includes the time
/// that the kernel needs for the measurement itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// How often the program ran.
    pub count: u64,
    /// The total time of the runs on all CPUs.
    pub time: Duration,
}

impl Runs {
    /// Returns the mean time of a run in nanoseconds, or `None` if there was no run.
    #[must_use]
    pub fn ns_per_run(&self) -> Option<f64> {
        (self.count > 0).then(|| self.time.as_nanos() as f64 / self.count as f64)
    }

    /// Returns the share of one CPU that the runs used during the time `of`.
    #[must_use]
    pub fn cpu_share(&self, of: Duration) -> Option<f64> {
        (of > Duration::ZERO).then(|| self.time.as_secs_f64() / of.as_secs_f64())
    }
}

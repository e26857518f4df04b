//! Measures the CPU time of a function call and of this process.

use std::time::Duration;

use nix::{
    errno::Errno,
    time::{ClockId, clock_gettime},
};

use crate::probe::Error;

/// Runs `work`. Returns the result of `work` and the CPU time that the thread used for `work`.
pub(super) fn timed<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<(T, Duration), Error> {
    let start = cpu_time(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    let result = work()?;
    Ok((result, cpu_time(ClockId::CLOCK_THREAD_CPUTIME_ID)?.saturating_sub(start)))
}

/// Returns the CPU time of this process so far.
pub(super) fn of_process() -> Result<Duration, Error> {
    cpu_time(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

/// Returns the CPU time of the calling thread or of the process.
fn cpu_time(clock: ClockId) -> Result<Duration, Error> {
    clock_gettime(clock).map(Duration::from).map_err(|errno: Errno| Error::System {
        action: "read the clock of processor time",
        source: errno.into(),
    })
}

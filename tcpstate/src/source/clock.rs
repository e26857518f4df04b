//! Converts the times of records to the clocks of this process.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// The current times of the clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// The wall-clock time at which the monotonic clock of this process was zero, as the time since
    /// 1970.
    pub(super) since_1970: Duration,
    /// The current time of the monotonic clock of this process.
    pub(super) monotonic: Duration,
    /// The monotonic clock of this process minus the clock of the records, in nanoseconds. It is
    /// not 0 in a time namespace.
    pub(super) offset: i64,
}

impl Clock {
    /// Reads the clocks.
    pub(super) fn now(offset: i64) -> Self {
        let now = |clock| clock_gettime(clock).map(Duration::from).unwrap_or_default();
        let (wall, monotonic) = (now(ClockId::CLOCK_REALTIME), now(ClockId::CLOCK_MONOTONIC));
        Self { since_1970: wall.saturating_sub(monotonic), monotonic, offset }
    }

    /// Returns the current time of the clock that the records use.
    pub(super) fn of_records(&self) -> Duration {
        let nanos = u64::try_from(self.monotonic.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(nanos.saturating_add_signed(self.offset.saturating_neg()))
    }

    /// Converts the time of a record to the monotonic clock of this process.
    pub(super) fn here(&self, time: u64) -> Duration {
        Duration::from_nanos(time.saturating_add_signed(self.offset))
    }

    /// Converts the time of a record to the wall clock.
    pub(super) fn wall(&self, time: u64) -> SystemTime {
        UNIX_EPOCH + self.since_1970 + self.here(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_records_are_shifted_to_the_clock_of_the_time_namespace() {
        for (offset, monotonic, own) in
            [(60_000_000_000, 67_000_000_001, 30), (-5_000_000_000, 2_000_000_001, 95)]
        {
            let since_1970 = Duration::from_secs(1000);
            let clock = Clock { since_1970, monotonic: Duration::from_secs(90), offset };
            let monotonic = Duration::from_nanos(monotonic);
            assert_eq!(clock.here(7_000_000_001), monotonic);
            assert_eq!(clock.wall(7_000_000_001), UNIX_EPOCH + since_1970 + monotonic);
            assert_eq!(clock.of_records(), Duration::from_secs(own));
        }
    }
}

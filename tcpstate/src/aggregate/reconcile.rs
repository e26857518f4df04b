//! Decides when to scan the sockets again.

use std::time::Duration;

/// The minimum time between two scans that correct missed events while sockets keep changing.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// The maximum share of one CPU that scans may use: 1 in 100.
const SHARE_OF_CPU: u32 = 100;

/// The user's choice of when tcpstate scans again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reconcile {
    /// Scan after missed events, but limit the CPU time of scans.
    #[default]
    Auto,
    /// Never scan again after the start.
    Off,
    /// Scan at this interval, and once more at the end if an event was missed.
    Every(Duration),
}

/// The values that determine whether a scan is due.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// The number of missed events that no scan has corrected.
    pub unreconciled: u64,
    /// The time since the end of the last scan.
    pub since_last: Duration,
    /// The CPU time of the last scan.
    pub last_cost: Duration,
    /// No socket changes now, but sockets changed since the last scan. While no socket changes, a
    /// scan costs little CPU time, and no event can be missed during the scan.
    pub quiet_again: bool,
}

impl Reconcile {
    /// Returns whether a scan is due now.
    #[must_use]
    pub fn is_due(self, now: &Situation) -> bool {
        match self {
            Self::Off => false,
            Self::Every(pace) => now.since_last >= pace,
            Self::Auto => {
                let pause = MIN_PAUSE.max(now.last_cost.saturating_mul(SHARE_OF_CPU));
                now.unreconciled > 0 && (now.quiet_again || now.since_last >= pause)
            }
        }
    }

    /// Returns whether a scan is due before the end report.
    #[must_use]
    pub fn is_due_at_end(self, unreconciled: u64) -> bool {
        self != Self::Off && unreconciled > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Situation = Situation {
        unreconciled: 0,
        since_last: Duration::from_secs(3600),
        last_cost: Duration::from_millis(5),
        quiet_again: true,
    };

    #[test]
    fn without_a_miss_there_is_no_scan() {
        assert!(!Reconcile::Auto.is_due(&CALM));
        assert!(!Reconcile::Auto.is_due_at_end(0));
    }

    #[test]
    fn under_load_a_scan_waits_a_second_and_a_hundred_times_its_cost() {
        let missed = Situation { unreconciled: 1, quiet_again: false, ..CALM };
        let after = |millis, cost| Situation {
            since_last: Duration::from_millis(millis),
            last_cost: Duration::from_millis(cost),
            ..missed
        };
        assert!(!Reconcile::Auto.is_due(&after(999, 1)));
        assert!(Reconcile::Auto.is_due(&after(1000, 1)));
        assert!(!Reconcile::Auto.is_due(&after(4999, 50)));
        assert!(Reconcile::Auto.is_due(&after(5000, 50)));
    }

    #[test]
    fn scan_follows_the_first_quiet_time_after_a_miss() {
        let quiet = Situation { unreconciled: 1, since_last: Duration::ZERO, ..CALM };
        assert!(Reconcile::Auto.is_due(&quiet));
    }

    #[test]
    fn fixed_intervals_ignore_misses_and_off_never_scans() {
        let every = Reconcile::Every(Duration::from_secs(2));
        assert!(every.is_due(&Situation { since_last: Duration::from_secs(2), ..CALM }));
        assert!(!every.is_due(&Situation { since_last: Duration::from_millis(1999), ..CALM }));
        assert!(every.is_due_at_end(1));
        assert!(!Reconcile::Off.is_due(&Situation { unreconciled: 9, ..CALM }));
        assert!(!Reconcile::Off.is_due_at_end(9));
    }
}

//! When to scan of the sockets again.

use std::time::Duration;

/// The shortest time between two scans that misses under load call for.
const SHORTEST: Duration = Duration::from_secs(1);

/// A scan may take one part in this many of a CPU's time.
const SHARE_OF_CPU: u32 = 100;

/// The user's choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reconcile {
    /// When something was missed, at a bounded cost.
    #[default]
    Auto,
    /// Never again after the start.
    Off,
    /// At this pace, whatever happens, and once more at the end if something was missed.
    Every(Duration),
}

/// What the decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// Events missed that no scan has made up for.
    pub unreconciled: u64,
    /// Since the end of the last scan.
    pub since_last: Duration,
    /// Processor time that the last scan took.
    pub last_cost: Duration,
    /// Nothing moved of late, and something did since the last scan: a scan is cheap and final now.
    pub quiet_again: bool,
}

impl Reconcile {
    /// Whether a scan is due now.
    #[must_use]
    pub fn is_due(self, now: &Situation) -> bool {
        match self {
            Self::Off => false,
            Self::Every(pace) => now.since_last >= pace,
            Self::Auto => {
                let pause = SHORTEST.max(now.last_cost.saturating_mul(SHARE_OF_CPU));
                now.unreconciled > 0 && (now.quiet_again || now.since_last >= pause)
            }
        }
    }

    /// Whether a scan is due before the last line.
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
    fn the_first_quiet_moment_after_a_miss_is_used_at_once() {
        let quiet = Situation { unreconciled: 1, since_last: Duration::ZERO, ..CALM };
        assert!(Reconcile::Auto.is_due(&quiet));
    }

    #[test]
    fn a_pace_is_kept_with_or_without_misses_and_off_is_off() {
        let every = Reconcile::Every(Duration::from_secs(2));
        assert!(every.is_due(&Situation { since_last: Duration::from_secs(2), ..CALM }));
        assert!(!every.is_due(&Situation { since_last: Duration::from_millis(1999), ..CALM }));
        assert!(every.is_due_at_end(1));
        assert!(!Reconcile::Off.is_due(&Situation { unreconciled: 9, ..CALM }));
        assert!(!Reconcile::Off.is_due_at_end(9));
    }
}

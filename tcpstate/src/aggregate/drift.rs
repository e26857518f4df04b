//! Compares totals of gauges with the kernel's own totals (`sockstat`). A difference proves that
//! tracing missed events, and that the kernel did not count the misses.
//!
//! Sockets that change between the reading of the gauges and the reading of the kernel's totals
//! also cause differences, in either direction. A difference therefore counts only in two cases: no
//! socket changed, or many readings in a row have a difference with the same sign.

/// The number of consecutive readings whose differences must have the same sign. By chance, nine
/// differences in a row have the same sign once in 256 times. Each such coincidence costs one
/// unnecessary scan.
const STREAK: u32 = 9;

/// The totals of the gauges minus the kernel's totals at one reading. The value is `None` if the
/// kernel's total does not cover all counted sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Excess {
    pub(super) full: Option<i64>,
    pub(super) time_wait: Option<i64>,
}

/// The differences found since the last scan, and the differences that remained after a scan.
#[derive(Clone, Debug, Default)]
pub(super) struct Drift {
    full: Sum,
    time_wait: Sum,
}

impl Drift {
    /// Adds the differences that a reading shows. `moved` is true if sockets changed since the
    /// earlier reading. Returns how many more sockets are certainly counted wrong than earlier
    /// calls have reported.
    pub(super) fn look(&mut self, excess: Excess, moved: bool) -> u64 {
        let full = excess.full.map_or(0, |excess| self.full.look(excess, moved));
        full + excess.time_wait.map_or(0, |excess| self.time_wait.look(excess, moved))
    }

    /// The caller calls this function after a scan has corrected the gauges.
    pub(super) fn scan(&mut self) {
        self.full.scan();
        self.time_wait.scan();
    }
}

/// The differences of one total: of the full sockets, or of the time-wait sockets.
#[derive(Clone, Debug, Default)]
struct Sum {
    /// The difference that remained after a scan. A remaining difference is not an error of the
    /// gauges.
    explained: i64,
    /// The last reported difference, and whether a scan was made after that report.
    last_report: Option<(i64, bool)>,
    /// The last consecutive readings had differences with the same sign. The pair contains the
    /// smallest of these differences and the number of these readings.
    streak: (i64, u32),
}

impl Sum {
    fn look(&mut self, excess: i64, moved: bool) -> u64 {
        let excess = excess - self.explained;
        if excess == 0 {
            (self.last_report, self.streak) = (None, (0, 0));
            return 0;
        }
        if !moved {
            return self.conclude(excess);
        }
        let (least, readings) = self.streak;
        self.streak = if least.signum() == excess.signum() {
            (if excess.abs() < least.abs() { excess } else { least }, readings + 1)
        } else {
            (excess, 1)
        };
        if self.streak.1 >= STREAK { self.conclude(self.streak.0) } else { 0 }
    }

    fn conclude(&mut self, excess: i64) -> u64 {
        self.streak = (0, 0);
        let reported = match self.last_report {
            Some((reported, true)) if reported == excess => {
                self.explained += excess;
                self.last_report = None;
                return 0;
            }
            // A scan has corrected the difference that was reported before.
            None | Some((_, true)) => 0,
            Some((reported, false)) => reported,
        };
        self.last_report = Some((excess, false));
        excess.abs_diff(reported)
    }

    fn scan(&mut self) {
        self.streak = (0, 0);
        if let Some((_, has_scanned)) = &mut self.last_report {
            *has_scanned = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_without_motion_counts_once() {
        let mut sum = Sum::default();
        assert_eq!(sum.look(0, false), 0);
        assert_eq!(sum.look(22, false), 22);
        assert_eq!(sum.look(22, false), 0, "said already");
        assert_eq!(sum.look(25, false), 3);
        sum.scan();
        assert_eq!(sum.look(0, false), 0);
        assert_eq!(sum.look(25, false), 25, "lost again, after a scan had put it right");
    }

    #[test]
    fn difference_with_motion_counts_if_its_sign_stays() {
        let mut sum = Sum::default();
        let noise = [3, -2, 1, 1, -4, 2, 2, 2, 2, 2, 2, 2, -1, 5];
        assert!(noise.iter().all(|&excess| sum.look(excess, true) == 0));
        let mut sum = Sum::default();
        let drift = [22, 19, 24, 21, 23, 20, 25, 18];
        assert!(drift.iter().all(|&excess| sum.look(excess, true) == 0));
        assert_eq!(sum.look(21, true), 18);
    }

    #[test]
    fn a_sum_unchanged_by_a_scan_is_no_drift() {
        let mut sum = Sum::default();
        assert_eq!(sum.look(-1, false), 1);
        sum.scan();
        assert_eq!(sum.look(-1, false), 0);
        assert_eq!(sum.look(-1, false), 0);
        assert_eq!(sum.look(4, false), 5, "from there");
    }

    #[test]
    fn unknown_kernel_sums_are_not_compared() {
        let mut drift = Drift::default();
        assert_eq!(drift.look(Excess::default(), false), 0);
        assert_eq!(drift.look(Excess { full: Some(2), time_wait: Some(-1) }, false), 3);
    }
}

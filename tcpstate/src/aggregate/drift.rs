//! Compares sums of gauges with the kernel's own sums (`sockstat`, `sockstat6`). A difference
//! proves that a gauge is wrong.
//!
//! Sockets that change between the reading of the gauges and the reading of the kernel's sums also
//! cause differences, in either direction. A difference therefore counts only in two cases: no
//! socket changed, or many readings in a row have a difference with the same sign.

/// The number of consecutive readings whose differences must have the same sign. By chance, nine
/// differences in a row have the same sign once in 256 times. Each such coincidence costs one
/// unnecessary scan.
const STREAK: u32 = 9;

/// The number of sums that are compared.
const SUMS: usize = 4;

/// The sums of the gauges minus the kernel's sums at one reading. A value is `None` if the kernel's
/// sum does not cover exactly the counted sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Excess {
    /// The full sockets.
    pub(super) full: Option<i64>,
    /// The full sockets of each address family.
    pub(super) full_of: [Option<i64>; 2],
    /// The time-wait sockets, in both substates.
    pub(super) time_wait: Option<i64>,
}

impl Excess {
    fn sums(self) -> [Option<i64>; SUMS] {
        let [v4, v6] = self.full_of;
        [self.full, v4, v6, self.time_wait]
    }
}

/// The differences found since the last scan, and the differences that are not errors of gauges.
#[derive(Clone, Debug, Default)]
pub(super) struct Drift([Sum; SUMS]);

impl Drift {
    /// Compares the sums of a reading. `is_still` is true if no socket changed while the kernel's
    /// sums were read. Returns the largest difference that proves an error of a gauge.
    pub(super) fn look(&mut self, excess: Excess, is_still: bool) -> u64 {
        let sums = self.0.iter_mut().zip(excess.sums());
        let proved =
            sums.map(|(sum, excess)| excess.map_or(0, |excess| sum.look(excess, is_still)));
        proved.max().unwrap_or(0)
    }

    /// The caller calls this function after a scan or an audit, when all gauges equal the kernel's
    /// sockets. `before` and `after` are the differences of one reading, with the gauges before and
    /// after the scan. What remains is not an error of a gauge.
    pub(super) fn settle(&mut self, before: Excess, after: Excess, is_still: bool) {
        let pairs = before.sums().into_iter().zip(after.sums());
        for (sum, (before, after)) in self.0.iter_mut().zip(pairs) {
            sum.settle(after.filter(|_| is_still), before == after);
        }
    }
}

/// The differences of one sum.
#[derive(Clone, Debug, Default)]
struct Sum {
    /// A difference that exists although the gauges are right.
    explained: i64,
    /// The last consecutive readings had differences with the same sign. The pair contains the
    /// smallest of these differences and the number of these readings.
    streak: (i64, u32),
}

impl Sum {
    fn look(&mut self, excess: i64, is_still: bool) -> u64 {
        let excess = excess - self.explained;
        let (least, readings) = self.streak;
        self.streak = match excess {
            0 => (0, 0),
            _ if least.signum() != excess.signum() => (excess, 1),
            _ => (if excess.abs() < least.abs() { excess } else { least }, readings + 1),
        };
        match self.streak {
            _ if is_still => excess.unsigned_abs(),
            (least, STREAK..) => least.unsigned_abs(),
            _ => 0,
        }
    }

    /// `excess` is the difference that remains, or `None` if sockets are changing now. If sockets
    /// are changing, the difference that the streak proved remains if the scan changed nothing.
    fn settle(&mut self, excess: Option<i64>, is_unchanged: bool) {
        match (excess, self.streak) {
            (Some(excess), _) => self.explained = excess,
            (None, (least, STREAK..)) if is_unchanged => self.explained += least,
            (None, _) => {}
        }
        self.streak = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_without_motion_counts_at_once() {
        let mut sum = Sum::default();
        assert_eq!(sum.look(0, true), 0);
        assert_eq!(sum.look(22, true), 22);
        assert_eq!(sum.look(22, true), 22, "it lasts until a scan");
        sum.settle(Some(0), false);
        assert_eq!(sum.look(0, true), 0);
        assert_eq!(sum.look(-25, true), 25, "lost again, after a scan had put it right");
    }

    #[test]
    fn difference_with_motion_counts_if_its_sign_stays() {
        let mut sum = Sum::default();
        let noise = [3, -2, 1, 1, -4, 2, 2, 2, 2, 2, 2, 2, -1, 5];
        assert!(noise.iter().all(|&excess| sum.look(excess, false) == 0));
        let mut sum = Sum::default();
        let drift = [22, 19, 24, 21, 23, 20, 25, 18];
        assert!(drift.iter().all(|&excess| sum.look(excess, false) == 0));
        assert_eq!(sum.look(21, false), 18);
        sum.settle(None, false);
        assert!(drift.iter().all(|&excess| sum.look(excess, false) == 0), "a new streak");
        assert_eq!(sum.look(21, false), 18);
        sum.settle(None, true);
        assert!([18; 20].iter().all(|&excess| sum.look(excess, false) == 0), "it is explained");
    }

    #[test]
    fn a_difference_that_remains_after_a_scan_is_no_drift() {
        let mut sum = Sum::default();
        assert_eq!(sum.look(-1, true), 1);
        sum.settle(Some(-1), true);
        assert_eq!(sum.look(-1, true), 0);
        assert_eq!(sum.look(4, true), 5, "from there");
    }

    #[test]
    fn the_largest_difference_counts_and_unknown_sums_do_not() {
        let mut drift = Drift::default();
        assert_eq!(drift.look(Excess::default(), true), 0);
        let excess = Excess { full: Some(2), time_wait: Some(-3), ..Excess::default() };
        assert_eq!(drift.look(excess, true), 3);
    }

    #[test]
    fn a_socket_that_changed_its_family_differs_in_both_families() {
        let mut drift = Drift::default();
        let moved = Excess { full: Some(0), full_of: [Some(-1), Some(1)], time_wait: Some(0) };
        assert_eq!(drift.look(moved, true), 1);
    }
}

//! Sums of gauges against the kernel's own sums (`sockstat`): where they differ, something was missed that the kernel did
//! not count as missed.
//!
//! What moves between two looks puts the sums off too, to either side. So a difference counts where nothing moved, or
//! where reading after reading has it on the same side.

/// So many readings in a row: by chance once in 256 times, and the price is a scan.
const STREAK: u32 = 9;

/// By how much sums of gauges exceed the kernel's, at one reading; `None` where the kernel's is not of what is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Excess {
    pub(super) full: Option<i64>,
    pub(super) time_wait: Option<i64>,
}

/// What was seen since the last scan, and what no scan can change.
#[derive(Clone, Debug, Default)]
pub(super) struct Drift {
    full: Sum,
    time_wait: Sum,
}

impl Drift {
    /// Takes the excess at a reading where nothing `moved`, or at one of many. Returns by how many sockets gauges must be
    /// off, so far as no earlier call has said it.
    pub(super) fn look(&mut self, excess: Excess, moved: bool) -> u64 {
        let full = excess.full.map_or(0, |excess| self.full.look(excess, moved));
        full + excess.time_wait.map_or(0, |excess| self.time_wait.look(excess, moved))
    }

    /// A scan has put the gauges right.
    pub(super) fn scan(&mut self) {
        self.full.scan();
        self.time_wait.scan();
    }
}

/// One sum.
#[derive(Clone, Debug, Default)]
struct Sum {
    /// A difference that scans leave as it is: then it is not ours.
    explained: i64,
    /// What was said to be off, and whether a scan was made since.
    doubt: Option<(i64, bool)>,
    /// The smallest difference of readings in a row on one side, and how many there were.
    streak: (i64, u32),
}

impl Sum {
    fn look(&mut self, excess: i64, moved: bool) -> u64 {
        let excess = excess - self.explained;
        if excess == 0 {
            (self.doubt, self.streak) = (None, (0, 0));
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
        let said = match self.doubt {
            Some((said, true)) if said == excess => {
                self.explained += excess;
                self.doubt = None;
                return 0;
            }
            // A scan put right what was said then.
            None | Some((_, true)) => 0,
            Some((said, false)) => said,
        };
        self.doubt = Some((excess, false));
        excess.abs_diff(said)
    }

    fn scan(&mut self) {
        self.streak = (0, 0);
        if let Some((_, has_scanned)) = &mut self.doubt {
            *has_scanned = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_moves_a_difference_counts_at_once_and_once() {
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
    fn where_sockets_move_a_difference_counts_when_it_stays_on_one_side() {
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
    fn a_sum_that_the_kernel_does_not_have_is_not_compared() {
        let mut drift = Drift::default();
        assert_eq!(drift.look(Excess::default(), false), 0);
        assert_eq!(drift.look(Excess { full: Some(2), time_wait: Some(-1) }, false), 3);
    }
}

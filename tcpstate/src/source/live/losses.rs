//! Computes how many events of the counted scope the tracking program missed. These events have no
//! line of `trace --events` and end no duration of `hist`.
//!
//! The kernel counts the skipped runs of the tracking program for the whole host, so that count
//! cannot be used for one network namespace. This module instead compares two counts of the same
//! events in the same scope: the count of the counting program and the count of the tracking
//! program. Both programs select the buffer of a count by the control word, so both counts belong
//! to one cut.

use tcpstate_common::abi::EventLosses;

use crate::report::Losses;

/// The two counts of full sockets' events of one kind at the last cut, and their difference. The
/// kinds are all events, and the events that end a connection.
///
/// Only events while the control bit for events is set are included, because the tracking program
/// counts only these events.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage {
    /// The number of all events that the counting program counted before the last cut, including
    /// events while the control bit was clear.
    total: u64,
    /// The number of events that the counting program counted while the control bit was set.
    counted: u64,
    /// The number of events that the tracking program handled, for each buffer. The value was read
    /// when the buffer last became inactive.
    tracked: [u64; 2],
    /// `counted` minus `tracked`: the number of events that only the counting program counted
    /// before the last cut.
    uncovered: u64,
    /// The number of events that the tracking program missed before the last cut.
    missed: u64,
    /// How often the kernel had skipped the tracking program before the last cut, for the sockets
    /// of the whole host.
    skipped: u64,
}

/// The numbers that were read at a cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut<'a> {
    /// Whether the control bit for events was set before the cut.
    pub(super) is_recording: bool,
    /// The index of the buffer that the cut made inactive.
    pub(super) inactive: usize,
    /// The number of all events that the counting program counted before the cut.
    pub(super) total: u64,
    /// The counters of each CPU, read after the cut.
    pub(super) of_cpus: &'a [EventLosses],
    /// Returns the numbers of events that the tracking program of a CPU handled, for each buffer.
    pub(super) tracked: fn(&EventLosses) -> [u64; 2],
    /// How often the kernel had skipped the tracking program, for the sockets of the whole host.
    pub(super) skipped: u64,
}

impl Coverage {
    /// Adds a cut.
    ///
    /// During a cut, the two programs of an event can read different control words. If the counting
    /// program read the old word, and the tracking program read the new word, the event is covered
    /// only at the next cut. The tracking program has counted this event in the active buffer. The
    /// number of these events is therefore at most the number of events in the active buffer, and
    /// at most one per CPU. The function subtracts this number from the missed events, unless the
    /// cut before contains the missed events too.
    ///
    /// If the counting program missed more events than the tracking program, the difference is
    /// negative, and the function stores 0.
    pub(super) fn add(&mut self, cut: Cut<'_>) {
        let tracked =
            |buffer: usize| cut.of_cpus.iter().map(|cpu| (cut.tracked)(cpu)[buffer]).sum::<u64>();
        if cut.is_recording {
            self.counted += cut.total.saturating_sub(self.total);
        }
        self.total = cut.total;
        self.skipped = cut.skipped;
        self.tracked[cut.inactive] = tracked(cut.inactive);
        let uncovered = self.counted.saturating_sub(self.tracked.iter().sum());
        let active = 1 - cut.inactive;
        let in_active = tracked(active).saturating_sub(self.tracked[active]);
        let in_progress = in_active.min(cut.of_cpus.len() as u64);
        self.missed = uncovered.min(self.uncovered).max(uncovered.saturating_sub(in_progress));
        self.uncovered = uncovered;
    }

    /// Returns the number of events that the tracking program missed before the last cut.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    /// Returns the numbers of events without a line. The numbers of missed events are the numbers
    /// at the last cut: of all events, and of the events that end a connection. All other numbers
    /// are those in `of_cpus`.
    pub(super) fn losses(&self, ends: &Self, of_cpus: &[EventLosses]) -> Losses {
        Losses {
            dropped_ends: of_cpus.iter().map(|cpu| cpu.dropped_ends).sum(),
            missed_ends: ends.missed,
            dropped: of_cpus.iter().map(|cpu| cpu.dropped).sum(),
            missed: self.missed,
            untracked: of_cpus.iter().map(|cpu| cpu.untracked).sum(),
            time_wait: of_cpus.iter().map(|cpu| cpu.time_wait).sum(),
            syn_recv: of_cpus.iter().map(|cpu| cpu.syn_recv).sum(),
        }
    }

    /// Returns whether the next cut may find missed events that the last cut does not contain. The
    /// result is true in two cases: the kernel skipped the tracking program since the last cut, or
    /// events were in progress during the last cut. `skipped` is the current number of skipped runs
    /// on the whole host.
    pub(super) fn may_grow(&self, skipped: u64) -> bool {
        skipped > self.skipped || self.uncovered > self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes cuts one after the other, each with the number of all counted events and with the
    /// numbers of tracked events. Returns the number of missed events at each cut.
    fn cuts(cpus: usize, cuts: &[(bool, u64, [u64; 2])]) -> Vec<u64> {
        let mut coverage = Coverage::default();
        let cut = |(index, &(is_recording, total, tracked)): (usize, &(bool, u64, [u64; 2]))| {
            let mut of_cpus = vec![EventLosses::default(); cpus];
            of_cpus[index % cpus].tracked = tracked;
            let inactive = index % 2;
            let tracked = |cpu: &EventLosses| cpu.tracked;
            let of_cpus = &of_cpus;
            coverage.add(Cut { is_recording, inactive, total, of_cpus, tracked, skipped: 0 });
            coverage.losses(&Coverage::default(), of_cpus).missed
        };
        cuts.iter().enumerate().map(cut).collect()
    }

    #[test]
    fn missed_events_are_the_difference_of_the_two_counts() {
        let missed = cuts(
            2,
            &[(false, 50, [0, 0]), (true, 80, [0, 28]), (true, 90, [7, 28]), (true, 95, [7, 33])],
        );
        assert_eq!(missed, [0, 2, 5, 5]);
    }

    #[test]
    fn events_after_the_end_are_not_missed() {
        assert_eq!(cuts(2, &[(true, 10, [10, 0]), (false, 25, [10, 0])]), [0, 0]);
    }

    /// At the first cut, the counting program used the old control word, and the tracking program
    /// used the new control word.
    #[test]
    fn an_event_in_progress_during_a_cut_is_not_missed() {
        assert_eq!(cuts(2, &[(true, 10, [9, 1]), (true, 20, [9, 11])]), [0, 0]);
    }

    #[test]
    fn at_the_end_an_event_in_progress_has_no_line() {
        assert_eq!(cuts(2, &[(true, 10, [9, 0])]), [1]);
    }

    #[test]
    fn missed_events_under_traffic_are_reported_at_the_next_cut_at_the_latest() {
        let missed = cuts(4, &[(true, 10, [7, 9]), (true, 25, [20, 14]), (true, 41, [23, 14])]);
        assert_eq!(missed, [0, 3, 4], "3 events are missed before the first cut, 1 after it");
        let missed = cuts(2, &[(true, 10, [3, 9])]);
        assert_eq!(missed, [5], "at most one event per CPU is in progress");
    }

    #[test]
    fn missed_events_are_never_below_zero() {
        assert_eq!(cuts(2, &[(true, 10, [14, 1]), (true, 12, [14, 1])]), [0, 0]);
    }

    #[test]
    fn a_cut_is_useful_after_skipped_runs_or_traffic() {
        let of_cpus = [EventLosses { tracked: [9, 1], ..EventLosses::default() }];
        let tracked = |cpu: &EventLosses| cpu.tracked;
        let of_cpus = &of_cpus;
        let cut = Cut { is_recording: true, inactive: 0, total: 9, of_cpus, tracked, skipped: 3 };
        let mut coverage = Coverage::default();
        coverage.add(cut);
        assert!(!coverage.may_grow(3));
        assert!(coverage.may_grow(4), "a run was skipped");
        coverage.add(Cut { total: 10, ..cut });
        assert!(coverage.may_grow(3), "an event was in progress, or missed");
    }
}

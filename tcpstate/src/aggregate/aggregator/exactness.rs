//! Decides at each reading whether the gauges are exact, and which check is due.

use std::time::{Duration, Instant};

use tcpstate_common::{State, abi::STATE_SLOTS};

use super::{Aggregator, largest_change};
use crate::{
    aggregate::{
        audit::{Motion, Situation, Way},
        dead_hooks,
        drift::Excess,
        verify,
    },
    report::{Minis, Missed, Verdict},
    source::{Flows, KernelCounters, Listing, Reading, Scan, live::Glance},
};

impl Aggregator {
    /// Sets the largest share of one CPU that audits use. With 0, no audit is made.
    pub fn limit_audits(&mut self, max_cpu: f64) {
        self.audits.limit(max_cpu);
    }

    /// Looks for signs of missed events in a reading. The function has no effect if it saw the
    /// reading before.
    pub fn observe(&mut self, reading: &Reading) {
        if self.observed.replace(reading.at.monotonic) == Some(reading.at.monotonic) {
            return;
        }
        let has_requests = self.gauges.requests(&self.since_origin(reading)) != 0;
        self.accuracy.observe(reading, has_requests);
        let lifted = self.floor(reading);
        let excess = self.excess(reading);
        let wrong = lifted.max(self.drift.look(excess, reading.is_still));
        if wrong > 0 {
            self.accuracy.doubt(wrong);
        }
        let is_unproved = |minis| {
            let since = match minis {
                Minis::TimeWait => &self.time_wait_since,
                Minis::SynRecv => &self.syn_recv_since,
            };
            self.providers.of(minis).is_exact()
                && dead_hooks::is_unproved(minis, since, self.accuracy.proved(), reading)
        };
        self.accuracy.set_unproved(Minis::BOTH.into_iter().any(is_unproved));
        self.births.observe(reading);
    }

    /// Returns a bound of the error of each gauge, or `None` if nothing bounds the error.
    pub(super) fn unreconciled(&self, reading: &Reading) -> Option<u64> {
        let bound = self.accuracy.bound()?;
        let is_unchecked = self.accuracy.checked() != &reading.counts;
        // A socket that has come to rest is compared with the kernel's list soon.
        if reading.is_still && is_unchecked && self.audits.is_pending(self.sockets(reading)) {
            return None;
        }
        // Request sockets are in none of the kernel's sums. Without audits, nothing checks them.
        let requests = |flows: &Flows| flows.minis(State::SynRecv);
        let has_moved = requests(&reading.counts.flows) != requests(&self.accuracy.checked().flows);
        if !self.audits.are_on() && has_moved {
            return None;
        }
        Some(bound)
    }

    /// Returns how many errors a scan would correct, at least 1 if their number is unknown.
    /// `missed` is the number of missed events since the BPF programs were loaded.
    #[must_use]
    pub fn correctable(&self, missed: Missed) -> u64 {
        self.accuracy.correctable(missed)
    }

    /// Returns whether a cut would show more than a glance: missed events that are not sorted yet,
    /// or an audit that is due.
    #[must_use]
    pub fn wants_reading(&self, glance: &Glance, now: Instant) -> bool {
        let is_doubtful = self.accuracy.has_unsorted(glance.missed)
            || self.accuracy.correctable(glance.missed) > 0;
        // The cut itself shows whether the sockets are still.
        let might_be = |is_still| {
            let situation = Situation {
                motion: Motion::new(is_still, glance.is_quiet),
                is_unchecked: glance.is_quiet && self.accuracy.is_unchecked(&self.previous),
                is_overdue: self.is_overdue(&self.previous, now),
                sockets: self.sockets(&self.previous),
            };
            self.audits.due(&situation, now).is_some()
        };
        is_doubtful || might_be(true) || might_be(false)
    }

    /// Returns the way to make the audit that is due at a reading, or `None` if no audit is due.
    #[must_use]
    pub fn audit_due(&self, reading: &Reading, is_quiet: bool) -> Option<Way> {
        let now = reading.at.monotonic;
        let situation = Situation {
            motion: Motion::new(reading.is_still, is_quiet),
            is_unchecked: self.accuracy.is_unchecked(reading),
            is_overdue: self.is_overdue(reading, now),
            sockets: self.sockets(reading),
        };
        self.audits.due(&situation, now)
    }

    /// Returns whether audits are made, and a list of the sockets would show more than is known.
    #[must_use]
    pub fn is_unchecked(&self, reading: &Reading) -> bool {
        self.audits.are_on() && self.accuracy.is_unchecked(reading)
    }

    /// Returns the largest difference between a gauge and a list of the kernel's sockets.
    #[must_use]
    pub fn largest_difference(&self, reading: &Reading, listing: &Listing) -> u64 {
        if let Some(namespaces) = &self.namespaces {
            return namespaces.largest_difference(self.providers, reading, listing);
        }
        let compare =
            |gauges: &_, listed| verify::largest_difference(gauges, self.providers, listed);
        let total = compare(&self.gauges_at(reading), &listing.states);
        let families = self
            .families
            .as_ref()
            .and_then(|families| families.show(reading, &self.origin, |state| self.is_seen(state)));
        let families = families.iter().flatten().zip(listing.families.iter().flatten());
        families.map(|(row, listed)| compare(&row.states, listed)).fold(total, u64::max)
    }

    /// Notes the result of an audit: the largest difference between a gauge and the kernel's list,
    /// or `None` if sockets changed meanwhile.
    pub fn audited(&mut self, reading: &Reading, result: Option<(u64, &Listing)>, cost: Duration) {
        let sockets = self.sockets(reading);
        self.audits.listed(Instant::now(), cost, sockets, result.is_some());
        let Some((errors, listing)) = result else { return };
        self.accuracy.audited(reading, reading.kernel.activity, errors, listing.unentered);
        if errors == 0 {
            self.settle_drift(reading);
        }
    }

    /// Compares the gauges with the result of a scan, and corrects nothing.
    pub fn compare(&mut self, scan: &Scan) {
        let mut corrected = self.clone();
        corrected.correct(scan, true);
        let gauges = (self.gauges_at(&scan.end), corrected.gauges_at(&scan.end));
        let errors = largest_change(&gauges.0, &gauges.1);
        self.observe(&scan.end);
        let sockets = self.sockets(&scan.end);
        self.audits.scanned(scan.end.at.monotonic, scan.cost, sockets, true);
        let activity = scan.zero.kernel.activity;
        self.accuracy.audited(&scan.end, activity, errors, scan.unentered);
    }

    /// Compares the gauges with the kernel's list of sockets. The list was read between the
    /// readings `before` and `after`.
    #[must_use]
    pub fn verify(
        &mut self,
        before: &Reading,
        after: &Reading,
        listed: &[u64; STATE_SLOTS],
    ) -> Verdict {
        self.observe(after);
        if before.counts != after.counts {
            return Verdict::Moving;
        }
        if self.accuracy.bound() != Some(0) {
            return Verdict::Inexact;
        }
        verify::compare(&self.gauges_at(after), self.providers, listed)
    }

    /// Makes the sums of the gauges at a reading the reference of later comparisons.
    pub(super) fn settle_drift(&mut self, reading: &Reading) {
        let excess = self.excess(reading);
        self.drift.settle(excess, excess, reading.is_still);
    }

    pub(super) fn excess(&self, reading: &Reading) -> Excess {
        let since = self.since_origin(reading);
        let kernel = &reading.kernel;
        let minus = |ours: i64, theirs: u64| ours - theirs.cast_signed();
        let beyond = |ours: i64, counter: fn(&KernelCounters) -> Option<u64>| {
            kernel.whole(counter).map(|theirs| minus(ours, theirs))
        };
        let full = self.gauges.full_sockets(&since);
        let time_wait =
            beyond(self.gauges.time_wait_sockets(&since), |kernel| kernel.time_wait_sockets);
        let families = self.families.as_ref().and_then(|it| it.full_sockets(reading, &self.origin));
        let full_of = match (families, self.namespaces.is_some()) {
            (_, true) => [None; 2],
            (Some(families), _) => {
                let theirs = families.into_iter().zip(kernel.full_sockets_of);
                let mut excess = [None; 2];
                for (excess, (ours, theirs)) in excess.iter_mut().zip(theirs) {
                    *excess = theirs.map(|theirs| minus(ours, theirs));
                }
                excess
            }
            // Only one family is counted, and the kernel's counters have only this family.
            (None, _) if !kernel.covers_whole_scope => {
                kernel.full_sockets_of.map(|theirs| theirs.map(|theirs| minus(full, theirs)))
            }
            (None, _) => [None; 2],
        };
        Excess {
            full: beyond(full, |kernel| kernel.full_sockets),
            full_of,
            time_wait: time_wait.filter(|_| self.providers.time_wait.is_exact()),
        }
    }

    /// Raises negative gauges to zero. Returns the number of sockets that were added to raise
    /// negative gauges. If the counts are a consistent cut, a gauge can be negative only if tracing
    /// missed an event. One missed event can make several gauges negative: a gauge of all sockets,
    /// of a namespace and of a family. Only the largest of these three sums is returned.
    fn floor(&mut self, reading: &Reading) -> u64 {
        let since = self.since_origin(reading);
        let has_all_namespaces = self.unlisted(reading.missed) == 0;
        let in_rows = self
            .namespaces
            .as_mut()
            .map_or(0, |namespaces| namespaces.update(reading, has_all_namespaces));
        self.add_up(reading);
        let lifted = self.gauges.floor(&since);
        let families = self.families.as_mut();
        let in_families = families.map_or(0, |families| families.floor(reading, &self.origin));
        lifted.max(in_rows).max(in_families)
    }

    /// If namespaces are counted separately, makes the gauges of all sockets the sums of the rows.
    /// If the table of namespaces was full, rows lack events, and the gauges of all sockets do not.
    pub(super) fn add_up(&mut self, reading: &Reading) {
        let since = self.since_origin(reading);
        let has_all_namespaces = self.unlisted(reading.missed) == 0;
        if let Some(namespaces) = self.namespaces.as_ref().filter(|_| has_all_namespaces) {
            self.gauges.adopt_sums(namespaces.parts(reading), &since);
        }
    }

    fn is_overdue(&self, reading: &Reading, now: Instant) -> bool {
        let since = self.since_origin(reading);
        self.births.is_overdue(&self.audits, now, |state| self.gauges.minis(state, &since))
    }

    fn sockets(&self, reading: &Reading) -> u64 {
        self.gauges.sockets(&self.since_origin(reading)).unsigned_abs()
    }
}

//! Decides whether the gauges are exact: collects what is known of missed events since the last
//! scan.
//!
//! | sign of a missed event | bound of the error |
//! |---|---|
//! | the kernel skipped a program and counted it | the number of skipped runs |
//! | an audit found wrong gauges, and nothing has moved since | the largest difference |
//! | a gauge was below zero, or a sum differs from the kernel's | unknown |
//! | hooks have never fired, but the kernel's counters moved | unknown |
//! | a namespace could not be entered | unknown |

use crate::{
    report::Missed,
    source::{Activity, Counts, KernelCounters, Reading, Scan},
};

/// The signs of missed events that no scan has corrected.
#[derive(Clone, Debug)]
pub(super) struct Accuracy {
    /// The misses since the last scan or audit that may belong to the counted sockets.
    open: Missed,
    /// The misses since the start that cannot belong to the counted sockets.
    elsewhere: Missed,
    /// The last reading that [`Accuracy::observe`] saw.
    seen: Seen,
    /// How often the last scan failed to store a socket.
    unstored: u64,
    /// The number of namespaces that the last scan could not enter.
    unentered: u64,
    silent: Silent,
    /// Whether this run ever proved a miss that the kernel did not count. The counted misses are
    /// then not all misses, so their number bounds no error.
    was_silent: bool,
    /// Whether hooks never fired although the kernel's counters moved.
    is_unproved: bool,
    /// The counts at which all gauges equalled the kernel's sockets.
    checked: Counts,
    /// The kernel's counters when all gauges equalled the kernel's sockets.
    proved: KernelCounters,
    /// The number of counted misses that the last scan corrected.
    corrected_misses: u64,
}

/// What is known of misses that the kernel did not count.
#[derive(Clone, Debug)]
enum Silent {
    /// No such miss is known.
    None,
    /// An audit found gauges that are wrong by at most this number of sockets.
    Found(u64, Box<Place>),
    /// Such a miss is certain, and the size of the error is unknown.
    Unknown,
}

/// The counts and the kernel's sums at an audit. A silent miss changes no count. So equal counts do
/// not prove that nothing has moved since the audit.
#[derive(Clone, Debug)]
struct Place {
    counts: Counts,
    activity: Option<Activity>,
}

impl Place {
    /// Returns whether nothing has moved between this place and a reading.
    fn is_at(&self, seen: &Seen) -> bool {
        self.counts == seen.counts && self.activity.is_some() && self.activity == seen.activity
    }
}

/// The part of a reading that shows whether a miss can belong to the counted sockets.
#[derive(Clone, Debug)]
struct Seen {
    counts: Counts,
    activity: Option<Activity>,
    missed: Missed,
    /// Whether there were request sockets. They are in no sum of the kernel.
    had_requests: bool,
}

impl Seen {
    fn of(reading: &Reading, has_requests: bool) -> Self {
        Self {
            counts: reading.counts.clone(),
            activity: reading.kernel.activity,
            missed: reading.missed,
            had_requests: has_requests,
        }
    }
}

impl Accuracy {
    /// Begins with the first scan.
    pub(super) fn new(first: &Scan, has_requests: bool) -> Self {
        let mut accuracy = Self {
            open: Missed::default(),
            elsewhere: Missed::default(),
            seen: Seen { missed: first.missed_before, ..Seen::of(&first.zero, has_requests) },
            unstored: 0,
            unentered: 0,
            silent: Silent::None,
            was_silent: false,
            is_unproved: false,
            checked: first.end.counts.clone(),
            proved: first.end.kernel,
            corrected_misses: 0,
        };
        accuracy.settle(first, has_requests);
        accuracy.elsewhere = Missed::default();
        accuracy
    }

    /// Sorts the misses since the last reading: misses of the counted sockets, and misses
    /// elsewhere. Returns the misses that may belong to the counted sockets.
    ///
    /// The kernel counts the skipped runs of a program for the whole host. If nothing moved in the
    /// counted namespace between two readings, the skipped runs were caused by other namespaces.
    pub(super) fn observe(&mut self, reading: &Reading, has_requests: bool) -> Missed {
        let now = Seen::of(reading, has_requests);
        let new = now.missed.since(&self.seen.missed);
        let is_unmoved = now.counts == self.seen.counts
            && now.activity.is_some()
            && now.activity == self.seen.activity;
        // The end of a request socket by its timer moves none of the kernel's sums.
        let has_requests = now.had_requests || self.seen.had_requests;
        let elsewhere = Missed {
            transitions: new.transitions,
            time_wait: new.time_wait,
            syn_recv: if has_requests { 0 } else { new.syn_recv },
            ..Missed::default()
        };
        let elsewhere = if is_unmoved { elsewhere } else { Missed::default() };
        let own = new.since(&elsewhere);
        self.elsewhere = self.elsewhere.plus(&elsewhere);
        self.open = self.open.plus(&own);
        self.seen = now;
        own
    }

    /// The caller calls this function after a scan has corrected the gauges.
    pub(super) fn settle(&mut self, scan: &Scan, has_requests: bool) {
        let before = self.observe(&scan.zero, has_requests);
        // The scan corrects what was missed before t0. The number of misses is read before t0.
        let late = scan.zero.missed.since(&scan.missed_before);
        let late = if before == Missed::default() { before } else { late };
        let during = self.observe(&scan.end, has_requests);
        self.corrected_misses = self.open.total() + self.unstored;
        self.open = late.plus(&during);
        self.unstored = scan.map_full + scan.map_errors;
        self.unentered = scan.unentered;
        self.silent = Silent::None;
        self.checked = scan.end.counts.clone();
        self.proved = scan.end.kernel;
    }

    /// The caller calls this function after an audit at a reading. `errors` is the largest
    /// difference between a gauge and the kernel's sockets. `activity` was read before the audit
    /// looked at the sockets.
    pub(super) fn audited(
        &mut self,
        reading: &Reading,
        activity: Option<Activity>,
        errors: u64,
        unentered: u64,
    ) {
        self.checked = reading.counts.clone();
        self.unentered = unentered;
        if errors == 0 {
            self.open = Missed::default();
            (self.unstored, self.silent) = (0, Silent::None);
            self.proved = reading.kernel;
        } else if errors > self.open.total() + self.unstored {
            self.was_silent = true;
            let place = Place { counts: reading.counts.clone(), activity };
            self.silent = Silent::Found(errors, Box::new(place));
        }
    }

    /// The caller calls this function after a scan. `errors` is the largest correction of a gauge.
    pub(super) fn corrected(&mut self, errors: u64) {
        // A socket that the scan could not store is missing in its result.
        if errors > self.corrected_misses + self.unstored {
            self.was_silent = true;
        }
    }

    /// Notes gauges that are certainly wrong by this number of sockets. If counted misses explain
    /// the error, nothing else was missed.
    pub(super) fn doubt(&mut self, errors: u64) {
        if errors > self.open.total() + self.unstored {
            self.was_silent = true;
            self.silent = match std::mem::replace(&mut self.silent, Silent::Unknown) {
                Silent::Found(found, place) if found >= errors => Silent::Found(found, place),
                _ => Silent::Unknown,
            };
        }
    }

    /// Notes whether hooks never fired although the kernel's counters moved.
    pub(super) fn set_unproved(&mut self, is_unproved: bool) {
        self.is_unproved = is_unproved;
    }

    /// Returns a bound of the error of each gauge at the last observed reading, or `None` if
    /// nothing bounds the error. The bound is 0 if all gauges are right as far as is known.
    pub(super) fn bound(&self) -> Option<u64> {
        let counted = self.open.total() + self.unstored;
        if self.is_unproved || self.unentered > 0 {
            return None;
        }
        match &self.silent {
            Silent::None if counted == 0 => Some(0),
            Silent::None => (!self.was_silent).then_some(counted),
            Silent::Found(errors, place) => place.is_at(&self.seen).then_some(errors + counted),
            Silent::Unknown => None,
        }
    }

    /// Returns how many errors a scan would correct, at least 1 if their number is unknown. A scan
    /// does not help against hooks that never fire, and not against hidden namespaces.
    pub(super) fn correctable(&self, missed: Missed) -> u64 {
        let counted = self.open.total() + missed.since(&self.seen.missed).total() + self.unstored;
        match &self.silent {
            Silent::None => counted,
            Silent::Found(errors, _) => counted + errors,
            Silent::Unknown => counted.max(1),
        }
    }

    /// Returns whether misses were counted that no call of [`Accuracy::observe`] has sorted.
    pub(super) fn has_unsorted(&self, missed: Missed) -> bool {
        missed.since(&self.seen.missed).total() > 0
    }

    /// Returns whether the gauges may differ from the kernel's sockets: sockets moved since the
    /// last audit or scan, or a miss is known.
    pub(super) fn is_unchecked(&self, reading: &Reading) -> bool {
        self.checked != reading.counts || self.correctable(reading.missed) > 0 || self.is_unproved
    }

    /// Returns the counts at which all gauges equalled the kernel's sockets.
    pub(super) fn checked(&self) -> &Counts {
        &self.checked
    }

    /// Returns the kernel's counters when all gauges equalled the kernel's sockets.
    pub(super) fn proved(&self) -> &KernelCounters {
        &self.proved
    }

    /// Returns the misses that cannot belong to the counted sockets.
    pub(super) fn elsewhere(&self) -> Missed {
        self.elsewhere
    }
}

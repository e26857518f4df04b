//! Computes gauges from the results of scans and the counts since the last scan.
//!
//! `current = start + entered - left + corrected` holds for every state at every time. A scan finds
//! the true number of sockets. A scan adds to `corrected` the difference: the true number of
//! sockets minus the gauge.

use std::time::Duration;

use tcpstate_common::{State, abi::STATE_SLOTS};

use super::{
    cost, dead_hooks,
    drift::{Drift, Excess},
    families::{self, Families},
    gauges::Gauges,
    histogram,
    namespaces::Namespaces,
    providers::Providers,
    time_wait, verify,
};
use crate::{
    report::{Gauge, Histograms, Minis, Missed, NamespaceStart, Provider, Snapshot, Verdict},
    source::{Flows, Identity, KernelCounters, Reading, Scan},
};

/// The gauges of one run, and the readings and scans from which the gauges are computed.
#[derive(Clone, Debug)]
pub struct Aggregator {
    providers: Providers,
    /// For each kind of mini sockets, the reading at which the active provider was attached.
    time_wait_since: Reading,
    syn_recv_since: Reading,
    /// The reading at the end of the first scan. All totals start at the end of the first scan.
    origin: Reading,
    /// The reading of the last snapshot.
    previous: Reading,
    gauges: Gauges,
    /// The gauges of each address family, if families are counted separately.
    families: Option<Families>,
    /// The gauges of each network namespace, if namespaces are counted separately.
    namespaces: Option<Namespaces>,
    drift: Drift,
    last_scan: LastScan,
    /// The number of scans after the first scan.
    reconciles: u64,
    /// The total of `map_full` over all scans, and the total of `map_errors` over all scans.
    map_full: u64,
    map_errors: u64,
}

/// The results of the last scan.
#[derive(Clone, Debug)]
struct LastScan {
    end: Reading,
    cost: Duration,
    /// The number of missed events that the scan has corrected.
    missed_before: Missed,
    /// How often the scan failed to store a socket, plus the number of namespaces that the scan
    /// could not enter.
    unsettled: u64,
    /// The number of sockets by which the gauges are certainly wrong: the total by which negative
    /// gauges were raised, plus the differences from the kernel's totals. A number above 0 proves
    /// that tracing missed an event, and that the kernel did not count the miss.
    impossible: u64,
}

impl LastScan {
    fn of(scan: &Scan) -> Self {
        Self {
            end: scan.end.clone(),
            cost: scan.cost,
            missed_before: scan.missed_before,
            unsettled: scan.map_full + scan.map_errors + scan.unentered,
            impossible: 0,
        }
    }
}

impl Aggregator {
    /// Sets the gauges to the result of the first scan.
    #[must_use]
    pub fn open(first: &Scan, providers: Providers) -> Self {
        Self {
            providers,
            time_wait_since: first.end.clone(),
            syn_recv_since: first.end.clone(),
            origin: first.end.clone(),
            previous: first.end.clone(),
            gauges: Gauges::open(&first.base, &in_scan(first)),
            families: Families::open(first),
            namespaces: first.end.namespaces.is_some().then(|| Namespaces::open(first)),
            drift: Drift::default(),
            last_scan: LastScan::of(first),
            reconciles: 0,
            map_full: first.map_full,
            map_errors: first.map_errors,
        }
    }

    /// Corrects the gauges so that the gauges equal the result of another scan.
    pub fn correct(&mut self, scan: &Scan) {
        let since = self.since_origin(&scan.end);
        self.gauges.correct(&scan.base, &in_scan(scan), &since);
        if let Some(families) = &mut self.families {
            families.correct(scan, &self.origin);
        }
        if let Some(namespaces) = &mut self.namespaces {
            namespaces.correct(scan);
        }
        self.drift.scan();
        self.last_scan = LastScan::of(scan);
        self.reconciles += 1;
        self.map_full += scan.map_full;
        self.map_errors += scan.map_errors;
    }

    /// Returns a reason if the hooks of these mini sockets never fire although the kernel's
    /// counters change.
    #[must_use]
    pub fn dead_hook(&self, minis: Minis, reading: &Reading) -> Option<&'static str> {
        let since = match minis {
            Minis::TimeWait => &self.time_wait_since,
            Minis::SynRecv => &self.syn_recv_since,
        };
        let is_exact = self.providers.of(minis).is_exact();
        is_exact.then(|| dead_hooks::of(minis, since, &self.previous, reading)).flatten()
    }

    /// Changes the provider of one kind of mini sockets, and corrects the gauges with a scan. The
    /// scan was made after the new provider was attached.
    pub fn replace(&mut self, minis: Minis, provider: Provider, scan: &Scan) {
        match minis {
            Minis::TimeWait => {
                (self.providers.time_wait, self.time_wait_since) = (provider, scan.end.clone());
            }
            Minis::SynRecv => {
                (self.providers.syn_recv, self.syn_recv_since) = (provider, scan.end.clone());
            }
        }
        self.correct(scan);
    }

    /// Returns the number of missed events that no scan has corrected. `missed` is the number of
    /// missed events since the BPF programs were loaded.
    #[must_use]
    pub fn unreconciled(&self, missed: Missed) -> u64 {
        let last = &self.last_scan;
        missed.since(&last.missed_before).total() + last.unsettled + last.impossible
    }

    /// Returns the number of events since the last scan that are missing from the counts of
    /// namespaces. The events are missing because the table of namespaces was full. If a namespace
    /// appeared since the last scan, the counts of the namespace may lack some events.
    #[must_use]
    pub fn unlisted(&self, missed: Missed) -> u64 {
        missed.since(&self.last_scan.missed_before).unlisted
    }

    /// Returns the reading at which the last scan ended, and the CPU time of that scan.
    #[must_use]
    pub fn last_scan(&self) -> (&Reading, Duration) {
        (&self.last_scan.end, self.last_scan.cost)
    }

    /// Returns the number of events since the last snapshot, and the number of events since the
    /// last scan.
    #[must_use]
    pub fn events_since(&self, reading: &Reading) -> (u64, u64) {
        let total = reading.counts.total();
        (total - self.previous.counts.total(), total - self.last_scan.end.counts.total())
    }

    /// Returns the snapshot at a reading. The current interval ends at the reading, and the next
    /// interval begins.
    pub fn snapshot(&mut self, reading: &Reading) -> Snapshot {
        self.floor(reading);
        self.look_for_drift(&self.previous.clone(), reading);
        let snapshot = self.aggregate(reading, &self.previous);
        self.previous = reading.clone();
        self.drop_finished(reading);
        snapshot
    }

    /// Compares the gauges with the kernel's own totals of sockets.
    ///
    /// If no event was counted between the two readings, no socket changed while the kernel's
    /// totals of `earlier` were read. The function then compares the totals of `earlier`, and
    /// otherwise the totals of `reading`. If missed events are known, the function compares
    /// nothing, because the missed events explain differences.
    pub fn look_for_drift(&mut self, earlier: &Reading, reading: &Reading) {
        if self.unreconciled(reading.missed) > 0 {
            return;
        }
        let moved = earlier.counts != reading.counts;
        let excess = self.excess(if moved { reading } else { earlier });
        self.last_scan.impossible += self.drift.look(excess, moved);
    }

    /// Compares the gauges with the kernel's list of sockets. The list was read between the
    /// readings `before` and `after`.
    #[must_use]
    pub fn verify(
        &self,
        before: &Reading,
        after: &Reading,
        listed: &[u64; STATE_SLOTS],
    ) -> Verdict {
        if before.counts != after.counts {
            return Verdict::Moving;
        }
        if self.unreconciled(after.missed) > 0 {
            return Verdict::Inexact;
        }
        let since = self.since_origin(after);
        let gauges = State::GAUGES.map(|state| self.gauge(state, &since));
        verify::compare(&gauges, self.providers, listed)
    }

    fn excess(&self, reading: &Reading) -> Excess {
        let since = self.since_origin(reading);
        let beyond = |ours: i64, kernel: fn(&KernelCounters) -> Option<u64>| {
            reading.kernel.whole(kernel).map(|theirs| ours - theirs.cast_signed())
        };
        let full = beyond(self.gauges.full_sockets(&since), |kernel| kernel.full_sockets);
        let time_wait =
            beyond(self.gauges.time_wait_sockets(&since), |kernel| kernel.time_wait_sockets);
        Excess { full, time_wait: time_wait.filter(|_| self.providers.time_wait.is_exact()) }
    }

    /// Removes the entries of namespaces that no longer exist and have no sockets. The caller does
    /// not show the counts of this reading.
    pub fn remove_finished(&mut self, reading: &Reading) {
        self.floor(reading);
        self.drop_finished(reading);
    }

    /// Removes the entries of namespaces that no longer exist and have no sockets, from the gauges
    /// and from stored readings. If an event of a removed namespace arrives later, the BPF programs
    /// create a new entry whose counts start at 0.
    fn drop_finished(&mut self, reading: &Reading) {
        let Some(namespaces) = &mut self.namespaces else { return };
        for finished in namespaces.drop_finished(reading) {
            for earlier in [&mut self.origin, &mut self.previous] {
                earlier.namespaces.iter_mut().for_each(|cut| drop(cut.remove(&finished)));
            }
        }
    }

    /// Returns the namespaces that were removed since the last call.
    pub fn take_finished(&mut self) -> Vec<Identity> {
        self.namespaces.as_mut().map(Namespaces::take_finished).unwrap_or_default()
    }

    /// Returns a snapshot whose interval begins at the start of the run and ends at the reading.
    pub fn summary(&mut self, reading: &Reading) -> Snapshot {
        self.floor(reading);
        let histograms = reading.histograms.as_deref().map(histogram::of_run);
        Snapshot { histograms, ..self.aggregate(reading, &self.origin) }
    }

    /// Returns the durations between the start and the last snapshot, if durations are enabled.
    #[must_use]
    pub fn durations(&self) -> Option<Histograms> {
        self.previous.histograms.as_deref().map(histogram::of_run)
    }

    /// Returns the gauges at the start of the run.
    #[must_use]
    pub fn opening(&self) -> [Gauge; 10] {
        let opening = |state| self.is_seen(state).then(|| self.gauges.opening(state));
        State::GAUGES.map(|state| opening(state).unwrap_or_default())
    }

    /// Returns the gauges of each network namespace at the start, if namespaces are counted
    /// separately.
    #[must_use]
    pub fn opening_rows(&self) -> Option<Vec<NamespaceStart>> {
        self.namespaces.as_ref().map(|namespaces| namespaces.opening().to_vec())
    }

    /// Returns whether network namespaces are counted separately.
    #[must_use]
    pub fn has_rows(&self) -> bool {
        self.namespaces.is_some()
    }

    /// Raises negative gauges to zero. If the counts are a consistent cut, a gauge can be negative
    /// only if tracing missed an event. One missed event can make several gauges negative: a gauge
    /// of all sockets, of a namespace and of a family. Raised gauges are summed for all sockets,
    /// for namespaces and for families. Only the largest of these three sums is counted.
    fn floor(&mut self, reading: &Reading) {
        let since = self.since_origin(reading);
        let lifted = self.gauges.floor(&since);
        let has_all_namespaces = self.unlisted(reading.missed) == 0;
        let in_rows = self
            .namespaces
            .as_mut()
            .map_or(0, |namespaces| namespaces.update(reading, has_all_namespaces));
        let families = self.families.as_mut();
        let in_families = families.map_or(0, |families| families.floor(reading, &self.origin));
        self.last_scan.impossible += lifted.max(in_rows).max(in_families);
    }

    fn since_origin(&self, reading: &Reading) -> Flows {
        reading.counts.flows.since(&self.origin.counts.flows)
    }

    fn gauge(&self, state: State, since: &Flows) -> Gauge {
        let gauge = self.is_seen(state).then(|| self.gauges.gauge(state, since));
        gauge.unwrap_or_default()
    }

    fn aggregate(&self, reading: &Reading, interval_start: &Reading) -> Snapshot {
        let since = reading.counts.since(&self.origin.counts);
        let flows = &since.flows;
        let in_interval = reading.counts.since(&interval_start.counts);
        let passed = |since: &Reading| reading.at.monotonic.duration_since(since.at.monotonic);
        let provider = self.providers.time_wait;
        let missed = reading.missed.since(&self.origin.missed);
        Snapshot {
            time: reading.at.wall,
            elapsed: passed(&self.origin),
            interval: passed(interval_start),
            attached: None,
            verdict: None,
            unreconciled: self.unreconciled(reading.missed),
            sees_all: Minis::BOTH.iter().all(|&minis| self.providers.of(minis).is_exact()),
            states: State::GAUGES.map(|state| self.gauge(state, flows)),
            moved: State::GAUGES
                .map(|state| self.is_seen(state).then(|| in_interval.flows.flow(state))),
            transitions: families::transitions(&since, &in_interval),
            time_wait: if provider.is_exact() {
                let sockets = self.gauges.time_wait_sockets(flows);
                let in_interval = (&in_interval.flows, passed(interval_start));
                let time_wait = time_wait::counted(provider, sockets, flows, in_interval);
                time_wait::with_limits(time_wait, reading, &self.origin)
            } else {
                time_wait::polled(provider, reading, &self.origin, interval_start)
            },
            missed,
            losses: reading
                .losses
                .map(|losses| losses.since(&self.origin.losses.unwrap_or_default())),
            close_reasons: None,
            histograms: reading.histograms.as_deref().map(histogram::of_interval),
            reconciles: self.reconciles,
            map_full: self.map_full + missed.unrecorded + missed.unlisted,
            map_errors: self.map_errors,
            cost: cost::of(reading, &self.origin, interval_start),
            process_time: reading.process_time.saturating_sub(self.origin.process_time),
            families: self.families.as_ref().and_then(|families| {
                families.show(reading, &self.origin, |state| self.is_seen(state))
            }),
            namespaces: self
                .namespaces
                .as_ref()
                .map(|namespaces| namespaces.show(provider, reading, interval_start)),
        }
    }

    /// Returns whether the active provider observes sockets in this state. Every socket in
    /// TIME_WAIT is a time-wait socket.
    fn is_seen(&self, state: State) -> bool {
        state != State::TimeWait || self.providers.time_wait.is_exact()
    }
}

/// Returns how many sockets entered and left each state during a scan.
fn in_scan(scan: &Scan) -> Flows {
    scan.end.counts.flows.since(&scan.zero.counts.flows)
}

#[cfg(test)]
mod tests;

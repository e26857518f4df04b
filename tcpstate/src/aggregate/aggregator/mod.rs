//! Computes gauges from the results of scans and the counts since the last scan.
//!
//! `current = start + entered - left + corrected` holds for every state at every time. A scan finds
//! the true number of sockets. A scan adds to `corrected` the difference: the true number of
//! sockets minus the gauge.

mod births;
mod exactness;
mod series;

use std::time::{Duration, Instant};

use tcpstate_common::State;

use self::births::Births;
use super::{
    accuracy::Accuracy,
    audit::Audits,
    cost, dead_hooks,
    drift::Drift,
    families::{self, Families},
    gauges::Gauges,
    histogram,
    namespaces::Namespaces,
    owner_series::AllSeries,
    owners,
    providers::Providers,
    time_wait,
};
use crate::{
    report::{Gauge, Histograms, Minis, Missed, NamespaceStart, Provider, Snapshot},
    source::{Flows, Identity, Reading, Scan},
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
    accuracy: Accuracy,
    audits: Audits,
    births: Births,
    /// The time of the last reading that [`Aggregator::observe`] saw.
    observed: Option<Instant>,
    last_scan: LastScan,
    /// The number of scans after the first scan.
    reconciles: u64,
    /// The total of `map_full` over all scans, and the total of `map_errors` over all scans.
    map_full: u64,
    map_errors: u64,
    /// The errors of the gauges that all later scans corrected, added up. Scans do not correct the
    /// counts by owner.
    corrected: u64,
    /// The series of counters by owner, if an exporter needs them.
    series: Option<AllSeries>,
}

/// The end of the last scan, and its cost.
#[derive(Clone, Debug)]
struct LastScan {
    end: Reading,
    cost: Duration,
    /// The number of events that were missed before the scan.
    missed_before: Missed,
}

impl LastScan {
    fn of(scan: &Scan) -> Self {
        Self { end: scan.end.clone(), cost: scan.cost, missed_before: scan.missed_before }
    }
}

impl Aggregator {
    /// Sets the gauges to the result of the first scan.
    #[must_use]
    pub fn open(first: &Scan, providers: Providers) -> Self {
        let namespaces = first.end.namespaces.is_some().then(|| Namespaces::open(first));
        let gauges = namespaces
            .as_ref()
            .map_or_else(|| Gauges::open(&first.base, &in_scan(first)), Namespaces::opening_sums);
        let sockets = gauges.sockets(&Flows::default()).unsigned_abs();
        let mut aggregator = Self {
            providers,
            time_wait_since: first.end.clone(),
            syn_recv_since: first.end.clone(),
            origin: first.end.clone(),
            previous: first.end.clone(),
            accuracy: Accuracy::new(first, gauges.requests(&Flows::default()) > 0),
            gauges,
            families: Families::open(first),
            namespaces,
            drift: Drift::default(),
            audits: Audits::new(first.end.at.monotonic, first.cost, sockets),
            births: Births::new(&first.end),
            observed: None,
            last_scan: LastScan::of(first),
            reconciles: 0,
            map_full: first.map_full,
            map_errors: first.map_errors,
            corrected: 0,
            series: None,
        };
        aggregator.settle_drift(&first.end);
        aggregator
    }

    /// Corrects the gauges so that the gauges equal the result of another scan. `is_audit` is true
    /// if no loss was known before the scan.
    pub fn correct(&mut self, scan: &Scan, is_audit: bool) {
        let before = self.excess(&scan.end);
        let gauges_before = self.gauges_at(&scan.end);
        let since = self.since_origin(&scan.end);
        self.gauges.correct(&scan.base, &in_scan(scan), &since);
        if let Some(families) = &mut self.families {
            families.correct(scan, &self.origin);
        }
        if let Some(namespaces) = &mut self.namespaces {
            namespaces.correct(scan);
        }
        self.accuracy.settle(scan, self.gauges.requests(&since) > 0);
        self.add_up(&scan.end);
        let errors = largest_change(&gauges_before, &self.gauges_at(&scan.end));
        self.accuracy.corrected(errors);
        self.corrected += errors;
        self.drift.settle(before, self.excess(&scan.end), scan.end.is_still);
        let sockets = self.gauges.sockets(&since).unsigned_abs();
        self.audits.scanned(scan.end.at.monotonic, scan.cost, sockets, is_audit);
        self.last_scan = LastScan::of(scan);
        self.reconciles += u64::from(!is_audit || errors > 0);
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
        self.correct(scan, false);
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
        // The count of a timer's stop is taken back if the kernel starts the timer again.
        let since = |before: &Reading| reading.counts.total().saturating_sub(before.counts.total());
        (since(&self.previous), since(&self.last_scan.end))
    }

    /// Returns the snapshot at a reading. The current interval ends at the reading, and the next
    /// interval begins.
    pub fn snapshot(&mut self, reading: &Reading) -> Snapshot {
        self.observe(reading);
        let snapshot = self.aggregate(reading, &self.previous);
        if let Some(owners) = &reading.owners {
            self.update_series(owners, Some(&snapshot.states), reading.at.monotonic);
        }
        self.previous = reading.clone();
        self.drop_finished(reading);
        snapshot
    }

    /// Removes the entries of namespaces that no longer exist and have no sockets. The caller does
    /// not show the counts of this reading.
    pub fn remove_finished(&mut self, reading: &Reading) {
        self.observe(reading);
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
        self.observe(reading);
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

    fn since_origin(&self, reading: &Reading) -> Flows {
        reading.counts.flows.since(&self.origin.counts.flows)
    }

    fn gauges_at(&self, reading: &Reading) -> [Gauge; 10] {
        let since = self.since_origin(reading);
        State::GAUGES.map(|state| self.gauge(state, &since))
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
        let elsewhere = self.accuracy.elsewhere();
        let missed = reading.missed.since(&self.origin.missed).since(&elsewhere);
        let states = self.gauges_at(reading);
        let (audits, audited) = self.audits.done(reading.at.monotonic);
        Snapshot {
            time: reading.at.wall,
            elapsed: passed(&self.origin),
            interval: passed(interval_start),
            attached: None,
            verdict: None,
            unreconciled: self.unreconciled(reading),
            sees_all: Minis::BOTH.iter().all(|&minis| self.providers.of(minis).is_exact()),
            states,
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
            missed_elsewhere: elsewhere.total(),
            audits,
            audited,
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
            owners: reading.owners.as_deref().map(|now| {
                let mut owners = owners::show(now, interval_start.owners.as_deref(), &states);
                owners.missed += self.corrected;
                owners
            }),
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

/// Returns the largest difference between two values of one gauge.
fn largest_change(before: &[Gauge; 10], after: &[Gauge; 10]) -> u64 {
    let current = |gauge: &Gauge| gauge.current.unwrap_or(0);
    let changes = before.iter().zip(after).map(|(then, now)| current(then).abs_diff(current(now)));
    changes.max().unwrap_or(0)
}

#[cfg(test)]
mod tests;

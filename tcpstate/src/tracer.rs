//! Connects the live source to the module that computes gauges. The command `trace` uses this
//! module, and tests call it directly.

mod exports;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tcpstate_common::abi::{ConnectionRecord, STATE_SLOTS};

use self::exports::Exports;
use crate::{
    aggregate::{Aggregator, Providers, Reconcile, Situation, Way},
    probe::{Error, Options, Probe, Pulse},
    report::{Attached, Histograms, Hooks, Limit, Losses, Minis, Missed, Snapshot, Start, Verdict},
    source::{Events, Reading, live::Live},
};

/// The maximum time between two removals of the entries of network namespaces that no longer exist.
/// The tracer keeps this interval even if no snapshots are requested.
const REMOVAL_INTERVAL: Duration = Duration::from_secs(10);

/// The minimum time between two cuts that only look for events without a line.
const LOSS_INTERVAL: Duration = Duration::from_secs(5);

/// Counts the sockets of one network namespace, or of all network namespaces, until the tracer is
/// dropped.
///
/// A tracer must stay on the thread that started the tracer. Scans walk over the sockets of the
/// calling thread's network namespace. If tcpstate counts one namespace, the thread must be in the
/// counted namespace.
pub struct Tracer {
    live: Live,
    aggregator: Aggregator,
    started: SystemTime,
    /// The limits of the attached hooks in the last report.
    reported: Vec<Limit>,
    /// The time when entries of namespaces were last removed.
    last_removal: Instant,
    /// The time of the last cut that only looked for events without a line.
    last_loss_cut: Instant,
    /// The state that only exporters need.
    exports: Exports,
    /// The error of the last scan or audit that lacked memory, if the caller has not taken it.
    failed_scan: Option<Error>,
}

impl Tracer {
    /// Attaches the BPF programs and scans the existing sockets.
    pub fn start(options: &Options) -> Result<Self, Error> {
        let mut live = Live::attach(options)?;
        let first = live.scan()?;
        live.begin_histograms();
        let providers = Providers {
            time_wait: live.probe().provider(Minis::TimeWait),
            syn_recv: live.probe().provider(Minis::SynRecv),
        };
        Ok(Self {
            aggregator: Aggregator::open(&first, providers),
            started: first.end.at.wall,
            reported: live.limits(),
            last_removal: first.end.at.monotonic,
            last_loss_cut: first.end.at.monotonic,
            exports: Exports::new(first.end.at.monotonic, live.failed_connects()?),
            failed_scan: None,
            live,
        })
    }

    /// Returns the start report of the run.
    #[must_use]
    pub fn start_report(&self) -> Start {
        let probe = self.live.probe();
        Start {
            time: self.started,
            netns: probe.counted,
            kernel: probe.kernel.release.clone(),
            attached: self.attached(),
            states: self.aggregator.opening(),
            namespaces: self.aggregator.opening_rows(),
        }
    }

    /// Returns the gauges now, and the changes since the last call.
    ///
    /// If a hook never fired although the kernel counted sockets, the function first replaces the
    /// hook and makes a scan.
    pub fn snapshot(&mut self) -> Result<Snapshot, Error> {
        let mut reading = self.live.read()?;
        let mut replaced = false;
        for minis in Minis::BOTH {
            if let Some(why) = self.aggregator.dead_hook(minis, &reading) {
                self.live.replace(minis, why)?;
                let scan = self.live.scan()?;
                self.aggregator.replace(minis, self.live.probe().provider(minis), &scan);
                replaced = true;
            }
        }
        if replaced {
            reading = self.live.read()?;
        }
        self.aggregator.observe(&reading);
        if self.aggregator.audit_due(&reading, false) == Some(Way::List) {
            let listed = self.list(&reading, Duration::ZERO);
            self.tolerate(listed)?;
        }
        reading.owners = self.live.read_owners()?;
        self.exports.owners_read(reading.at.monotonic);
        let mut snapshot = self.aggregator.snapshot(&reading);
        self.live.begin_interval();
        let limits = self.live.limits();
        if replaced || limits != self.reported {
            snapshot.attached = Some(self.attached());
            self.reported = limits;
        }
        self.forget_finished()?;
        self.live.recycle_owners()?;
        Ok(snapshot)
    }

    /// Returns the gauges now, and the counts of the whole run.
    pub fn summary(&mut self) -> Result<Snapshot, Error> {
        let mut reading = self.live.read()?;
        self.aggregator.observe(&reading);
        if reading.is_still && self.aggregator.is_unchecked(&reading) {
            let listed = self.list(&reading, Duration::ZERO);
            self.tolerate(listed)?;
        }
        reading.owners = self.live.read_owners()?;
        Ok(self.aggregator.summary(&reading))
    }

    /// Sets the largest share of one CPU that audits use while sockets keep changing. With 0, no
    /// audit is made.
    pub fn limit_audits(&mut self, max_cpu: f64) {
        self.aggregator.limit_audits(max_cpu);
    }

    /// Returns the durations between the start and the last snapshot, if durations are enabled.
    #[must_use]
    pub fn durations(&self) -> Option<Histograms> {
        self.aggregator.durations()
    }

    /// Returns the reader of events, if events are enabled. The reader returns the events since the
    /// start. After this call, the caller must read the events.
    pub fn take_events(&mut self) -> Option<Events> {
        self.live.take_events()
    }

    /// Returns the records of the connections that are open, if the options ask for them. The
    /// caller must have called [`end_events`](Self::end_events) and [`summary`](Self::summary).
    pub fn pending(&self) -> Result<Vec<ConnectionRecord>, Error> {
        self.live.pending()
    }

    /// Makes the BPF programs stop recording events at the next cut, which is the cut of the
    /// summary.
    pub fn end_events(&mut self) {
        self.live.end_events();
    }

    /// If events are enabled, finds the events that tcpstate can only detect later, because no hook
    /// observes them. The time between two calls of the function is the maximum delay with which
    /// such an event is found.
    pub fn look_for_late_events(&self) -> Result<(), Error> {
        self.live.look_for_late_events()
    }

    /// If events are enabled, returns the number of events that have no line. The number contains
    /// the events that were dropped until now, and the events that were missed before the last cut.
    ///
    /// If the kernel skipped the tracking program since the last cut, the function first makes a
    /// cut, but at most one cut every five seconds. Only a cut shows whether the skipped runs
    /// belong to the counted sockets.
    pub fn losses(&mut self) -> Result<Option<Losses>, Error> {
        if self.last_loss_cut.elapsed() >= LOSS_INTERVAL && self.live.may_have_missed_events()? {
            self.live.read()?;
            self.last_loss_cut = Instant::now();
        }
        self.live.losses()
    }

    /// Compares the gauges with the kernel's list of sockets. The function `list` returns the
    /// number of listed sockets in each state.
    pub fn verify<E: From<Error>>(
        &mut self,
        list: impl FnOnce() -> Result<[u64; STATE_SLOTS], E>,
    ) -> Result<Verdict, E> {
        let before = self.live.read()?;
        let listed = list()?;
        let after = self.live.read()?;
        Ok(self.aggregator.verify(&before, &after, &listed))
    }

    /// Scans all sockets and corrects the gauges.
    pub fn reconcile(&mut self) -> Result<(), Error> {
        let scan = self.live.scan()?;
        self.aggregator.correct(&scan, false);
        Ok(())
    }

    /// Makes the audit or the scan that is due. At intervals, the function also makes a cut and
    /// removes the entries of namespaces that no longer exist.
    pub fn reconcile_if_due(&mut self, policy: Reconcile) -> Result<(), Error> {
        if self.aggregator.has_rows() && self.last_removal.elapsed() >= REMOVAL_INTERVAL {
            let reading = self.live.read()?;
            self.aggregator.remove_finished(&reading);
            self.forget_finished()?;
        }
        let glance = self.live.glance()?;
        let mut situation = self.situation(&glance.missed);
        if self.aggregator.wants_reading(&glance, Instant::now()) {
            let (reading, cost) = self.live.read_timed()?;
            self.aggregator.observe(&reading);
            let audited = match self.aggregator.audit_due(&reading, glance.is_quiet) {
                Some(Way::List) => self.list(&reading, cost),
                Some(Way::Scan) => self.audit_by_scan(policy),
                None => Ok(()),
            };
            self.tolerate(audited)?;
            situation = self.situation(&reading.missed);
            let (_, since_scan) = self.aggregator.events_since(&reading);
            situation.quiet_again = since_scan > 0 && reading.is_still;
        }
        if policy.is_due(&situation) {
            let scanned = self.reconcile();
            self.tolerate(scanned)?;
        }
        Ok(())
    }

    /// Lets the run continue after a scan or an audit that lacked memory. The gauges stay inexact
    /// until a later scan succeeds.
    fn tolerate(&mut self, scanned: Result<(), Error>) -> Result<(), Error> {
        match scanned {
            Err(error) if error.is_lack() => {
                self.failed_scan = Some(error);
                Ok(())
            }
            other => other,
        }
    }

    /// Returns the error of the last scan or audit that lacked memory, unless the function has
    /// returned the error before.
    pub fn take_failed_scan(&mut self) -> Option<Error> {
        self.failed_scan.take()
    }

    /// Checks the gauges before the end report, and makes a scan if it corrects an error.
    ///
    /// If scans are disabled, the function corrects nothing, but the end report still says whether
    /// the gauges are exact.
    pub fn reconcile_at_end(&mut self, policy: Reconcile) -> Result<(), Error> {
        let reading = self.live.read()?;
        self.aggregator.observe(&reading);
        if self.aggregator.is_unchecked(&reading) {
            let audited = if reading.is_still {
                self.list(&reading, Duration::ZERO)
            } else {
                self.audit_by_scan(policy)
            };
            self.tolerate(audited)?;
        }
        if policy.is_due_at_end(self.to_reconcile(&reading.missed)) {
            let scanned = self.reconcile();
            self.tolerate(scanned)?;
        }
        Ok(())
    }

    /// Compares the gauges with a list of the kernel's sockets, if no socket changes meanwhile.
    /// `reading` is the last cut. `spent` is the CPU time of the cut, if the cut was made for the
    /// audit.
    fn list(&mut self, reading: &Reading, spent: Duration) -> Result<(), Error> {
        // The iterator would give the free entries of the table to namespaces without a row, and
        // only the result of a scan makes rows of these entries.
        if self.aggregator.unlisted(reading.missed) > 0 {
            return Ok(());
        }
        let (listing, cost) = self.live.list(reading)?;
        let mut cost = spent + cost;
        let Some(listing) = listing else {
            self.aggregator.audited(reading, None, cost);
            return Ok(());
        };
        let errors = self.aggregator.largest_difference(reading, &listing);
        let mut has_moved = false;
        if errors > 0 {
            // A program that counts an event while the list is read is only in another cut. Such an
            // event is not an error.
            let (later, more) = self.live.read_timed()?;
            has_moved = later.counts != reading.counts;
            cost += more;
        }
        let result = (!has_moved).then_some((errors, &listing));
        self.aggregator.audited(reading, result, cost);
        Ok(())
    }

    /// Scans all sockets, because sockets are changing. If scans are disabled, the scan only shows
    /// whether gauges are wrong.
    fn audit_by_scan(&mut self, policy: Reconcile) -> Result<(), Error> {
        let scan = self.live.scan()?;
        if policy == Reconcile::Off {
            self.aggregator.compare(&scan);
        } else {
            self.aggregator.correct(&scan, true);
        }
        Ok(())
    }

    /// Returns the reading at which the last scan ended, and the CPU time of that scan.
    #[must_use]
    pub fn last_scan(&self) -> (&Reading, Duration) {
        self.aggregator.last_scan()
    }

    /// Returns how many errors a scan would correct, at least 1 if their number is unknown.
    pub fn correctable(&self) -> Result<u64, Error> {
        Ok(self.aggregator.correctable(self.live.missed()?))
    }

    /// Returns the number of errors that a scan would correct. The number also includes events of
    /// namespaces that did not fit in the table, if the table has space now.
    fn to_reconcile(&self, missed: &Missed) -> u64 {
        let room = self.live.has_room_for_rows();
        let unlisted = if room { self.aggregator.unlisted(*missed) } else { 0 };
        self.aggregator.correctable(*missed) + unlisted
    }

    fn situation(&self, missed: &Missed) -> Situation {
        let (end, last_cost) = self.aggregator.last_scan();
        Situation {
            unreconciled: self.to_reconcile(missed),
            since_last: end.at.monotonic.elapsed(),
            last_cost,
            quiet_again: false,
        }
    }

    fn forget_finished(&mut self) -> Result<(), Error> {
        self.last_removal = Instant::now();
        self.live.forget(&self.aggregator.take_finished())
    }

    fn attached(&self) -> Attached {
        let probe = self.live.probe();
        let hooks = Hooks {
            transitions: Some(probe.transitions),
            time_wait: Some(probe.provider(Minis::TimeWait)),
            syn_recv: Some(probe.provider(Minis::SynRecv)),
        };
        Attached { hooks, limits: self.live.limits() }
    }

    /// For some maps of the BPF programs, returns the name and the number of entries.
    pub fn map_entries(&self) -> Result<Vec<(&'static str, u64)>, Error> {
        Ok(vec![
            ("fin_wait2", self.live.probe().stored_orphans()?),
            ("namespaces", self.live.rows()? as u64),
        ])
    }

    /// Returns the pulse that beats while a scan of many namespaces makes progress.
    #[must_use]
    pub fn pulse(&self) -> &Arc<Pulse> {
        self.live.pulse()
    }

    /// Returns the live source, for a scan that is made step by step.
    pub fn live(&mut self) -> &mut Live {
        &mut self.live
    }

    /// Ends a scan that was made step by step, and corrects the gauges.
    pub fn end_scan(&mut self) -> Result<(), Error> {
        let scan = self.live.end_scan()?;
        self.aggregator.correct(&scan, false);
        Ok(())
    }

    /// Returns the attached BPF programs.
    #[must_use]
    pub fn probe(&self) -> &Probe {
        self.live.probe()
    }

    /// Returns the attached BPF programs.
    pub fn probe_mut(&mut self) -> &mut Probe {
        self.live.probe_mut()
    }
}

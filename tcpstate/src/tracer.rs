//! The live source and its gauges, kept in step: what `trace` runs, and what tests drive by hand.

use std::time::{Duration, Instant, SystemTime};

use tcpstate_common::abi::STATE_SLOTS;

use crate::{
    aggregate::{Aggregator, Providers, Reconcile, Situation},
    probe::{Error, Options, Probe},
    report::{Attached, Histograms, Hooks, Limit, Losses, Minis, Snapshot, Start, Verdict},
    source::{Events, Reading, live::Live},
};

/// Rows of namespaces that are gone are dropped at this pace at least, also while nobody asks for snapshots.
const TIDY: Duration = Duration::from_secs(10);

/// Counts one network namespace, or all of them, for as long as it lives. Stay on the thread that started it: scans walk
/// the sockets of the namespace that the calling thread is in, which is the one counted.
pub struct Tracer {
    live: Live,
    aggregator: Aggregator,
    started: SystemTime,
    /// The limits that were last reported.
    reported: Vec<Limit>,
    /// When rows were last dropped.
    tidied: Instant,
}

impl Tracer {
    /// Attaches, and scans of the sockets that are there already.
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
            tidied: first.end.at.monotonic,
            live,
        })
    }

    /// What is known at the start.
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

    /// The gauges now, and what happened since the last call.
    ///
    /// Hooks that turn out to be silent are replaced first, which takes a scan.
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
        let mut snapshot = self.aggregator.snapshot(&reading);
        self.live.begin_interval();
        let limits = self.live.limits();
        if replaced || limits != self.reported {
            snapshot.attached = Some(self.attached());
            self.reported = limits;
        }
        self.forget_finished()?;
        Ok(snapshot)
    }

    /// The gauges now, and the whole run.
    pub fn summary(&mut self) -> Result<Snapshot, Error> {
        let reading = self.live.read()?;
        Ok(self.aggregator.summary(&reading))
    }

    /// Durations since the start, as of the last snapshot; where states are timed.
    #[must_use]
    pub fn durations(&self) -> Option<Histograms> {
        self.aggregator.durations()
    }

    /// The events since the start, where they are asked for; the caller's to read from now on.
    pub fn take_events(&mut self) -> Option<Events> {
        self.live.take_events()
    }

    /// From the next cut on, which is the summary's, no event is written down.
    pub fn end_events(&mut self) {
        self.live.end_events();
    }

    /// Finds the events of which no hook tells when they happen, where events are asked for. To be called at a pace at which
    /// people don't mind that these come late.
    pub fn look_for_late_events(&self) -> Result<(), Error> {
        self.live.look_for_late_events()
    }

    /// What was not written down so far, where events are; since the load.
    pub fn losses(&self) -> Result<Option<Losses>, Error> {
        self.live.losses()
    }

    /// Holds the gauges against the kernel's list of sockets by state, which `list` makes.
    pub fn verify<E: From<Error>>(
        &mut self,
        list: impl FnOnce() -> Result<[u64; STATE_SLOTS], E>,
    ) -> Result<Verdict, E> {
        let before = self.live.read()?;
        let listed = list()?;
        let after = self.live.read()?;
        // What it finds is owned up to, and made up for like anything that was missed.
        self.aggregator.look_for_drift(&before, &after);
        Ok(self.aggregator.verify(&before, &after, &listed))
    }

    /// Passes over all sockets and puts the gauges right.
    pub fn reconcile(&mut self) -> Result<(), Error> {
        let scan = self.live.scan()?;
        self.aggregator.correct(&scan);
        Ok(())
    }

    /// Makes the scan that is due, if one is. Makes no cut unless something was missed.
    pub fn reconcile_if_due(&mut self, policy: Reconcile) -> Result<(), Error> {
        if self.aggregator.has_rows() && self.tidied.elapsed() >= TIDY {
            let reading = self.live.read()?;
            self.aggregator.tidy(&reading);
            self.forget_finished()?;
        }
        let unreconciled = self.to_reconcile()?;
        let (end, last_cost) = self.aggregator.last_scan();
        let mut situation = Situation {
            unreconciled,
            since_last: end.at.monotonic.elapsed(),
            last_cost,
            quiet_again: false,
        };
        if policy == Reconcile::Auto && unreconciled > 0 {
            situation.quiet_again = self.is_quiet_again()?;
        }
        if policy.is_due(&situation) { self.reconcile() } else { Ok(()) }
    }

    /// The scan before the last line, if one is due. Looks for drift first, where the kernel has sums of what is counted; with
    /// scans switched off, too, for the last line is to say whether it is exact.
    pub fn reconcile_at_end(&mut self, policy: Reconcile) -> Result<(), Error> {
        let (last, _) = self.aggregator.last_scan();
        if last.kernel.covers_whole_scope {
            let (earlier, reading) = self.look_twice()?;
            self.aggregator.look_for_drift(&earlier, &reading);
        }
        if policy.is_due_at_end(self.to_reconcile()?) { self.reconcile() } else { Ok(()) }
    }

    /// The cut with which the last scan ended, and the processor time that it took.
    #[must_use]
    pub fn last_scan(&self) -> (&Reading, Duration) {
        self.aggregator.last_scan()
    }

    /// Events missed that no scan has made up for.
    pub fn unreconciled(&self) -> Result<u64, Error> {
        Ok(self.aggregator.unreconciled(self.live.missed()?))
    }

    /// What a scan would put right: events missed, and rows that had no room and would have it now.
    fn to_reconcile(&self) -> Result<u64, Error> {
        let missed = self.live.missed()?;
        let room = self.live.has_room_for_rows();
        let unlisted = if room { self.aggregator.unlisted(missed) } else { 0 };
        Ok(self.aggregator.unreconciled(missed) + unlisted)
    }

    fn forget_finished(&mut self) -> Result<(), Error> {
        self.tidied = Instant::now();
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

    /// Whether nothing moves at the moment, but something did since the last scan.
    fn is_quiet_again(&mut self) -> Result<bool, Error> {
        let (first, second) = self.look_twice()?;
        let (_, since_scan) = self.aggregator.events_since(&second);
        Ok(since_scan > 0 && first.counts == second.counts)
    }

    fn look_twice(&mut self) -> Result<(Reading, Reading), Error> {
        /// Long enough to tell a pause from the gap between two packets.
        const LOOK: Duration = Duration::from_millis(20);
        let first = self.live.read()?;
        std::thread::sleep(LOOK);
        Ok((first, self.live.read()?))
    }

    /// How many entries the maps of the kernel half hold, by name.
    pub fn map_entries(&self) -> Result<Vec<(&'static str, u64)>, Error> {
        Ok(vec![
            ("fin_wait2", self.live.probe().orphans_on_record()?),
            ("namespaces", self.live.rows()? as u64),
        ])
    }

    /// The live source, for what a tracer does not do: a scan in steps.
    pub fn live(&mut self) -> &mut Live {
        &mut self.live
    }

    /// The gauges and the source, for a scan in steps.
    pub fn end_scan(&mut self) -> Result<(), Error> {
        let scan = self.live.end_scan()?;
        self.aggregator.correct(&scan);
        Ok(())
    }

    /// What is in place in the kernel.
    #[must_use]
    pub fn probe(&self) -> &Probe {
        self.live.probe()
    }

    /// What is in place in the kernel.
    pub fn probe_mut(&mut self) -> &mut Probe {
        self.live.probe_mut()
    }
}

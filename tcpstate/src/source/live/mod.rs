//! Reads the running kernel: makes consistent cuts by switching buffers, and scans the sockets.

mod control;
mod failed_connects;
mod listeners;
mod listing;
mod losses;
mod processor_time;
mod scan;
mod surroundings;
mod survey;

use std::{sync::Arc, time::Duration};

use tcpstate_common::abi::{CONTROL_SCAN, ConnectionRecord, CpuSlots, EventLosses};

use self::{
    losses::Coverage,
    scan::{RunningScan, each_namespace, new_touched},
};
use super::{
    Counts, Events, Identity, OwnerReading, Reading,
    by_owner::{ByOwner, Listed},
    histograms::Timer,
    namespaces::Namespaces,
    owner_hints,
};
use crate::{
    filter::Filter,
    probe::{Error, Netns, Options, OwnerHook, Probe, Pulse, Touched, map_error},
    report::{Limit, Losses, Minis, Missed, UnknownOwners},
};

/// What a glance at the counters shows.
#[derive(Clone, Copy, Debug)]
pub struct Glance {
    /// The number of events that were missed since the BPF programs were loaded.
    pub missed: Missed,
    /// Whether no event was counted since the last glance.
    pub is_quiet: bool,
}

/// The source that reads the running kernel.
pub struct Live {
    probe: Probe,
    /// The last value written to the control word.
    control: u32,
    /// The value is [`CONTROL_EVENTS`] while events or durations of the run are recorded: from the
    /// end of the first scan to the end of events. Otherwise the value is 0.
    events: u32,
    /// Whether the end of the next scan starts the recording of events and durations.
    starts_events: bool,
    /// The counts from which the number of events without a line is computed.
    coverage: Coverage,
    /// The counts from which the number of connections without a line is computed.
    ends: Coverage,
    /// A copy of each of the two counter buffers, made when the buffer last became inactive. If
    /// families are counted separately, the list has one element for each family.
    buffers: Vec<[Counts; 2]>,
    /// An empty map. Between scans, the BPF programs use this map instead of the map of a scan.
    stand_in: Touched,
    /// The map of the running scan, and the values that were read before the scan.
    scan: Option<RunningScan>,
    max_scan_sockets: Option<u32>,
    keeps_scan_map: bool,
    /// The map of the last scan, emptied, if the next scan will use the map again.
    kept: Option<Touched>,
    /// If true, the number of missed events does not include events that a test drops
    /// intentionally.
    drops_in_silence: bool,
    /// The factor by which the maps of scans are larger than normal. Each time the map of a scan is
    /// full, the factor doubles.
    growth: u64,
    /// The counters of network namespaces, if namespaces are counted separately.
    namespaces: Option<Namespaces>,
    /// The reader of durations, if durations are enabled.
    timer: Option<Timer>,
    /// The counters by owner, if sockets are counted by owner.
    by_owner: Option<ByOwner>,
    /// The number of namespaces that the last scan could not find or enter.
    unentered: u64,
    /// The progress of the walks over namespaces.
    pulse: Arc<Pulse>,
    /// All counts at the last glance.
    glanced: Counts,
    /// The reason why sockets that were opened before the start have no owners, if events are
    /// enabled.
    unknown_owners: Option<UnknownOwners>,
    /// The limits of the namespaces in which tcpstate runs, for events and cgroups.
    surroundings: Vec<Limit>,
}

impl Live {
    /// Attaches the BPF programs. The BPF programs count sockets as soon as they are attached. The
    /// number of sockets that were opened before the programs were attached is still unknown.
    pub fn attach(options: &Options) -> Result<Self, Error> {
        let pulse = Arc::<Pulse>::default();
        let mut listed = Listed::default();
        let mut probe = Probe::attach_after(options, || {
            if options.owners.is_some() {
                listed = list_earlier(options, &pulse);
            }
            listed.len()
        })?;
        let by_owner = probe.owners.take().map(|hook| by_owner(hook, &listed, options, &pulse));
        let by_owner = by_owner.transpose()?;
        // The hints are stored after the programs are attached. The programs themselves find the
        // owners of sockets that are opened later.
        let needs_names = options.needs_names();
        let hints = probe.acceptors.as_mut().filter(|_| needs_names).map(|hook| &mut hook.hints);
        let unknown_owners = hints.and_then(owner_hints::leave);
        let mut live = Self {
            starts_events: probe.is_tracking(),
            unknown_owners,
            surroundings: surroundings::limits(options),
            namespaces: probe.rows.take().map(Namespaces::new),
            timer: probe.histograms.as_ref().map(|hook| Timer::new(hook.by, hook.is_filtered)),
            by_owner,
            unentered: 0,
            pulse,
            glanced: Counts::default(),
            probe,
            control: 0,
            events: 0,
            coverage: Coverage::default(),
            ends: Coverage::default(),
            buffers: Vec::new(),
            stand_in: new_touched(1)?,
            scan: None,
            max_scan_sockets: options.max_scan_sockets,
            keeps_scan_map: options.keep_scan_map,
            kept: None,
            drops_in_silence: options.testing.drop_in_silence,
            growth: 1,
        };
        live.mark_listeners()?;
        live.set_control()?;
        live.wait_for_programs()?;
        Ok(live)
    }

    /// Returns the attached BPF programs.
    #[must_use]
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// Returns the attached BPF programs.
    pub fn probe_mut(&mut self) -> &mut Probe {
        &mut self.probe
    }

    /// Returns the pulse that beats while a walk over many namespaces makes progress.
    #[must_use]
    pub fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// Returns the number of events that were missed since the BPF programs were loaded. The
    /// function makes no cut.
    pub fn missed(&self) -> Result<Missed, Error> {
        self.missed_with(&self.slots()?)
    }

    fn missed_with(&self, slots: &[Vec<CpuSlots>]) -> Result<Missed, Error> {
        let slots = || slots.iter().flatten();
        let dropped = slots().map(|slots| slots.dropped);
        let dropped: u64 = dropped.filter(|_| !self.drops_in_silence).sum();
        Ok(Missed {
            transitions: self.probe.missed()? + dropped,
            time_wait: self.probe.missed_minis(Minis::TimeWait)?,
            syn_recv: self.probe.missed_minis(Minis::SynRecv)?,
            unrecorded: slots().map(|slots| slots.unrecorded).sum(),
            unlisted: slots().map(|slots| slots.unlisted).sum(),
        })
    }

    /// Looks at the counters without a cut. A glance costs much less CPU time than a cut.
    pub fn glance(&mut self) -> Result<Glance, Error> {
        let slots = self.slots()?;
        let counts = control::all(&slots);
        let is_quiet = counts == self.glanced;
        self.glanced = counts;
        Ok(Glance { missed: self.missed_with(&slots)?, is_quiet })
    }

    /// Returns the reader of events, if events are enabled. The reader returns the events that
    /// happen after the cut at the end of the first scan.
    pub fn take_events(&mut self) -> Option<Events> {
        let events = self.probe.events.as_mut()?;
        let ring = events.ring.take()?;
        let sees_time_wait = self.probe.provider(Minis::TimeWait).is_exact();
        Some(Events::new(ring, self.probe.events.as_ref()?.ring_bytes, sees_time_wait))
    }

    /// Returns the records of the connections that are open, if the options ask for them. The
    /// caller must have made a cut after [`end_events`](Self::end_events), because the walk takes
    /// the owners from the events to come.
    pub fn pending(&self) -> Result<Vec<ConnectionRecord>, Error> {
        let Some(walk) = &self.probe.pending else { return Ok(Vec::new()) };
        let mut bytes = Vec::new();
        if self.namespaces.is_some() {
            scan::each_namespace(&self.pulse, || walk.read(&mut bytes))?;
        } else {
            walk.read(&mut bytes)?;
        }
        let records = bytes.chunks_exact(size_of::<ConnectionRecord>());
        Ok(records.filter_map(super::events::read_record).collect())
    }

    /// Makes the BPF programs stop recording events at the next cut.
    pub fn end_events(&mut self) {
        self.events = 0;
    }

    /// If events are enabled, counts and records moves of time-wait sockets from FIN_WAIT2 to
    /// TIME_WAIT. No hook observes these moves.
    pub fn look_for_late_events(&self) -> Result<(), Error> {
        match self.probe.orphans() {
            Some(orphans) if self.probe.events.is_some() => orphans.run(),
            _ => Ok(()),
        }
    }

    /// Returns the number of events that have no line, if events are enabled. The number contains
    /// the events that were dropped until now, and the events that were missed before the last cut.
    pub fn losses(&self) -> Result<Option<Losses>, Error> {
        Ok(self.losses_of(&self.event_losses()?))
    }

    fn losses_of(&self, of_cpus: &[EventLosses]) -> Option<Losses> {
        self.probe.events.is_some().then(|| self.coverage.losses(&self.ends, of_cpus))
    }

    /// Returns whether a cut may find events without a line that [`losses`](Self::losses) does not
    /// contain yet.
    pub fn may_have_missed_events(&self) -> Result<bool, Error> {
        Ok(self.coverage.may_grow(self.probe.missed_events()?))
    }

    /// Returns the counters of each CPU, or an empty list if the tracking program is not attached.
    fn event_losses(&self) -> Result<Vec<EventLosses>, Error> {
        if !self.probe.is_tracking() {
            return Ok(Vec::new());
        }
        let of_cpus = self.probe.event_losses.get(&0, 0);
        Ok(of_cpus.map_err(map_error("read", "EVENT_LOSSES"))?.to_vec())
    }

    /// Reads the counters by owner, if sockets are counted by owner.
    pub fn read_owners(&mut self) -> Result<Option<Arc<OwnerReading>>, Error> {
        let Some(by_owner) = &mut self.by_owner else { return Ok(None) };
        let mut reading = by_owner.read()?;
        // An event that the tracking program missed is missing in the counters by owner.
        reading.untracked += self.coverage.missed();
        Ok(Some(Arc::new(reading)))
    }

    /// Gives the numbers of owners that have gone to new owners, if few numbers are free.
    pub fn recycle_owners(&mut self) -> Result<(), Error> {
        let Some(mut by_owner) = self.by_owner.take() else { return Ok(()) };
        let recycled = by_owner.recycle(|| self.wait_for_programs());
        self.by_owner = Some(by_owner);
        recycled
    }

    /// Returns what the attached hooks cannot observe, and why.
    #[must_use]
    pub fn limits(&self) -> Vec<Limit> {
        let mut limits = self.probe.limits().to_vec();
        limits.extend(self.unknown_owners.map(Limit::EarlierSockets));
        limits.extend(self.surroundings.iter().cloned());
        if self.unentered > 0 {
            limits.push(Limit::Namespaces { unentered: self.unentered });
        }
        limits
    }

    /// Returns whether the table of network namespaces had free space at the last reading.
    #[must_use]
    pub fn has_room_for_rows(&self) -> bool {
        let rows = self.namespaces.as_ref().map_or(0, Namespaces::len);
        rows < self.probe.max_namespaces as usize
    }

    /// Returns the number of network namespaces that have an entry in the BPF map.
    pub fn rows(&self) -> Result<usize, Error> {
        self.namespaces.as_ref().map_or(Ok(0), Namespaces::count)
    }

    /// Removes the entries of network namespaces that no longer exist and have no sockets.
    pub fn forget(&mut self, gone: &[Identity]) -> Result<(), Error> {
        self.namespaces.as_mut().map_or(Ok(()), |namespaces| namespaces.forget(gone))
    }

    /// Makes a consistent cut and returns the counts of the cut.
    pub fn read(&mut self) -> Result<Reading, Error> {
        if let Some(orphans) = self.probe.orphans() {
            orphans.run()?;
        }
        self.flip(self.control & CONTROL_SCAN)
    }

    /// Makes a consistent cut, and also returns the CPU time of the cut.
    pub fn read_timed(&mut self) -> Result<(Reading, Duration), Error> {
        processor_time::timed(|| self.read())
    }

    /// Replaces the provider of one kind of mini sockets. After this call, the caller must make a
    /// scan.
    pub fn replace(&mut self, minis: Minis, why: &str) -> Result<(), Error> {
        self.probe.replace(minis, why)?;
        self.set_control()
    }

    /// Discards all durations that ended before the last cut.
    pub fn begin_histograms(&mut self) {
        self.timer.iter_mut().for_each(Timer::begin);
    }

    /// Starts a new interval at the last cut.
    pub fn begin_interval(&mut self) {
        self.timer.iter_mut().for_each(Timer::begin_interval);
    }
}

/// Lists the sockets that exist before the programs are attached. A namespace that cannot be
/// entered has no listed sockets, so the owners of its sockets are unknown.
fn list_earlier(options: &Options, pulse: &Pulse) -> Listed {
    let filter = Filter { family: options.family, ..Filter::default() };
    let mut listed = Listed::default();
    if options.netns == Netns::All {
        let add = || {
            listed.add_here(&filter);
            Ok(())
        };
        let _ = each_namespace(pulse, add);
    } else {
        listed.add_here(&filter);
    }
    listed
}

/// Returns the reader of counters by owner, after it has stored the sockets that existed before the
/// programs were attached.
fn by_owner(
    hook: OwnerHook,
    listed: &Listed,
    options: &Options,
    pulse: &Pulse,
) -> Result<ByOwner, Error> {
    let mut by_owner = ByOwner::new(hook);
    let holders = by_owner.holders();
    let mut store = || by_owner.store_earlier(listed, &holders);
    if options.netns == Netns::All {
        each_namespace(pulse, store)?;
    } else {
        store()?;
    }
    Ok(by_owner)
}

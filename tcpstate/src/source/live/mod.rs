//! The running kernel as a source: consistent cuts by flipping buffers, and scans of the sockets.

mod control;
mod processor_time;
mod scan;

use tcpstate_common::abi::CONTROL_SCAN;

use self::scan::{RunningScan, new_touched};
use super::{
    Counts, Events, Identity, Reading, histograms::Timer, namespaces::Namespaces, owner_hints,
};
use crate::{
    probe::{Error, Options, Probe, Touched, map_error},
    report::{Limit, Losses, Minis, Missed, UnknownOwners},
};

/// The live source.
pub struct Live {
    probe: Probe,
    /// The control word as last stored.
    control: u32,
    /// [`CONTROL_EVENTS`] from the end of the first scan on, where events are asked for.
    events: u32,
    /// Each buffer as it was when it last stood still, for each family where they are told apart.
    buffers: Vec<[Counts; 2]>,
    /// Holds the place of a scan's map between scans.
    stand_in: Touched,
    /// The running scan's map, and what was known before it.
    scan: Option<RunningScan>,
    max_scan_sockets: Option<u32>,
    keeps_scan_map: bool,
    /// The map of the last scan, emptied, where it is kept for the next one.
    kept: Option<Touched>,
    /// What tests have it drop is not said to be missed.
    drops_in_silence: bool,
    /// Doubled whenever a scan found its map full.
    growth: u64,
    /// Where each network namespace has a row.
    namespaces: Option<Namespaces>,
    /// Where states are timed.
    timer: Option<Timer>,
    /// Namespaces that the last scan could not find or enter.
    unentered: u64,
    /// Why sockets from before the start lack owners, where events are asked for.
    unknown_owners: Option<UnknownOwners>,
}

impl Live {
    /// Puts the kernel half in place. Counting begins; nothing is known yet of sockets that were there before.
    pub fn attach(options: &Options) -> Result<Self, Error> {
        let mut probe = Probe::attach(options)?;
        // After the programs are in place, which see to whose later sockets are.
        let hints = probe.events.as_mut().map(|events| &mut events.owners.hints);
        let unknown_owners = hints.and_then(owner_hints::leave);
        let mut live = Self {
            unknown_owners,
            namespaces: probe.rows.take().map(Namespaces::new),
            timer: probe.histograms.as_ref().map(|hook| Timer::new(hook.by, hook.is_filtered)),
            unentered: 0,
            probe,
            control: 0,
            events: 0,
            buffers: Vec::new(),
            stand_in: new_touched(1)?,
            scan: None,
            max_scan_sockets: options.max_scan_sockets,
            keeps_scan_map: options.keep_scan_map,
            kept: None,
            drops_in_silence: options.testing.drop_in_silence,
            growth: 1,
        };
        live.set_control()?;
        live.wait_for_programs()?;
        Ok(live)
    }

    /// What is in place in the kernel.
    #[must_use]
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// What is in place in the kernel.
    pub fn probe_mut(&mut self) -> &mut Probe {
        &mut self.probe
    }

    /// Events missed so far, without making a cut.
    pub fn missed(&self) -> Result<Missed, Error> {
        let slots = self.slots()?;
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

    /// The events, where they are asked for. They begin with the cut that ends the first scan.
    pub fn take_events(&mut self) -> Option<Events> {
        let events = self.probe.events.as_mut()?;
        Some(Events::new(events.ring.take()?, events.ring_bytes))
    }

    /// From the next cut on no event is written down.
    pub fn end_events(&mut self) {
        self.events = 0;
    }

    /// Counts and writes down the moves of time-wait sockets that came without a hook, where events are asked for.
    pub fn look_for_late_events(&self) -> Result<(), Error> {
        match self.probe.orphans() {
            Some(orphans) if self.probe.events.is_some() => orphans.run(),
            _ => Ok(()),
        }
    }

    /// What was not written down so far, where events are.
    pub fn losses(&self) -> Result<Option<Losses>, Error> {
        let Some(events) = &self.probe.events else { return Ok(None) };
        let of_cpus = events.losses.get(&0, 0).map_err(map_error("read", "EVENT_LOSSES"))?;
        Ok(Some(Losses {
            dropped: of_cpus.iter().map(|cpu| cpu.dropped).sum(),
            missed: self.probe.missed_events(events)?,
            untracked: of_cpus.iter().map(|cpu| cpu.untracked).sum(),
            time_wait: of_cpus.iter().map(|cpu| cpu.time_wait).sum(),
            syn_recv: of_cpus.iter().map(|cpu| cpu.syn_recv).sum(),
        }))
    }

    /// What cannot be seen here, and why.
    #[must_use]
    pub fn limits(&self) -> Vec<Limit> {
        let mut limits = self.probe.limits().to_vec();
        limits.extend(self.unknown_owners.map(Limit::EarlierSockets));
        if self.unentered > 0 {
            limits.push(Limit::Namespaces { unentered: self.unentered });
        }
        limits
    }

    /// Network namespaces that another row could be made for, as of the last reading.
    #[must_use]
    pub fn has_room_for_rows(&self) -> bool {
        let rows = self.namespaces.as_ref().map_or(0, Namespaces::len);
        rows < self.probe.max_namespaces as usize
    }

    /// How many rows for network namespaces the kernel half holds.
    pub fn rows(&self) -> Result<usize, Error> {
        self.namespaces.as_ref().map_or(Ok(0), Namespaces::count)
    }

    /// Takes out the rows of namespaces that are gone, and of whose sockets none is left.
    pub fn forget(&mut self, gone: &[Identity]) -> Result<(), Error> {
        self.namespaces.as_mut().map_or(Ok(()), |namespaces| namespaces.forget(gone))
    }

    /// Makes a cut and reads it.
    pub fn read(&mut self) -> Result<Reading, Error> {
        if let Some(orphans) = self.probe.orphans() {
            orphans.run()?;
        }
        self.flip(self.control & CONTROL_SCAN)
    }

    /// Replaces what serves one kind of mini sockets. A scan must follow.
    pub fn replace(&mut self, minis: Minis, why: &str) -> Result<(), Error> {
        self.probe.replace(minis, why)?;
        self.set_control()
    }

    /// Durations that ended up to the last cut are not of interest any more.
    pub fn begin_histograms(&mut self) {
        self.timer.iter_mut().for_each(Timer::begin);
    }

    /// Another interval begins at the last cut.
    pub fn begin_interval(&mut self) {
        self.timer.iter_mut().for_each(Timer::begin_interval);
    }
}

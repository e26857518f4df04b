//! Writes the control word of the BPF programs, and makes cuts. All BPF programs read the control
//! word. A cut switches the active buffer and reads the buffer that becomes inactive.

use std::sync::Arc;

use tcpstate_common::abi::{CONTROL_BUFFER, CONTROL_EVENTS, CpuSlots, EventLosses};

use super::{Live, losses::Cut, processor_time};
use crate::{
    probe::{Error, map_error, namespaces::Names},
    report::Losses,
    source::{Counts, Flows, KernelCounters, Moment, ProgramRuns, Reading, Timed},
};

impl Live {
    /// Makes the other buffer active, and sets or clears the scan flag in the same write. After the
    /// switch, the function reads the buffer that is now inactive.
    pub(super) fn flip(&mut self, scan_flag: u32) -> Result<Reading, Error> {
        let names = self.mark_gone_namespaces()?;
        let inactive = (self.control & CONTROL_BUFFER) as usize;
        let is_recording = self.control & CONTROL_EVENTS != 0;
        self.control = (!self.control & CONTROL_BUFFER) | scan_flag | self.events;
        self.set_control()?;
        let at = Moment::now();
        self.wait_for_programs()?;
        // The kernel's counters are read between the cut and the read of the active buffer. If the
        // active buffer has not changed by then, the kernel's counters belong to the cut. The
        // number of missed events is read before the kernel's counters, so that the effect of each
        // missed event is in the kernel's counters.
        let missed = self.missed()?;
        let kernel = self.kernel_counters();
        let slots = self.slots()?;
        self.buffers.resize_with(slots.len(), Default::default);
        for (buffers, cpus) in self.buffers.iter_mut().zip(&slots) {
            buffers[inactive] = of_buffer(cpus, inactive);
        }
        let is_still = self.is_unchanged(&slots);
        let families = self.buffers.iter().map(|buffers| sum(buffers.iter().cloned()));
        let families: Vec<_> = families.collect();
        let counts = sum(families.iter().cloned());
        let namespaces = match &mut self.namespaces {
            Some(namespaces) => Some(namespaces.read(inactive, &names)?),
            None => None,
        };
        let losses = self.losses_at_cut(is_recording, inactive, &counts)?;
        let histograms = self.drain_histograms(u32::from(inactive != 0))?;
        let runs = self.runs()?;
        let process_time = processor_time::of_process()?;
        // If families are not counted separately, the list has one element. For a list of one
        // element, the conversion returns `None`.
        let families = families.try_into().ok();
        Ok(Reading {
            at,
            counts,
            families,
            namespaces,
            missed,
            losses,
            histograms,
            kernel,
            owners: None,
            is_still,
            runs,
            process_time,
        })
    }

    /// Returns whether no program has counted anything since the last cut.
    pub(super) fn has_not_moved(&self) -> Result<bool, Error> {
        Ok(self.is_unchanged(&self.slots()?))
    }

    /// Returns whether the active buffer of each CPU still has the numbers that it had when it was
    /// last inactive.
    fn is_unchanged(&self, slots: &[Vec<CpuSlots>]) -> bool {
        let active = (self.control & CONTROL_BUFFER) as usize;
        let mut buffers = self.buffers.iter().zip(slots);
        buffers.all(|(buffers, cpus)| buffers[active] == of_buffer(cpus, active))
    }

    /// Counts the events that the tracking program missed before a cut. Returns the number of
    /// events without a line, if events are enabled. The parameters are fields of [`Cut`].
    fn losses_at_cut(
        &mut self,
        is_recording: bool,
        inactive: usize,
        counts: &Counts,
    ) -> Result<Option<Losses>, Error> {
        let of_cpus = &self.event_losses()?;
        let skipped = self.probe.missed_events()?;
        let (total, tracked): (_, fn(&EventLosses) -> _) = (counts.total(), |cpu| cpu.tracked);
        let cut = Cut { is_recording, inactive, total, of_cpus, tracked, skipped };
        self.coverage.add(cut);
        if self.probe.events.as_ref().is_some_and(|events| events.has_connections) {
            let tracked: fn(&EventLosses) -> _ = |cpu| cpu.tracked_ends;
            self.ends.add(Cut { total: counts.connection_ends(), tracked, ..cut });
        }
        Ok(self.losses_of(of_cpus))
    }

    fn drain_histograms(&mut self, inactive: u32) -> Result<Option<Arc<Timed>>, Error> {
        let Some(timer) = &mut self.timer else { return Ok(None) };
        let Some(hook) = &mut self.probe.histograms else { return Ok(None) };
        timer.drain(hook, inactive, self.coverage.missed()).map(Some)
    }

    /// Makes the BPF programs mark the namespaces that no longer exist. Returns the names that were
    /// read before the programs ran.
    fn mark_gone_namespaces(&self) -> Result<Names, Error> {
        let Some(namespaces) = &self.probe.namespaces else { return Ok(Names::default()) };
        let names = Names::read();
        namespaces.run()?;
        Ok(names)
    }

    /// Reads the kernel's counters. If the flag `--family` is set, the function returns only the
    /// counters of the counted address family.
    fn kernel_counters(&self) -> KernelCounters {
        if let Some(family) = self.probe.family {
            // The counters of one namespace do not cover all counted namespaces.
            let is_whole = self.namespaces.is_none();
            return if is_whole {
                KernelCounters::of_family(family)
            } else {
                KernelCounters::default()
            };
        }
        let counts_births = self.probe.kernel.counts_time_wait_births();
        KernelCounters::read(counts_births, self.namespaces.is_none())
    }

    /// Writes the control word to the map `.bss` of the BPF programs. The function writes back the
    /// other values in the map `.bss` unchanged.
    pub(super) fn set_control(&mut self) -> Result<(), Error> {
        let attached = self.probe.control_bits();
        let control = &mut self.probe.control;
        let mut value = control.get(&0, 0).map_err(map_error("read", ".bss"))?;
        value.word = self.control | attached;
        control.set(0, value, 0).map_err(map_error("update", ".bss"))
    }

    /// Waits until every BPF program that was running at the time of the call has returned.
    ///
    /// An update of a map of maps waits for running programs (`maybe_wait_bpf_programs` in
    /// `kernel/bpf/syscall.c`). If a scan is running, the function inserts the scan's map again. If
    /// no scan is running, the function inserts the stand-in map.
    pub(super) fn wait_for_programs(&mut self) -> Result<(), Error> {
        let touched = self.scan.as_ref().map_or(&self.stand_in, |scan| &scan.touched);
        self.probe.touched.set(0, touched, 0).map_err(map_error("update", "TOUCHED"))
    }

    /// Returns the cost of each BPF program since the program was loaded, if the cost is measured.
    fn runs(&self) -> Result<Vec<ProgramRuns>, Error> {
        let measured = self.probe.measured()?;
        let runs = measured.into_iter().map(|(name, runs)| ProgramRuns {
            program: name.to_owned(),
            runs: runs.count,
            time: runs.time,
        });
        Ok(runs.collect())
    }

    /// Returns the counters of each CPU. If families are counted separately, the counters of IPv4
    /// are first, and the counters of IPv6 are second.
    pub(super) fn slots(&self) -> Result<Vec<Vec<CpuSlots>>, Error> {
        let elements = self.probe.cpu_slots.iter();
        let values =
            elements.map(|cpus| Ok(cpus.map_err(map_error("read", "CPU_SLOTS"))?.to_vec()));
        values.collect()
    }
}

/// Returns the total of both buffers over all CPUs and families. The total is a cut only if no
/// program counts meanwhile.
pub(super) fn all(slots: &[Vec<CpuSlots>]) -> Counts {
    sum(slots.iter().flat_map(|cpus| [of_buffer(cpus, 0), of_buffer(cpus, 1)]))
}

/// Returns the total of one buffer over all CPUs.
fn of_buffer(cpus: &[CpuSlots], buffer: usize) -> Counts {
    let of_cpu = |cpu: &CpuSlots| {
        let counters = &cpu.buffers[buffer];
        Counts::new(Flows::new(&counters.states, &cpu.minis[buffer]), &counters.transitions)
    };
    sum(cpus.iter().map(of_cpu))
}

fn sum(counts: impl Iterator<Item = Counts>) -> Counts {
    counts.fold(Counts::default(), |sum, counts| sum + counts)
}

//! The running kernel as a source: consistent cuts by flipping buffers, and passes over the sockets.

use std::{collections::BTreeMap, sync::Arc, thread, time::Duration};

use nix::{
    errno::Errno,
    time::{ClockId, clock_gettime},
};
use tcpstate_common::abi::{CONTROL_BUFFER, CONTROL_EVENTS, CONTROL_GATE, CpuSlots};

use super::{
    Counts, Events, Flows, Identity, KernelCounters, Moment, Pass, Population, ProgramRuns,
    Reading, Timed, claims, histograms::Timer, namespaces::Namespaces,
};
use crate::{
    probe::{
        Error, Options, Probe, Touched, kernel, map_error,
        namespaces::{self, Names, Visited},
    },
    report::{Limit, Losses, Minis, Missed, UnknownOwners},
};

/// How long a pass waits between moment zero and its walk, and again before the gate closes.
///
/// A socket is hashed, so that the iterator finds it, only after the event of its birth, and unhashed before the
/// event of its end (`tcp_v4_connect`, `tcp_set_state`). Those are a few instructions, but the task may be
/// preempted in between; this is time for it to come back.
const SETTLE: Duration = Duration::from_millis(50);

/// Room in a pass's map beyond what is there at its begin, for sockets born meanwhile.
const SPARE_ENTRIES: u64 = 16_384;

/// The same in a map that is to do for all passes to come: it takes 5 MiB.
const SPARE_ENTRIES_TO_KEEP: u64 = 65_536;

/// The live source.
pub struct Live {
    probe: Probe,
    /// The control word as last stored.
    control: u32,
    /// [`CONTROL_EVENTS`] from the end of the first pass on, where events are asked for.
    events: u32,
    /// Each buffer as it was when it last stood still, for each family where they are told apart.
    buffers: Vec<[Counts; 2]>,
    /// Holds the place of a pass's map between passes.
    stand_in: Touched,
    /// The running pass's map, and what was known before it.
    pass: Option<RunningPass>,
    pass_entries: Option<u32>,
    keeps_pass_map: bool,
    /// The map of the last pass, emptied, where it is kept for the next one.
    kept: Option<Touched>,
    /// What tests have it drop is not said to be missed.
    drops_in_silence: bool,
    /// Doubled whenever a pass found its map full.
    growth: u64,
    /// Where each network namespace has a row.
    namespaces: Option<Namespaces>,
    /// Where states are timed.
    timer: Option<Timer>,
    /// Namespaces that the last pass could not find or enter.
    unentered: u64,
    /// Why sockets from before the start lack owners, where events are asked for.
    unclaimed: Option<UnknownOwners>,
}

struct RunningPass {
    touched: Touched,
    zero: Option<Reading>,
    before: PassSums,
    missed_before: Missed,
    visited: Visited,
    cost: Duration,
}

/// Running sums of what passes count, over all CPUs.
#[derive(Clone, Debug, Default)]
struct PassSums {
    base: Population,
    /// A part of `base` for each family, where they are told apart.
    families: Vec<Population>,
    bases: BTreeMap<Identity, Population>,
    visited: u64,
    map_full: u64,
    map_errors: u64,
}

impl Live {
    /// Puts the kernel half in place. Counting begins; nothing is known yet of sockets that were there before.
    pub fn attach(options: &Options) -> Result<Self, Error> {
        let mut probe = Probe::attach(options)?;
        // After the programs are in place, which see to whose later sockets are.
        let claims = probe.events.as_mut().map(|events| &mut events.owners.claims);
        let unclaimed = claims.and_then(claims::leave);
        let mut live = Self {
            unclaimed,
            namespaces: probe.rows.take().map(Namespaces::new),
            timer: probe.histograms.as_ref().map(|hook| Timer::new(hook.by, hook.is_filtered)),
            unentered: 0,
            probe,
            control: 0,
            events: 0,
            buffers: Vec::new(),
            stand_in: new_touched(1)?,
            pass: None,
            pass_entries: options.pass_entries,
            keeps_pass_map: options.keep_pass_map,
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

    /// The events, where they are asked for. They begin with the cut that ends the first pass.
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
        limits.extend(self.unclaimed.map(Limit::EarlierSockets));
        if self.unentered > 0 {
            limits.push(Limit::Namespaces { unentered: self.unentered });
        }
        limits
    }

    /// Network namespaces that another row could be made for, as of the last reading.
    #[must_use]
    pub fn has_room_for_rows(&self) -> bool {
        let rows = self.namespaces.as_ref().map_or(0, Namespaces::len);
        rows < self.probe.most_rows as usize
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
        self.flip(self.control & CONTROL_GATE)
    }

    /// Replaces what serves one kind of mini sockets. A pass must follow.
    pub fn replace(&mut self, minis: Minis, why: &str) -> Result<(), Error> {
        self.probe.replace(minis, why)?;
        self.set_control()
    }

    /// Begins a pass: moment zero. From here to [`end_pass`](Self::end_pass) events may come in any order with the walk.
    pub fn begin_pass(&mut self) -> Result<(), Error> {
        let (touched, cost) = if let Some(touched) = self.kept.take() {
            (touched, Duration::ZERO)
        } else {
            let (entries, cost) = self.entries()?;
            (new_touched(entries)?, cost)
        };
        self.probe.touched.set(0, &touched, 0).map_err(map_error("update", "TOUCHED"))?;
        let before = self.pass_sums()?;
        // Read first: a miss between here and the flip is repaired by the pass and yet counted as not. Never the
        // other way round.
        let missed_before = self.missed()?;
        self.pass = Some(RunningPass {
            touched,
            zero: None,
            before,
            missed_before,
            visited: Visited::default(),
            cost,
        });
        let zero = self.flip(CONTROL_GATE)?;
        if let Some(pass) = &mut self.pass {
            pass.zero = Some(zero);
        }
        Ok(())
    }

    /// Lets the iterator visit every socket of the namespace, or of every namespace.
    ///
    /// Namespaces are looked for here, after moment zero: one that comes later had no sockets then.
    pub fn walk(&mut self) -> Result<(), Error> {
        let sockets = &self.probe.sockets;
        let walk = || sockets.run();
        let (visited, cost) = if self.namespaces.is_some() {
            each_namespace(walk)?
        } else {
            (Visited::default(), timed(walk)?.1)
        };
        if let Some(pass) = &mut self.pass {
            pass.visited = visited;
            pass.cost += cost;
        }
        Ok(())
    }

    /// Closes the gate and says what the pass found.
    ///
    /// # Panics
    /// If no pass was begun.
    pub fn end_pass(&mut self) -> Result<Pass, Error> {
        if self.probe.events.is_some() {
            self.events = CONTROL_EVENTS;
        }
        let end = self.flip(0)?;
        let pass = self.pass.take().expect("the caller began a pass");
        let RunningPass { mut touched, zero, before, missed_before, visited, cost } = pass;
        // Only now that no program can see the gate open may the map go, or be emptied.
        self.wait_for_programs()?;
        if self.keeps_pass_map {
            empty(&mut touched)?;
            self.kept = Some(touched);
        }
        let found = self.pass_sums()?.since(&before);
        if found.map_full > 0 {
            self.growth *= 2;
        }
        let zero = zero.expect("the pass began with it");
        self.unentered = visited.refused + hidden(&zero, &end, &visited);
        Ok(Pass {
            zero,
            base: found.base,
            family_bases: found.families.try_into().ok(),
            bases: found.bases,
            end,
            missed_before,
            visited: found.visited,
            map_full: found.map_full,
            map_errors: found.map_errors,
            unentered: self.unentered,
            cost,
        })
    }

    /// A whole pass.
    pub fn pass(&mut self) -> Result<Pass, Error> {
        self.begin_pass()?;
        thread::sleep(SETTLE);
        self.walk()?;
        thread::sleep(SETTLE);
        self.end_pass()
    }

    /// Makes the other buffer the active one, opens or closes the gate in the same store, and reads the buffer
    /// that now stands still.
    fn flip(&mut self, gate: u32) -> Result<Reading, Error> {
        let names = self.mark_gone_namespaces()?;
        let stood = (self.control & CONTROL_BUFFER) as usize;
        self.control = (!self.control & CONTROL_BUFFER) | gate | self.events;
        self.set_control()?;
        let at = Moment::now();
        self.wait_for_programs()?;
        let slots = self.slots()?;
        let of_cpu = |cpu: &CpuSlots| {
            let buffer = &cpu.buffers[stood];
            Counts::new(Flows::new(&buffer.states, &cpu.minis[stood]), &buffer.transitions)
        };
        self.buffers.resize_with(slots.len(), Default::default);
        for (buffers, cpus) in self.buffers.iter_mut().zip(&slots) {
            buffers[stood] = sum(cpus.iter().map(of_cpu));
        }
        let families = self.buffers.iter().map(|buffers| sum(buffers.iter().cloned()));
        let families: Vec<_> = families.collect();
        let counts = sum(families.iter().cloned());
        let namespaces = match &mut self.namespaces {
            Some(namespaces) => Some(namespaces.read(stood, &names)?),
            None => None,
        };
        let histograms = self.drain_histograms(u32::from(stood != 0))?;
        let kernel = self.kernel_counters();
        let (missed, losses, runs) = (self.missed()?, self.losses()?, self.runs()?);
        let process_time = cpu_time(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
        // One element alone is of both families.
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
            runs,
            process_time,
        })
    }

    fn drain_histograms(&mut self, stood: u32) -> Result<Option<Arc<Timed>>, Error> {
        let Some(timer) = &mut self.timer else { return Ok(None) };
        let Some(hook) = &self.probe.histograms else { return Ok(None) };
        let missed = self.probe.missed_durations(hook)?;
        let Some(hook) = &mut self.probe.histograms else { return Ok(None) };
        timer.drain(hook, stood, missed).map(Some)
    }

    /// Durations that ended up to the last cut are not of interest any more.
    pub fn begin_histograms(&mut self) {
        self.timer.iter_mut().for_each(Timer::begin);
    }

    /// Another interval begins at the last cut.
    pub fn begin_interval(&mut self) {
        self.timer.iter_mut().for_each(Timer::begin_interval);
    }

    /// Has the kernel half look which namespaces are gone. Returns the names that there were before.
    fn mark_gone_namespaces(&self) -> Result<Names, Error> {
        let Some(namespaces) = &self.probe.namespaces else { return Ok(Names::default()) };
        let names = Names::read();
        namespaces.run()?;
        Ok(names)
    }

    /// They can't tell families apart: then they prove nothing, and are left out.
    fn kernel_counters(&self) -> KernelCounters {
        if self.probe.family.is_some() {
            return KernelCounters::default();
        }
        let counts_births = self.probe.kernel.counts_time_wait_births();
        KernelCounters::read(counts_births, self.namespaces.is_none())
    }

    /// Stores the control word. What else lies beside it is written back as it was.
    fn set_control(&mut self) -> Result<(), Error> {
        let in_place = self.probe.control_bits();
        let control = &mut self.probe.control;
        let mut value = control.get(&0, 0).map_err(map_error("read", ".bss"))?;
        value.word = self.control | in_place;
        control.set(0, value, 0).map_err(map_error("update", ".bss"))
    }

    /// Returns when every program that ran at the call has ended.
    ///
    /// An update of a map of maps waits for that (`maybe_wait_bpf_programs` in `kernel/bpf/syscall.c`). While a
    /// pass runs its map is put in place once more, else the stand-in.
    fn wait_for_programs(&mut self) -> Result<(), Error> {
        let touched = self.pass.as_ref().map_or(&self.stand_in, |pass| &pass.touched);
        self.probe.touched.set(0, touched, 0).map_err(map_error("update", "TOUCHED"))
    }

    /// What each program cost since the load, if that is measured.
    fn runs(&self) -> Result<Vec<ProgramRuns>, Error> {
        let measured = self.probe.measured()?;
        let runs = measured.into_iter().map(|(name, runs)| ProgramRuns {
            program: name.to_owned(),
            runs: runs.count,
            time: runs.time,
        });
        Ok(runs.collect())
    }

    /// Each CPU's memory; where families are told apart, IPv4's and then IPv6's.
    fn slots(&self) -> Result<Vec<Vec<CpuSlots>>, Error> {
        let elements = self.probe.cpu_slots.iter();
        let values =
            elements.map(|cpus| Ok(cpus.map_err(map_error("read", "CPU_SLOTS"))?.to_vec()));
        values.collect()
    }

    /// How many sockets the next pass makes room for, and the processor time that it took to find out.
    fn entries(&self) -> Result<(u32, Duration), Error> {
        if let Some(entries) = self.pass_entries {
            return Ok((entries, Duration::ZERO));
        }
        let mut sockets = 0;
        let mut count = || {
            sockets += kernel::hashed_sockets();
            Ok(())
        };
        let cost =
            if self.namespaces.is_some() { each_namespace(count)?.1 } else { timed(&mut count)?.1 };
        let entries = if self.keeps_pass_map {
            2 * sockets + SPARE_ENTRIES_TO_KEEP
        } else {
            (sockets + sockets / 4 + SPARE_ENTRIES) * self.growth
        };
        Ok((u32::try_from(entries).unwrap_or(u32::MAX), cost))
    }

    fn pass_sums(&self) -> Result<PassSums, Error> {
        let mut sums = PassSums::of(&self.slots()?);
        if let Some(namespaces) = &self.namespaces {
            sums.bases = namespaces.bases()?;
        }
        Ok(sums)
    }
}

impl PassSums {
    fn of(families: &[Vec<CpuSlots>]) -> Self {
        let mut sums = Self::default();
        for cpus in families {
            let mut base = Population::default();
            for cpu in cpus {
                base.add(&cpu.base, &cpu.base_minis);
            }
            sums.base.add(&base.full, &base.minis);
            sums.families.push(base);
        }
        for cpu in families.iter().flatten() {
            sums.visited += cpu.visited;
            sums.map_full += cpu.map_full;
            sums.map_errors += cpu.map_errors;
        }
        sums
    }

    fn since(&self, before: &Self) -> Self {
        let nothing = Population::default();
        let base = |(identity, base): (&Identity, &Population)| {
            (*identity, base.since(before.bases.get(identity).unwrap_or(&nothing)))
        };
        let families = self.families.iter().zip(&before.families);
        Self {
            base: self.base.since(&before.base),
            families: families.map(|(now, then)| now.since(then)).collect(),
            bases: self.bases.iter().map(base).collect(),
            visited: self.visited - before.visited,
            map_full: self.map_full - before.map_full,
            map_errors: self.map_errors - before.map_errors,
        }
    }
}

fn sum(counts: impl Iterator<Item = Counts>) -> Counts {
    counts.fold(Counts::default(), |sum, counts| sum + counts)
}

/// Network namespaces that were there all the time of a pass, by what the programs saw, and to which no way led.
fn hidden(zero: &Reading, end: &Reading, visited: &Visited) -> u64 {
    let (Some(zero), Some(end)) = (&zero.namespaces, &end.namespaces) else { return 0 };
    let is_alive = |identity: &Identity| end.get(identity).is_some_and(|there| !there.is_gone);
    let hidden = zero
        .iter()
        .filter(|(identity, namespace)| is_alive(identity) && !visited.found(namespace.inode));
    hidden.count() as u64
}

/// Does something in each network namespace, on a thread of its own. Returns which it found, and the processor time that
/// it took.
fn each_namespace(
    visit: impl FnMut() -> Result<(), Error> + Send,
) -> Result<(Visited, Duration), Error> {
    let worker = || timed(|| namespaces::visit_each(visit));
    let result = thread::scope(|scope| scope.spawn(worker).join());
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Does something, and says what processor time the thread spent on it.
fn timed<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<(T, Duration), Error> {
    let start = cpu_time(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    let result = work()?;
    Ok((result, cpu_time(ClockId::CLOCK_THREAD_CPUTIME_ID)?.saturating_sub(start)))
}

fn new_touched(entries: u32) -> Result<Touched, Error> {
    Touched::create(entries, 0).map_err(map_error("create", "TOUCHED"))
}

/// Takes everything out of a pass's map.
fn empty(touched: &mut Touched) -> Result<(), Error> {
    let keys: Vec<_> =
        touched.keys().collect::<Result<_, _>>().map_err(map_error("read", "TOUCHED"))?;
    for key in keys {
        touched.remove(&key).map_err(map_error("update", "TOUCHED"))?;
    }
    Ok(())
}

/// Processor time of the calling thread, or of the process.
fn cpu_time(clock: ClockId) -> Result<Duration, Error> {
    clock_gettime(clock).map(Duration::from).map_err(|errno: Errno| Error::System {
        action: "read the clock of processor time",
        source: errno.into(),
    })
}

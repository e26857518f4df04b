//! The running kernel as a source: consistent cuts by flipping buffers, and passes over the sockets.

use std::{
    fs::File,
    io::{self, Read as _},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    time::{ClockId, clock_gettime},
};
use tcpstate_common::abi::{CONTROL_BUFFER, CONTROL_GATE, CpuSlots};

use super::{
    Counts, KernelCounters, Missed, Moment, Pass, Population, ProgramRuns, Reading, add_each,
};
use crate::probe::{Error, Minis, Options, Probe, Touched, kernel, map_error};

/// How long a pass waits between moment zero and its walk, and again before the gate closes.
///
/// A socket is hashed, so that the iterator finds it, only after the event of its birth, and unhashed before the
/// event of its end (`tcp_v4_connect`, `tcp_set_state`). Those are a few instructions, but the task may be
/// preempted in between; this is time for it to come back.
const SETTLE: Duration = Duration::from_millis(50);

/// Room in a pass's map beyond what is there at its begin, for sockets born meanwhile.
const SPARE_ENTRIES: u64 = 16_384;

/// The live source.
pub struct Live {
    probe: Probe,
    /// The control word as last stored.
    control: u32,
    /// Each buffer as it was when it last stood still.
    buffers: [Counts; 2],
    /// Holds the place of a pass's map between passes.
    stand_in: Touched,
    /// The running pass's map, and what was known before it.
    pass: Option<RunningPass>,
    pass_entries: Option<u32>,
    /// Doubled whenever a pass found its map full.
    growth: u64,
}

struct RunningPass {
    touched: Touched,
    zero: Counts,
    before: PassSums,
    missed_before: Missed,
    cost: Duration,
}

/// Running sums of what passes count, over all CPUs.
#[derive(Clone, Debug, Default)]
struct PassSums {
    base: Population,
    visited: u64,
    map_full: u64,
    map_errors: u64,
}

impl Live {
    /// Puts the kernel half in place. Counting begins; nothing is known yet of sockets that were there before.
    pub fn attach(options: &Options) -> Result<Self, Error> {
        let probe = Probe::attach(options)?;
        let mut live = Self {
            probe,
            control: 0,
            buffers: [Counts::default(), Counts::default()],
            stand_in: new_touched(1)?,
            pass: None,
            pass_entries: options.pass_entries,
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
        let dropped: u64 = slots.iter().map(|slots| slots.dropped).sum();
        Ok(Missed {
            transitions: self.probe.missed()? + dropped,
            time_wait: self.probe.missed_minis(Minis::TimeWait)?,
            syn_recv: self.probe.missed_minis(Minis::SynRecv)?,
            unrecorded: slots.iter().map(|slots| slots.unrecorded).sum(),
        })
    }

    /// Makes a cut and reads it.
    pub fn read(&mut self) -> Result<Reading, Error> {
        if let Some(walk) = self.probe.sweep()? {
            walk_to_end(walk, "walk the map FIN_WAIT2")?;
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
        let touched = new_touched(self.entries())?;
        self.probe.touched.set(0, &touched, 0).map_err(map_error("update", "TOUCHED"))?;
        let before = PassSums::of(&self.slots()?);
        // Read first: a miss between here and the flip is repaired by the pass and yet counted as not. Never the
        // other way round.
        let missed_before = self.missed()?;
        self.pass = Some(RunningPass {
            touched,
            zero: Counts::default(),
            before,
            missed_before,
            cost: Duration::ZERO,
        });
        let zero = self.flip(CONTROL_GATE)?.counts;
        if let Some(pass) = &mut self.pass {
            pass.zero = zero;
        }
        Ok(())
    }

    /// Lets the iterator visit every socket of the namespace.
    pub fn walk(&mut self) -> Result<(), Error> {
        let start = cpu_time(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
        walk_to_end(self.probe.iterate()?, "walk the TCP sockets")?;
        let cost = cpu_time(ClockId::CLOCK_THREAD_CPUTIME_ID)?.saturating_sub(start);
        if let Some(pass) = &mut self.pass {
            pass.cost += cost;
        }
        Ok(())
    }

    /// Closes the gate and says what the pass found.
    ///
    /// # Panics
    /// If no pass was begun.
    pub fn end_pass(&mut self) -> Result<Pass, Error> {
        let end = self.flip(0)?;
        let pass = self.pass.take().expect("the caller began a pass");
        let RunningPass { touched, zero, before, missed_before, cost } = pass;
        // Only now that no program can see the gate open may the map go.
        self.wait_for_programs()?;
        drop(touched);
        let found = PassSums::of(&self.slots()?).since(&before);
        if found.map_full > 0 {
            self.growth *= 2;
        }
        let PassSums { base, visited, map_full, map_errors } = found;
        Ok(Pass { zero, base, end, missed_before, visited, map_full, map_errors, cost })
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
        let stood = (self.control & CONTROL_BUFFER) as usize;
        self.control = (!self.control & CONTROL_BUFFER) | gate;
        self.set_control()?;
        let at = Moment::now();
        self.wait_for_programs()?;
        let slots = self.slots()?;
        let of_cpu = |cpu: &CpuSlots| {
            let buffer = &cpu.buffers[stood];
            Counts::new(&buffer.states, &buffer.transitions, &cpu.minis[stood])
        };
        let counts = slots.iter().map(of_cpu).fold(Counts::default(), |sum, cpu| sum + cpu);
        self.buffers[stood] = counts;
        let [first, second] = self.buffers.clone();
        let counts = first + second;
        let kernel = KernelCounters::read(self.probe.kernel.counts_time_wait_births());
        let (missed, runs) = (self.missed()?, self.runs()?);
        let process_time = cpu_time(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
        Ok(Reading { at, counts, missed, kernel, runs, process_time })
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
        let mut measured = self.probe.measured()?;
        measured.sort_unstable_by_key(|&(name, _)| name);
        let runs = measured.into_iter().map(|(name, info)| ProgramRuns {
            program: name.to_owned(),
            runs: info.run_count(),
            time: info.run_time(),
        });
        Ok(runs.collect())
    }

    fn slots(&self) -> Result<Vec<CpuSlots>, Error> {
        let values = self.probe.cpu_slots.get(&0, 0).map_err(map_error("read", "CPU_SLOTS"))?;
        Ok(values.to_vec())
    }

    /// How many sockets the next pass makes room for.
    fn entries(&self) -> u32 {
        self.pass_entries.unwrap_or_else(|| {
            let sockets = kernel::hashed_sockets();
            u32::try_from((sockets + sockets / 4 + SPARE_ENTRIES) * self.growth).unwrap_or(u32::MAX)
        })
    }
}

impl PassSums {
    fn of(cpus: &[CpuSlots]) -> Self {
        let mut sums = Self::default();
        for cpu in cpus {
            add_each(&mut sums.base.full, &cpu.base);
            add_each(&mut sums.base.minis, &cpu.base_minis);
            sums.visited += cpu.visited;
            sums.map_full += cpu.map_full;
            sums.map_errors += cpu.map_errors;
        }
        sums
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            base: Population {
                full: std::array::from_fn(|slot| self.base.full[slot] - before.base.full[slot]),
                minis: std::array::from_fn(|slot| self.base.minis[slot] - before.base.minis[slot]),
            },
            visited: self.visited - before.visited,
            map_full: self.map_full - before.map_full,
            map_errors: self.map_errors - before.map_errors,
        }
    }
}

/// Reads an iterator to its end, which is what runs its program.
fn walk_to_end(mut walk: File, action: &'static str) -> Result<(), Error> {
    let mut nothing = [0; 64];
    loop {
        match walk.read(&mut nothing) {
            // The program writes nothing, so one read walks to the end.
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // After a million entries the kernel wants to be asked again (`bpf_seq_read`).
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Err(source) => return Err(Error::System { action, source }),
        }
    }
}

fn new_touched(entries: u32) -> Result<Touched, Error> {
    Touched::create(entries, 0).map_err(map_error("create", "TOUCHED"))
}

/// Processor time of the calling thread, or of the process.
fn cpu_time(clock: ClockId) -> Result<Duration, Error> {
    clock_gettime(clock).map(Duration::from).map_err(|errno: Errno| Error::System {
        action: "read the clock of processor time",
        source: errno.into(),
    })
}

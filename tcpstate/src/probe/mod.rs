//! Loads the kernel half, attaches it, and takes it away again: the begin of a number's path.
//!
//! Everything that is put into the kernel hangs on file descriptors of this process, nothing is pinned: when the
//! [`Probe`] is dropped, or the process is killed, nothing stays behind.

pub mod btf;
mod configuration;
pub mod confinement;
mod entry;
mod error;
mod events;
mod format;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod histograms;
mod hooks;
mod kallsyms;
pub mod kernel;
mod load;
mod misses;
pub(crate) mod namespaces;
mod netns;
mod offsets;
mod options;
mod owners;
pub mod privileges;
mod programs;
mod providers;
pub mod relinquish;
mod runs;
mod socket_table;
mod tracking;
pub mod trial;
mod types;
mod walk;

use std::{collections::BTreeMap, io, os::fd::OwnedFd};

use aya::{
    Ebpf,
    maps::{Array, ArrayOfMaps, HashMap, MapData, PerCpuArray},
    programs::ProgramInfo,
};
use tcpstate_common::abi::{
    CONTROL_SYN_RECV, CONTROL_SYN_RECV_TIMERS, CONTROL_TIME_WAIT, CONTROL_TIME_WAIT_TIMERS,
    Control, CpuSlots, NamespaceSlots,
};

use self::{
    confinement::Confinement, events::EventHook, kernel::Kernel, providers::Providers, runs::Runs,
    types::Types, walk::Walk,
};
pub use self::{
    error::{Error, grant},
    events::{EventOptions, MAX_SOCKETS, RING_BYTES},
    histograms::{HistogramOptions, MAX_GROUPS, MAX_TIMED},
    kallsyms::Hidden,
    netns::Netns,
    options::{MAX_NAMESPACES, Options, Testing},
};
pub(crate) use self::{
    histograms::HistogramHook,
    programs::{ITERATOR, map_error},
};
use crate::report::{Acceptors, Counted, Family, Limit, Minis, Provider, Transitions};

/// A pass's map: a key for each socket touched, and by whom.
pub type Touched = HashMap<MapData, u64, u32>;

/// A row for each network namespace, by its identity.
pub(crate) type Rows = HashMap<MapData, u64, NamespaceSlots>;

/// The kernel half in place, counting.
pub struct Probe {
    /// Keeps programs and links alive.
    ebpf: Ebpf,
    /// Which network namespaces are counted.
    pub counted: Counted,
    /// The family that is counted, if it is one.
    pub family: Option<Family>,
    /// The running kernel.
    pub kernel: Kernel,
    /// By what full sockets' transitions are seen.
    pub transitions: Transitions,
    providers: Providers,
    orphans: Walk,
    /// What writes events down, where they are asked for.
    pub(crate) events: Option<EventHook>,
    /// What times states, where that is asked for.
    pub(crate) histograms: Option<HistogramHook>,
    /// While it is open the kernel measures runs; it ends with the process, however that ends.
    statistics: Option<OwnedFd>,
    /// Visits each socket.
    pub(crate) sockets: Walk,
    /// Looks which namespaces are gone, where each has a row.
    pub(crate) namespaces: Option<Walk>,
    /// The rows, until somebody takes them.
    pub(crate) rows: Option<Rows>,
    /// How many of them there may be.
    pub(crate) max_namespaces: u32,
    pub(crate) control: Array<MapData, Control>,
    pub(crate) cpu_slots: PerCpuArray<MapData, CpuSlots>,
    pub(crate) touched: ArrayOfMaps<MapData, Touched>,
}

impl Probe {
    /// Loads and attaches the programs. The gate stays closed.
    ///
    /// If one network namespace is to be counted that is not the calling thread's, the thread enters it for good.
    pub fn attach(options: &Options) -> Result<Self, Error> {
        let kernel = running_kernel()?;
        if kernel.is_too_old() {
            return Err(Error::Kernel { release: kernel.release });
        }
        let missing = privileges::missing();
        if !missing.is_empty() {
            return Err(Error::Capability(missing));
        }
        if kernel.locks_memory_for_maps() {
            privileges::lift_memory_limit();
        }
        let confinement = Confinement::of_process(&kernel);
        if confinement.user_namespace {
            return Err(Error::UserNamespace);
        }
        let counted = options.netns.enter()?;
        let probe = Self::load(options, kernel, counted);
        types::give_memory_back();
        probe.map_err(|error| error.suspect(&confinement))
    }

    /// By what mini sockets of a kind are seen.
    #[must_use]
    pub fn provider(&self, minis: Minis) -> Provider {
        self.providers.of(minis).provider
    }

    /// By what accepted connections are found to be whose, where events are asked for.
    #[must_use]
    pub fn acceptors(&self) -> Option<Acceptors> {
        Some(self.events.as_ref()?.owners.acceptors)
    }

    /// What the hooks in place cannot see, and why.
    #[must_use]
    pub fn limits(&self) -> &[Limit] {
        &self.providers.limits
    }

    /// What would help where something in place does not see each event; a sentence each.
    #[must_use]
    pub fn help_lines(&self) -> &[String] {
        &self.providers.help_lines
    }

    /// Whether this kernel counts the runs of programs that it skips.
    pub fn counts_misses(&self) -> Result<bool, Error> {
        misses::are_counted(programs::fd(&self.ebpf, hooks::program(self.transitions))?)
            .map_err(|source| Error::System { action: "read the program's fdinfo", source })
    }

    /// Replaces a provider that turned out not to work by the next best. A pass must follow.
    pub fn replace(&mut self, minis: Minis, why: &str) -> Result<(), Error> {
        let types = Types::of_kernel()?;
        self.providers.replace(&mut self.ebpf, &types, minis, why)
    }

    /// Events that the kernel kept from the counting program because it was running already, since the load.
    pub fn missed(&self) -> Result<u64, Error> {
        self.misses_of(hooks::program(self.transitions))
    }

    /// The same for the programs of a kind of mini sockets, those among them that were replaced.
    pub fn missed_minis(&self, minis: Minis) -> Result<u64, Error> {
        self.providers.of(minis).missed.total(|program| self.misses_of(program))
    }

    /// Events that the kernel kept from the program that writes them down, since the load.
    pub(crate) fn missed_events(&self, events: &EventHook) -> Result<u64, Error> {
        self.misses_of(events.program)
    }

    /// Events that the kernel kept from the program that times, since the load.
    pub(crate) fn missed_durations(&self, histograms: &HistogramHook) -> Result<u64, Error> {
        self.misses_of(histograms.program)
    }

    /// The counting program, as the kernel describes it: its size, its run time.
    pub fn transitions_info(&self) -> Result<ProgramInfo, Error> {
        programs::info(&self.ebpf, hooks::program(self.transitions))
    }

    /// The one that writes events down, where they are asked for.
    pub fn events_info(&self) -> Result<Option<ProgramInfo>, Error> {
        self.events.as_ref().map(|events| programs::info(&self.ebpf, events.program)).transpose()
    }

    /// The one that times states, where histograms are asked for.
    pub fn histograms_info(&self) -> Result<Option<ProgramInfo>, Error> {
        self.histograms.as_ref().map(|hook| programs::info(&self.ebpf, hook.program)).transpose()
    }

    /// The programs in place for a kind of mini sockets, as the kernel describes them.
    pub fn minis_info(&self, minis: Minis) -> Result<Vec<(&'static str, ProgramInfo)>, Error> {
        let hooks = self.providers.of(minis).hooks.iter();
        hooks.map(|hook| Ok((hook.program, programs::info(&self.ebpf, hook.program)?))).collect()
    }

    /// What the runs of each program cost since the load, if that is measured; of replaced programs, too.
    pub(crate) fn measured(&self) -> Result<BTreeMap<&str, Runs>, Error> {
        if self.statistics.is_none() {
            return Ok(BTreeMap::new());
        }
        runs::measured(&self.ebpf, &self.providers.detached).map_err(|error| Error::System {
            action: "ask for the programs' run times",
            source: io::Error::other(error),
        })
    }

    /// What the kernel half logs, if that was asked for.
    pub fn logger(&mut self) -> Result<aya_log::EbpfLogger<&'static dyn log::Log>, aya_log::Error> {
        aya_log::EbpfLogger::init(&mut self.ebpf)
    }

    /// The walk over the time-wait sockets in FIN_WAIT2 that counts those that moved on. Only timers leave that to do.
    pub(crate) fn orphans(&self) -> Option<&Walk> {
        (self.provider(Minis::TimeWait) == Provider::Timer).then_some(&self.orphans)
    }

    /// How many time-wait sockets in FIN_WAIT2 the kernel half remembers.
    pub(crate) fn orphans_on_record(&self) -> Result<u64, Error> {
        let map = self.ebpf.map("FIN_WAIT2").ok_or(Error::Absent("FIN_WAIT2"))?;
        let map: HashMap<_, u64, u32> =
            HashMap::try_from(map).map_err(map_error("open", "FIN_WAIT2"))?;
        Ok(map.keys().flatten().count() as u64)
    }

    /// Bits of the control word that say what is in place.
    pub(crate) fn control_bits(&self) -> u32 {
        let bits = |minis, exact, timers| match self.provider(minis) {
            Provider::Fentry => exact,
            Provider::Timer => exact | timers,
            Provider::Polled | Provider::None => 0,
        };
        bits(Minis::TimeWait, CONTROL_TIME_WAIT, CONTROL_TIME_WAIT_TIMERS)
            | bits(Minis::SynRecv, CONTROL_SYN_RECV, CONTROL_SYN_RECV_TIMERS)
    }

    fn misses_of(&self, program: &'static str) -> Result<u64, Error> {
        misses::of_program(&self.ebpf, program)
    }
}

fn running_kernel() -> Result<Kernel, Error> {
    Kernel::running()
        .map_err(|source| Error::System { action: "ask for the kernel's release", source })
}

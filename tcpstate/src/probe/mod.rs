//! Loads, attaches and removes the BPF programs. Every number that tcpstate shows comes from the
//! BPF programs.
//!
//! All kernel objects depend on file descriptors of this process, and no kernel object is pinned.
//! When the [`Probe`] is dropped or tcpstate is killed, the kernel removes all of these objects.

mod acceptors;
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
mod lack;
mod load;
mod misses;
pub(crate) mod namespaces;
mod netns;
mod offsets;
mod options;
mod owners;
pub mod privileges;
mod program_tree;
mod programs;
mod providers;
mod pulse;
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
    Control, CpuSlots, EventLosses, FAILED_CONNECT_SLOTS, NamespaceSlots,
};

use self::{
    acceptors::AcceptorHook, confinement::Confinement, events::EventHook, kernel::Kernel,
    providers::Providers, runs::Runs, types::Types, walk::Walk,
};
pub use self::{
    error::{Error, grant},
    events::{EventOptions, MAX_SOCKETS, RING_BYTES},
    histograms::{HistogramOptions, MAX_GROUPS, MAX_TIMED},
    kallsyms::Hidden,
    lack::help_of_limit,
    netns::Netns,
    options::{Lost, MAX_NAMESPACES, Options, Pattern, SeededLosses, Testing},
    owners::{MAX_OWNED, MAX_OWNERS, OwnerOptions},
    pulse::Pulse,
};
pub(crate) use self::{
    histograms::HistogramHook,
    owners::OwnerHook,
    program_tree::TreeHook,
    programs::{ITERATOR, map_error},
};
use crate::report::{Acceptors, Counted, Family, Limit, Minis, Provider, Transitions};

/// The map that contains the sockets that were observed during a scan. The value of an entry says
/// whether an event or the iterator observed the socket.
pub type Touched = HashMap<MapData, u64, u32>;

/// The map that contains the counters of each network namespace. The key is the identity of the
/// namespace.
pub(crate) type Rows = HashMap<MapData, u64, NamespaceSlots>;

/// The attached BPF programs and their maps.
pub struct Probe {
    /// The loaded object. The object keeps the BPF programs and links alive.
    ebpf: Ebpf,
    /// The counted network namespaces.
    pub counted: Counted,
    /// The counted address family. The field is `None` if both address families are counted.
    pub family: Option<Family>,
    /// The running kernel.
    pub kernel: Kernel,
    /// The hook that observes transitions of full sockets.
    pub transitions: Transitions,
    providers: Providers,
    orphans: Walk,
    /// The hook that records events, if events are enabled.
    pub(crate) events: Option<EventHook>,
    /// The hook that measures durations, if histograms are enabled.
    pub(crate) histograms: Option<HistogramHook>,
    /// The hook that finds the owners of accepted connections, if owners are needed.
    pub(crate) acceptors: Option<AcceptorHook>,
    /// The hook that counts by owner. The field is `None` if sockets are not counted by owner, or
    /// if the caller has taken the hook.
    pub(crate) owners: Option<OwnerHook>,
    /// The hook that follows the process tree of the filter, if the filter has one.
    tree: Option<TreeHook>,
    /// The name of the program that counts by owner, if sockets are counted by owner.
    owner_program: Option<&'static str>,
    /// The kernel measures the run time of BPF programs while this descriptor is open. The kernel
    /// closes the descriptor when tcpstate exits.
    statistics: Option<OwnedFd>,
    /// The iterator that visits each socket.
    pub(crate) sockets: Walk,
    /// The iterator that writes the connection of each socket, if the options ask for it.
    pub(crate) pending: Option<Walk>,
    /// The iterator that marks the map entries of deleted namespaces, if namespaces are counted
    /// separately.
    pub(crate) namespaces: Option<Walk>,
    /// The map that contains the counters of network namespaces. The field is `None` if namespaces
    /// are not counted separately, or if the caller has taken the map.
    pub(crate) rows: Option<Rows>,
    /// The maximum number of network namespaces that are counted separately.
    pub(crate) max_namespaces: u32,
    pub(crate) control: Array<MapData, Control>,
    pub(crate) cpu_slots: PerCpuArray<MapData, CpuSlots>,
    /// The number of failed connects for each error, if they are counted.
    pub(crate) failed_connects: Option<PerCpuArray<MapData, [u64; FAILED_CONNECT_SLOTS]>>,
    pub(crate) event_losses: PerCpuArray<MapData, EventLosses>,
    pub(crate) touched: ArrayOfMaps<MapData, Touched>,
}

impl Probe {
    /// Loads and attaches the programs. This function does not set the scan flag.
    ///
    /// If the counted network namespace is not the namespace of the calling thread, the thread
    /// enters the counted namespace permanently.
    pub fn attach(options: &Options) -> Result<Self, Error> {
        Self::attach_after(options, || 0)
    }

    /// Loads and attaches the programs, as [`Self::attach`] does. In the counted namespace, the
    /// function first calls `list`, which returns the number of existing sockets. If sockets are
    /// not counted by owner, `list` may return 0.
    pub(crate) fn attach_after(
        options: &Options,
        list: impl FnOnce() -> u32,
    ) -> Result<Self, Error> {
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
        let probe = Self::load(options, kernel, counted, list());
        types::trim_memory();
        probe.map_err(|error| error.suspect(&confinement))
    }

    /// Returns the active provider of one kind of mini sockets.
    #[must_use]
    pub fn provider(&self, minis: Minis) -> Provider {
        self.providers.of(minis).provider
    }

    /// Returns the hook that finds the owners of accepted connections, if owners are needed.
    #[must_use]
    pub fn acceptors(&self) -> Option<Acceptors> {
        Some(self.acceptors.as_ref()?.acceptors)
    }

    /// Returns the limits of the attached hooks, and the reason for each limit.
    #[must_use]
    pub fn limits(&self) -> &[Limit] {
        &self.providers.limits
    }

    /// Returns the help line of each active provider that does not observe every event.
    #[must_use]
    pub fn help_lines(&self) -> &[String] {
        &self.providers.help_lines
    }

    /// Returns whether this kernel counts skipped runs of programs.
    pub fn counts_misses(&self) -> Result<bool, Error> {
        misses::counts_skipped_runs(programs::fd(&self.ebpf, hooks::program(self.transitions))?)
            .map_err(|source| Error::System { action: "read the program's fdinfo", source })
    }

    /// Replaces a broken provider with the next best provider. After this function returns, the
    /// caller must make a scan.
    pub fn replace(&mut self, minis: Minis, why: &str) -> Result<(), Error> {
        let types = Types::of_kernel()?;
        self.providers.replace(&mut self.ebpf, &types, minis, why)
    }

    /// Returns how many transitions the counting program has missed since tcpstate loaded the
    /// programs. The counting program misses a transition if the program is already running on the
    /// CPU, because the kernel then skips the program.
    pub fn missed(&self) -> Result<u64, Error> {
        self.misses_of(hooks::program(self.transitions))
    }

    /// Returns the number of processes that are missing from the process tree of the filter.
    pub fn missed_forks(&self) -> Result<u64, Error> {
        self.tree.as_ref().map_or(Ok(0), |tree| tree.missed(&self.ebpf))
    }

    /// Returns how often the kernel has skipped the programs of one kind of mini sockets. The
    /// number includes the skipped runs of replaced programs.
    pub fn missed_minis(&self, minis: Minis) -> Result<u64, Error> {
        self.providers.of(minis).missed.total(|program| self.misses_of(program))
    }

    /// Returns how often the kernel has skipped the program that records events and durations, for
    /// the sockets of the whole host. Returns 0 if events and histograms are disabled.
    pub fn missed_events(&self) -> Result<u64, Error> {
        self.tracking().map_or(Ok(0), |program| self.misses_of(program))
    }

    /// Returns the name of the program that records events and durations, if it is attached.
    fn tracking(&self) -> Option<&'static str> {
        let events = self.events.as_ref().map(|events| events.program);
        let histograms = || self.histograms.as_ref().map(|histograms| histograms.program);
        events.or_else(histograms).or(self.owner_program)
    }

    /// Returns whether the program that records events and durations is attached.
    pub(crate) fn is_tracking(&self) -> bool {
        self.tracking().is_some()
    }

    /// Returns the kernel's description of the counting program, such as its size and run time.
    pub fn transitions_info(&self) -> Result<ProgramInfo, Error> {
        programs::info(&self.ebpf, hooks::program(self.transitions))
    }

    /// Returns the kernel's description of the program that records events, if events are enabled.
    pub fn events_info(&self) -> Result<Option<ProgramInfo>, Error> {
        self.events.as_ref().map(|events| programs::info(&self.ebpf, events.program)).transpose()
    }

    /// Returns the kernel's description of the program that measures durations, if histograms are
    /// enabled.
    pub fn histograms_info(&self) -> Result<Option<ProgramInfo>, Error> {
        self.histograms.as_ref().map(|hook| programs::info(&self.ebpf, hook.program)).transpose()
    }

    /// Returns the kernel's description of the program that counts by owner, if sockets are counted
    /// by owner.
    pub fn owners_info(&self) -> Result<Option<ProgramInfo>, Error> {
        self.owners.as_ref().map(|hook| programs::info(&self.ebpf, hook.program)).transpose()
    }

    /// Returns the kernel's descriptions of the active programs of one kind of mini sockets.
    pub fn minis_info(&self, minis: Minis) -> Result<Vec<(&'static str, ProgramInfo)>, Error> {
        let hooks = self.providers.of(minis).hooks.iter();
        hooks.map(|hook| Ok((hook.program, programs::info(&self.ebpf, hook.program)?))).collect()
    }

    /// Switches the losses of [`Pattern::Switched`] on or off, for tests. The losses are off at the
    /// start.
    pub fn set_losing(&mut self, is_losing: bool) -> Result<(), Error> {
        let mut value = self.control.get(&0, 0).map_err(map_error("read", ".bss"))?;
        value.losing = is_losing.into();
        self.control.set(0, value, 0).map_err(map_error("update", ".bss"))
    }

    /// Returns the cost of each program since tcpstate loaded the programs, if the cost is
    /// measured. The result includes the cost of replaced programs.
    pub(crate) fn measured(&self) -> Result<BTreeMap<&str, Runs>, Error> {
        if self.statistics.is_none() {
            return Ok(BTreeMap::new());
        }
        runs::measured(&self.ebpf, &self.providers.detached).map_err(|error| Error::System {
            action: "ask for the programs' run times",
            source: io::Error::other(error),
        })
    }

    /// Returns the log of the BPF programs, if logging is enabled.
    pub fn logger(&mut self) -> Result<aya_log::EbpfLogger<&'static dyn log::Log>, aya_log::Error> {
        aya_log::EbpfLogger::init(&mut self.ebpf)
    }

    /// Returns the iterator over time-wait sockets in FIN_WAIT2. The iterator counts the sockets
    /// that moved to TIME_WAIT. Only the provider [`Provider::Timer`] needs this iterator.
    pub(crate) fn orphans(&self) -> Option<&Walk> {
        (self.provider(Minis::TimeWait) == Provider::Timer).then_some(&self.orphans)
    }

    /// Returns the number of time-wait sockets in FIN_WAIT2 that the BPF programs store.
    pub(crate) fn stored_orphans(&self) -> Result<u64, Error> {
        let map = self.ebpf.map("FIN_WAIT2").ok_or(Error::Absent("FIN_WAIT2"))?;
        let map: HashMap<_, u64, u32> =
            HashMap::try_from(map).map_err(map_error("open", "FIN_WAIT2"))?;
        Ok(map.keys().flatten().count() as u64)
    }

    /// Returns the values of the control word's bits that describe the active providers.
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

//! Loads the kernel half, attaches it, and takes it away again: the begin of a number's path.
//!
//! Everything that is put into the kernel hangs on file descriptors of this process, nothing is pinned: when the
//! [`Probe`] is dropped, or the process is killed, nothing stays behind.

pub mod btf;
mod configuration;
pub mod confinement;
mod error;
mod events;
mod format;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod histograms;
mod hooks;
mod kallsyms;
pub mod kernel;
mod lives;
mod misses;
pub(crate) mod namespaces;
mod netns;
mod offsets;
mod owners;
pub mod privileges;
mod providers;
mod runs;
pub mod trial;
mod walk;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs, io,
    ops::RangeInclusive,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Array, ArrayOfMaps, HashMap, Map, MapData, PerCpuArray},
    programs::{Iter, Program, ProgramInfo},
    sys::{Stats, enable_stats},
};
use tcpstate_common::{
    abi::{
        CONTROL_SYN_RECV, CONTROL_SYN_RECV_TIMERS, CONTROL_TIME_WAIT, CONTROL_TIME_WAIT_TIMERS,
        Config, Control, CpuSlots, NamespaceSlots,
    },
    filter::FilterConfig,
    histogram::By,
};

pub(crate) use self::histograms::HistogramHook;
use self::{
    confinement::Confinement, events::EventHook, kallsyms::Handlers, kernel::Kernel, lives::Room,
    providers::Providers, runs::Runs, walk::Walk,
};
pub use self::{
    error::{Error, grant},
    events::{EventOptions, MOST_LIVES, RING_BYTES},
    histograms::{HistogramOptions, MOST_GROUPS, MOST_TIMED},
    kallsyms::Hidden,
    netns::Netns,
    owners::Acceptors,
};
use crate::{
    filter::EventFilter,
    report::{Counted, Family, Minis, Provider, Transitions},
};

/// The kernel half, as `build.rs` put it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcpstate.bpf.o"));

/// The tracepoint of full sockets' transitions.
const TRACEPOINT: &str = "inet_sock_set_state";
/// The program that visits each socket during a pass.
pub(crate) const ITERATOR: &str = "tcp_iterator";
/// The program that looks after time-wait sockets in FIN_WAIT2.
const SWEEP: &str = "fin_wait2_iterator";
/// The program that looks after network namespaces.
const NAMESPACE_SWEEP: &str = "namespace_iterator";

/// Rows for network namespaces, unless another number is asked for: 6 MiB.
pub const MOST_ROWS: u32 = 4096;

/// How to load: what a user may choose, and what only tests set.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each switches something of its own")]
pub struct Options {
    /// Which network namespaces to count.
    pub netns: Netns,
    /// Sockets of this family and no other.
    pub family: Option<Family>,
    /// Count each family by itself too.
    pub by_family: bool,
    /// Room for this many rows, where each network namespace has one; [`MOST_ROWS`] by default.
    pub most_rows: Option<u32>,
    /// By this hook and no other.
    pub transitions: Option<Transitions>,
    /// Time-wait sockets by this provider and no other.
    pub time_wait: Option<Provider>,
    /// Request sockets by this provider and no other.
    pub syn_recv: Option<Provider>,
    /// Write each transition down with its connection, and how.
    pub events: Option<EventOptions>,
    /// Which of them; of durations, those that such an event ends, whoever owns the socket and however long the state lasted.
    pub event_filter: EventFilter,
    /// Time states and connections.
    pub histograms: Option<HistogramOptions>,
    /// Have the kernel measure what each run of a BPF program costs, for as long as the probe lives.
    pub statistics: bool,
    /// Let the kernel half log each transition (about 1 us each). Debugging only.
    pub log: bool,
    /// Room for this many sockets in the map of a pass; by default as many as there are, and a quarter more.
    pub pass_entries: Option<u32>,
    /// Make the map of passes once and keep it, with room for twice the sockets that there are: to make another one later
    /// would take a privilege.
    pub keep_pass_map: bool,
    /// Another object than the embedded one.
    pub object: Option<Vec<u8>>,
    /// Count with atomic additions or without, whatever the kernel needs.
    pub atomic: Option<bool>,
    /// Ignore every n-th event of a CPU and count it as missed; 0 ignores none.
    pub drop_one_in: u32,
    /// Ignore them without a word, as no kernel should.
    pub drop_in_silence: bool,
    /// Room for this many time-wait sockets in FIN_WAIT2.
    pub fin_wait2_entries: Option<u32>,
    /// Await the ends of time-wait sockets at this function, which may never be called.
    pub time_wait_exit: Option<&'static str>,
}

impl Options {
    /// Whether whose a socket is, or its cgroup, is of interest.
    fn ask_for_owners(&self) -> bool {
        let by = self.histograms.and_then(|histograms| histograms.by);
        self.events.is_some() || by == Some(By::Cgroup) || self.event_filter.cgroups.is_some()
    }
}

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
    pub(crate) most_rows: u32,
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
        give_memory_back();
        probe.map_err(|error| error.suspect(&confinement))
    }

    fn load(options: &Options, kernel: Kernel, counted: Counted) -> Result<Self, Error> {
        let statistics = options.statistics.then(measure_runs).transpose()?;
        let types = Types::of_kernel()?;
        // What is missing of these keeps hooks from being chosen, later.
        let handlers = Handlers::of_kernel().unwrap_or_default();
        let record = format::inet_sock_set_state();
        let has_rows = counted == Counted::All;
        let config =
            configuration::of(options, &kernel, &counted, &types, handlers, record.as_ref().ok())?;
        let filter = options.event_filter.for_kernel(chosen_ports(&options.netns).as_ref());
        let mut ebpf = load_object(options, &config, &filter.config, &types.ids)?;
        hooks::load_iterators(&mut ebpf, &types.ids, has_rows)?;
        let sockets = Walk::over_sockets(iterator_fd(&ebpf, ITERATOR)?)?;
        let orphans = sweep(&ebpf, SWEEP, "FIN_WAIT2", "walk the map FIN_WAIT2")?;
        let mut namespaces = None;
        let mut rows = None;
        if has_rows {
            let action = "walk the map NAMESPACES";
            namespaces = Some(sweep(&ebpf, NAMESPACE_SWEEP, "NAMESPACES", action)?);
            let map = take_map(&mut ebpf, "NAMESPACES")?;
            rows = Some(Rows::try_from(map).map_err(map_error("open", "NAMESPACES"))?);
        }
        let control =
            Array::try_from(take_map(&mut ebpf, ".bss")?).map_err(map_error("open", ".bss"))?;
        let cpu_slots = PerCpuArray::try_from(take_map(&mut ebpf, "CPU_SLOTS")?)
            .map_err(map_error("open", "CPU_SLOTS"))?;
        let touched = ArrayOfMaps::try_from(take_map(&mut ebpf, "TOUCHED")?)
            .map_err(map_error("open", "TOUCHED"))?;
        // The kernel's own counters are of one namespace, and of both families.
        let is_pollable = !has_rows && options.family.is_none();
        let mut providers = Providers::new(handlers, options.time_wait_exit, is_pollable);
        let transitions =
            providers.attach_transitions(&mut ebpf, &types, options.transitions, record)?;
        providers.serve(&mut ebpf, &types, Minis::TimeWait, options.time_wait)?;
        providers.serve(&mut ebpf, &types, Minis::SynRecv, options.syn_recv)?;
        events::set_ports(&mut ebpf, &filter)?;
        let attach = |wanted| events::attach(&mut ebpf, &types, wanted);
        let events = options.events.map(attach).transpose()?;
        let is_filtered = !options.event_filter.is_all();
        let attach = |wanted| histograms::attach(&mut ebpf, &types, wanted, is_filtered);
        let histograms = options.histograms.map(attach).transpose()?;
        if histograms.is_some() {
            providers.degraded.extend(histograms::limits(&providers));
        }
        if let Some(events) = &events {
            let limits = events.limits(&providers);
            providers.degraded.extend(limits);
        }
        let most_rows = most_rows(options);
        let family = options.family;
        Ok(Self {
            ebpf,
            counted,
            family,
            kernel,
            transitions,
            providers,
            orphans,
            events,
            histograms,
            statistics,
            sockets,
            namespaces,
            rows,
            most_rows,
            control,
            cpu_slots,
            touched,
        })
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

    /// What is not as good as it could be, and why; a sentence each.
    #[must_use]
    pub fn degraded(&self) -> &[String] {
        &self.providers.degraded
    }

    /// What would help where something in place does not see each event; a sentence each.
    #[must_use]
    pub fn remedies(&self) -> &[String] {
        &self.providers.remedies
    }

    /// Whether this kernel counts the runs of programs that it skips.
    pub fn counts_misses(&self) -> Result<bool, Error> {
        misses::are_counted(self.program_fd(hooks::program(self.transitions))?)
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
        self.program_info(hooks::program(self.transitions))
    }

    /// The one that writes events down, where they are asked for.
    pub fn events_info(&self) -> Result<Option<ProgramInfo>, Error> {
        self.events.as_ref().map(|events| self.program_info(events.program)).transpose()
    }

    /// The one that times states, where histograms are asked for.
    pub fn histograms_info(&self) -> Result<Option<ProgramInfo>, Error> {
        self.histograms.as_ref().map(|hook| self.program_info(hook.program)).transpose()
    }

    /// The programs in place for a kind of mini sockets, as the kernel describes them.
    pub fn minis_info(&self, minis: Minis) -> Result<Vec<(&'static str, ProgramInfo)>, Error> {
        let hooks = self.providers.of(minis).hooks.iter();
        hooks.map(|hook| Ok((hook.program, self.program_info(hook.program)?))).collect()
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

    fn program_fd(&self, name: &'static str) -> Result<BorrowedFd<'_>, Error> {
        let program = self.ebpf.program(name).ok_or(Error::Absent(name))?;
        program.fd().map(aya::programs::ProgramFd::as_fd).map_err(program_error("find", name))
    }

    fn program_info(&self, name: &'static str) -> Result<ProgramInfo, Error> {
        let program = self.ebpf.program(name).ok_or(Error::Absent(name))?;
        program.info().map_err(program_error("describe", name))
    }

    fn misses_of(&self, program: &'static str) -> Result<u64, Error> {
        misses::of_program(&self.ebpf, program)
    }
}

/// The kernel's types: ours for offsets, aya's to load programs with.
pub(super) struct Types {
    fields: btf::Btf,
    ids: Btf,
}

impl Types {
    fn of_kernel() -> Result<Self, Error> {
        let fields = btf::Btf::from_kernel()?;
        let ids = Btf::from_sys_fs().map_err(|error| btf::Error::Unreadable {
            path: btf::VMLINUX.into(),
            cause: error.to_string(),
        })?;
        Ok(Self { fields, ids })
    }
}

/// The kernel's types take some 40 MiB for a moment, of which the allocator would keep half for as long as we run.
fn give_memory_back() {
    // SAFETY: it takes a number, and any thread may call it at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has the kernel measure every BPF program's runs until the descriptor is closed.
fn measure_runs() -> Result<OwnedFd, Error> {
    enable_stats(Stats::RunTime).map_err(|error| Error::Statistics(error.io_error))
}

fn running_kernel() -> Result<Kernel, Error> {
    Kernel::running()
        .map_err(|source| Error::System { action: "ask for the kernel's release", source })
}

fn load_object(
    options: &Options,
    config: &Config,
    filter: &FilterConfig,
    btf: &Btf,
) -> Result<Ebpf, Error> {
    let object =
        options.object.as_deref().map_or(Cow::Borrowed(OBJECT), |bytes| Cow::Owned(bytes.to_vec()));
    let log_level = if options.log { aya_log::Level::Trace as u8 } else { 0 };
    let mut loader = EbpfLoader::new();
    loader.btf(Some(btf)).override_global("CONFIG", config, true);
    loader.override_global("FILTER", filter, true);
    let orphans = options.fin_wait2_entries.unwrap_or_else(|| fin_wait2_entries(&options.netns));
    loader.map_max_entries("FIN_WAIT2", orphans);
    if options.by_family {
        // An element for each.
        loader.map_max_entries("CPU_SLOTS", 2);
    }
    if options.netns == Netns::All {
        loader.map_max_entries("NAMESPACES", most_rows(options));
    }
    let lives = Room::of(options);
    if let Some(options) = options.events {
        events::make_room(&mut loader, options, lives);
    }
    if let Some(options) = options.histograms {
        histograms::make_room(&mut loader, options, lives);
    }
    // The variant without log lines, and a stripped object, have neither.
    loader.override_global("AYA_LOG_LEVEL", &log_level, false);
    if !options.log {
        loader.map_max_entries("AYA_LOGS", 4096);
    }
    loader.load(&object).map_err(|error| Error::Object(Box::new(error)))
}

/// Time-wait sockets that the namespace may have, up to a bound: few of them are in FIN_WAIT2.
fn fin_wait2_entries(netns: &Netns) -> u32 {
    const BOUND: u32 = 65_536;
    if *netns == Netns::All {
        return BOUND;
    }
    let limit = fs::read_to_string("/proc/sys/net/ipv4/tcp_max_tw_buckets").ok();
    limit.and_then(|limit| limit.trim().parse().ok()).unwrap_or(BOUND).clamp(1, BOUND)
}

/// The ports that the kernel chooses for sockets that have none, where one namespace is counted, which this thread is in.
fn chosen_ports(netns: &Netns) -> Option<RangeInclusive<u16>> {
    if *netns == Netns::All {
        return None;
    }
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ports = text.split_whitespace().map(str::parse);
    Some(ports.next()?.ok()?..=ports.next()?.ok()?)
}

fn most_rows(options: &Options) -> u32 {
    options.most_rows.unwrap_or(MOST_ROWS)
}

fn sweep(
    ebpf: &Ebpf,
    program: &'static str,
    map: &'static str,
    action: &'static str,
) -> Result<Walk, Error> {
    let Some(Map::HashMap(data)) = ebpf.map(map) else { return Err(Error::Absent(map)) };
    Walk::over_map(iterator_fd(ebpf, program)?, data.fd().as_fd(), action)
}

fn iterator_fd<'a>(ebpf: &'a Ebpf, name: &'static str) -> Result<BorrowedFd<'a>, Error> {
    let program: &Iter = program(ebpf, name)?;
    program.fd().map(aya::programs::ProgramFd::as_fd).map_err(program_error("find", name))
}

fn program<'a, P>(ebpf: &'a Ebpf, name: &'static str) -> Result<&'a P, Error>
where
    &'a P: TryFrom<&'a Program>,
{
    ebpf.program(name).and_then(|program| program.try_into().ok()).ok_or(Error::Absent(name))
}

fn program_mut<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, Error>
where
    &'a mut P: TryFrom<&'a mut Program>,
{
    ebpf.program_mut(name).and_then(|program| program.try_into().ok()).ok_or(Error::Absent(name))
}

fn take_map(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, Error> {
    ebpf.take_map(name).ok_or(Error::Absent(name))
}

fn program_error<E>(action: &'static str, program: &'static str) -> impl Fn(E) -> Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |source| Error::Program { action, program, source: Box::new(source) }
}

pub(crate) fn map_error(
    action: &'static str,
    map: &'static str,
) -> impl Fn(aya::maps::MapError) -> Error {
    move |source| Error::Map { action, map, source: Box::new(source) }
}

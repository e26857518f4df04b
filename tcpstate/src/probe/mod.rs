//! Loads the kernel half, attaches it, and takes it away again: the begin of a number's path.
//!
//! Everything that is put into the kernel hangs on file descriptors of this process, nothing is pinned: when the
//! [`Probe`] is dropped, or the process is killed, nothing stays behind.

pub mod btf;
pub mod confinement;
mod error;
mod format;
mod hooks;
mod kallsyms;
pub mod kernel;
mod map_iterator;
mod misses;
mod offsets;
pub mod privileges;
mod providers;
pub mod trial;

use std::{
    borrow::Cow,
    fs, io,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Array, ArrayOfMaps, HashMap, Map, MapData, PerCpuArray},
    programs::{Iter, Program, ProgramError, ProgramInfo},
    sys::{Stats, enable_stats},
};
use tcpstate_common::abi::{
    CONTROL_SYN_RECV, CONTROL_SYN_RECV_TIMERS, CONTROL_TIME_WAIT, CONTROL_TIME_WAIT_TIMERS, Config,
    Control, CpuSlots, FLAG_ATOMIC, FLAG_DROP, FLAG_LOG,
};

use self::{confinement::Confinement, kallsyms::Handlers, kernel::Kernel, providers::Providers};
pub use self::{
    error::{Error, grant},
    hooks::{Minis, Provider, Transitions},
    kallsyms::Hidden,
};

/// The kernel half, as `build.rs` put it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcpstate.bpf.o"));

/// The tracepoint of full sockets' transitions.
const TRACEPOINT: &str = "inet_sock_set_state";
/// The program that visits each socket during a pass.
pub(crate) const ITERATOR: &str = "tcp_iterator";
/// The program that looks after time-wait sockets in FIN_WAIT2.
const SWEEP: &str = "fin_wait2_iterator";

/// How to load: what a user may choose, and what only tests set.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// By this hook and no other.
    pub transitions: Option<Transitions>,
    /// Time-wait sockets by this provider and no other.
    pub time_wait: Option<Provider>,
    /// Request sockets by this provider and no other.
    pub syn_recv: Option<Provider>,
    /// Have the kernel measure what each run of a BPF program costs, for as long as the probe lives.
    pub statistics: bool,
    /// Let the kernel half log each transition (about 1 us each). Debugging only.
    pub log: bool,
    /// Room for this many sockets in the map of a pass; by default as many as there are, and a quarter more.
    pub pass_entries: Option<u32>,
    /// Another object than the embedded one.
    pub object: Option<Vec<u8>>,
    /// Count with atomic additions or without, whatever the kernel needs.
    pub atomic: Option<bool>,
    /// Ignore every n-th event of a CPU and count it as missed; 0 ignores none.
    pub drop_one_in: u32,
    /// Room for this many time-wait sockets in FIN_WAIT2.
    pub fin_wait2_entries: Option<u32>,
    /// Await the ends of time-wait sockets at this function, which may never be called.
    pub time_wait_exit: Option<&'static str>,
}

/// A pass's map: a key for each socket touched, and by whom.
pub type Touched = HashMap<MapData, u64, u32>;

/// The kernel half in place, counting.
pub struct Probe {
    /// Keeps programs and links alive.
    ebpf: Ebpf,
    /// Inode of the network namespace that is counted.
    pub netns: u64,
    /// The running kernel.
    pub kernel: Kernel,
    /// By what full sockets' transitions are seen.
    pub transitions: Transitions,
    providers: Providers,
    sweep: OwnedFd,
    /// While it is open the kernel measures runs; it ends with the process, however that ends.
    statistics: Option<OwnedFd>,
    pub(crate) control: Array<MapData, Control>,
    pub(crate) cpu_slots: PerCpuArray<MapData, CpuSlots>,
    pub(crate) touched: ArrayOfMaps<MapData, Touched>,
}

impl Probe {
    /// Loads and attaches the programs, counting the calling thread's network namespace. The gate stays closed.
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
        Self::load(options, kernel).map_err(|error| error.suspect(&confinement))
    }

    fn load(options: &Options, kernel: Kernel) -> Result<Self, Error> {
        let statistics = options.statistics.then(measure_runs).transpose()?;
        let netns = own_netns()
            .map_err(|source| Error::System { action: "read /proc/thread-self/ns/net", source })?;
        let types = Types::of_kernel()?;
        // What is missing of these keeps hooks from being chosen, later.
        let handlers = Handlers::of_kernel().unwrap_or_default();
        let record = format::inet_sock_set_state();
        let (tcp_tw_rst, tcp_tw_syn) = offsets::verdicts(&types.fields)?;
        let config = Config {
            tw_timer_handler: handlers.tw_timer_handler,
            reqsk_timer_handler: handlers.reqsk_timer_handler,
            drop_one_in: options.drop_one_in,
            flags: flags(options, &kernel),
            // The kernel's own counter is 32 bits wide (`struct ns_common`).
            netns: u32::try_from(netns).unwrap_or(u32::MAX),
            tcp_tw_rst,
            tcp_tw_syn,
            offsets: offsets::sockets(&types.fields)?,
            minis: offsets::minis(&types.fields)?,
            record: record.as_ref().copied().unwrap_or_default(),
        };
        let mut ebpf = load_object(options, &config, &types.ids)?;
        hooks::load_iterators(&mut ebpf, &types.ids)?;
        let sweep = attach_sweep(&ebpf)?;
        let control =
            Array::try_from(take_map(&mut ebpf, ".bss")?).map_err(map_error("open", ".bss"))?;
        let cpu_slots = PerCpuArray::try_from(take_map(&mut ebpf, "CPU_SLOTS")?)
            .map_err(map_error("open", "CPU_SLOTS"))?;
        let touched = ArrayOfMaps::try_from(take_map(&mut ebpf, "TOUCHED")?)
            .map_err(map_error("open", "TOUCHED"))?;
        let mut providers = Providers::new(handlers, options.time_wait_exit);
        let transitions =
            providers.attach_transitions(&mut ebpf, &types, options.transitions, record)?;
        providers.serve(&mut ebpf, &types, Minis::TimeWait, options.time_wait)?;
        providers.serve(&mut ebpf, &types, Minis::SynRecv, options.syn_recv)?;
        Ok(Self {
            ebpf,
            netns,
            kernel,
            transitions,
            providers,
            sweep,
            statistics,
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
        misses::are_counted(self.program_fd(self.transitions.program())?)
            .map_err(|source| Error::System { action: "read the program's fdinfo", source })
    }

    /// Replaces a provider that turned out not to work by the next best. A pass must follow.
    pub fn replace(&mut self, minis: Minis, why: &str) -> Result<(), Error> {
        let types = Types::of_kernel()?;
        self.providers.replace(&mut self.ebpf, &types, minis, why);
        Ok(())
    }

    /// Events that the kernel kept from the counting program because it was running already, since the load.
    pub fn missed(&self) -> Result<u64, Error> {
        self.misses_of(self.transitions.program())
    }

    /// The same for the programs of a kind of mini sockets.
    pub fn missed_minis(&self, minis: Minis) -> Result<u64, Error> {
        self.providers.of(minis).hooks.iter().map(|hook| self.misses_of(hook.program)).sum()
    }

    /// The counting program's descriptor, to ask the kernel about it.
    pub fn transitions_fd(&self) -> Result<BorrowedFd<'_>, Error> {
        self.program_fd(self.transitions.program())
    }

    /// The counting program, as the kernel describes it: its size, its run time.
    pub fn transitions_info(&self) -> Result<ProgramInfo, Error> {
        self.program_info(self.transitions.program())
    }

    /// The programs in place for a kind of mini sockets, as the kernel describes them.
    pub fn minis_info(&self, minis: Minis) -> Result<Vec<(&'static str, ProgramInfo)>, Error> {
        let hooks = self.providers.of(minis).hooks.iter();
        hooks.map(|hook| Ok((hook.program, self.program_info(hook.program)?))).collect()
    }

    /// All programs in the kernel with what their runs took, if that is measured.
    pub(crate) fn measured(&self) -> Result<Vec<(&str, ProgramInfo)>, Error> {
        if self.statistics.is_none() {
            return Ok(Vec::new());
        }
        // What is not loaded has no descriptor, and costs nothing.
        let loaded = self.ebpf.programs().filter(|(_, program)| program.fd().is_ok());
        let infos = loaded.map(|(name, program)| Ok((name, program.info()?)));
        infos.collect::<Result<_, ProgramError>>().map_err(|error| Error::System {
            action: "ask for the programs' run times",
            source: io::Error::other(error),
        })
    }

    /// What the kernel half logs, if that was asked for.
    pub fn logger(&mut self) -> Result<aya_log::EbpfLogger<&'static dyn log::Log>, aya_log::Error> {
        aya_log::EbpfLogger::init(&mut self.ebpf)
    }

    /// A new walk over the sockets of the calling thread's network namespace; reading it to the end runs the
    /// iterator's program on each.
    pub(crate) fn iterate(&mut self) -> Result<fs::File, Error> {
        let iterator: &mut Iter = program_mut(&mut self.ebpf, ITERATOR)?;
        let link = iterator.attach().map_err(program_error("attach", ITERATOR))?;
        let link = iterator.take_link(link).map_err(program_error("attach", ITERATOR))?;
        link.into_file().map_err(|error| program_error("attach", ITERATOR)(error))
    }

    /// A new walk over the time-wait sockets in FIN_WAIT2; reading it to the end counts those that moved on. Only
    /// timers leave that to do.
    pub(crate) fn sweep(&self) -> Result<Option<fs::File>, Error> {
        if self.provider(Minis::TimeWait) != Provider::Timer {
            return Ok(None);
        }
        let walk = map_iterator::open(self.sweep.as_fd());
        walk.map(Some).map_err(|source| Error::System { action: "walk the map FIN_WAIT2", source })
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
        misses::recursion_misses(self.program_fd(program)?)
            .map_err(|source| Error::System { action: "read the program's fdinfo", source })
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

/// Has the kernel measure every BPF program's runs until the descriptor is closed.
fn measure_runs() -> Result<OwnedFd, Error> {
    enable_stats(Stats::RunTime).map_err(|error| Error::Statistics(error.io_error))
}

fn flags(options: &Options, kernel: &Kernel) -> u32 {
    let is_atomic = options.atomic.unwrap_or_else(|| kernel.programs_interrupt_themselves());
    [(is_atomic, FLAG_ATOMIC), (options.log, FLAG_LOG), (options.drop_one_in != 0, FLAG_DROP)]
        .into_iter()
        .filter_map(|(is_set, flag)| is_set.then_some(flag))
        .sum()
}

fn running_kernel() -> Result<Kernel, Error> {
    Kernel::running()
        .map_err(|source| Error::System { action: "ask for the kernel's release", source })
}

/// Inode of the calling thread's network namespace. The thread's, not the process's: they may differ.
fn own_netns() -> std::io::Result<u64> {
    Ok(fs::metadata("/proc/thread-self/ns/net")?.ino())
}

fn load_object(options: &Options, config: &Config, btf: &Btf) -> Result<Ebpf, Error> {
    let object =
        options.object.as_deref().map_or(Cow::Borrowed(OBJECT), |bytes| Cow::Owned(bytes.to_vec()));
    let log_level = if options.log { aya_log::Level::Trace as u8 } else { 0 };
    let mut loader = EbpfLoader::new();
    loader.btf(Some(btf)).override_global("CONFIG", config, true);
    loader
        .map_max_entries("FIN_WAIT2", options.fin_wait2_entries.unwrap_or_else(fin_wait2_entries));
    // The variant without log lines, and a stripped object, have neither.
    loader.override_global("AYA_LOG_LEVEL", &log_level, false);
    if !options.log {
        loader.map_max_entries("AYA_LOGS", 4096);
    }
    loader.load(&object).map_err(|error| Error::Object(Box::new(error)))
}

/// Time-wait sockets that the namespace may have, up to a bound: few of them are in FIN_WAIT2.
fn fin_wait2_entries() -> u32 {
    const BOUND: u32 = 65_536;
    let limit = fs::read_to_string("/proc/sys/net/ipv4/tcp_max_tw_buckets").ok();
    limit.and_then(|limit| limit.trim().parse().ok()).unwrap_or(BOUND).clamp(1, BOUND)
}

fn attach_sweep(ebpf: &Ebpf) -> Result<OwnedFd, Error> {
    let program: &Iter = program(ebpf, SWEEP)?;
    let fd = program.fd().map_err(program_error("find", SWEEP))?;
    let Some(Map::HashMap(map)) = ebpf.map("FIN_WAIT2") else {
        return Err(Error::Absent("FIN_WAIT2"));
    };
    map_iterator::attach(fd.as_fd(), map.fd().as_fd())
        .map_err(|source| Error::System { action: "attach to the map FIN_WAIT2", source })
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

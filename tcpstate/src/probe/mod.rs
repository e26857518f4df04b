//! Loads the kernel half, attaches it, and takes it away again: the begin of a number's path.
//!
//! Everything that is put into the kernel hangs on file descriptors of this process, nothing is pinned: when the
//! [`Probe`] is dropped, or the process is killed, nothing stays behind.

pub mod btf;
mod error;
pub mod kernel;
mod misses;
pub mod privileges;

use std::{borrow::Cow, fs, os::fd::BorrowedFd, os::unix::fs::MetadataExt as _};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Array, ArrayOfMaps, HashMap, Map, MapData, PerCpuArray},
    programs::{BtfTracePoint, Iter, Program},
};
use tcpstate_common::abi::{Config, Control, CpuSlots, FLAG_ATOMIC, FLAG_DROP, FLAG_LOG};

pub use self::error::Error;
use self::kernel::Kernel;

/// The kernel half, as `build.rs` put it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcpstate.bpf.o"));

/// The tracepoint, and the program that counts on it.
const TRANSITIONS: &str = "inet_sock_set_state";
/// The program that visits each socket during a pass.
const ITERATOR: &str = "tcp_iterator";

/// How to load: what a user may choose, and what only tests set.
#[derive(Clone, Debug, Default)]
pub struct Options {
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
}

/// A pass's map: a key for each socket touched.
pub type Touched = HashMap<MapData, u64, u32>;

/// The kernel half in place, counting.
pub struct Probe {
    /// Keeps programs and links alive.
    ebpf: Ebpf,
    /// Inode of the network namespace that is counted.
    pub netns: u64,
    /// The running kernel.
    pub kernel: Kernel,
    pub(crate) control: Array<MapData, Control>,
    pub(crate) cpu_slots: PerCpuArray<MapData, CpuSlots>,
    pub(crate) touched: ArrayOfMaps<MapData, Touched>,
}

impl Probe {
    /// Loads and attaches the programs, counting the calling thread's network namespace. The gate stays closed.
    pub fn attach(options: &Options) -> Result<Self, Error> {
        let kernel = Kernel::running()
            .map_err(|source| Error::System { action: "ask for the kernel's release", source })?;
        if kernel.is_too_old() {
            return Err(Error::Kernel { release: kernel.release });
        }
        let missing = privileges::missing();
        if !missing.is_empty() {
            return Err(Error::Capability(missing));
        }
        let netns = own_netns()
            .map_err(|source| Error::System { action: "read /proc/thread-self/ns/net", source })?;
        let config = Config {
            offsets: btf::Btf::from_kernel()?.offsets()?,
            // The kernel's own counter is 32 bits wide (`struct ns_common`).
            netns: u32::try_from(netns).unwrap_or(u32::MAX),
            drop_one_in: options.drop_one_in,
            flags: flags(options, &kernel),
        };
        let btf = Btf::from_sys_fs().map_err(|error| btf::Error::Unreadable {
            path: btf::VMLINUX.into(),
            cause: error.to_string(),
        })?;
        let mut ebpf = load_object(options, &config, &btf)?;
        load_programs(&mut ebpf, &btf)?;
        let control =
            Array::try_from(take_map(&mut ebpf, ".bss")?).map_err(map_error("open", ".bss"))?;
        let cpu_slots = PerCpuArray::try_from(take_map(&mut ebpf, "CPU_SLOTS")?)
            .map_err(map_error("open", "CPU_SLOTS"))?;
        let touched = ArrayOfMaps::try_from(take_map(&mut ebpf, "TOUCHED")?)
            .map_err(map_error("open", "TOUCHED"))?;
        Ok(Self { ebpf, netns, kernel, control, cpu_slots, touched })
    }

    /// Events that the kernel kept from the counting program because it was running already, since the load.
    pub fn missed(&self) -> Result<u64, Error> {
        misses::recursion_misses(self.transitions_fd()?)
            .map_err(|source| Error::System { action: "read the program's fdinfo", source })
    }

    /// The counting program's descriptor, to ask the kernel about it.
    pub fn transitions_fd(&self) -> Result<BorrowedFd<'_>, Error> {
        let program: &BtfTracePoint = program(&self.ebpf, TRANSITIONS)?;
        let fd = program.fd().map_err(program_error("find", TRANSITIONS))?;
        Ok(std::os::fd::AsFd::as_fd(fd))
    }

    /// The counting program, as the kernel describes it: its size, its run time.
    pub fn transitions_info(&self) -> Result<aya::programs::ProgramInfo, Error> {
        let program: &BtfTracePoint = program(&self.ebpf, TRANSITIONS)?;
        program.info().map_err(program_error("describe", TRANSITIONS))
    }

    /// A new walk over the sockets of the calling thread's network namespace; reading it to the end runs the
    /// iterator's program on each.
    pub(crate) fn iterate(&mut self) -> Result<fs::File, Error> {
        let iterator: &mut Iter = program_mut(&mut self.ebpf, ITERATOR)?;
        let link = iterator.attach().map_err(program_error("attach", ITERATOR))?;
        let link = iterator.take_link(link).map_err(program_error("attach", ITERATOR))?;
        link.into_file().map_err(|error| program_error("attach", ITERATOR)(error))
    }

    /// What the kernel half logs, if that was asked for.
    pub fn logger(&mut self) -> Result<aya_log::EbpfLogger<&'static dyn log::Log>, aya_log::Error> {
        aya_log::EbpfLogger::init(&mut self.ebpf)
    }
}

fn flags(options: &Options, kernel: &Kernel) -> u32 {
    let is_atomic = options.atomic.unwrap_or_else(|| kernel.programs_interrupt_themselves());
    [(is_atomic, FLAG_ATOMIC), (options.log, FLAG_LOG), (options.drop_one_in != 0, FLAG_DROP)]
        .into_iter()
        .filter_map(|(is_set, flag)| is_set.then_some(flag))
        .sum()
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
    // The variant without log lines, and a stripped object, have neither.
    loader.override_global("AYA_LOG_LEVEL", &log_level, false);
    if !options.log {
        loader.map_max_entries("AYA_LOGS", 4096);
    }
    loader.load(&object).map_err(|error| Error::Object(Box::new(error)))
}

fn load_programs(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), Error> {
    let iterator: &mut Iter = program_mut(ebpf, ITERATOR)?;
    iterator.load("tcp", btf).map_err(program_error("load", ITERATOR))?;
    let transitions: &mut BtfTracePoint = program_mut(ebpf, TRANSITIONS)?;
    transitions.load(TRANSITIONS, btf).map_err(program_error("load", TRANSITIONS))?;
    transitions.attach().map_err(program_error("attach", TRANSITIONS))?;
    Ok(())
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

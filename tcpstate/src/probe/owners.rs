//! Attaches the programs that count sockets by owner, and opens their maps.

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, MapData, PerCpuArray, Stack},
};
use tcpstate_common::abi::{
    COMM_BYTES, EarlierSocket, FIRST_OWNER, FLAG_OWNERS, OWNER_CGROUP, OWNER_COMM,
    OWNER_LOCAL_PORT, OWNER_NETNS, OWNER_PROCESS, OWNER_REMOTE, OWNER_REMOTE_PORT, OWNER_USER,
    OwnerKey, OwnerMemory, OwnerRow, ProcessKey,
};

use super::{
    Error,
    hooks::{self, Hook},
    programs::{map_error, open},
    socket_table::Capacity,
    tracking,
    types::Types,
};
use crate::report::Key;

/// The default number of owners. The rows of 8,192 owners use 1 MiB for each possible CPU.
pub const MAX_OWNERS: u32 = 8192;
/// The default number of sockets whose owner is stored. The tables for 131,072 full sockets and
/// 131,072 time-wait sockets use 35 MiB.
pub const MAX_OWNED: u32 = 131_072;

/// The tracepoint of processes that end. The BPF program at this tracepoint has the same name.
const EXITS: &str = "sched_process_exit";

/// The options of counting by owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerOptions {
    /// The keys that distinguish owners.
    pub by: Vec<Key>,
    /// The maximum number of owners.
    pub max_owners: u32,
    /// The maximum number of full sockets. This value is also the maximum number of time-wait
    /// sockets.
    pub max_sockets: u32,
}

impl OwnerOptions {
    /// Returns the default options for some keys.
    #[must_use]
    pub fn by(by: Vec<Key>) -> Self {
        Self { by, max_owners: MAX_OWNERS, max_sockets: MAX_OWNED }
    }

    /// Returns the bits of the keys in the configuration of the BPF programs. The programs
    /// distinguish cgroups, and user space finds their units and containers.
    pub(super) fn bits(&self) -> u32 {
        self.by.iter().fold(0, |bits, &key| bits | bit(key))
    }

    pub(super) fn needs_namespaces(&self) -> bool {
        self.bits() & OWNER_NETNS != 0
    }
}

fn bit(key: Key) -> u32 {
    match key {
        Key::Process => OWNER_PROCESS,
        Key::Comm => OWNER_COMM,
        Key::User => OWNER_USER,
        Key::Cgroup | Key::Unit | Key::Container => OWNER_CGROUP,
        Key::Netns => OWNER_NETNS,
        Key::LocalPort => OWNER_LOCAL_PORT,
        Key::Remote => OWNER_REMOTE,
        Key::RemotePort => OWNER_REMOTE_PORT,
        // Only `count` groups by state.
        Key::State => 0,
    }
}

/// The attached program that counts by owner, and its maps.
pub(crate) struct OwnerHook {
    /// The name of the attached program.
    pub(super) program: &'static str,
    /// The keys that distinguish owners.
    pub(crate) by: Vec<Key>,
    /// The bits of the keys in the configuration of the programs.
    pub(crate) bits: u32,
    /// Whether only processes of the program's tree are owners. The sockets that existed before the
    /// start belong to other processes.
    pub(crate) is_of_tree: bool,
    /// The maximum number of owners.
    pub(crate) max_owners: u32,
    /// The number of each owner.
    pub(crate) numbers: HashMap<MapData, OwnerKey, u32>,
    /// The numbers that no owner has.
    pub(crate) free: Stack<MapData, u32>,
    /// The counters of each owner.
    pub(crate) rows: PerCpuArray<MapData, OwnerRow>,
    /// The name that the process of each owner had.
    pub(crate) names: Array<MapData, [u8; COMM_BYTES]>,
    /// The processes that are owners.
    pub(crate) processes: HashMap<MapData, ProcessKey, u32>,
    /// The sockets that existed before the programs were attached.
    pub(crate) earlier: HashMap<MapData, u64, EarlierSocket>,
    /// How often numbers were given to other owners.
    pub(crate) generation: Array<MapData, u64>,
    /// The counts of each CPU that belong to no owner.
    pub(crate) memory: PerCpuArray<MapData, OwnerMemory>,
}

/// Returns the flags of the configuration that enable counting by owner.
pub(super) fn flags(options: Option<&OwnerOptions>) -> u32 {
    options.map_or(0, |_| FLAG_OWNERS)
}

/// Sets the sizes of the maps. `earlier` is the number of sockets that exist already.
pub(super) fn set_map_sizes(
    loader: &mut EbpfLoader<'_>,
    options: &OwnerOptions,
    earlier: u32,
    capacity: Capacity,
) {
    let OwnerOptions { max_owners, max_sockets, .. } = *options;
    loader.map_max_entries("OWNER_NUMBERS", max_owners);
    loader.map_max_entries("FREE_OWNERS", max_owners);
    loader.map_max_entries("OWNER_ROWS", max_owners + FIRST_OWNER);
    loader.map_max_entries("OWNER_NAMES", max_owners + FIRST_OWNER);
    loader.map_max_entries("OWNER_PROCESSES", max_owners);
    loader.map_max_entries("EARLIER_SOCKETS", max_earlier(earlier));
    loader.map_max_entries("ACCEPTED_SOCKETS", max_sockets);
    capacity.set_for_sockets(loader);
    capacity.set(loader, "MINI_OWNER_SLOTS", "MINI_OWNER_EXCESS");
}

/// Returns the size of the map of earlier sockets. The map also holds the sockets that have an
/// event before they are stored.
fn max_earlier(earlier: u32) -> u32 {
    earlier.saturating_add(earlier / 4).saturating_add(1024)
}

/// Attaches the program that tracks sockets and the program that sees processes end.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    types: &Types,
    options: &OwnerOptions,
    is_of_tree: bool,
) -> Result<OwnerHook, Error> {
    let mut free: Stack<MapData, u32> = open(ebpf, "FREE_OWNERS")?;
    // The number that is pushed last is used first.
    for number in (FIRST_OWNER..FIRST_OWNER + options.max_owners).rev() {
        free.push(number, 0).map_err(map_error("update", "FREE_OWNERS"))?;
    }
    if options.bits() & OWNER_PROCESS != 0 {
        hooks::attach(ebpf, Hook { program: EXITS, target: EXITS }, &types.ids)?;
    }
    Ok(OwnerHook {
        program: tracking::attach(ebpf, types)?,
        by: options.by.clone(),
        bits: options.bits(),
        is_of_tree,
        max_owners: options.max_owners,
        numbers: open(ebpf, "OWNER_NUMBERS")?,
        free,
        rows: open(ebpf, "OWNER_ROWS")?,
        names: open(ebpf, "OWNER_NAMES")?,
        processes: open(ebpf, "OWNER_PROCESSES")?,
        earlier: open(ebpf, "EARLIER_SOCKETS")?,
        generation: open(ebpf, "OWNER_GENERATION")?,
        memory: open(ebpf, "OWNER_MEMORY")?,
    })
}

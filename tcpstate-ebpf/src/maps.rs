//! Every map of the kernel half except the [ring](crate::ring), with its size and its purpose. The
//! kernel keeps 15 characters of a map's name.

use aya_ebpf::{
    btf_maps::{Array, ArrayOfMaps, HashMap, PerCpuArray, Queue},
    macros::btf_map,
};
use tcpstate_common::{
    abi::{CpuSlots, EventMemory, NamespaceSlots, OwnerHint, SocketState},
    filter::{PORT_SETS, PortSet},
    histogram::{GroupKey, Histogram, HistogramSlots, TimedMini},
};

use crate::slots::{Slot, Table};

/// The map of a scan: a key for each full socket that was observed since the scan's t0.
///
/// It is a hash map, because the address of a socket has no bound. User space makes a map for each
/// scan, as large as the number of sockets. The size given here is that of the placeholder between
/// scans.
pub(crate) type Touched = HashMap<u64, u32, 1>;

/// Holds the scan's map. An update of this map returns only after every program that ran before the
/// update has ended (`maybe_wait_bpf_programs` in `kernel/bpf/syscall.c`). User space relies on
/// this.
#[btf_map]
pub(crate) static TOUCHED: ArrayOfMaps<Touched, 1> = ArrayOfMaps::new();

/// Time-wait sockets that were in FIN_WAIT2 at their last observation. If several programs observe
/// the move of a socket to TIME_WAIT, the program that removes its entry counts the move.
///
/// User space sizes it by the maximum number of time-wait sockets of the namespace, up to 65,536
/// entries (5 MiB). It holds few sockets, each for a minute at most.
#[btf_map]
pub(crate) static FIN_WAIT2: HashMap<u64, u32, 1> = HashMap::new();

/// All counts, about 6 KiB per possible CPU. The map has one element, so that an event makes one
/// look-up. If families are counted separately, it has one element per [family](crate::families),
/// and an event looks up one of them.
#[btf_map]
pub(crate) static CPU_SLOTS: PerCpuArray<CpuSlots, 1> = PerCpuArray::new();

/// Counters of each network namespace, by its [identity](crate::sock::Net::identity), if namespaces
/// are counted separately.
///
/// User space makes it as large as the user asks, by default 4,096 entries (6 MiB). User space
/// removes the entry of a namespace when the namespace and its sockets are gone.
#[btf_map]
pub(crate) static NAMESPACES: HashMap<u64, NamespaceSlots, 1> = HashMap::new();

/// Initial value of an entry of [`NAMESPACES`]. It is too large for a program's stack.
pub(crate) static BLANK: NamespaceSlots = NamespaceSlots::BLANK;

/// The state of each full socket between its events, for events and histograms. User space enlarges
/// both maps if one of these is enabled.
pub(crate) const SOCKETS: Table<SocketState> =
    Table { slots: &SOCKET_SLOTS, overflow: &SOCKET_OVERFLOW };

/// The sockets that hold the slot of their address.
#[btf_map]
static SOCKET_SLOTS: Array<Slot<SocketState>, 1> = Array::new();

/// The sockets whose slot is taken, by address.
#[btf_map]
static SOCKET_OVERFLOW: HashMap<u64, SocketState, 1> = HashMap::new();

/// Time when each mini socket entered its state, by address; 0 if that was not observed. It is as
/// large as [`SOCKETS`]. It is a separate map, so that many sockets in TIME_WAIT leave room for
/// connections.
#[btf_map]
pub(crate) static MINI_SINCE: HashMap<u64, u64, 1> = HashMap::new();

/// The memory of each CPU from one event to the next.
#[btf_map]
static EVENT_MEMORY: PerCpuArray<EventMemory, 1> = PerCpuArray::new();

/// Owner hints, as many as [`SOCKETS`] has sockets. There are two kinds:
/// * Hints found between two events, by the socket's address. They stay until the socket's next
///   event.
/// * Hints for sockets from before the start, by the inode of the socket's file. They stay until
///   the socket's first event.
///
/// Both kinds share a map, because an inode number is never as large as a kernel address.
#[btf_map]
pub(crate) static OWNER_HINTS: HashMap<u64, OwnerHint, 1> = HashMap::new();

/// The port sets of the event filter, 8 KiB each. A port takes one look-up, regardless of the
/// number of ranges. Programs only read this map.
#[btf_map]
pub(crate) static PORTS: Array<PortSet, PORT_SETS, READ_ONLY> = Array::new();

/// Cached results of the cgroup filter. The lowest bits of a cgroup's number select an element. The
/// element is the cgroup's number shifted left by one, with the result in the lowest bit. A later
/// cgroup overwrites it.
#[btf_map]
pub(crate) static CGROUPS_SEEN: Array<u64, CGROUPS_REMEMBERED> = Array::new();

/// Elements of [`CGROUPS_SEEN`]; a power of two.
pub(crate) const CGROUPS_REMEMBERED: usize = 1024;

/// `BPF_F_RDONLY_PROG`
const READ_ONLY: usize = 1 << 7;

/// The histograms of all sockets together, in two buffers: about 210 KiB per possible CPU. This map
/// and the maps below have their full size only if histograms are enabled.
#[btf_map]
pub(crate) static HISTOGRAMS: PerCpuArray<Histogram, 1> = PerCpuArray::new();

/// The histograms of each group, if sockets are grouped: 210 KiB per group, shared by all CPUs.
#[btf_map]
pub(crate) static GROUPED: Array<Histogram, 1> = Array::new();

/// The ID of each group. The number of keys has no bound; the number of IDs limits the number of
/// groups.
#[btf_map]
pub(crate) static GROUPS: HashMap<GroupKey, u32, 1> = HashMap::new();

/// The IDs that no group has yet; user space fills it. It is a queue, because before 5.12 a program
/// cannot add to a counter and read the result in one step.
#[btf_map]
pub(crate) static GROUP_IDS: Queue<u32, 1> = Queue::new();

/// The state of each time-wait socket until its end, for histograms.
pub(crate) const TIMED_MINIS: Table<TimedMini> =
    Table { slots: &MINI_SLOTS, overflow: &MINI_OVERFLOW };

/// The time-wait sockets that hold the slot of their address.
#[btf_map]
static MINI_SLOTS: Array<Slot<TimedMini>, 1> = Array::new();

/// The time-wait sockets whose slot is taken, by address.
#[btf_map]
static MINI_OVERFLOW: HashMap<u64, TimedMini, 1> = HashMap::new();

/// The start time of each request socket, for histograms.
pub(crate) const TIMED_REQUESTS: Table<u64> =
    Table { slots: &REQUEST_SLOTS, overflow: &REQUEST_EXCESS };

/// The request sockets that hold the slot of their address.
#[btf_map]
static REQUEST_SLOTS: Array<Slot<u64>, 1> = Array::new();

/// The request sockets whose slot is taken, by address.
#[btf_map]
static REQUEST_EXCESS: HashMap<u64, u64, 1> = HashMap::new();

/// The memory of each CPU from one hook to the next for histograms, and counts of sockets that did
/// not fit.
#[btf_map]
static HISTOGRAM_SLOTS: PerCpuArray<HistogramSlots, 1> = PerCpuArray::new();

/// The counts of this CPU: the first element, which also has the counts that belong to no socket.
#[inline(always)]
pub(crate) fn cpu_slots() -> Option<*mut CpuSlots> {
    CPU_SLOTS.get_ptr_mut(0)
}

/// This CPU's memory for events.
#[inline(always)]
pub(crate) fn event_memory() -> Option<*mut EventMemory> {
    EVENT_MEMORY.get_ptr_mut(0)
}

/// This CPU's memory for histograms.
#[inline(always)]
pub(crate) fn histogram_slots() -> Option<*mut HistogramSlots> {
    HISTOGRAM_SLOTS.get_ptr_mut(0)
}

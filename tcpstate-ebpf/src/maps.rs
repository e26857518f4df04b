//! Every map of the kernel half but the [ring](crate::ring), each with its size and its reason. The kernel
//! keeps 15 letters of a name.

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
/// A hash map, because nothing bounds a socket's address. It lives for the length of a scan: the size given here is
/// that of the stand-in between scans, and user space makes one as large as the population for each scan.
pub(crate) type Touched = HashMap<u64, u32, 1>;

/// Holds the scan's map. An update of it returns only when every program that ran before has ended
/// (`maybe_wait_bpf_programs` in `kernel/bpf/syscall.c`), which user space relies on.
#[btf_map]
pub(crate) static TOUCHED: ArrayOfMaps<Touched, 1> = ArrayOfMaps::new();

/// Time-wait sockets that were in FIN_WAIT2 at their last observation. The program that removes an entry is the one that
/// saw the socket leave that state.
///
/// User space makes it as large as there may be time-wait sockets in the namespace, and no larger than 65,536, which
/// are 5 MiB: they are few, for a minute at most each.
#[btf_map]
pub(crate) static FIN_WAIT2: HashMap<u64, u32, 1> = HashMap::new();

/// All counts, about 6 KiB for each possible CPU. One element, so that an event makes one look-up; or, where families are
/// counted apart, one for [each](crate::families), of which an event looks up one.
#[btf_map]
pub(crate) static CPU_SLOTS: PerCpuArray<CpuSlots, 1> = PerCpuArray::new();

/// Counters of each network namespace, by its [identity](crate::sock::Net::identity), where they are asked for.
///
/// User space makes it as large as was asked for then, by default 4,096 entries, which are 6 MiB. User space takes out a
/// namespace that is gone once its sockets are gone too.
#[btf_map]
pub(crate) static NAMESPACES: HashMap<u64, NamespaceSlots, 1> = HashMap::new();

/// How an entry of [`NAMESPACES`] begins: too large for a program's stack.
pub(crate) static BLANK: NamespaceSlots = NamespaceSlots::BLANK;

/// The state of each full socket between its events, where events or histograms are asked for; user space makes both maps
/// larger then.
pub(crate) const SOCKETS: Table<SocketState> =
    Table { slots: &SOCKET_SLOTS, overflow: &SOCKET_OVERFLOW };

/// The sockets that have the slot of their address.
#[btf_map]
static SOCKET_SLOTS: Array<Slot<SocketState>, 1> = Array::new();

/// The other sockets, by address.
#[btf_map]
static SOCKET_OVERFLOW: HashMap<u64, SocketState, 1> = HashMap::new();

/// When each mini socket came into its state, by its address; 0 if that was not observed. As large as [`SOCKETS`], and apart
/// from it, so that a host full of TIME_WAIT has room for its connections.
#[btf_map]
pub(crate) static MINI_SINCE: HashMap<u64, u64, 1> = HashMap::new();

/// What a CPU remembers from one event to the next.
#[btf_map]
static EVENT_MEMORY: PerCpuArray<EventMemory, 1> = PerCpuArray::new();

/// Owners found out between events, by the socket's address, until its next event; and those of sockets from before the
/// start, by the inode of the socket's file, until their first event. As large as [`SOCKETS`].
///
/// One map for both, since no inode is as large as an address of the kernel's.
#[btf_map]
pub(crate) static OWNER_HINTS: HashMap<u64, OwnerHint, 1> = HashMap::new();

/// The sets of ports that events are filtered by, 8 KiB each: one look-up, however many ranges there are. Programs only read
/// them.
#[btf_map]
pub(crate) static PORTS: Array<PortSet, PORT_SETS, READ_ONLY> = Array::new();

/// Verdicts on cgroups that are filtered by: a cgroup's number, doubled, and the verdict in the lowest bit. A cgroup lies at
/// the place that the lowest bits of its number name, until another cgroup takes the place.
#[btf_map]
pub(crate) static CGROUPS_SEEN: Array<u64, CGROUPS_REMEMBERED> = Array::new();

/// A power of two.
pub(crate) const CGROUPS_REMEMBERED: usize = 1024;

/// `BPF_F_RDONLY_PROG`
const READ_ONLY: usize = 1 << 7;

/// The histograms of all sockets together, in both buffers: some 210 KiB for each possible CPU. This map and those that
/// follow are only as large as that where histograms are asked for.
#[btf_map]
pub(crate) static HISTOGRAMS: PerCpuArray<Histogram, 1> = PerCpuArray::new();

/// The histograms of each group, where sockets are grouped: 210 KiB a group, shared by all CPUs.
#[btf_map]
pub(crate) static GROUPED: Array<Histogram, 1> = Array::new();

/// The number of each group. Nothing bounds the keys of groups; the numbers that there are bound the groups.
#[btf_map]
pub(crate) static GROUPS: HashMap<GroupKey, u32, 1> = HashMap::new();

/// The numbers that no group has yet; user space puts them in. A queue, because before 5.12 no program can add to a
/// counter and see the sum.
#[btf_map]
pub(crate) static GROUP_IDS: Queue<u32, 1> = Queue::new();

/// The state of each time-wait socket until its end, for histograms.
pub(crate) const TIMED_MINIS: Table<TimedMini> =
    Table { slots: &MINI_SLOTS, overflow: &MINI_OVERFLOW };

/// As [`SOCKET_SLOTS`].
#[btf_map]
static MINI_SLOTS: Array<Slot<TimedMini>, 1> = Array::new();

/// As [`SOCKET_OVERFLOW`].
#[btf_map]
static MINI_OVERFLOW: HashMap<u64, TimedMini, 1> = HashMap::new();

/// When each request socket began, for histograms.
pub(crate) const TIMED_REQUESTS: Table<u64> =
    Table { slots: &REQUEST_SLOTS, overflow: &REQUEST_EXCESS };

/// As [`SOCKET_SLOTS`].
#[btf_map]
static REQUEST_SLOTS: Array<Slot<u64>, 1> = Array::new();

/// As [`SOCKET_OVERFLOW`].
#[btf_map]
static REQUEST_EXCESS: HashMap<u64, u64, 1> = HashMap::new();

/// What each CPU remembers from one hook to the next, and counts of sockets that had no room.
#[btf_map]
static HISTOGRAM_SLOTS: PerCpuArray<HistogramSlots, 1> = PerCpuArray::new();

/// This CPU's counts; the first element, for what belongs to no socket.
#[inline(always)]
pub(crate) fn cpu_slots() -> Option<*mut CpuSlots> {
    CPU_SLOTS.get_ptr_mut(0)
}

/// What this CPU remembers for events.
#[inline(always)]
pub(crate) fn event_memory() -> Option<*mut EventMemory> {
    EVENT_MEMORY.get_ptr_mut(0)
}

/// What this CPU remembers for histograms.
#[inline(always)]
pub(crate) fn histogram_slots() -> Option<*mut HistogramSlots> {
    HISTOGRAM_SLOTS.get_ptr_mut(0)
}

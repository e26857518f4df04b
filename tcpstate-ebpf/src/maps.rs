//! Every map of the BPF programs except the [ring](crate::ring), with its size and its purpose. The
//! kernel stores only 15 characters of a map's name.

use aya_ebpf::{
    btf_maps::{Array, ArrayOfMaps, HashMap, PerCpuArray, Queue, Stack},
    macros::btf_map,
};
use tcpstate_common::{
    abi::{
        AcceptedSocket, COMM_BYTES, Callers, ConnectionRecord, ConnectionSum, CpuSlots,
        EarlierSocket, EventMemory, FAILED_CONNECT_SLOTS, MiniOwner, MiniState, NamespaceSlots,
        OwnerHint, OwnerKey, OwnerMemory, OwnerRow, ProcessKey, SocketState,
    },
    filter::{PORT_SETS, PortSet},
    histogram::{GroupKey, Histogram, HistogramSlots, SERVER_PORTS_OF_ELEMENT, TimedMini},
};

use crate::slots::{Slot, Table};

/// The map of a scan, with one key for each socket that was observed since the scan's t0.
///
/// The map is a hash map, because the addresses of sockets have no upper bound. User space creates
/// a map for each scan, with space for the number of sockets. The size given here is the size of
/// the placeholder between scans.
pub(crate) type Touched = HashMap<u64, u32, 1>;

/// Holds the map of the running scan. An update of this map returns only after every program that
/// ran before the update has returned (`maybe_wait_bpf_programs` in `kernel/bpf/syscall.c`). User
/// space updates this map to wait for running programs.
#[btf_map]
pub(crate) static TOUCHED: ArrayOfMaps<Touched, 1> = ArrayOfMaps::new();

/// Time-wait sockets that were in FIN_WAIT2 at their last observation. If several programs observe
/// the move of a socket to TIME_WAIT, only the program that removes the socket's entry counts the
/// move.
///
/// User space sets the size of this map to the maximum number of time-wait sockets of the
/// namespace, up to 65,536 entries (5 MiB). This map holds few sockets, because a mini socket stays
/// in FIN_WAIT2 for at most a minute.
#[btf_map]
pub(crate) static FIN_WAIT2: HashMap<u64, u32, 1> = HashMap::new();

/// The counts of all CPUs, about 6 KiB per possible CPU. Each CPU has one element, so that an event
/// needs only one look-up. If families are counted separately, each CPU has one element per
/// [family](crate::families), and an event looks up the element of its family.
#[btf_map]
pub(crate) static CPU_SLOTS: PerCpuArray<CpuSlots, 1> = PerCpuArray::new();

/// The counters of each network namespace, used if namespaces are counted separately. The key is
/// the namespace's [identity](crate::sock::Net::identity).
///
/// User space sets the size of this map to the limit that the user chose, by default 4,096 entries
/// (6 MiB). User space removes the entry of a namespace when the namespace and its sockets are
/// gone.
#[btf_map]
pub(crate) static NAMESPACES: HashMap<u64, NamespaceSlots, 1> = HashMap::new();

/// The initial value of an entry of [`NAMESPACES`]. The initial value is too large for a program's
/// stack.
pub(crate) static BLANK: NamespaceSlots = NamespaceSlots::BLANK;

/// The state of each full socket between its events, for events and histograms. User space gives
/// both maps of the table their full size only if events or histograms are enabled.
pub(crate) const SOCKETS: Table<SocketState> =
    Table { slots: &SOCKET_SLOTS, overflow: &SOCKET_OVERFLOW };

/// The slots of the socket table; each slot holds the state of at most one socket.
#[btf_map]
static SOCKET_SLOTS: Array<Slot<SocketState>, 1> = Array::new();

/// The states of the sockets whose slot is taken, by address.
#[btf_map]
static SOCKET_OVERFLOW: HashMap<u64, SocketState, 1> = HashMap::new();

/// What is known of each connection before its last event. Both maps of the table are as large as
/// those of [`SOCKETS`] if connections are enabled.
pub(crate) const CONNECTIONS: Table<ConnectionSum> =
    Table { slots: &CONNECTION_SLOTS, overflow: &CONNECTION_EXCESS };

/// The slots of the table of connections; each slot holds at most one connection.
#[btf_map]
static CONNECTION_SLOTS: Array<Slot<ConnectionSum>, 1> = Array::new();

/// The connections whose slot is taken, by the address of the socket.
#[btf_map]
static CONNECTION_EXCESS: HashMap<u64, ConnectionSum, 1> = HashMap::new();

/// The record of the open connection that an iterator visits. A record is too large for the stack.
#[btf_map]
pub(crate) static PENDING: PerCpuArray<ConnectionRecord, 1> = PerCpuArray::new();

/// The state of each mini socket between its events, by address. The map is as large as
/// [`SOCKETS`]. Mini sockets have a separate map, so that many sockets in TIME_WAIT do not use the
/// space for connections.
#[btf_map]
pub(crate) static MINI_STATES: HashMap<u64, MiniState, 1> = HashMap::new();

/// The processes that opened and closed each connection whose close has begun, until its full
/// socket closes: see [`crate::closers`].
#[btf_map]
pub(crate) static CLOSERS: HashMap<u64, Callers, 1> = HashMap::new();

/// The data that each CPU keeps from one event to the next.
#[btf_map]
static EVENT_MEMORY: PerCpuArray<EventMemory, 1> = PerCpuArray::new();

/// The owner hints; their maximum number is the number of sockets that [`SOCKETS`] can hold. The
/// map holds two kinds of hints:
/// * Hints that were found between two events of a socket, by the socket's address. A hint found
///   between two events stays in the map until the socket's next event.
/// * Hints for sockets that existed before tcpstate started, by the inode of the socket's file. A
///   hint found at the start of tcpstate stays in the map until the socket's first event.
///
/// Both kinds of hints share a map, because an inode number is never as large as a kernel address.
#[btf_map]
pub(crate) static OWNER_HINTS: HashMap<u64, OwnerHint, 1> = HashMap::new();

/// The port sets of the event filter, 8 KiB each. The check of a port needs one look-up, regardless
/// of the number of port ranges in the filter. The programs only read the port sets.
#[btf_map]
pub(crate) static PORTS: Array<PortSet, PORT_SETS, READ_ONLY> = Array::new();

/// The cached results of the cgroup filter. The lowest bits of a cgroup's number select an element
/// of the map. An element holds the cgroup's number shifted left by one, with the filter's result
/// in the lowest bit. A later cgroup with the same lowest bits overwrites the element.
#[btf_map]
pub(crate) static CGROUPS_SEEN: Array<u64, CGROUPS_REMEMBERED> = Array::new();

/// Number of elements of [`CGROUPS_SEEN`]; a power of two.
pub(crate) const CGROUPS_REMEMBERED: usize = 1024;

/// `BPF_F_RDONLY_PROG`
const READ_ONLY: usize = 1 << 7;

/// The histograms of all sockets together, in two buffers: about 210 KiB per possible CPU. This map
/// and the following maps of the file have their full size only if histograms are enabled.
#[btf_map]
pub(crate) static HISTOGRAMS: PerCpuArray<Histogram, 1> = PerCpuArray::new();

/// The histograms of each group, if sockets are grouped: 210 KiB per group, shared by all CPUs.
#[btf_map]
pub(crate) static GROUPED: Array<Histogram, 1> = Array::new();

/// The ID of each group, by its key. The number of possible keys has no bound, so the number of IDs
/// limits the number of groups.
#[btf_map]
pub(crate) static GROUPS: HashMap<GroupKey, u32, 1> = HashMap::new();

/// The IDs that no group uses yet; user space fills this queue. The IDs are in a queue, because
/// before 5.12 a program cannot add to a counter and read the result in one step.
#[btf_map]
pub(crate) static GROUP_IDS: Queue<u32, 1> = Queue::new();

/// The ports on which a process has listened. A port is 1 byte of 8,192 elements of 8 bytes. The
/// map has its full size only if sockets are grouped by port.
#[btf_map]
pub(crate) static SERVER_PORTS: Array<[u8; SERVER_PORTS_OF_ELEMENT], 1> = Array::new();

/// The state of each time-wait socket until the socket ends, for histograms.
pub(crate) const TIMED_MINIS: Table<TimedMini> =
    Table { slots: &MINI_SLOTS, overflow: &MINI_OVERFLOW };

/// The slots of the table of time-wait sockets; each slot holds the state of at most one socket.
#[btf_map]
static MINI_SLOTS: Array<Slot<TimedMini>, 1> = Array::new();

/// The states of the time-wait sockets whose slot is taken, by address.
#[btf_map]
static MINI_OVERFLOW: HashMap<u64, TimedMini, 1> = HashMap::new();

/// The time when each request socket was created, for histograms.
pub(crate) const TIMED_REQUESTS: Table<u64> =
    Table { slots: &REQUEST_SLOTS, overflow: &REQUEST_EXCESS };

/// The slots of the table of request sockets; each slot holds the start time of at most one socket.
#[btf_map]
static REQUEST_SLOTS: Array<Slot<u64>, 1> = Array::new();

/// The start times of the request sockets whose slot is taken, by address.
#[btf_map]
static REQUEST_EXCESS: HashMap<u64, u64, 1> = HashMap::new();

/// The data that each CPU keeps for histograms from one hook to the next, and counts of sockets
/// that did not fit.
#[btf_map]
static HISTOGRAM_SLOTS: PerCpuArray<HistogramSlots, 1> = PerCpuArray::new();

/// The number of each owner. This map and the following maps of the file have their full size only
/// if sockets are counted by owner.
#[btf_map]
pub(crate) static OWNER_NUMBERS: HashMap<OwnerKey, u32, 1> = HashMap::new();

/// The numbers that no owner has; user space fills this stack. The numbers are on a stack, so that
/// low numbers are used first, and user space reads few rows.
#[btf_map]
pub(crate) static FREE_OWNERS: Stack<u32, 1> = Stack::new();

/// The counters of each owner, 128 bytes per owner and possible CPU.
#[btf_map]
pub(crate) static OWNER_ROWS: PerCpuArray<OwnerRow, 1> = PerCpuArray::new();

/// The name that the process of each owner had when the owner was given a number.
#[btf_map]
pub(crate) static OWNER_NAMES: Array<[u8; COMM_BYTES], 1> = Array::new();

/// The processes that are owners. The value is 1 if the process has ended.
#[btf_map]
pub(crate) static OWNER_PROCESSES: HashMap<ProcessKey, u32, 1> = HashMap::new();

/// The sockets that existed before tcpstate started, by cookie, until their first event.
#[btf_map]
pub(crate) static EARLIER_SOCKETS: HashMap<u64, EarlierSocket, 1> = HashMap::new();

/// The children that processes have accepted, by address, until the next event of the child.
#[btf_map]
pub(crate) static ACCEPTED_SOCKETS: HashMap<u64, AcceptedSocket, 1> = HashMap::new();

/// The owner of each time-wait socket until the socket ends.
pub(crate) const MINI_OWNERS: Table<MiniOwner> =
    Table { slots: &MINI_OWNER_SLOTS, overflow: &MINI_OWNER_EXCESS };

/// The slots of the table of owners of time-wait sockets.
#[btf_map]
static MINI_OWNER_SLOTS: Array<Slot<MiniOwner>, 1> = Array::new();

/// The owners of the time-wait sockets whose slot is taken, by address.
#[btf_map]
static MINI_OWNER_EXCESS: HashMap<u64, MiniOwner, 1> = HashMap::new();

/// The owners of the time-wait sockets that count in FIN_WAIT2. If several programs observe the
/// move of a socket to TIME_WAIT, only the program that removes the socket's entry counts the move.
/// The map is as large as [`FIN_WAIT2`].
#[btf_map]
pub(crate) static OWNED_FIN_WAIT2: HashMap<u64, u32, 1> = HashMap::new();

/// The data that each CPU keeps for counters by owner.
#[btf_map]
pub(crate) static OWNER_MEMORY: PerCpuArray<OwnerMemory, 1> = PerCpuArray::new();

/// The number of failed connects for each error, if user space asks for them.
#[btf_map]
pub(crate) static FAILED_CONNECTS: PerCpuArray<[u64; FAILED_CONNECT_SLOTS], 1> = PerCpuArray::new();

/// How often user space gave numbers of owners that have gone to other owners.
#[btf_map]
pub(crate) static OWNER_GENERATION: Array<u64, 1, READ_ONLY> = Array::new();

/// The processes of a program's tree: see [`program_tree`](crate::program_tree). The map has its
/// full size only if the filter has a condition on the tree.
#[btf_map]
pub(crate) static PROGRAM_TREE: HashMap<ProcessKey, u32, 1> = HashMap::new();

/// The number of processes of the tree that did not fit in [`PROGRAM_TREE`].
#[btf_map]
pub(crate) static TREE_LOSSES: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Returns this CPU's first element of [`CPU_SLOTS`], which also has the counts that belong to no
/// socket.
#[inline(always)]
pub(crate) fn cpu_slots() -> Option<*mut CpuSlots> {
    CPU_SLOTS.get_ptr_mut(0)
}

/// Returns this CPU's memory for events.
#[inline(always)]
pub(crate) fn event_memory() -> Option<*mut EventMemory> {
    EVENT_MEMORY.get_ptr_mut(0)
}

/// Returns this CPU's memory for histograms.
#[inline(always)]
pub(crate) fn histogram_slots() -> Option<*mut HistogramSlots> {
    HISTOGRAM_SLOTS.get_ptr_mut(0)
}

//! Every map and global of the kernel half, each with its size and its reason. The kernel keeps 15 letters of a name.

use aya_ebpf::{
    Global,
    btf_maps::{Array, ArrayOfMaps, HashMap, PerCpuArray, Queue, RingBuf},
    macros::btf_map,
};
use tcpstate_common::{
    abi::{
        Claim, Config, Control, CpuSlots, EventLosses, EventMemory, EventOffsets, EventRecord,
        Life, MiniOffsets, NamespaceSlots, Offsets, OwnerOffsets, RecordOffsets,
    },
    filter::{FilterConfig, PORT_SETS, PortSet},
    histogram::{GroupKey, Histogram, HistogramSlots, TimedLife, TimedMini},
};

use crate::lives::{Lives, Seat};

/// One field of the configuration. A read of the field alone, so that the verifier knows its value.
macro_rules! config {
    ($($field:ident).+) => {{
        let config = $crate::maps::config_ptr();
        // SAFETY: `CONFIG` is initialised, lives for ever and is frozen before the programs run.
        #[allow(unused_unsafe, reason = "some who read a field are about to read memory by it")]
        let value = unsafe { (&raw const (*config).$($field).+).read_volatile() };
        value
    }};
}
pub(crate) use config;

/// The map of a pass: a key for each full socket that was touched since the pass's moment zero.
///
/// A hash, because nothing bounds a socket's address. It lives for the length of a pass: the size given here is
/// that of the stand-in between passes, and user space makes one as large as the population for each pass.
pub(crate) type Touched = HashMap<u64, u32, 1>;

/// Holds the pass's map. An update of it returns only when every program that ran before has ended
/// (`maybe_wait_bpf_programs` in `kernel/bpf/syscall.c`), which user space relies on.
#[btf_map]
pub(crate) static TOUCHED: ArrayOfMaps<Touched, 1> = ArrayOfMaps::new();

/// Time-wait sockets that were in FIN_WAIT2 when last looked at. Who removes an entry saw the socket leave that state,
/// and nobody else did.
///
/// User space makes it as large as there may be time-wait sockets in the namespace, and no larger than 65,536, which
/// are 5 MiB: they are few, for a minute at most each.
#[btf_map]
pub(crate) static FIN_WAIT2: HashMap<u64, u32, 1> = HashMap::new();

/// All counts, about 6 KiB for each possible CPU. One element, so that an event makes one lookup; or, where families are
/// told apart, one for [each](crate::families), of which an event looks up one.
#[btf_map]
pub(crate) static CPU_SLOTS: PerCpuArray<CpuSlots, 1> = PerCpuArray::new();

/// A row for each network namespace, by its [identity](crate::sock::Net::identity), where rows are asked for.
///
/// User space makes it as large as was asked for then, by default 4,096 entries, which are 6 MiB; and takes out those
/// whose namespace is gone and whose sockets are too.
#[btf_map]
pub(crate) static NAMESPACES: HashMap<u64, NamespaceSlots, 1> = HashMap::new();

/// How an entry of [`NAMESPACES`] begins: too large for a program's stack.
pub(crate) static BLANK: NamespaceSlots = NamespaceSlots::BLANK;

/// Events on their way to user space, oldest first. No record wakes the reader, who comes by a timer: a wakeup would cost
/// ten times the record, and interrupt the very programs that write them.
///
/// User space makes it as large as was asked for, where events are asked for.
#[btf_map]
pub(crate) static EVENTS: RingBuf<EventRecord, 4096> = RingBuf::new();

/// What is remembered of each socket between its events, where events are asked for; both maps are made larger then.
pub(crate) const LIVES: Lives<Life> = Lives { seats: &LIFE_SEATS, others: &LIFE_OTHERS };

/// Of the sockets that sit at the place that their address names.
#[btf_map]
static LIFE_SEATS: Array<Seat<Life>, 1> = Array::new();

/// Of the others, by address.
#[btf_map]
static LIFE_OTHERS: HashMap<u64, Life, 1> = HashMap::new();

/// Since when each mini socket is in its state, by its address; 0 if nobody saw that begin. As large as [`LIVES`], and apart
/// from it, so that a host full of TIME_WAIT has room for its connections.
#[btf_map]
pub(crate) static MINI_LIVES: HashMap<u64, u64, 1> = HashMap::new();

/// What a CPU remembers from one event to the next.
#[btf_map]
pub(crate) static EVENT_MEMORY: PerCpuArray<EventMemory, 1> = PerCpuArray::new();

/// Owners found out between events, by the socket's address, until its next event; and those of sockets that were there
/// before, by the inode of the socket's file, until its first one. Made as large as [`LIVES`].
///
/// One map for both, since no inode is as large as an address of the kernel's.
#[btf_map]
pub(crate) static CLAIMS: HashMap<u64, Claim, 1> = HashMap::new();

/// The sets of ports that events are filtered by, 8 KiB each: one lookup, however many ranges there are. Programs only read
/// them.
#[btf_map]
pub(crate) static PORTS: Array<PortSet, PORT_SETS, READ_ONLY> = Array::new();

/// What was found out about cgroups that are filtered by: their number, doubled, and whether they are meant in the lowest bit.
/// Each in the place that its number's lowest bits name, until another one takes it.
#[btf_map]
pub(crate) static CGROUPS_SEEN: Array<u64, CGROUPS_REMEMBERED> = Array::new();

/// A power of two.
pub(crate) const CGROUPS_REMEMBERED: usize = 1024;

/// `BPF_F_RDONLY_PROG`
const READ_ONLY: usize = 1 << 7;

/// What there was no room for.
#[btf_map]
pub(crate) static EVENT_LOSSES: PerCpuArray<EventLosses, 1> = PerCpuArray::new();

/// The histograms of all sockets together, in both buffers: some 210 KiB for each possible CPU. Like all that follows of
/// histograms as large as that only where they are asked for.
#[btf_map]
pub(crate) static HISTOGRAMS: PerCpuArray<Histogram, 1> = PerCpuArray::new();

/// The histograms of each group, where sockets are told apart: 210 KiB a group, shared by all CPUs.
#[btf_map]
pub(crate) static GROUPED: Array<Histogram, 1> = Array::new();

/// The number of each group. Nothing bounds what groups are told apart by; the numbers that there are bound the groups.
#[btf_map]
pub(crate) static GROUPS: HashMap<GroupKey, u32, 1> = HashMap::new();

/// The numbers that no group has yet; user space puts them in. A queue, because kernels before 5.12 let no program add to a
/// counter and see the sum.
#[btf_map]
pub(crate) static GROUP_IDS: Queue<u32, 1> = Queue::new();

/// What is remembered of each full socket between its events.
pub(crate) const TIMED_LIVES: Lives<TimedLife> =
    Lives { seats: &TIMED_SEATS, others: &TIMED_OTHERS };

/// As [`LIFE_SEATS`].
#[btf_map]
static TIMED_SEATS: Array<Seat<TimedLife>, 1> = Array::new();

/// As [`LIFE_OTHERS`].
#[btf_map]
static TIMED_OTHERS: HashMap<u64, TimedLife, 1> = HashMap::new();

/// What is remembered of each time-wait socket until its end.
pub(crate) const TIMED_MINIS: Lives<TimedMini> = Lives { seats: &MINI_SEATS, others: &MINI_OTHERS };

/// As [`LIFE_SEATS`].
#[btf_map]
static MINI_SEATS: Array<Seat<TimedMini>, 1> = Array::new();

/// As [`LIFE_OTHERS`].
#[btf_map]
static MINI_OTHERS: HashMap<u64, TimedMini, 1> = HashMap::new();

/// When each request socket began.
pub(crate) const TIMED_REQUESTS: Lives<u64> =
    Lives { seats: &REQUEST_SEATS, others: &REQUEST_OTHERS };

/// As [`LIFE_SEATS`].
#[btf_map]
static REQUEST_SEATS: Array<Seat<u64>, 1> = Array::new();

/// As [`LIFE_OTHERS`].
#[btf_map]
static REQUEST_OTHERS: HashMap<u64, u64, 1> = HashMap::new();

/// What each CPU remembers from one hook to the next, and what there was no room for.
#[btf_map]
pub(crate) static HISTOGRAM_SLOTS: PerCpuArray<HistogramSlots, 1> = PerCpuArray::new();

/// What user space decided before the load.
#[unsafe(no_mangle)]
static CONFIG: Global<Config> = Global::new(Config {
    tw_timer_handler: 0,
    reqsk_timer_handler: 0,
    drop_one_in: 0,
    flags: 0,
    netns: 0,
    family: 0,
    tcp_tw_rst: 0,
    tcp_tw_syn: 0,
    seat_shift: 0,
    is_plain: 0,
    offsets: Offsets {
        sk_protocol: 0,
        skc_state: 0,
        skc_family: 0,
        skc_prot: 0,
        skc_net: 0,
        net_inum: 0,
        net_identity: 0,
        net_users: 0,
    },
    minis: MiniOffsets {
        tw_substate: 0,
        tw_timer: 0,
        skc_refcnt: 0,
        timer_function: 0,
        rsk_timer: 0,
        num_timeout: 0,
        num_timeout_mask: 0,
    },
    record: RecordOffsets { skaddr: 0, oldstate: 0, newstate: 0 },
    events: EventOffsets {
        skc_rcv_saddr: 0,
        skc_daddr: 0,
        skc_v6_rcv_saddr: 0,
        skc_v6_daddr: 0,
        skc_num: 0,
        skc_dport: 0,
        skc_cookie: 0,
        sk_uid: 0,
        sk_err: 0,
        sk_shutdown: 0,
        inet_sport: 0,
        task_flags: 0,
        group_leader: 0,
        comm: 0,
    },
    owners: OwnerOffsets {
        sk_cgroup: 0,
        cgroup_is_number: 0,
        cgroup_kn: 0,
        kn_id: 0,
        kn_parent: 0,
        sk_socket: 0,
        socket_file: 0,
        socket_inode: 0,
    },
});

/// What events are filtered by, as user space decided before the load.
#[unsafe(no_mangle)]
static FILTER: Global<FilterConfig> = Global::new(FilterConfig::NONE);

/// What changes while the programs run.
#[unsafe(no_mangle)]
static mut CONTROL: Control =
    Control { unused: 0, word: 0, reserved: 0, own_net: 0, tcp_protos: [0; 2] };

/// The control word as it stands.
#[inline(always)]
pub(crate) fn control() -> u32 {
    // SAFETY: a 32-bit read of memory that user space replaces one byte of; volatile, because it changes.
    unsafe { (&raw const CONTROL.word).read_volatile() }
}

/// Whether sockets of this namespace (0: of any) and protocol are known to be counted.
#[inline(always)]
pub(crate) fn is_known(net: u64, proto: u64) -> bool {
    // SAFETY: 64-bit reads of memory that programs write in one piece.
    let is_proto = |index| unsafe {
        proto == (&raw const CONTROL.tcp_protos).cast::<u64>().add(index).read_volatile()
    };
    is_own_net(net) && (is_proto(0) || is_proto(1))
}

/// Whether this is known to be the namespace that is counted; 0 is, where all are.
#[inline(always)]
pub(crate) fn is_own_net(net: u64) -> bool {
    // SAFETY: a 64-bit read of memory that programs write in one piece.
    net == unsafe { (&raw const CONTROL.own_net).read_volatile() }
}

/// Remembers that sockets of this namespace and protocol are counted.
///
/// Both outlive this program: user space is in the namespace, and a module's protocol never becomes another one
/// while sockets of the namespace use it.
#[inline(always)]
pub(crate) fn know(net: u64, proto: u64) {
    // SAFETY: 64-bit reads and stores. Who races stores the same, or what will be learnt again.
    unsafe {
        (&raw mut CONTROL.own_net).write_volatile(net);
        let protos = (&raw mut CONTROL.tcp_protos).cast::<u64>();
        let free = if protos.read_volatile() == 0 { protos } else { protos.add(1) };
        if free.read_volatile() == 0 {
            free.write_volatile(proto);
        }
    }
}

/// Where the configuration lies; read it by [`config!`].
#[inline(always)]
pub(crate) fn config_ptr() -> *const Config {
    (&raw const CONFIG).cast()
}

/// Where the filter's configuration lies.
#[inline(always)]
pub(crate) fn filter_ptr() -> *const FilterConfig {
    (&raw const FILTER).cast()
}

/// This CPU's counts; the first element, for what belongs to no socket.
#[inline(always)]
pub(crate) fn cpu_slots() -> Option<*mut CpuSlots> {
    CPU_SLOTS.get_ptr_mut(0)
}

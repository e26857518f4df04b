//! The memory that the two halves share: what user space sets before loading, and what the programs count.
//!
//! Everything here is `repr(C)` without padding, and every array is as long as a power of two, so that a masked
//! index satisfies the verifier.

use crate::State;

/// Slots of an array indexed by a state's kernel number; one more than the largest number, rounded up.
pub const STATE_SLOTS: usize = 16;

/// Slots of a transition matrix: one for each pair of states.
pub const TRANSITION_SLOTS: usize = STATE_SLOTS * STATE_SLOTS;

/// Bit of [`Control::word`] that says which of the two buffers takes the counts.
pub const CONTROL_BUFFER: u32 = 1;

/// Bit of [`Control::word`] that says that a pass runs: the gate is open, and first touches count to the base.
///
/// It shares a byte with [`CONTROL_BUFFER`] so that one store moves both: an event sees either the time before
/// a pass or the time of the pass, in both respects.
pub const CONTROL_GATE: u32 = 2;

/// Bit of [`Control::word`] that says that timers tell of time-wait sockets.
pub const CONTROL_TIME_WAIT_TIMERS: u32 = 4;

/// Bit of [`Control::word`] that says that timers tell of request sockets.
pub const CONTROL_SYN_RECV_TIMERS: u32 = 32;

/// Bit of [`Control::word`] that says that time-wait sockets are counted, so that a pass visits them too.
pub const CONTROL_TIME_WAIT: u32 = 8;

/// Bit of [`Control::word`] that says that request sockets are counted, so that a pass visits them too.
pub const CONTROL_SYN_RECV: u32 = 16;

/// Bit of [`Control::word`] that says that events are written down. In the byte that moves with [`CONTROL_BUFFER`], so
/// that lines begin and end at a cut.
pub const CONTROL_EVENTS: u32 = 64;

/// The slot of a transition in [`Counters::transitions`]; state numbers beyond the slots wrap.
#[must_use]
pub const fn transition_slot(from: usize, to: usize) -> usize {
    ((from & (STATE_SLOTS - 1)) * STATE_SLOTS) | (to & (STATE_SLOTS - 1))
}

/// Whether this event is the birth of a socket, which enters a state without leaving one.
///
/// `inet_csk_clone_lock` reports a child as `LISTEN -> SYN_RECV`, or as `CLOSE -> SYN_RECV` where the listener
/// was closed meanwhile; the listener itself stays. And CLOSE is no gauge, so whatever leaves it is born.
#[must_use]
#[inline]
pub const fn is_birth(from: usize, to: usize) -> bool {
    from == State::Close as usize
        || (from == State::Listen as usize && to == State::SynRecv as usize)
}

/// Whether what is remembered of a socket, its state and its peer's port (0 if it has none yet), fits an event of it. If not, an event
/// was missed: of this socket, or the end of another one that was at its address.
#[must_use]
#[inline]
pub const fn is_same_life(
    state: usize,
    peer: u16,
    from: usize,
    to: usize,
    remote_port: u16,
) -> bool {
    !is_birth(from, to) && state == from && (peer == 0 || peer == remote_port)
}

/// The traffic through one state. The two numbers lie side by side, and the states in the kernel's order, so that
/// most transitions find all four numbers that they touch in one or two cache lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Flow {
    /// Sockets that came into the state.
    pub entered: u64,
    /// Sockets that went out of it.
    pub left: u64,
}

/// What one CPU counted while its buffer was the active one. Counts only grow.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Counters {
    /// By the state's kernel number.
    pub states: [Flow; STATE_SLOTS],
    /// Events as the tracepoint reported them, by [`transition_slot`].
    pub transitions: [u64; TRANSITION_SLOTS],
}

/// What one CPU counted of mini sockets while its buffer was the active one: time-wait sockets by their substate,
/// request sockets in `SYN_RECV`. Apart from the full sockets' [`Counters`], which are written without atomic
/// additions by a program that the ones that write these may interrupt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MiniCounters {
    /// By the state's kernel number.
    pub states: [Flow; STATE_SLOTS],
    /// Time-wait sockets that went from FIN_WAIT2 to TIME_WAIT; in `left` of the one and `entered` of the other.
    pub moved: u64,
    /// Time-wait sockets that ended, by [`Cause`]; those of which no hook knows the cause are in none.
    pub exits: [u64; EXIT_SLOTS],
}

/// Slots of [`MiniCounters::exits`].
pub const EXIT_SLOTS: usize = 4;

/// Why a time-wait socket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Cause {
    /// Nothing said; `inet_twsk_purge`, when the namespace goes.
    Unknown = 0,
    /// `tw_timer_handler`: its time was over.
    Expired = 1,
    /// `tcp_twsk_unique`, or a SYN: a new connection took its place.
    Reused = 2,
    /// A RST, data after the close, or `tcp_abort`.
    Killed = 3,
}

/// The time-wait socket about which a hook on this CPU last learnt something, and what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ExitLabel {
    /// Address.
    pub tw: u64,
    /// A [`Cause`], and above its byte an [`Exit`].
    pub cause: u64,
}

impl ExitLabel {
    /// What a hook learnt of a time-wait socket.
    #[must_use]
    #[inline]
    pub const fn new(tw: u64, cause: Cause, exit: Exit) -> Self {
        Self { tw, cause: cause as u64 | (exit as u64) << 8 }
    }
}

/// The last event of a timer that this CPU saw, if it was the end of a time-wait socket's; else zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LastCancel {
    /// Address of the `struct timer_list`.
    pub timer: u64,
    /// The control word under which it was counted.
    pub control: u64,
}

/// One CPU's memory: the two buffers, and what passes found.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct CpuSlots {
    /// The active buffer is the one that the control word names; the other one stands still.
    pub buffers: [Counters; 2],
    /// The same for mini sockets.
    pub minis: [MiniCounters; 2],
    /// What timers tell time-wait sockets' births from re-arms by.
    pub last_cancel: LastCancel,
    /// What functions tell the causes of exits by.
    pub exit_label: ExitLabel,
    /// Full sockets first touched during a pass, by the state they were in at its moment zero.
    pub base: [u64; STATE_SLOTS],
    /// The same for mini sockets.
    pub base_minis: [u64; STATE_SLOTS],
    /// Time-wait sockets in FIN_WAIT2 for which the map of those had no room, so that nobody will see them move.
    pub unrecorded: u64,
    /// Sockets that the iterator visited, whether it was the first touch or not.
    pub visited: u64,
    /// First touches that found the pass map full.
    pub map_full: u64,
    /// First touches that the pass map refused for another reason than an entry being there already.
    pub map_errors: u64,
    /// Events seen since the load; kept only when [`Config::drop_one_in`] is set.
    pub events: u64,
    /// Events ignored on purpose; see [`Config::drop_one_in`].
    pub dropped: u64,
    /// Events and visits of namespaces for which the map of those had no room; counted here, and in no row.
    pub unlisted: u64,
}

/// What was counted of one network namespace while a buffer was the active one, by all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NamespaceCounters {
    /// Full sockets, by the state's kernel number.
    pub states: [Flow; STATE_SLOTS],
    /// Mini sockets.
    pub minis: MiniCounters,
}

/// One network namespace's memory, where each has its own ([`FLAG_NAMESPACES`]): shared by all CPUs, so that
/// every addition to it is atomic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NamespaceSlots {
    /// Its inode; 0 for the moment between the entry's making and this field's.
    pub inode: u64,
    /// Address of its `struct net`, as long as that lives.
    pub net: u64,
    /// Not 0 once somebody looked and found the namespace gone.
    pub gone: u64,
    /// As in [`CpuSlots`].
    pub buffers: [NamespaceCounters; 2],
    /// As in [`CpuSlots`].
    pub base: [u64; STATE_SLOTS],
    /// As in [`CpuSlots`].
    pub base_minis: [u64; STATE_SLOTS],
}

impl NamespaceSlots {
    /// Nothing counted yet.
    pub const BLANK: Self = {
        const NOTHING: Flow = Flow { entered: 0, left: 0 };
        const MINIS: MiniCounters =
            MiniCounters { states: [NOTHING; STATE_SLOTS], moved: 0, exits: [0; EXIT_SLOTS] };
        const COUNTERS: NamespaceCounters =
            NamespaceCounters { states: [NOTHING; STATE_SLOTS], minis: MINIS };
        Self {
            inode: 0,
            net: 0,
            gone: 0,
            buffers: [COUNTERS; 2],
            base: [0; STATE_SLOTS],
            base_minis: [0; STATE_SLOTS],
        }
    };
}

/// What changes while the programs run, in one cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Control {
    /// Unused: the kernel places a map's value 8 bytes before the end of a cache line (`struct bpf_array`).
    pub unused: u64,
    /// [`CONTROL_BUFFER`] and [`CONTROL_GATE`]; written by user space.
    pub word: u32,
    /// Padding, named.
    pub reserved: u32,
    /// Address of the `struct net` that [`Config::netns`] names; written by the program that first meets it, 0 before.
    ///
    /// It saves most events a read of the namespace's inode, which lies beside a reference count that all CPUs write.
    pub own_net: u64,
    /// Addresses of two `struct proto` (IPv4's and IPv6's, mostly) whose sockets are TCP's; written like `own_net`.
    ///
    /// They save most events a read of `sk_protocol`, which lies in a cache line that nothing else needs.
    pub tcp_protos: [u64; 2],
}

/// What user space decides before the load. Frozen, so that the verifier knows the values and prunes what they
/// switch off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Config {
    /// Address of `tw_timer_handler`; 0 if unknown.
    pub tw_timer_handler: u64,
    /// Address of `reqsk_timer_handler`; 0 if unknown.
    pub reqsk_timer_handler: u64,
    /// With [`FLAG_DROP`]: ignore every n-th event of a CPU and count it as dropped.
    pub drop_one_in: u32,
    /// [`FLAG_ATOMIC`] and its like: one word, so that the hot path reads one.
    pub flags: u32,
    /// Inode of the one network namespace to count; 0 counts all.
    pub netns: u32,
    /// The one address family to count, as `sk_family` has it; 0 counts all.
    pub family: u32,
    /// `TCP_TW_RST`, what `tcp_timewait_state_process` returns for a time-wait socket that is to be killed.
    pub tcp_tw_rst: u32,
    /// `TCP_TW_SYN`: for one that a new connection replaces.
    pub tcp_tw_syn: u32,
    /// 64 less the logarithm of how many sockets have a seat, where sockets are remembered by an array too; 0 if they are not.
    pub seat_shift: u32,
    /// Not 0 for what [`is_plain`].
    pub is_plain: u32,
    /// Where the kernel keeps what the programs read.
    pub offsets: Offsets,
    /// The same, for mini sockets.
    pub minis: MiniOffsets,
    /// Where the classic tracepoint's record keeps its fields.
    pub record: RecordOffsets,
    /// Where the kernel keeps what events tell; all 0 unless events are asked for.
    pub events: EventOffsets,
    /// Where it keeps whose sockets are; the same.
    pub owners: OwnerOffsets,
}

/// Whether transitions are counted as they mostly are: of one network namespace and all families, and without any flag that changes
/// how. That has a copy of the hot path to itself, without a trace of all else.
#[must_use]
pub const fn is_plain(flags: u32, netns: u32, family: u32) -> bool {
    const DETOURS: u32 = FLAG_ATOMIC | FLAG_LOG | FLAG_DROP | FLAG_NAMESPACES | FLAG_FAMILIES;
    flags & DETOURS == 0 && netns != 0 && family == 0
}

/// Flag of [`Config::flags`]: count with atomic additions, for kernels on which a program may be interrupted by
/// itself (before 6.1).
pub const FLAG_ATOMIC: u32 = 1;
/// Flag of [`Config::flags`]: log each transition.
pub const FLAG_LOG: u32 = 2;
/// Flag of [`Config::flags`], for tests: heed [`Config::drop_one_in`].
pub const FLAG_DROP: u32 = 4;
/// Flag of [`Config::flags`]: count each network namespace by itself too.
pub const FLAG_NAMESPACES: u32 = 8;
/// Flag of [`Config::flags`]: [`Offsets::net_identity`] is that of a cookie, which no two namespaces ever have in
/// common (64 bits); else of a random number, which names a namespace together with its inode (32 bits).
pub const FLAG_COOKIES: u32 = 16;
/// Flag of [`Config::flags`]: mini sockets have lines, where they are seen one by one.
pub const FLAG_MINI_EVENTS: u32 = 256;
/// Flag of [`Config::flags`]: give a socket its cookie, if nobody has asked for it yet. By a helper that tracing programs
/// may call since 5.12.
pub const FLAG_MAKE_COOKIES: u32 = 512;
/// Flag of [`Config::flags`]: time mini sockets for [`histogram`](crate::histogram)s too.
pub const FLAG_HISTOGRAMS: u32 = 1 << 20;
/// Flag of [`Config::flags`], for tests: heed [`Config::drop_one_in`] in the program that times, and not in the one that
/// counts.
pub const FLAG_DROP_TIMED: u32 = 1 << 21;
/// Where [`Config::flags`] say what histograms are told apart by: a [`By`](crate::histogram::By), or 0.
pub const FLAGS_BY_SHIFT: u32 = 24;

/// Flag of [`Config::flags`]: count each family by itself. Each CPU then has two elements of [`CpuSlots`]: the first for
/// IPv4's sockets, the second for IPv6's.
pub const FLAG_FAMILIES: u32 = 1 << 16;

/// Byte offsets of kernel fields, taken from the running kernel's BTF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Offsets {
    /// `struct sock`, `sk_protocol` (16 bits wide since 5.6).
    pub sk_protocol: u32,
    /// `struct sock_common`, `skc_state` (8 bits).
    pub skc_state: u32,
    /// `struct sock_common`, `skc_family` (16 bits).
    pub skc_family: u32,
    /// `struct sock_common`, `skc_prot` (pointer to `struct proto`).
    pub skc_prot: u32,
    /// `struct sock_common`, `skc_net.net` (pointer to `struct net`).
    pub skc_net: u32,
    /// `struct net`, `ns.inum` (32 bits).
    pub net_inum: u32,
    /// `struct net`, `net_cookie` or `hash_mix`: see [`FLAG_COOKIES`].
    pub net_identity: u32,
    /// `struct net`, the count of its users (32 bits); 0 when it is gone.
    pub net_users: u32,
}

/// Byte offsets of mini sockets' fields, from the running kernel's BTF; a provider whose fields are missing is not loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MiniOffsets {
    /// `struct inet_timewait_sock`, `tw_substate` (8 bits).
    pub tw_substate: u32,
    /// `struct inet_timewait_sock`, `tw_timer`.
    pub tw_timer: u32,
    /// `struct sock_common`, `skc_refcnt` (32 bits).
    pub skc_refcnt: u32,
    /// `struct timer_list`, `function` (pointer).
    pub timer_function: u32,
    /// `struct request_sock`, `rsk_timer`.
    pub rsk_timer: u32,
    /// `struct request_sock`, the byte with `num_timeout`.
    pub num_timeout: u32,
    /// The bits of that byte that are `num_timeout`.
    pub num_timeout_mask: u32,
}

/// Byte offsets in the record of the classic tracepoint, from its `format` file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RecordOffsets {
    /// `skaddr` (pointer).
    pub skaddr: u32,
    /// `oldstate` (32 bits).
    pub oldstate: u32,
    /// `newstate` (32 bits).
    pub newstate: u32,
}

/// Byte offsets of what an event tells of its socket and its owner, from the running kernel's BTF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EventOffsets {
    /// `struct sock_common`, `skc_rcv_saddr` (32 bits).
    pub skc_rcv_saddr: u32,
    /// `struct sock_common`, `skc_daddr` (32 bits).
    pub skc_daddr: u32,
    /// `struct sock_common`, `skc_v6_rcv_saddr` (128 bits); 0 in a kernel without IPv6.
    pub skc_v6_rcv_saddr: u32,
    /// `struct sock_common`, `skc_v6_daddr` (128 bits); 0 in a kernel without IPv6.
    pub skc_v6_daddr: u32,
    /// `struct sock_common`, `skc_num` (16 bits): the local port while the socket holds it.
    pub skc_num: u32,
    /// `struct sock_common`, `skc_dport` (16 bits, the network's order).
    pub skc_dport: u32,
    /// `struct sock_common`, `skc_cookie` (64 bits); 0 until somebody asks for one.
    pub skc_cookie: u32,
    /// `struct sock`, `sk_uid` (32 bits).
    pub sk_uid: u32,
    /// `struct sock`, `sk_err` (32 bits): what ended the connection, or went wrong before.
    pub sk_err: u32,
    /// `struct sock`, `sk_shutdown` (8 bits): [`SHUTDOWN_BOTH`] after a close.
    pub sk_shutdown: u32,
    /// `struct inet_sock`, `inet_sport` (16 bits, the network's order): the local port, also when it is given back.
    pub inet_sport: u32,
    /// `struct task_struct`, `flags` (32 bits).
    pub task_flags: u32,
    /// `struct task_struct`, `group_leader` (pointer).
    pub group_leader: u32,
    /// `struct task_struct`, `comm` (16 bytes).
    pub comm: u32,
}

/// Byte offsets of what a socket tells of whose it is, from the running kernel's BTF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OwnerOffsets {
    /// `struct sock`, the pointer to the cgroup in `sk_cgrp_data`; 0 in a kernel without.
    pub sk_cgroup: u32,
    /// Not 0: it is a number (before 5.15), whose lowest bits say that it is no pointer.
    pub cgroup_is_number: u32,
    /// `struct cgroup`, `kn` (pointer to `struct kernfs_node`).
    pub cgroup_kn: u32,
    /// `struct kernfs_node`, `id` (64 bits): the number that user space knows the cgroup by.
    pub kn_id: u32,
    /// `struct kernfs_node`, its parent (pointer).
    pub kn_parent: u32,
    /// `struct sock`, `sk_socket` (pointer to `struct socket`); null before accept() and after close().
    pub sk_socket: u32,
    /// `struct socket`, `file` (pointer); null for sockets of the kernel's own.
    pub socket_file: u32,
    /// From a `struct socket` to its inode's `i_ino` (64 bits).
    pub socket_inode: u32,
}

/// Bytes of a process's name, the zero at its end included (`TASK_COMM_LEN`).
pub const COMM_BYTES: usize = 16;

/// [`EventRecord::duration`] where nobody saw the socket enter the state.
pub const UNKNOWN_DURATION: u64 = u64::MAX;

/// What a record is: a line, or something that a line before it lacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Told {
    /// What the tracepoint reported of a full socket.
    Transition = 0,
    /// A time-wait socket was born, moved or ended.
    TimeWait = 1,
    /// A request socket was born or ended.
    SynRecv = 2,
    /// No line: the socket that was just closed answered with a RST.
    ResetSent = 3,
    /// No line: the mini socket that just ended did not; its timer was only stopped to be started again.
    Resumed = 4,
}

/// Bit of [`EventRecord::flags`]: what follows at once may change the line.
pub const EVENT_IS_OPEN: u8 = 1;
/// Bit of [`EventRecord::flags`], at the end of a socket: a RST was sent for it.
pub const EVENT_SENT_RESET: u8 = 2;
/// Bit of [`EventRecord::flags`], at the end of a socket: the process had closed it, or shut down both ways.
pub const EVENT_IS_SHUT: u8 = 4;
/// `SHUTDOWN_MASK`.
pub const SHUTDOWN_BOTH: u8 = 3;

/// One transition, as the kernel half writes it down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EventRecord {
    /// The monotonic clock, in nanoseconds.
    pub time: u64,
    /// Nanoseconds spent in the state left, or [`UNKNOWN_DURATION`].
    pub duration: u64,
    /// The socket's cookie; 0 if it has none yet.
    pub cookie: u64,
    /// The socket's address, by which records of one socket that follow each other are told.
    pub socket: u64,
    /// Number of the cgroup in which the socket was made; 0 if unknown.
    pub cgroup: u64,
    /// In the network's order; IPv4 in the first word.
    pub local: [u32; 4],
    /// As `local`.
    pub remote: [u32; 4],
    /// Inode of the network namespace.
    pub netns: u32,
    /// The process that owns the socket; 0 if unknown.
    pub pid: u32,
    /// The user who made the socket.
    pub uid: u32,
    /// `sk_family`.
    pub family: u16,
    /// The old state's kernel number.
    pub from: u8,
    /// The new state's kernel number.
    pub to: u8,
    /// In the machine's order; 0 if unknown.
    pub local_port: u16,
    /// In the machine's order.
    pub remote_port: u16,
    /// A [`Told`].
    pub told: u8,
    /// [`EVENT_IS_OPEN`] and its like.
    pub flags: u8,
    /// At a full socket's end `sk_err`, at a time-wait socket's an [`Exit`].
    pub error: u16,
    /// Name of the process `pid`, zeroes at its end.
    pub comm: [u8; COMM_BYTES],
}

impl EventRecord {
    /// Nothing told yet.
    pub const BLANK: Self = Self {
        time: 0,
        duration: UNKNOWN_DURATION,
        cookie: 0,
        socket: 0,
        cgroup: 0,
        local: [0; 4],
        remote: [0; 4],
        netns: 0,
        pid: 0,
        uid: u32::MAX,
        family: 0,
        from: 0,
        to: 0,
        local_port: 0,
        remote_port: 0,
        told: 0,
        flags: 0,
        error: 0,
        comm: [0; COMM_BYTES],
    };
}

/// What is remembered of a socket from one event to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Life {
    /// When it came into its state, by the monotonic clock, in nanoseconds.
    pub since: u64,
    /// Its first event by that clock: no later socket at the same address has the same.
    pub born: u64,
    /// Its state's kernel number.
    pub state: u8,
    /// Not 0: a [`Claim`] waits for the next event.
    pub is_claimed: u8,
    /// Its peer's port; 0 as long as there is none.
    pub remote_port: u16,
    /// The process that owns it; 0 if unknown.
    pub pid: u32,
    /// Name of that process.
    pub comm: [u8; COMM_BYTES],
}

/// How a time-wait socket ended, as far as a hook knows: more than a [`Cause`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Exit {
    /// Nothing said.
    Unknown = 0,
    /// Its time was over.
    Expired = 1,
    /// A RST came.
    Reset = 2,
    /// Data came, which was answered with a RST.
    Data = 3,
    /// `tcp_abort`.
    Aborted = 4,
}

/// What one CPU remembers from one event to the next: sockets by their addresses, 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EventMemory {
    /// The full socket that ended last, if a RST that is sent next says how.
    pub closing: u64,
    /// The full socket for which a RST was sent last.
    pub reset: u64,
    /// The mini socket that ended last, if its timer may start again.
    pub stopped: u64,
    /// Since when that one had been in its state, by the monotonic clock; 0 if unknown.
    pub since: u64,
}

/// Whose a socket is, as found out between its events, or before the first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Claim {
    /// [`Life::born`] of the socket; 0 if it is older than that.
    pub born: u64,
    /// The process.
    pub pid: u32,
    /// Padding, named.
    pub reserved: u32,
    /// Its name.
    pub comm: [u8; COMM_BYTES],
}

/// What one CPU could not write down or remember.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EventLosses {
    /// Events for which the ring had no room.
    pub dropped: u64,
    /// Events whose socket there was no room to remember: the next one of that socket lacks duration and owner.
    pub untracked: u64,
    /// Births, moves and ends of time-wait sockets for which the ring had no room.
    pub time_wait: u64,
    /// The same of request sockets.
    pub syn_recv: u64,
}

// SAFETY: `repr(C)` structs of integers without padding: every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for EventRecord {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Life {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Claim {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for EventLosses {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for CpuSlots {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Control {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Config {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for NamespaceSlots {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_of_states_has_a_slot_of_its_own() {
        let mut seen = [false; TRANSITION_SLOTS];
        for from in 0..STATE_SLOTS {
            for to in 0..STATE_SLOTS {
                let slot = transition_slot(from, to);
                assert!(!seen[slot], "{from} -> {to} shares slot {slot}");
                seen[slot] = true;
            }
        }
    }

    #[test]
    fn a_blank_namespace_is_the_default_one() {
        assert_eq!(NamespaceSlots::BLANK, NamespaceSlots::default());
    }

    #[test]
    fn a_clone_of_a_listener_is_a_birth_and_a_closing_listener_is_not() {
        let number = State::number;
        assert!(is_birth(number(State::Listen), number(State::SynRecv)));
        assert!(is_birth(number(State::Close), number(State::SynRecv)));
        assert!(is_birth(number(State::Close), number(State::SynSent)));
        assert!(!is_birth(number(State::Listen), number(State::Close)));
        assert!(!is_birth(number(State::SynSent), number(State::SynRecv)));
    }

    #[test]
    fn a_life_ends_where_the_next_event_leaves_another_state_or_has_another_peer() {
        let (listen, syn_recv) = (State::Listen.number(), State::SynRecv.number());
        let (established, close) = (State::Established.number(), State::Close.number());
        assert!(is_same_life(3, 0, syn_recv, established, 40_000), "the child has its peer now");
        assert!(is_same_life(1, 40_000, established, close, 40_000));
        assert!(!is_same_life(1, 40_000, established, close, 40_001));
        assert!(!is_same_life(3, 40_000, established, close, 40_000));
        assert!(!is_same_life(10, 0, listen, syn_recv, 0), "a birth is another socket's");
    }
}

//! The event records of `trace --events`, and the counts from which user space computes the number
//! of lost events.

use super::COMM_BYTES;

/// Value of [`EventRecord::duration`] if no program observed when the socket entered the old state.
pub const UNKNOWN_DURATION: u64 = u64::MAX;

/// The kind of a record: an output line, or an amendment of an earlier line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// A transition of a full socket, as the tracepoint reported it.
    Transition = 0,
    /// A time-wait socket was born, moved or ended.
    TimeWait = 1,
    /// A request socket was born or ended.
    SynRecv = 2,
    /// An amendment, not a line: the kernel sent a RST for the socket that was just closed.
    ResetSent = 3,
    /// An amendment, not a line: the mini socket that was reported as ended still exists. The
    /// kernel only stopped the mini socket's timer and started it again.
    Resumed = 4,
    /// The last transition of a full socket, with its connection: a
    /// [`ConnectionRecord`](super::ConnectionRecord). It replaces the record of the transition.
    Connection = 5,
}

/// Bit of [`EventRecord::flags`]: the next record may amend the line of this record.
pub const EVENT_IS_AMENDABLE: u8 = 1;
/// Bit of [`EventRecord::flags`] in the record of a socket's last transition: the kernel sent a RST
/// for the socket.
pub const EVENT_SENT_RESET: u8 = 2;
/// Bit of [`EventRecord::flags`] in the record of a socket's last transition: the process had
/// closed the socket or shut down both directions.
pub const EVENT_IS_SHUT: u8 = 4;
/// The kernel's `SHUTDOWN_MASK`.
pub const SHUTDOWN_BOTH: u8 = 3;

/// One transition, as the BPF programs write it to the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EventRecord {
    /// Time of the event (monotonic clock, nanoseconds).
    pub time: u64,
    /// How long the socket was in the old state (nanoseconds), or [`UNKNOWN_DURATION`].
    pub duration: u64,
    /// The socket's cookie; 0 if the socket has no cookie yet.
    pub cookie: u64,
    /// The socket's address in kernel memory. The address connects consecutive records of one
    /// socket.
    pub socket: u64,
    /// Number of the cgroup in which the socket was created; 0 if unknown.
    pub cgroup: u64,
    /// The local address in network byte order; an IPv4 address is in the first word.
    pub local: [u32; 4],
    /// The remote address, in the format of `local`.
    pub remote: [u32; 4],
    /// Inode of the network namespace.
    pub netns: u32,
    /// ID of the process that owns the socket; 0 if unknown.
    pub pid: u32,
    /// ID of the user that created the socket.
    pub uid: u32,
    /// The socket's `sk_family`.
    pub family: u16,
    /// The old state's kernel number.
    pub from: u8,
    /// The new state's kernel number.
    pub to: u8,
    /// The local port in host byte order; 0 if unknown.
    pub local_port: u16,
    /// The remote port in host byte order.
    pub remote_port: u16,
    /// A [`RecordKind`].
    pub kind: u8,
    /// The flags, such as [`EVENT_IS_AMENDABLE`].
    pub flags: u8,
    /// `sk_err` in the record of a full socket's last transition; an [`Exit`](super::Exit) in the
    /// record of a time-wait socket's end.
    pub error: u16,
    /// Name of the process that owns the socket, padded with zeroes.
    pub comm: [u8; COMM_BYTES],
    /// Name of the process that closed the connection, padded with zeroes: see `closer_pid`.
    pub closer_comm: [u8; COMM_BYTES],
    /// ID of the process that closed the connection, in the records of time-wait sockets and in
    /// the record of a full socket's last transition; 0 if unknown. The owner in the record of a
    /// time-wait socket is the owner of its full socket.
    pub closer_pid: u32,
    /// Explicit padding.
    pub reserved: u32,
}

impl EventRecord {
    /// A record whose fields are all unknown.
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
        kind: 0,
        flags: 0,
        error: 0,
        comm: [0; COMM_BYTES],
        closer_comm: [0; COMM_BYTES],
        closer_pid: 0,
        reserved: 0,
    };
}

/// The processes at the two ends of a connection's life, from its close until the end of its
/// time-wait socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Callers {
    /// Name of the process that opened or accepted the connection, padded with zeroes.
    pub opener_comm: [u8; COMM_BYTES],
    /// Name of the process that closed the connection, padded with zeroes.
    pub closer_comm: [u8; COMM_BYTES],
    /// ID of the process that opened or accepted the connection; 0 if unknown.
    pub opener_pid: u32,
    /// ID of the process that closed the connection; 0 if unknown.
    pub closer_pid: u32,
    /// Not 0 if the process that closed the connection is in a cgroup of the filter.
    pub is_in_cgroup: u32,
    /// Not 0 if the kernel has made a time-wait socket for the connection.
    pub has_time_wait: u32,
}

impl Callers {
    /// Both processes are unknown.
    pub const UNKNOWN: Self = Self {
        opener_comm: [0; COMM_BYTES],
        closer_comm: [0; COMM_BYTES],
        opener_pid: 0,
        closer_pid: 0,
        is_in_cgroup: 0,
        has_time_wait: 0,
    };
}

/// The stored state of one mini socket between two of its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MiniState {
    /// Time when the mini socket entered its state (monotonic clock, nanoseconds); 0 if unknown.
    pub since: u64,
    /// The processes that opened and closed the connection; both are unknown for a request socket.
    pub callers: Callers,
}

/// The data that the event programs of one CPU keep from one event to the next. Sockets are stored
/// by address; the address 0 means no socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EventMemory {
    /// The full socket that closed last, if a later RST record would amend its line.
    pub closing: u64,
    /// The full socket for which the kernel last sent a RST.
    pub reset: u64,
    /// The mini socket whose timer was stopped last, if the kernel may start that timer again.
    pub stopped: u64,
    /// The stored state of the mini socket in `stopped`.
    pub state: MiniState,
}

/// Counts of events that one CPU did not write, of sockets whose state it did not store, and of
/// events that its tracking program handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EventLosses {
    /// Number of events of full sockets that did not fit in the ring.
    pub dropped: u64,
    /// Number of sockets that did not fit in the table of sockets, and of owners that did not fit
    /// in the map of owner hints. The next event of a socket without a stored state or owner has no
    /// duration or no owner.
    pub untracked: u64,
    /// Number of births, moves and ends of time-wait sockets that did not fit in the ring.
    pub time_wait: u64,
    /// Number of births and ends of request sockets that did not fit in the ring.
    pub syn_recv: u64,
    /// Number of events of full sockets that the tracking program handled while
    /// [`CONTROL_EVENTS`](super::CONTROL_EVENTS) was set, before any filter. The bit
    /// [`CONTROL_BUFFER`](super::CONTROL_BUFFER) of the control word of the event is the index.
    pub tracked: [u64; 2],
    /// The part of `tracked` that ends a connection.
    pub tracked_ends: [u64; 2],
    /// The part of `dropped` that ends a connection.
    pub dropped_ends: u64,
}

// SAFETY: `EventRecord` is a `repr(C)` struct of integers without padding, so every bit pattern is
// valid.
#[cfg(feature = "user")]
unsafe impl aya::Pod for EventRecord {}
// SAFETY: `EventLosses` is a `repr(C)` struct of integers without padding, so every bit pattern is
// valid.
#[cfg(feature = "user")]
unsafe impl aya::Pod for EventLosses {}

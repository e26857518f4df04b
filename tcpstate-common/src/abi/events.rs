//! The records of `trace --events`, and counts of events that were not written and sockets that
//! were not remembered.

use super::COMM_BYTES;

/// [`EventRecord::duration`] if no program observed the socket entering the state.
pub const UNKNOWN_DURATION: u64 = u64::MAX;

/// The kind of a record: a line, or an amendment of an earlier line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// A transition of a full socket, as the tracepoint reported it.
    Transition = 0,
    /// A time-wait socket was born, moved or ended.
    TimeWait = 1,
    /// A request socket was born or ended.
    SynRecv = 2,
    /// Not a line: the socket that was just closed answered with a RST.
    ResetSent = 3,
    /// Not a line: the mini socket that seemed to end did not end. Its timer was only stopped and
    /// started again.
    Resumed = 4,
}

/// Bit of [`EventRecord::flags`]: the next record may amend this line.
pub const EVENT_IS_AMENDABLE: u8 = 1;
/// Bit of [`EventRecord::flags`], for the end of a socket: the kernel sent a RST for the socket.
pub const EVENT_SENT_RESET: u8 = 2;
/// Bit of [`EventRecord::flags`], for the end of a socket: the process had closed the socket or
/// shut down both directions.
pub const EVENT_IS_SHUT: u8 = 4;
/// The kernel's `SHUTDOWN_MASK`.
pub const SHUTDOWN_BOTH: u8 = 3;

/// One transition, as the kernel half writes it to the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EventRecord {
    /// The monotonic clock, in nanoseconds.
    pub time: u64,
    /// Nanoseconds spent in the old state, or [`UNKNOWN_DURATION`].
    pub duration: u64,
    /// The socket's cookie; 0 if it has none yet.
    pub cookie: u64,
    /// The socket's address. It connects consecutive records of one socket.
    pub socket: u64,
    /// Number of the cgroup in which the socket was made; 0 if unknown.
    pub cgroup: u64,
    /// The local address in network byte order; an IPv4 address is in the first word.
    pub local: [u32; 4],
    /// The remote address, in the format of `local`.
    pub remote: [u32; 4],
    /// Inode of the network namespace.
    pub netns: u32,
    /// The process that owns the socket; 0 if unknown.
    pub pid: u32,
    /// The user that created the socket.
    pub uid: u32,
    /// `sk_family`.
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
    /// `sk_err` at the end of a full socket; an [`Exit`](super::Exit) at the end of a time-wait
    /// socket.
    pub error: u16,
    /// Name of the process `pid`, padded with zeroes.
    pub comm: [u8; COMM_BYTES],
}

impl EventRecord {
    /// A record without any known field.
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
    };
}

/// The memory of one CPU from one event to the next. Sockets are stored by address; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EventMemory {
    /// The full socket that ended last, if a RST that follows would amend its line.
    pub closing: u64,
    /// The full socket for which the kernel last sent a RST.
    pub reset: u64,
    /// The mini socket that ended last, if its timer may be started again.
    pub stopped: u64,
    /// Time when that mini socket entered its state (monotonic clock, nanoseconds); 0 if unknown.
    pub since: u64,
}

/// Events that one CPU did not write, and sockets that it did not remember.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EventLosses {
    /// Events of full sockets that did not fit in the ring.
    pub dropped: u64,
    /// Events of full sockets, or owners of sockets, that did not fit in the table of sockets. The
    /// next event of such a socket has no duration or no owner.
    pub untracked: u64,
    /// Births, moves and ends of time-wait sockets that did not fit in the ring.
    pub time_wait: u64,
    /// Births and ends of request sockets that did not fit in the ring.
    pub syn_recv: u64,
}

// SAFETY: a `repr(C)` struct of integers without padding: every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for EventRecord {}
// SAFETY: a `repr(C)` struct of integers without padding: every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for EventLosses {}

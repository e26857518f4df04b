//! The records of `trace --events`, and what could not be written or remembered.

use super::COMM_BYTES;

/// [`EventRecord::duration`] where nobody saw the socket enter the state.
pub const UNKNOWN_DURATION: u64 = u64::MAX;

/// What a record is: a line, or an amendment of an earlier line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
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

/// Bit of [`EventRecord::flags`]: a record that follows at once may amend the line.
pub const EVENT_IS_AMENDABLE: u8 = 1;
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
    /// A [`RecordKind`].
    pub kind: u8,
    /// [`EVENT_IS_AMENDABLE`] and its like.
    pub flags: u8,
    /// At a full socket's end `sk_err`, at a time-wait socket's an [`Exit`](super::Exit).
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
        kind: 0,
        flags: 0,
        error: 0,
        comm: [0; COMM_BYTES],
    };
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

// SAFETY: a `repr(C)` struct of integers without padding: every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for EventRecord {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for EventLosses {}

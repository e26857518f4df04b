//! The counters of `trace --by`: one row of counters for each owner.
//!
//! An owner is one value for each selected key, for example one process and one destination. The
//! kernel half gives each owner a number, which is the index of the owner's row. Sockets store the
//! number.

use super::{COMM_BYTES, STATE_SLOTS};

/// Bit of [`Config::owner_keys`](super::Config::owner_keys): the process.
pub const OWNER_PROCESS: u32 = 1 << 0;
/// Bit of [`Config::owner_keys`](super::Config::owner_keys): the name of the process.
pub const OWNER_COMM: u32 = 1 << 1;
/// Bit of [`Config::owner_keys`](super::Config::owner_keys): the user.
pub const OWNER_USER: u32 = 1 << 2;
/// Bit of [`Config::owner_keys`](super::Config::owner_keys): the cgroup.
pub const OWNER_CGROUP: u32 = 1 << 3;
/// Bit of [`Config::owner_keys`](super::Config::owner_keys): the network namespace.
pub const OWNER_NETNS: u32 = 1 << 4;
/// Bit of [`Config::owner_keys`](super::Config::owner_keys): the local port.
pub const OWNER_LOCAL_PORT: u32 = 1 << 5;
/// Bit of [`Config::owner_keys`](super::Config::owner_keys): the peer's address.
pub const OWNER_REMOTE: u32 = 1 << 6;
/// Bit of [`Config::owner_keys`](super::Config::owner_keys): the peer's port.
pub const OWNER_REMOTE_PORT: u32 = 1 << 7;

/// The number of the row of the sockets whose owner is unknown.
pub const OWNER_UNKNOWN: u32 = 0;
/// The number of the row of the owners that found no free number.
pub const OWNER_OTHER: u32 = 1;
/// The lowest number of an owner.
pub const FIRST_OWNER: u32 = 2;
/// Bit of [`SocketState::owner`](super::SocketState::owner), above the number: the socket counts as
/// an accepted connection.
pub const OWNER_IS_ACCEPTED: u32 = 1 << 31;
/// Bit of [`SocketState::owner`](super::SocketState::owner), above the number: the socket is a
/// listener, or the child of a listener. Only such sockets have a local port as an owner.
pub const OWNER_IS_SERVER: u32 = 1 << 30;
/// The bits of [`SocketState::owner`](super::SocketState::owner) that hold the number.
pub const OWNER_NUMBER: u32 = OWNER_IS_SERVER - 1;

/// An owner: the values of the selected keys. The values of all other keys are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct OwnerKey {
    /// Time when the process started (clock since boot, in units of 10 ms as in
    /// `/proc/PID/stat`). The kernel reuses process IDs, but not with the same time.
    pub start: u64,
    /// The name of the process, padded with zeroes.
    pub comm: [u8; COMM_BYTES],
    /// The peer's address in IPv6 form, in network byte order.
    pub remote: [u64; 2],
    /// The number of the cgroup; 0 if unknown.
    pub cgroup: u64,
    /// The identity of the network namespace.
    pub netns: u64,
    /// The inode of the network namespace.
    pub netns_inode: u32,
    /// The process ID.
    pub pid: u32,
    /// The user ID.
    pub uid: u32,
    /// The peer's port; 0 for the peer of a listener, whose port connect() chose.
    pub remote_port: u16,
    /// The local port of a listener or of an accepted connection; 0 for a port that connect()
    /// chose.
    pub local_port: u16,
}

/// A process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ProcessKey {
    /// Time when the process started (clock since boot, in units of 10 ms). In the map of the tree
    /// of a program, the unit is 1 ns.
    pub start: u64,
    /// The process ID. In the map of the tree of a program, the ID in the initial PID namespace.
    pub pid: u32,
    /// Explicit padding.
    pub reserved: u32,
}

/// The counts of [`OwnerRow::counts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum OwnerCount {
    /// CLOSE to SYN_SENT.
    Opened = 0,
    /// SYN_SENT to ESTABLISHED.
    Connected = 1,
    /// Children of listeners that were accepted, or that ended without accept().
    Accepted = 2,
    /// Any state to FIN_WAIT1.
    ClosedFirst = 3,
    /// Any state to LAST_ACK.
    ClosedSecond = 4,
    /// Births of time-wait sockets.
    TimeWaitEntries = 5,
    /// SYN_SENT to CLOSE.
    Failed = 6,
    /// ESTABLISHED or CLOSE_WAIT to CLOSE.
    Reset = 7,
}

/// Number of counts of a row.
pub const OWNER_COUNTS: usize = 8;

/// The counters of one owner on one CPU, 128 bytes. Only the sums over all CPUs have a meaning. The
/// programs count in a row from the moment at which they are attached. The programs add to
/// `counts` only while [`CONTROL_EVENTS`](super::CONTROL_EVENTS) is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OwnerRow {
    /// The counts, indexed by [`OwnerCount`]. The row [`OWNER_UNKNOWN`] can fall, because an owner
    /// may be found later.
    pub counts: [u64; OWNER_COUNTS],
    /// The number of sockets that entered a state minus the number of sockets that left the state,
    /// indexed by the state's kernel number. Two numbers of states that no socket has are used for
    /// other gauges: see [`LIVE_WAITING`] and [`LIVE_REFERENCES`].
    pub live: [u32; STATE_SLOTS],
}

/// Index of [`OwnerRow::live`] in the row [`OWNER_UNKNOWN`]: the number of children of listeners
/// that have neither been accepted nor ended.
pub const LIVE_WAITING: usize = 0;
/// Index of [`OwnerRow::live`]: the number of sockets and hints that store the owner's number. A
/// socket counts twice if the same owner opened and closed it.
pub const LIVE_REFERENCES: usize = 15;

/// A socket that existed before tcpstate started, and whose owner is known. User space stores such
/// sockets by cookie before their first event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EarlierSocket {
    /// The number of the owner.
    pub owner: u32,
    /// The state's kernel number. The bit [`OWNER_IS_SERVER`] is also set for a listener and for a
    /// connection to a listener.
    pub state: u32,
}

/// A child that a process has accepted since the last event of the child. The child already counts
/// for this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct AcceptedSocket {
    /// [`SocketState::born`](super::SocketState::born) of the child.
    pub born: u64,
    /// The number of the owner.
    pub owner: u32,
    /// The number of the owner for which the child counted before.
    pub before: u32,
    /// The kernel number of the state in which the child counts.
    pub state: u32,
    /// Explicit padding.
    pub reserved: u32,
}

/// The owner of a time-wait socket: the owner that closed the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MiniOwner {
    /// The number of the owner.
    pub owner: u32,
    /// The kernel number of the state in which the socket counts.
    pub state: u32,
}

/// A time-wait socket whose full socket has not closed yet. The kernel makes the time-wait socket
/// just before it closes the full socket, on the same CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NewbornMini {
    /// Address of the time-wait socket; 0 if this element is free.
    pub address: u64,
    /// Address of the network namespace.
    pub net: u64,
    /// Both ports.
    pub ports: u64,
    /// The hash of the connection.
    pub hash: u32,
    /// Not 0 if the birth was counted in [`OwnerRow::counts`].
    pub is_counted: u32,
}

/// Number of elements of [`OwnerMemory::newborns`]. A softirq can make time-wait sockets between
/// the birth of one time-wait socket and the close of its full socket.
pub const NEWBORNS: usize = 4;

/// A process that had an event on this CPU, and its number as an owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RecentOwner {
    /// Time when the process started (clock since boot, nanoseconds).
    pub start: u64,
    /// The ID of the process in the initial PID namespace, its number, and the generation of the
    /// number: see [`RecentOwner::word`]. One word holds all three, because a program can interrupt
    /// another program between two stores.
    pub word: u64,
}

/// Number of bits of a process ID (`PID_MAX_LIMIT` is 2^22).
const PID_BITS: u32 = 22;
/// Number of bits of a generation.
const GENERATION_BITS: u32 = 22;
/// Recent owners have numbers below this number.
pub const RECENT_NUMBERS: u32 = 1 << (64 - PID_BITS - GENERATION_BITS);

impl RecentOwner {
    /// Returns the word of a process with the number 0. The generation counts how often numbers
    /// were given to other owners.
    #[must_use]
    #[inline]
    pub const fn word(tgid: u32, generation: u64) -> u64 {
        let generation = generation & ((1 << GENERATION_BITS) - 1);
        (tgid as u64) << (64 - PID_BITS) | generation << (64 - PID_BITS - GENERATION_BITS)
    }
}

/// Number of elements of [`OwnerMemory::recent`]; a power of two.
pub const RECENT_OWNERS: usize = 8;

/// The data that one CPU keeps for counters by owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OwnerMemory {
    /// The last time-wait sockets that were born on this CPU.
    pub newborns: [NewbornMini; NEWBORNS],
    /// The processes that had events on this CPU, by the lowest bits of their IDs. User space
    /// changes the generation before it gives a number to another owner.
    pub recent: [RecentOwner; RECENT_OWNERS],
    /// The number of time-wait sockets that were born on this CPU.
    pub births: u64,
    /// The number of full sockets that were born on this CPU.
    pub sockets: u64,
    /// The time-wait socket whose timer was stopped last, if the kernel may start the timer again.
    pub stopped: u64,
    /// The owner of that time-wait socket.
    pub stopped_owner: u64,
    /// The number of children that were accepted, or that ended without accept(), while
    /// [`CONTROL_EVENTS`](super::CONTROL_EVENTS) was set.
    pub accepted: u64,
    /// The number of owners that were given a number.
    pub numbered: u64,
    /// The number of sockets whose owner found no free number.
    pub without_room: u64,
    /// The number of sockets that did not fit in the table of sockets, and of hints and time-wait
    /// sockets that did not fit in their maps.
    pub untracked: u64,
    /// The number of sockets whose events do not fit together, because an event was missed.
    pub broken: u64,
}

// SAFETY: the structs are `repr(C)` structs of integers without padding, so every bit pattern is
// valid.
#[cfg(feature = "user")]
mod pods {
    use super::{EarlierSocket, OwnerKey, OwnerMemory, OwnerRow, ProcessKey};

    // SAFETY: see above.
    unsafe impl aya::Pod for OwnerKey {}
    // SAFETY: see above.
    unsafe impl aya::Pod for OwnerRow {}
    // SAFETY: see above.
    unsafe impl aya::Pod for EarlierSocket {}
    // SAFETY: see above.
    unsafe impl aya::Pod for ProcessKey {}
    // SAFETY: see above.
    unsafe impl aya::Pod for OwnerMemory {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::State;

    #[test]
    fn words_of_recent_owners_differ() {
        let last = RecentOwner::word((1 << PID_BITS) - 1, (1 << GENERATION_BITS) - 1);
        assert_eq!(last | u64::from(RECENT_NUMBERS - 1), u64::MAX);
        let fields = [RecentOwner::word(1, 0), RecentOwner::word(0, 1), 1];
        assert_eq!(fields, [1 << 42, 1 << 20, 1], "no field reaches into another");
        assert_eq!(RecentOwner::word(0, 1 << GENERATION_BITS), 0, "the generation wraps");
    }

    #[test]
    fn no_state_has_the_number_of_another_gauge() {
        for state in State::GAUGES {
            assert_ne!(state.number(), LIVE_WAITING);
            assert_ne!(state.number(), LIVE_REFERENCES);
        }
    }

    #[test]
    fn a_row_is_two_cache_lines() {
        assert_eq!(size_of::<OwnerRow>(), 128);
    }

    #[test]
    fn a_key_has_no_padding() {
        assert_eq!(size_of::<OwnerKey>(), 8 + 16 + 16 + 8 + 8 + 4 + 4 + 4 + 2 + 2);
    }
}

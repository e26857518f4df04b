//! What the kernel half filters events by: which conditions there are, and the lists that they go by.
//!
//! All conditions have to hold, and of each list one item. What is not asked for has no bit in
//! [`FilterConfig::conditions`], and the verifier takes it out of the program.

use crate::abi::{COMM_BYTES, STATE_SLOTS};

/// Bit of [`FilterConfig::conditions`]: the move is among [`FilterConfig::moves`].
pub const FILTER_MOVES: u32 = 1;
/// Bit of [`FilterConfig::conditions`]: the local port is in [`PORTS_LOCAL`].
pub const FILTER_LOCAL_PORT: u32 = 2;
/// Bit of [`FilterConfig::conditions`]: the remote port is in [`PORTS_REMOTE`].
pub const FILTER_REMOTE_PORT: u32 = 4;
/// Bit of [`FilterConfig::conditions`]: one of both ports is in [`PORTS_EITHER`].
pub const FILTER_PORT: u32 = 8;
/// Bit of [`FilterConfig::conditions`]: the local address is in a network of [`END_LOCAL`].
pub const FILTER_LOCAL: u32 = 16;
/// Bit of [`FilterConfig::conditions`]: the remote address is in a network of [`END_REMOTE`].
pub const FILTER_REMOTE: u32 = 32;
/// Bit of [`FilterConfig::conditions`]: one of both addresses is in a network of [`END_EITHER`].
pub const FILTER_ADDRESS: u32 = 64;
/// Bit of [`FilterConfig::conditions`]: the socket's user is among [`FilterConfig::uid`].
pub const FILTER_UID: u32 = 128;
/// Bit of [`FilterConfig::conditions`]: the socket's cgroup is among [`FilterConfig::cgroup`], or below one of them.
pub const FILTER_CGROUP: u32 = 256;
/// Bit of [`FilterConfig::conditions`]: the owner is among [`FilterConfig::pid`].
pub const FILTER_PID: u32 = 512;
/// Bit of [`FilterConfig::conditions`]: the owner's name is among [`FilterConfig::comm`].
pub const FILTER_COMM: u32 = 1024;
/// Bit of [`FilterConfig::conditions`]: the state left lasted for [`FilterConfig::min_duration`].
pub const FILTER_DURATION: u32 = 2048;

/// Conditions that only what is remembered of a socket can answer.
pub const FILTER_OF_LIFE: u32 = FILTER_PID | FILTER_COMM | FILTER_DURATION;

/// Items that a list may have, but for ports.
pub const FILTER_ITEMS: usize = 16;
/// Networks, all ends together.
pub const FILTER_NETWORKS: usize = 32;

/// Index of the set that local ports have to be in.
pub const PORTS_LOCAL: u32 = 0;
/// Index of the set that remote ports have to be in.
pub const PORTS_REMOTE: u32 = 1;
/// Index of the set that one of both ports has to be in.
pub const PORTS_EITHER: u32 = 2;
/// How many sets there are.
pub const PORT_SETS: usize = 3;

/// A bit for each port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PortSet(pub [u64; PortSet::WORDS]);

impl PortSet {
    /// Words of 64 ports each.
    pub const WORDS: usize = 65_536 / 64;
    /// None.
    pub const EMPTY: Self = Self([0; Self::WORDS]);
}

/// [`Network::end`]: the local one.
pub const END_LOCAL: u32 = 1;
/// [`Network::end`]: the remote one.
pub const END_REMOTE: u32 = 2;
/// [`Network::end`]: one of both.
pub const END_EITHER: u32 = 3;

/// A network that an address has to be in: two halves, as they lie in memory. IPv4's is in IPv6's form, mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Network {
    /// Its first address.
    pub first: [u64; 2],
    /// The bits that count.
    pub mask: [u64; 2],
    /// Which end of the connection it is about.
    pub end: u32,
    /// Not 0: an IPv6 network, in which no socket of IPv4 is.
    pub is_v6: u32,
}

/// What user space decides before the load. Frozen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FilterConfig {
    /// In nanoseconds.
    pub min_duration: u64,
    /// [`FILTER_MOVES`] and its like.
    pub conditions: u32,
    /// How many of [`network`](Self::network) count.
    pub networks: u32,
    /// How many of [`uid`](Self::uid) count.
    pub uids: u32,
    /// How many of [`pid`](Self::pid) count.
    pub pids: u32,
    /// How many of [`comm`](Self::comm) count.
    pub comms: u32,
    /// How many of [`cgroup`](Self::cgroup) count.
    pub cgroups: u32,
    /// By the old state's kernel number: a bit for each new state.
    pub moves: [u16; STATE_SLOTS],
    /// Networks.
    pub network: [Network; FILTER_NETWORKS],
    /// Users.
    pub uid: [u32; FILTER_ITEMS],
    /// Processes.
    pub pid: [u32; FILTER_ITEMS],
    /// Names of processes, zeroes at their end.
    pub comm: [[u8; COMM_BYTES]; FILTER_ITEMS],
    /// Cgroups, by number.
    pub cgroup: [u64; FILTER_ITEMS],
}

impl FilterConfig {
    /// Lets everything pass.
    pub const NONE: Self = Self {
        min_duration: 0,
        conditions: 0,
        networks: 0,
        uids: 0,
        pids: 0,
        comms: 0,
        cgroups: 0,
        moves: [0; STATE_SLOTS],
        network: [Network { first: [0; 2], mask: [0; 2], end: 0, is_v6: 0 }; FILTER_NETWORKS],
        uid: [0; FILTER_ITEMS],
        pid: [0; FILTER_ITEMS],
        comm: [[0; COMM_BYTES]; FILTER_ITEMS],
        cgroup: [0; FILTER_ITEMS],
    };
}

// SAFETY: `repr(C)` structs of integers without padding: every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for FilterConfig {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for PortSet {}

//! The event filter of the BPF programs: the conditions on an event, and the lists of accepted
//! values.
//!
//! An event matches the filter if it meets all conditions. A condition with a list is met if at
//! least one item of the list matches. [`FilterConfig::conditions`] has a bit only for a condition
//! that the user set. The verifier removes the code of conditions that the user did not set.

use crate::abi::{COMM_BYTES, STATE_SLOTS};

/// Bit of [`FilterConfig::conditions`]: the move is among [`FilterConfig::moves`].
pub const FILTER_MOVES: u32 = 1;
/// Bit of [`FilterConfig::conditions`]: the local port is in [`PORTS_LOCAL`].
pub const FILTER_LOCAL_PORT: u32 = 2;
/// Bit of [`FilterConfig::conditions`]: the remote port is in [`PORTS_REMOTE`].
pub const FILTER_REMOTE_PORT: u32 = 4;
/// Bit of [`FilterConfig::conditions`]: at least one of the two ports is in [`PORTS_EITHER`].
pub const FILTER_PORT: u32 = 8;
/// Bit of [`FilterConfig::conditions`]: the local address is in a network of [`END_LOCAL`].
pub const FILTER_LOCAL: u32 = 16;
/// Bit of [`FilterConfig::conditions`]: the remote address is in a network of [`END_REMOTE`].
pub const FILTER_REMOTE: u32 = 32;
/// Bit of [`FilterConfig::conditions`]: at least one of the two addresses is in a network of
/// [`END_EITHER`].
pub const FILTER_ADDRESS: u32 = 64;
/// Bit of [`FilterConfig::conditions`]: the socket's user is in [`FilterConfig::uid`].
pub const FILTER_UID: u32 = 128;
/// Bit of [`FilterConfig::conditions`]: the socket's cgroup is in [`FilterConfig::cgroup`], or is a
/// descendant of a cgroup in that list.
pub const FILTER_CGROUP: u32 = 256;
/// Bit of [`FilterConfig::conditions`]: the owner is in [`FilterConfig::pid`].
pub const FILTER_PID: u32 = 512;
/// Bit of [`FilterConfig::conditions`]: the owner's name is in [`FilterConfig::comm`].
pub const FILTER_COMM: u32 = 1024;
/// Bit of [`FilterConfig::conditions`]: the old state lasted at least
/// [`FilterConfig::min_duration`].
pub const FILTER_DURATION: u32 = 2048;

/// Bit of [`FilterConfig::conditions`] that describes the port filter: the filter includes no port
/// that the kernel chooses automatically.
///
/// A socket that calls connect() or listen() without a port therefore cannot match, because the
/// kernel chooses its port. The state of a socket that cannot match is not stored. If a socket
/// whose state is not stored matches later, its event has no duration and no owner.
pub const FILTER_NO_CHOSEN_PORT: u32 = 4096;

/// Bit of [`FilterConfig::conditions`]: the owner is in the process tree of
/// [`FilterConfig::program`].
pub const FILTER_TREE: u32 = 8192;

/// The mark of a process of the tree in the process IDs that the BPF programs store. An ID has at
/// most 22 bits (`PID_MAX_LIMIT` in `include/linux/threads.h`).
pub const PID_IS_IN_TREE: u32 = 1 << 30;

/// Maximum number of items in each list of the filter, except the lists of ports.
pub const FILTER_ITEMS: usize = 16;
/// Maximum number of networks in the filter, local and remote networks together.
pub const FILTER_NETWORKS: usize = 32;

/// Index of the set of local ports in the map `PORTS`.
pub const PORTS_LOCAL: u32 = 0;
/// Index of the set of remote ports in the map `PORTS`.
pub const PORTS_REMOTE: u32 = 1;
/// Index of the set of ports that may match the local or the remote port, in the map `PORTS`.
pub const PORTS_EITHER: u32 = 2;
/// The number of port sets in the filter.
pub const PORT_SETS: usize = 3;

/// A set of ports, with one bit for each port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PortSet(pub [u64; PortSet::WORDS]);

impl PortSet {
    /// Number of 64-bit words in the set; each word has one bit for each of 64 ports.
    pub const WORDS: usize = 65_536 / 64;
    /// The set that contains no port.
    pub const EMPTY: Self = Self([0; Self::WORDS]);
}

/// Value of [`Network::end`]: the filter compares the network with the local address.
pub const END_LOCAL: u32 = 1;
/// Value of [`Network::end`]: the filter compares the network with the remote address.
pub const END_REMOTE: u32 = 2;
/// Value of [`Network::end`]: the filter compares the network with both addresses, and one of them
/// must match.
pub const END_EITHER: u32 = 3;

/// A network that the filter compares with an address. Its address and mask are each stored as two
/// 64-bit halves in memory order. An IPv4 network is stored as an IPv4-mapped IPv6 network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Network {
    /// First address of the network.
    pub first: [u64; 2],
    /// The network mask.
    pub mask: [u64; 2],
    /// The address that the filter compares with the network: [`END_LOCAL`], [`END_REMOTE`] or
    /// [`END_EITHER`].
    pub end: u32,
    /// Not 0 for an IPv6 network. An IPv6 network matches no IPv4 socket.
    pub is_v6: u32,
}

/// The event filter, which user space sets and freezes before it loads the programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FilterConfig {
    /// Minimum duration of the old state in nanoseconds.
    pub min_duration: u64,
    /// The conditions that the user set, as bits such as [`FILTER_MOVES`].
    pub conditions: u32,
    /// Number of items in [`network`](Self::network).
    pub networks: u32,
    /// Number of items in [`uid`](Self::uid).
    pub uids: u32,
    /// Number of items in [`pid`](Self::pid).
    pub pids: u32,
    /// Number of items in [`comm`](Self::comm).
    pub comms: u32,
    /// Number of items in [`cgroup`](Self::cgroup).
    pub cgroups: u32,
    /// ID of the process whose tree [`FILTER_TREE`] selects.
    pub program: u32,
    /// Explicit padding.
    pub reserved: u32,
    /// The transitions that match, indexed by the old state's kernel number. Each element has one
    /// bit for each new state.
    pub moves: [u16; STATE_SLOTS],
    /// Networks.
    pub network: [Network; FILTER_NETWORKS],
    /// User IDs.
    pub uid: [u32; FILTER_ITEMS],
    /// Process IDs.
    pub pid: [u32; FILTER_ITEMS],
    /// Process names, padded with zeroes.
    pub comm: [[u8; COMM_BYTES]; FILTER_ITEMS],
    /// Cgroup numbers.
    pub cgroup: [u64; FILTER_ITEMS],
}

impl FilterConfig {
    /// The filter that every event matches, because it has no condition.
    pub const NONE: Self = Self {
        min_duration: 0,
        conditions: 0,
        networks: 0,
        uids: 0,
        pids: 0,
        comms: 0,
        cgroups: 0,
        program: 0,
        reserved: 0,
        moves: [0; STATE_SLOTS],
        network: [Network { first: [0; 2], mask: [0; 2], end: 0, is_v6: 0 }; FILTER_NETWORKS],
        uid: [0; FILTER_ITEMS],
        pid: [0; FILTER_ITEMS],
        comm: [[0; COMM_BYTES]; FILTER_ITEMS],
        cgroup: [0; FILTER_ITEMS],
    };
}

// SAFETY: `FilterConfig` is a `repr(C)` struct of integers without padding, so every bit pattern is
// valid.
#[cfg(feature = "user")]
unsafe impl aya::Pod for FilterConfig {}
// SAFETY: `PortSet` is a `repr(C)` struct of integers without padding, so every bit pattern is
// valid.
#[cfg(feature = "user")]
unsafe impl aya::Pod for PortSet {}

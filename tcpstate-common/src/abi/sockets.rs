//! The stored state of one full socket between two of its events, and the hint that names the
//! socket's owner.

use super::is_birth;

/// Bytes of a process name, including the terminating zero (`TASK_COMM_LEN`).
pub const COMM_BYTES: usize = 16;

/// Bit of [`SocketState::marks`]: the first observed event of the socket was its birth, so
/// [`SocketState::born`] is the time of the birth.
pub const SOCKET_BIRTH_SEEN: u8 = 1 << 4;
/// Bit of [`SocketState::marks`]: the socket is the child of a listener. The handshake of a child
/// began with an incoming SYN.
pub const SOCKET_IS_CHILD: u8 = 1 << 5;
/// Bit of [`SocketState::is_hinted`].
pub const HINT_OF_NAME: u8 = 1 << 0;
/// Bit of [`SocketState::is_hinted`].
pub const HINT_OF_ACCEPT: u8 = 1 << 1;
/// The bits of [`SocketState::marks`] that hold the state's kernel number.
const STATE_MASK: u8 = (1 << 4) - 1;

/// The stored state of one full socket between two of its events. Events, histograms and counters
/// by owner share one stored state per socket. The fields that only a disabled feature needs stay
/// 0.
///
/// A slot of the socket table consists of this struct and two 8-byte words, and is as large as one
/// cache line ([`SLOT_BYTES`]). The kernel places the elements of a map 8 bytes before the end of a
/// cache line (`struct bpf_array`). The first half of the name is therefore in another cache line
/// than the rest of the slot. Only events read the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SocketState {
    /// The name of the process that owns the socket, padded with zeroes.
    pub comm: [u8; COMM_BYTES],
    /// Time when the socket entered its state (monotonic clock, nanoseconds).
    pub since: u64,
    /// Time of the first observed event of the socket (monotonic clock, nanoseconds). The time
    /// distinguishes the socket from later sockets at the address. If [`SOCKET_BIRTH_SEEN`] is set,
    /// the time is the time of the socket's birth.
    pub born: u64,
    /// ID of the process that owns the socket; 0 if unknown.
    pub pid: u32,
    /// The peer's port; 0 while the socket has no peer.
    pub remote_port: u16,
    /// The state's kernel number in the low four bits, and above them [`SOCKET_BIRTH_SEEN`] and
    /// [`SOCKET_IS_CHILD`].
    pub marks: u8,
    /// [`HINT_OF_NAME`] if the map of owner hints holds an [`OwnerHint`] for the socket's next
    /// event, and [`HINT_OF_ACCEPT`] if the map of accepted sockets holds an entry. The marks have
    /// a separate byte, because the program that sets them does not hold the socket's lock.
    pub is_hinted: u8,
    /// The number of the owner in whose row the socket counts, and above it
    /// [`OWNER_IS_ACCEPTED`](super::OWNER_IS_ACCEPTED) and
    /// [`OWNER_IS_SERVER`](super::OWNER_IS_SERVER).
    pub owner: u32,
    /// The number of the owner that closed the connection;
    /// [`OWNER_UNKNOWN`](super::OWNER_UNKNOWN) until then.
    pub closer: u32,
}

/// The size of one slot of the socket table in bytes: one cache line.
pub const SLOT_BYTES: usize = 64;

impl SocketState {
    /// Returns the state's kernel number.
    #[must_use]
    #[inline]
    pub const fn state(&self) -> usize {
        (self.marks & STATE_MASK) as usize
    }

    /// Returns whether an event can belong to the stored socket. If the event cannot belong to the
    /// socket, an earlier event was missed: an event of the socket, or the close of an earlier
    /// socket at the address.
    #[must_use]
    #[inline]
    pub const fn fits(&self, from: usize, to: usize, remote_port: u16) -> bool {
        !is_birth(from, to)
            && self.state() == from
            && (self.remote_port == 0 || self.remote_port == remote_port)
    }
}

/// The owner of a socket, found between two events of the socket or before its first event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OwnerHint {
    /// [`SocketState::born`] of the socket; 0 if the socket existed before tcpstate started.
    pub born: u64,
    /// ID of the process that owns the socket.
    pub pid: u32,
    /// Explicit padding.
    pub reserved: u32,
    /// The name of the process that owns the socket.
    pub comm: [u8; COMM_BYTES],
}

// SAFETY: `SocketState` is a `repr(C)` struct of integers without padding, so every bit pattern is
// valid.
#[cfg(feature = "user")]
unsafe impl aya::Pod for SocketState {}
// SAFETY: `OwnerHint` is a `repr(C)` struct of integers without padding, so every bit pattern is
// valid.
#[cfg(feature = "user")]
unsafe impl aya::Pod for OwnerHint {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::State;

    fn marks(state: usize) -> u8 {
        u8::try_from(state).expect("16 states") | SOCKET_BIRTH_SEEN | SOCKET_IS_CHILD
    }

    fn remembered(state: State, remote_port: u16) -> SocketState {
        let marks = marks(state.number());
        SocketState { remote_port, marks, ..SocketState::default() }
    }

    #[test]
    fn an_event_does_not_fit_if_it_leaves_another_state_or_has_another_peer() {
        let (listen, syn_recv) = (State::Listen.number(), State::SynRecv.number());
        let (established, close) = (State::Established.number(), State::Close.number());
        let child = remembered(State::SynRecv, 0);
        assert!(child.fits(syn_recv, established, 40_000), "the child has its peer now");
        let connected = remembered(State::Established, 40_000);
        assert!(connected.fits(established, close, 40_000));
        assert!(!connected.fits(established, close, 40_001), "another peer");
        let late = remembered(State::SynRecv, 40_000);
        assert!(!late.fits(established, close, 40_000), "another state");
        let listener = remembered(State::Listen, 0);
        assert!(!listener.fits(listen, syn_recv, 0), "a birth belongs to another socket");
    }

    #[test]
    fn marks_have_room_for_every_state() {
        for number in 0..super::super::STATE_SLOTS {
            let state = SocketState { marks: marks(number), ..SocketState::default() };
            assert_eq!(state.state(), number);
        }
        assert_eq!(STATE_MASK & (SOCKET_BIRTH_SEEN | SOCKET_IS_CHILD), 0);
        assert_eq!(SOCKET_BIRTH_SEEN & SOCKET_IS_CHILD, 0);
    }

    #[test]
    fn a_slot_is_a_cache_line() {
        let after = 2 * size_of::<u64>();
        assert_eq!(size_of::<SocketState>() + after, SLOT_BYTES);
    }
}

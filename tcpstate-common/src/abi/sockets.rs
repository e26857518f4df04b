//! The state of one full socket between two of its events, and the hint of its owner.

use super::is_birth;

/// Bytes of a process name, including the terminating zero (`TASK_COMM_LEN`).
pub const COMM_BYTES: usize = 16;

/// Bit of [`SocketState::marks`]: the first observed event of the socket was its birth, so
/// [`SocketState::born`] is the time of the birth.
pub const SOCKET_BIRTH_SEEN: u8 = 1 << 4;
/// Bit of [`SocketState::marks`]: the socket is the child of a listener. Its handshake began with
/// an incoming SYN.
pub const SOCKET_IS_CHILD: u8 = 1 << 5;
/// The bits of [`SocketState::marks`] that hold the state's kernel number.
const STATE_MASK: u8 = (1 << 4) - 1;

/// The state of one full socket between two of its events. Events and histograms share it. If one
/// of them is switched off by [`Config::flags`](super::Config::flags), its fields stay 0.
///
/// A slot of the socket table has two words before this struct. Another 8 bytes lie before them in
/// the cache line. Together they fill one slot of [`SLOT_BYTES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SocketState {
    /// Time when the socket entered its state (monotonic clock, nanoseconds).
    pub since: u64,
    /// Time of the first observed event of the socket (monotonic clock, nanoseconds). No later
    /// socket at the address has this time. With [`SOCKET_BIRTH_SEEN`] it is the time of the birth.
    pub born: u64,
    /// The process that owns the socket; 0 if unknown.
    pub pid: u32,
    /// The peer's port; 0 while the socket has no peer.
    pub remote_port: u16,
    /// The state's kernel number in the low four bits, and above them [`SOCKET_BIRTH_SEEN`] and
    /// [`SOCKET_IS_CHILD`].
    pub marks: u8,
    /// Not 0 if an [`OwnerHint`] waits for the next event. It is a separate byte, because the
    /// program that sets it does not hold the socket's lock.
    pub is_hinted: u8,
    /// The name of the process, padded with zeroes.
    pub comm: [u8; COMM_BYTES],
}

/// The bytes of one slot of the socket table: a cache line.
pub const SLOT_BYTES: usize = 64;

impl SocketState {
    /// The state's kernel number.
    #[must_use]
    #[inline]
    pub const fn state(&self) -> usize {
        (self.marks & STATE_MASK) as usize
    }

    /// Whether an event can belong to this socket. If it cannot, an earlier event was missed:
    /// either of this socket, or the end of an earlier socket at the address.
    #[must_use]
    #[inline]
    pub const fn fits(&self, from: usize, to: usize, remote_port: u16) -> bool {
        !is_birth(from, to)
            && self.state() == from
            && (self.remote_port == 0 || self.remote_port == remote_port)
    }
}

/// The owner of a socket, found between two of its events or before its first event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OwnerHint {
    /// [`SocketState::born`] of the socket; 0 if the socket is from before the start of tcpstate.
    pub born: u64,
    /// The process ID.
    pub pid: u32,
    /// Explicit padding.
    pub reserved: u32,
    /// The name of the process.
    pub comm: [u8; COMM_BYTES],
}

// SAFETY: a `repr(C)` struct of integers without padding: every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for SocketState {}
// SAFETY: a `repr(C)` struct of integers without padding: every bit pattern is a value.
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
        let before = 3 * size_of::<u64>();
        assert_eq!(before + size_of::<SocketState>(), SLOT_BYTES);
    }
}

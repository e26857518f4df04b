//! The state of one full socket between two of its events, and what is found out about its owner
//! meanwhile.

use super::is_birth;

/// Bytes of a process's name, the zero at its end included (`TASK_COMM_LEN`).
pub const COMM_BYTES: usize = 16;

/// Bit of [`SocketState::marks`]: the first event of the socket was its birth, so
/// [`SocketState::born`] is the time of the birth.
pub const SOCKET_BIRTH_SEEN: u8 = 1 << 4;
/// Bit of [`SocketState::marks`]: the socket is a listener's child, whose handshake began with a SYN
/// that came in.
pub const SOCKET_IS_CHILD: u8 = 1 << 5;
/// The bits of [`SocketState::marks`] that hold the number of the state.
const STATE_MASK: u8 = (1 << 4) - 1;

/// The state of one full socket between two of its events. Events and histograms share it: the parts of
/// a run that are switched off by [`Config::flags`](super::Config::flags) leave their fields at 0.
///
/// With the two words that a slot of the socket table has before it, and 8 bytes that lie in the cache
/// line before, it fills one slot of [`SLOT_BYTES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SocketState {
    /// When the socket came into its state, by the monotonic clock, in nanoseconds.
    pub since: u64,
    /// The first event of the socket by that clock: no later socket at the same address has the same
    /// time. The time of the birth with [`SOCKET_BIRTH_SEEN`].
    pub born: u64,
    /// The process that owns the socket; 0 if unknown.
    pub pid: u32,
    /// The port of its peer; 0 as long as it has none.
    pub remote_port: u16,
    /// The state's kernel number in the low four bits, and above them [`SOCKET_BIRTH_SEEN`] and its
    /// like.
    pub marks: u8,
    /// Not 0 if an [`OwnerHint`] waits for the next event. A byte of its own, since the program that sets
    /// it does not hold the socket's lock.
    pub is_hinted: u8,
    /// The name of the process, zeroes at its end.
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

    /// Whether an event fits this socket. If it does not, an event was missed: of this socket, or the
    /// end of an earlier socket at its address.
    #[must_use]
    #[inline]
    pub const fn fits(&self, from: usize, to: usize, remote_port: u16) -> bool {
        !is_birth(from, to)
            && self.state() == from
            && (self.remote_port == 0 || self.remote_port == remote_port)
    }
}

/// The owner of a socket, as found out between two of its events, or before the first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OwnerHint {
    /// [`SocketState::born`] of the socket; 0 if the socket is older than that.
    pub born: u64,
    /// The process.
    pub pid: u32,
    /// Padding, named.
    pub reserved: u32,
    /// The name of the process.
    pub comm: [u8; COMM_BYTES],
}

// SAFETY: a `repr(C)` struct of integers without padding: every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for SocketState {}
// SAFETY: as above.
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

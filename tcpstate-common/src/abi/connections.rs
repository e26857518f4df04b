//! The records of `trace --connections`, and what the programs store of a connection until its last
//! event.

use super::EventRecord;
use crate::State;

/// The number of states that a socket can have before its last state. The longest path is
/// SYN_SENT, SYN_RECV, ESTABLISHED, FIN_WAIT1, and then CLOSING or FIN_WAIT2.
pub const EARLIER_STATES: usize = 4;

/// Bit of [`ConnectionSum::marks`]: the first observed event of the socket was its birth.
pub const CONNECTION_BIRTH_SEEN: u32 = 1 << 0;
/// Bit of [`ConnectionSum::marks`]: the socket is the child of a listener.
pub const CONNECTION_IS_CHILD: u32 = 1 << 1;
/// Bit of [`ConnectionSum::marks`]: the kernel made a time-wait socket.
pub const CONNECTION_HAS_TIME_WAIT: u32 = 1 << 2;
/// Bit of [`ConnectionSum::marks`]: the table had no room for the connection, so only the last
/// event is known.
pub const CONNECTION_HAD_NO_ROOM: u32 = 1 << 5;
/// Bit of [`ConnectionSum::marks`]: it is unknown whether the kernel made a time-wait socket,
/// because an earlier event was missed.
pub const CONNECTION_TIME_WAIT_UNKNOWN: u32 = 1 << 4;
/// Bit of [`ConnectionSum::marks`]: the connection is a subflow of an MPTCP connection.
pub const CONNECTION_IS_MPTCP: u32 = 1 << 3;

/// The kernel's `SOCK_DONE` in `sk_flags`: a FIN was received (`tcp_fin`).
pub const SOCK_DONE: u64 = 1 << 1;

/// How long a socket was in each of its earlier states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EarlierStates {
    /// The time in each state (nanoseconds), or [`UNKNOWN_DURATION`](super::UNKNOWN_DURATION).
    pub durations: [u64; EARLIER_STATES],
    /// The kernel's number of each state, in four bits, the first state in the lowest bits.
    pub path: u32,
    /// The number of states in `path`.
    pub length: u32,
}

impl EarlierStates {
    /// Returns the states in order, each with the time in the state. States that TCP does not have
    /// are left out.
    pub fn iter(&self) -> impl Iterator<Item = (State, u64)> + '_ {
        let length = (self.length as usize).min(EARLIER_STATES);
        (0..length).filter_map(|index| {
            let number = self.path >> (4 * index) & 0xf;
            Some((State::from_number(number as usize)?, self.durations[index]))
        })
    }
}

/// One connection, as the BPF programs write it to the ring at the last event of its full socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ConnectionRecord {
    /// The last event.
    pub event: EventRecord,
    /// The sum of the connection.
    pub sum: ConnectionSum,
}

/// What the programs know of a connection. Until the last event, a table holds the sum of each
/// connection, with only the first two fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ConnectionSum {
    /// The states before the last state.
    pub earlier: EarlierStates,
    /// The round-trip time of the handshake of a child (microseconds); 0 if unknown.
    pub handshake: u32,
    /// The bits such as [`CONNECTION_BIRTH_SEEN`].
    pub marks: u32,
    /// Time of the socket's birth (monotonic clock, nanoseconds); 0 if unknown.
    pub born: u64,
    /// `tcp_sock.bytes_acked`: the sequence numbers that the peer has acknowledged. It includes a
    /// SYN of this side and an acknowledged FIN.
    pub bytes_acked: u64,
    /// `tcp_sock.bytes_received`: the received sequence numbers. It includes a FIN.
    pub bytes_received: u64,
    /// `sock_common.skc_flags`, such as [`SOCK_DONE`].
    pub sock_flags: u64,
    /// `tcp_sock.total_retrans`.
    pub retransmits: u32,
    /// `tcp_sock.srtt_us`: eight times the smoothed round-trip time (microseconds).
    pub srtt: u32,
    /// `tcp_sock.snd_una`: the first sequence number that the peer has not acknowledged.
    pub snd_una: u32,
    /// `tcp_sock.write_seq`: the sequence number after everything that was sent or waits.
    pub write_seq: u32,
}

/// Byte offsets of the fields that a [`ConnectionRecord`] contains, taken
/// from the running kernel's BTF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ConnectionOffsets {
    /// `struct sock_common`, `skc_flags` (64 bits).
    pub skc_flags: u32,
    /// `struct tcp_sock`, `bytes_acked` (64 bits).
    pub bytes_acked: u32,
    /// `struct tcp_sock`, `bytes_received` (64 bits).
    pub bytes_received: u32,
    /// `struct tcp_sock`, `total_retrans` (32 bits).
    pub total_retrans: u32,
    /// `struct tcp_sock`, `srtt_us` (32 bits): eight times the smoothed round-trip time.
    pub srtt_us: u32,
    /// `struct tcp_sock`, `snd_una` (32 bits).
    pub snd_una: u32,
    /// `struct tcp_sock`, `write_seq` (32 bits).
    pub write_seq: u32,
    /// `struct tcp_sock`, the byte that contains `is_mptcp`.
    pub is_mptcp: u32,
    /// Mask that selects `is_mptcp` in its byte; 0 in a kernel without MPTCP.
    pub is_mptcp_mask: u32,
    /// Explicit padding.
    pub reserved: u32,
}

// SAFETY: `ConnectionRecord` is a `repr(C)` struct of integers without padding, so every bit
// pattern is valid.
#[cfg(feature = "user")]
unsafe impl aya::Pod for ConnectionRecord {}
// SAFETY: `ConnectionSum` is a `repr(C)` struct of integers without padding, so every bit pattern
// is valid.
#[cfg(feature = "user")]
unsafe impl aya::Pod for ConnectionSum {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_states_are_read_in_order() {
        let (sent, open) = (State::SynSent.number(), State::Established.number());
        let path = u32::try_from(sent | open << 4).expect("small");
        let earlier = EarlierStates { durations: [5, 7, 0, 0], path, length: 2 };
        let mut states = earlier.iter();
        assert_eq!(states.next(), Some((State::SynSent, 5)));
        assert_eq!(states.next(), Some((State::Established, 7)));
        assert_eq!(states.next(), None);
        let broken = EarlierStates { path: 0xffff, length: 99, ..earlier };
        assert_eq!(broken.iter().count(), 0, "no state has the number 15");
    }
}

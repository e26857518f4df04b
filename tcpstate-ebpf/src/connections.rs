//! Sums up each connection until the last event of its full socket, for `trace --connections`.
//!
//! ```text
//! tracking -> passed   an event that is not the last: the table holds the time in the old state
//!          -> write    the last event: a record has all times, and the counts of the socket
//!          -> forget   after the last event
//! ```
//!
//! The counts of bytes and retransmits are fields of the socket, so the programs read them only
//! once, at the last event. The flag for connections is frozen, so the verifier removes this code
//! from programs that do not sum up connections.

use tcpstate_common::{
    State,
    abi::{
        CONNECTION_BIRTH_SEEN, CONNECTION_HAS_TIME_WAIT, CONNECTION_IS_CHILD, CONNECTION_IS_MPTCP,
        CONNECTION_TIME_WAIT_UNKNOWN, ConnectionState, EARLIER_STATES, EarlierStates,
        FLAG_CONNECTIONS, RecordKind, is_birth,
    },
};

use crate::{
    access::Access,
    closers::{Entry, TimeWait},
    config::config,
    events::{self, Transition},
    maps::CONNECTIONS,
    ring,
    sock::Sock,
    socket_table::Observed,
};

const CLOSE: usize = State::Close as usize;
const LISTEN: usize = State::Listen as usize;

/// A connection of which nothing is known.
const UNKNOWN: ConnectionState = ConnectionState {
    earlier: EarlierStates { durations: [0; EARLIER_STATES], path: 0, length: 0 },
    handshake: 0,
    reserved: 0,
};

/// Returns whether connections are summed up; the verifier knows the value.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    config!(flags) & FLAG_CONNECTIONS != 0
}

/// Returns whether an event is the last of a connection. A listener is no connection.
#[inline(always)]
pub(crate) fn is_end(from: usize, to: usize) -> bool {
    to == CLOSE && from != LISTEN && from != CLOSE
}

/// Called at each event of a full socket. If the event is not the last, the function stores how
/// long the socket was in the old state.
#[inline(always)]
pub(crate) fn passed<A: Access>(sock: Sock<A>, from: usize, to: usize, observed: &Observed) {
    if !is_on() || to == CLOSE || to == LISTEN || from == to {
        return;
    }
    let is_accepted = from == State::SynRecv as usize && to == State::Established as usize;
    let handshake = if is_accepted && observed.is_child { handshake(sock) } else { 0 };
    let is_new = is_birth(from, to) || !observed.is_known;
    let step = from as u64 | u64::from(is_new) << 8 | u64::from(is_birth(from, to)) << 9;
    store(sock.plain_address(), step, observed.duration, handshake);
}

/// Returns the round-trip time of the handshake of a child in microseconds; 0 if unknown. When a
/// child becomes ESTABLISHED, the handshake is its only measured round trip (`tcp_synack_rtt_meas`).
/// If the SYN-ACK was sent more than once, the time is unknown.
#[inline(always)]
fn handshake<A: Access>(sock: Sock<A>) -> u32 {
    let sock = sock.probed();
    if sock.load::<u32>(config!(connections.total_retrans)) != 0 {
        return 0;
    }
    sock.load::<u32>(config!(connections.srtt_us)) >> 3
}

/// Stores the time in an old state. The function is not inlined, to keep the stack of its caller
/// small.
#[inline(never)]
fn store(address: u64, step: u64, duration: u64, handshake: u32) {
    let (from, is_new, is_birth) = (step as u32 & 0xf, step >> 8 & 1 != 0, step >> 9 & 1 != 0);
    if !is_new && let Some(entry) = CONNECTIONS.get(address) {
        // SAFETY: the kernel does not free the memory of a map entry while the program runs.
        unsafe { add(entry, from, duration, handshake) };
        return;
    }
    let mut state = UNKNOWN;
    if !is_birth {
        state.earlier.durations[0] = duration;
        state.earlier.path = from;
        state.earlier.length = 1;
        state.handshake = handshake;
    }
    if CONNECTIONS.insert(address, state).is_err() {
        ring::count_untracked();
    }
}

/// Adds a state to those of a connection.
///
/// # Safety
/// `entry` must point to an entry of the table.
#[inline(always)]
unsafe fn add(entry: *mut ConnectionState, from: u32, duration: u64, handshake: u32) {
    // SAFETY: the caller guarantees that `entry` points to an entry of the table. The index is
    // below the length of the array.
    unsafe {
        let earlier = &raw mut (*entry).earlier;
        let length = (&raw const (*earlier).length).read_volatile();
        if length as usize >= EARLIER_STATES {
            return;
        }
        let durations = (&raw mut (*earlier).durations).cast::<u64>();
        durations.add(length as usize & (EARLIER_STATES - 1)).write_volatile(duration);
        (*earlier).path |= from << (4 * length);
        (*earlier).length = length + 1;
        if handshake != 0 {
            (*entry).handshake = handshake;
        }
    }
}

/// Writes the record of a connection at the last event of its full socket.
#[inline(always)]
pub(crate) fn write<A: Access>(
    transition: Transition<A>,
    observed: &Observed,
    closer: Entry,
    facts: (u16, u8),
) -> bool {
    let sock = transition.sock.probed();
    let event = || events::record(transition, observed, closer, facts, RecordKind::Connection);
    ring::write_connection(event, |record| {
        let mut marks = if observed.born != 0 { CONNECTION_BIRTH_SEEN } else { 0 };
        if observed.is_child {
            marks |= CONNECTION_IS_CHILD;
        }
        marks |= match closer.time_wait(transition.from) {
            TimeWait::None => 0,
            TimeWait::Born => CONNECTION_HAS_TIME_WAIT,
            TimeWait::Unknown => CONNECTION_TIME_WAIT_UNKNOWN,
        };
        let is_mptcp: u8 = sock.load(config!(connections.is_mptcp));
        if u32::from(is_mptcp) & config!(connections.is_mptcp_mask) != 0 {
            marks |= CONNECTION_IS_MPTCP;
        }
        // SAFETY: `record` points to reserved space of the ring. The kernel does not free the
        // memory of a map entry while the program runs.
        unsafe {
            let record = &raw mut (*record).sum;
            (&raw mut (*record).state).write(match CONNECTIONS.get(sock.address()) {
                Some(entry) if observed.is_known => *entry,
                _ => UNKNOWN,
            });
            (*record).born = observed.born;
            (*record).bytes_acked = sock.load(config!(connections.bytes_acked));
            (*record).bytes_received = sock.load(config!(connections.bytes_received));
            (*record).sock_flags = sock.load(config!(connections.skc_flags));
            (*record).retransmits = sock.load(config!(connections.total_retrans));
            (*record).srtt = sock.load(config!(connections.srtt_us));
            (*record).snd_una = sock.load(config!(connections.snd_una));
            (*record).write_seq = sock.load(config!(connections.write_seq));
            (*record).marks = marks;
            (*record).reserved = 0;
        }
    })
}

/// Removes what is stored of a socket. The function is called after the last event of the socket,
/// and if the socket can no longer match the filter.
#[inline(always)]
pub(crate) fn forget<A: Access>(sock: Sock<A>) {
    if is_on() {
        CONNECTIONS.remove(sock.address());
    }
}

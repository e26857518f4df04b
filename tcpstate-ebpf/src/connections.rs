//! Sums up each connection until the last event of its full socket, for `trace --connections`.
//!
//! ```text
//! tracking -> passed   an event that is not the last: the table holds the time in the old state
//!          -> write    the last event: a record has all times, and the counts of the socket
//!          -> forget   after the last event
//! iterators -> fill_pending, write_pending   the connections that are open at the end of the run
//! ```
//!
//! The counts of bytes and retransmits are fields of the socket, so the programs read them only
//! once, at the last event. The flag for connections is frozen, so the verifier removes this code
//! from programs that do not sum up connections.

use aya_ebpf::helpers::generated::bpf_seq_write;
use tcpstate_common::{
    State,
    abi::{
        CONNECTION_BIRTH_SEEN, CONNECTION_HAS_TIME_WAIT, CONNECTION_IS_CHILD, CONNECTION_IS_MPTCP,
        CONNECTION_TIME_WAIT_UNKNOWN, ConnectionRecord, ConnectionState, ConnectionSum,
        EARLIER_STATES, EarlierStates, FLAG_CONNECTIONS, RecordKind, is_birth,
    },
};

use crate::{
    access::{Access, Probed},
    closers::{Entry, TimeWait},
    config::config,
    connection::Full,
    event_filter::{self, Verdict},
    events::{self, Transition},
    kernel::now,
    maps::{CONNECTIONS, PENDING},
    process::Process,
    ring,
    sock::Sock,
    socket_table::{self, Observed},
    verifier::checked_once,
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
        let time_wait = match closer.time_wait(transition.from) {
            TimeWait::None => 0,
            TimeWait::Born => CONNECTION_HAS_TIME_WAIT,
            TimeWait::Unknown => CONNECTION_TIME_WAIT_UNKNOWN,
        };
        // SAFETY: `record` points to reserved space of the ring.
        unsafe { fill(&raw mut (*record).sum, sock, observed, time_wait) };
    })
}

/// Fills in the sum of a connection.
///
/// # Safety
/// `sum` must point to memory that the program may write.
#[inline(always)]
unsafe fn fill(sum: *mut ConnectionSum, sock: Sock<Probed>, observed: &Observed, time_wait: u32) {
    let mut marks = time_wait;
    if observed.born != 0 {
        marks |= CONNECTION_BIRTH_SEEN;
    }
    if observed.is_child {
        marks |= CONNECTION_IS_CHILD;
    }
    let is_mptcp: u8 = sock.load(config!(connections.is_mptcp));
    if u32::from(is_mptcp) & config!(connections.is_mptcp_mask) != 0 {
        marks |= CONNECTION_IS_MPTCP;
    }
    // SAFETY: the caller guarantees that the program may write to `sum`. The kernel does not free
    // the memory of a map entry while the program runs.
    unsafe {
        (&raw mut (*sum).state).write(match CONNECTIONS.get(sock.address()) {
            Some(entry) if observed.is_known => *entry,
            _ => UNKNOWN,
        });
        (*sum).born = observed.born;
        (*sum).bytes_acked = sock.load(config!(connections.bytes_acked));
        (*sum).bytes_received = sock.load(config!(connections.bytes_received));
        (*sum).sock_flags = sock.load(config!(connections.skc_flags));
        (*sum).retransmits = sock.load(config!(connections.total_retrans));
        (*sum).srtt = sock.load(config!(connections.srtt_us));
        (*sum).snd_una = sock.load(config!(connections.snd_una));
        (*sum).write_seq = sock.load(config!(connections.write_seq));
        (*sum).marks = marks;
        (*sum).reserved = 0;
    }
}

checked_once! {
    /// Fills in the record of an open connection in [`PENDING`]. Returns 0 if the socket has no
    /// connection, or if the connection does not match the filter.
    pub(crate) fn fill_pending(address: u64) -> u64 {
        if !is_on() {
            return 0;
        }
        // SAFETY: the caller passes the address of a socket that exists while the program runs.
        let sock = unsafe { Sock::<Probed>::from_ptr(address as *const u8) };
        let state = sock.state();
        let is_full = state != State::TimeWait as usize && state != State::NewSynRecv as usize;
        if !is_full || state == CLOSE || state == LISTEN {
            return 0;
        }
        if event_filter::of_socket(&Full { sock, from: state }, state, state) != Verdict::Now {
            return 0;
        }
        let now = now();
        let observed = socket_table::look(sock, state, now);
        let Process { pid, comm } = observed.owner;
        if !event_filter::of_state(pid, comm, observed.duration) {
            return 0;
        }
        let Some(record) = PENDING.get_ptr_mut(0) else { return 0 };
        let remote_port = sock.remote_port();
        let transition = Transition { sock, from: state, to: state, now, remote_port };
        // SAFETY: `record` points to this CPU's map element, which stays valid while the program
        // runs.
        unsafe {
            (&raw mut (*record).event).write(events::record(
                transition,
                &observed,
                Entry::NONE,
                (0, 0),
                RecordKind::Connection,
            ));
            fill(&raw mut (*record).sum, sock, &observed, CONNECTION_TIME_WAIT_UNKNOWN);
        }
        1
    }
}

/// Writes the record in [`PENDING`] to the output of an iterator. If the output has no room, the
/// kernel makes room and visits the socket again (`bpf_seq_read`).
#[inline(always)]
pub(crate) fn write_pending(seq: *mut u8) {
    let Some(record) = PENDING.get_ptr(0) else { return };
    // SAFETY: `seq` is the output of the running iterator, and `record` points to this CPU's map
    // element.
    unsafe {
        bpf_seq_write(seq.cast(), record.cast(), size_of::<ConnectionRecord>() as u32);
    }
}

/// Removes what is stored of a socket. The function is called after the last event of the socket,
/// and if the socket can no longer match the filter.
#[inline(always)]
pub(crate) fn forget<A: Access>(sock: Sock<A>) {
    if is_on() {
        CONNECTIONS.remove(sock.address());
    }
}

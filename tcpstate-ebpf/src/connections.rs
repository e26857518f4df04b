//! Sums up each connection until the last event of its full socket, for `trace --connections`.
//!
//! ```text
//! tracking -> passed   an event that is not the last: the table holds the time in the old state
//!          -> write    the last event: the table holds the whole sum, which a record copies
//!          -> forget   after the last event
//! iterators -> fill_pending, write_pending   the connections that are open at the end of the run
//! ```
//!
//! The counts of bytes and retransmits are fields of the socket, so the programs read them only
//! once, at the last event. The flag for connections is frozen, so the verifier removes this code
//! from programs that do not sum up connections.
//!
//! The tracking program has many paths, so the functions that it calls are checked once.

use aya_ebpf::helpers::generated::bpf_seq_write;
use tcpstate_common::{
    State,
    abi::{
        CONNECTION_BIRTH_SEEN, CONNECTION_HAD_NO_ROOM, CONNECTION_HAS_TIME_WAIT,
        CONNECTION_IS_CHILD, CONNECTION_IS_MPTCP, CONNECTION_TIME_WAIT_UNKNOWN, ConnectionRecord,
        ConnectionSum, EARLIER_STATES, EarlierStates, FLAG_CONNECTIONS, RecordKind, is_birth,
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
const UNKNOWN: ConnectionSum = ConnectionSum {
    earlier: EarlierStates { durations: [0; EARLIER_STATES], path: 0, length: 0 },
    handshake: 0,
    marks: 0,
    born: 0,
    bytes_acked: 0,
    bytes_received: 0,
    sock_flags: 0,
    retransmits: 0,
    srtt: 0,
    snd_una: 0,
    write_seq: 0,
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

/// What is known of an event and its socket, in one number.
#[derive(Clone, Copy)]
struct Step(u64);

impl Step {
    #[inline(always)]
    fn new(from: usize, to: usize, observed: &Observed) -> Self {
        Self(
            from as u64
                | (to as u64) << 8
                | u64::from(observed.is_known) << 16
                | u64::from(observed.is_child) << 17,
        )
    }

    #[inline(always)]
    fn from(self) -> usize {
        self.0 as usize & 0xf
    }

    #[inline(always)]
    fn to(self) -> usize {
        (self.0 >> 8) as usize & 0xf
    }

    #[inline(always)]
    fn is_known(self) -> bool {
        self.0 >> 16 & 1 != 0
    }

    #[inline(always)]
    fn is_child(self) -> bool {
        self.0 >> 17 & 1 != 0
    }
}

/// Called at each event of a full socket. If the event is not the last, the function stores how
/// long the socket was in the old state.
#[inline(always)]
pub(crate) fn passed<A: Access>(sock: Sock<A>, from: usize, to: usize, observed: &Observed) {
    if is_on() && to != CLOSE && to != LISTEN && from != to {
        store_passed(sock.plain_address(), Step::new(from, to, observed).0, observed.duration);
    }
}

checked_once! {
    fn store_passed(address: u64, step: u64, duration: u64) -> u64 {
        if !is_on() {
            return 0;
        }
        let step = Step(step);
        let is_birth = is_birth(step.from(), step.to());
        if !is_birth && step.is_known() && let Some(entry) = CONNECTIONS.get(address) {
            // SAFETY: the kernel does not free the memory of a map entry while the program runs.
            unsafe { add(entry, address, step, duration) };
            return 0;
        }
        let mut sum = UNKNOWN;
        if !is_birth {
            sum.earlier.durations[0] = duration;
            sum.earlier.path = step.from() as u32;
            sum.earlier.length = 1;
        }
        if CONNECTIONS.insert(address, sum).is_err() {
            ring::count_untracked();
        }
        0
    }
}

/// Adds a state to those of a connection.
///
/// # Safety
/// `entry` must point to an entry of the table.
#[inline(always)]
unsafe fn add(entry: *mut ConnectionSum, address: u64, step: Step, duration: u64) {
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
        (*earlier).path |= (step.from() as u32) << (4 * length);
        (*earlier).length = length + 1;
        let is_established = step.to() == State::Established as usize;
        if is_established && step.from() == State::SynRecv as usize && step.is_child() {
            (*entry).handshake = handshake(address);
        }
    }
}

/// Returns the round-trip time of the handshake of a child in microseconds; 0 if unknown. When a
/// child becomes ESTABLISHED, the handshake is its only measured round trip
/// (`tcp_synack_rtt_meas`). If the SYN-ACK was sent more than once, the time is unknown.
#[inline(always)]
fn handshake(address: u64) -> u32 {
    // SAFETY: the address is that of the socket of the current event.
    let sock = unsafe { Sock::<Probed>::from_ptr(address as *const u8) };
    if sock.load::<u32>(config!(connections.total_retrans)) != 0 {
        return 0;
    }
    sock.load::<u32>(config!(connections.srtt_us)) >> 3
}

/// Writes the record of a connection at the last event of its full socket.
#[inline(always)]
pub(crate) fn write<A: Access>(
    transition: Transition<A>,
    observed: &Observed,
    closer: Entry,
    facts: (u16, u8),
) -> bool {
    let Transition { sock, from, to, .. } = transition;
    let step = Step::new(from, to, observed).0;
    store_sum(sock.plain_address(), step, observed.born, closer.key());
    let event = || events::record(transition, observed, closer, facts, RecordKind::Connection);
    ring::write_connection(event, |record| {
        // SAFETY: `record` points to reserved space of the ring. The kernel does not free the
        // memory of a map entry while the program runs.
        unsafe {
            if let Some(sum) = CONNECTIONS.get(sock.address()) {
                (*record).sum = *sum;
            } else {
                (&raw mut (*record).sum).write(UNKNOWN);
                (*record).sum.marks = CONNECTION_HAD_NO_ROOM;
            }
        }
    })
}

checked_once! {
    /// Stores the whole sum of a connection at its last event. `key` is the key of the entry of its
    /// closer.
    fn store_sum(address: u64, step: u64, born: u64, key: u64) -> u64 {
        if !is_on() {
            return 0;
        }
        let step = Step(step);
        let marks = match Entry::of_key(key).time_wait(step.from()) {
            TimeWait::None => 0,
            TimeWait::Born => CONNECTION_HAS_TIME_WAIT,
            TimeWait::Unknown => CONNECTION_TIME_WAIT_UNKNOWN,
        };
        // The entry of an earlier socket at this address may remain if its end was missed.
        if (!step.is_known() || CONNECTIONS.get(address).is_none())
            && CONNECTIONS.insert(address, UNKNOWN).is_err()
        {
            ring::count_untracked();
            return 0;
        }
        if let Some(sum) = CONNECTIONS.get(address) {
            // SAFETY: the kernel does not free the memory of a map entry while the program runs.
            unsafe { fill(sum, address, born, step.is_child(), marks) };
        }
        0
    }
}

/// Fills in the sum of a connection, except for what was stored before its last event.
///
/// # Safety
/// `sum` must point to memory that the program may write.
#[inline(always)]
unsafe fn fill(sum: *mut ConnectionSum, address: u64, born: u64, is_child: bool, marks: u32) {
    // SAFETY: the callers pass the address of a socket that exists while the program runs.
    let sock = unsafe { Sock::<Probed>::from_ptr(address as *const u8) };
    let mut marks = marks;
    if born != 0 {
        marks |= CONNECTION_BIRTH_SEEN;
    }
    if is_child {
        marks |= CONNECTION_IS_CHILD;
    }
    let is_mptcp: u8 = sock.load(config!(connections.is_mptcp));
    if u32::from(is_mptcp) & config!(connections.is_mptcp_mask) != 0 {
        marks |= CONNECTION_IS_MPTCP;
    }
    // SAFETY: the caller guarantees that the program may write to `sum`.
    unsafe {
        (*sum).marks = marks;
        (*sum).born = born;
        (*sum).bytes_acked = sock.load(config!(connections.bytes_acked));
        (*sum).bytes_received = sock.load(config!(connections.bytes_received));
        (*sum).sock_flags = sock.load(config!(connections.skc_flags));
        (*sum).retransmits = sock.load(config!(connections.total_retrans));
        (*sum).srtt = sock.load(config!(connections.srtt_us));
        (*sum).snd_una = sock.load(config!(connections.snd_una));
        (*sum).write_seq = sock.load(config!(connections.write_seq));
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
        let kind = RecordKind::Connection;
        let sum = CONNECTIONS.get(address);
        // SAFETY: `record` points to this CPU's map element, which stays valid while the program
        // runs. The kernel does not free the memory of a map entry either.
        unsafe {
            let event = events::record(transition, &observed, Entry::NONE, (0, 0), kind);
            (&raw mut (*record).event).write(event);
            (*record).sum = match sum {
                Some(sum) if observed.is_known => *sum,
                _ => UNKNOWN,
            };
            let sum = &raw mut (*record).sum;
            fill(sum, address, observed.born, observed.is_child, CONNECTION_TIME_WAIT_UNKNOWN);
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

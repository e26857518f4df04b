//! Checks whether an event matches the filter. A matching event meets all conditions of
//! [`FilterConfig`](tcpstate_common::filter::FilterConfig).
//!
//! ```text
//! of_socket(connection, from, to) -> Never   no event of this socket matches: do not store it
//!                                 -> Later   this event does not match, a later one may: store it
//!                                 -> Now     the event matches if of_state(process, duration) does
//! ```
//!
//! Every program that writes or counts filtered events calls `of_socket` and `of_state`. Neither
//! `of_socket` nor `of_state` uses the ring or the table of sockets. The configuration is frozen,
//! so the verifier removes the code of conditions that the user did not set. The functions first
//! check the conditions that are cheap and that reject a socket for its whole life. An unknown
//! field does not match a condition.

use tcpstate_common::{
    State,
    abi::{COMM_BYTES, STATE_SLOTS, UNKNOWN_DURATION},
    filter::{
        END_EITHER, END_LOCAL, END_REMOTE, FILTER_ADDRESS, FILTER_CGROUP, FILTER_COMM,
        FILTER_DURATION, FILTER_LOCAL, FILTER_LOCAL_PORT, FILTER_MOVES, FILTER_NO_CHOSEN_PORT,
        FILTER_PID, FILTER_PORT, FILTER_REMOTE, FILTER_REMOTE_PORT, FILTER_UID, Network,
        PORTS_EITHER, PORTS_LOCAL, PORTS_REMOTE, PortSet,
    },
};

use crate::{
    closers, config,
    connection::Connection,
    filter_lists::{CastItem as _, any, filter},
    maps::PORTS,
    program_tree,
    sock::ANY_V4,
    verifier::checked_once,
};

/// The filter's result before the look-up of the socket's state.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The event matches if its owner and duration match.
    Now,
    /// The event does not match, but a later event of this socket may match.
    Later,
    /// Neither this event nor a later event of this socket matches.
    Never,
}

/// The parts of a connection that are known at the time of an event, as bits.
#[derive(Clone, Copy)]
struct Known(u64);

impl Known {
    /// The event is the birth of a child. The remote address of a newborn child is not known yet.
    /// The local address of a newborn child is known only if the listener is bound to an address.
    const IS_CHILD: u64 = 1;
    /// The socket is a listener, which never has a remote address.
    const IS_LISTENER: u64 = 2;
    /// The remote address and port are known.
    const HAS_PEER: u64 = 4;

    /// Returns whether at least one of the bits is set.
    #[inline(always)]
    fn has(self, bits: u64) -> bool {
        self.0 & bits != 0
    }
}

checked_once! {
    /// Returns the bits of [`Known`] for an event.
    fn known_at(from: u64, to: u64) -> u64 {
        const CLOSE: u64 = State::Close as u64;
        const LISTEN: u64 = State::Listen as u64;
        let is_apart = from == CLOSE || from == LISTEN;
        let mut known = 0;
        if is_apart && to == State::SynRecv as u64 {
            known |= Known::IS_CHILD;
        }
        if to == LISTEN || (from == LISTEN && to == CLOSE) {
            known |= Known::IS_LISTENER;
        }
        if !is_apart || to == State::SynSent as u64 {
            known |= Known::HAS_PEER;
        }
        known
    }
}

/// Checks an event by the fields of its connection.
///
/// The function is long because it contains all conditions; it checks cheap conditions first.
#[inline(always)]
pub(crate) fn of_socket(connection: &impl Connection, from: usize, to: usize) -> Verdict {
    let conditions = filter!(conditions);
    let known = Known(known_at(from as u64, to as u64));
    let mut verdict = Verdict::Now;
    /// Checks one condition. If the condition is false and the field can no longer change
    /// (`known`), no later event matches.
    macro_rules! require {
        ($holds:expr, known: $is_known:expr) => {
            if !$holds {
                if $is_known {
                    return Verdict::Never;
                }
                verdict = Verdict::Later;
            }
        };
    }
    let has_peer = known.has(Known::HAS_PEER);
    let is_peer_settled = known.has(Known::HAS_PEER | Known::IS_LISTENER);
    if conditions & (FILTER_LOCAL_PORT | FILTER_PORT) != 0 {
        let port = connection.local_port();
        let is_known = port != 0 || conditions & FILTER_NO_CHOSEN_PORT != 0;
        if conditions & FILTER_LOCAL_PORT != 0 {
            require!(is_among(PORTS_LOCAL, port), known: is_known);
        }
        if conditions & FILTER_PORT != 0 {
            let holds = is_among(PORTS_EITHER, port)
                || (has_peer && is_among(PORTS_EITHER, connection.remote_port()));
            require!(holds, known: is_known && is_peer_settled);
        }
    }
    if conditions & FILTER_REMOTE_PORT != 0 {
        let holds = has_peer && is_among(PORTS_REMOTE, connection.remote_port());
        require!(holds, known: is_peer_settled);
    }
    if conditions & (FILTER_LOCAL | FILTER_REMOTE | FILTER_ADDRESS) != 0 {
        let is_v6 = u64::from(connection.is_v6());
        let local = connection.local();
        let is_local_known = is_local_known(known.0, is_v6, local[0], local[1]) != 0;
        let is_peer_in = |end| {
            let remote = connection.remote();
            is_in(end, is_v6, remote[0], remote[1]) != 0
        };
        let is_local_in = |end| is_local_known && is_in(end, is_v6, local[0], local[1]) != 0;
        if conditions & FILTER_LOCAL != 0 {
            require!(is_local_in(END_LOCAL), known: is_local_known);
        }
        if conditions & FILTER_REMOTE != 0 {
            let holds = has_peer && is_peer_in(END_REMOTE);
            require!(holds, known: is_peer_settled);
        }
        if conditions & FILTER_ADDRESS != 0 {
            let holds = is_local_in(END_EITHER) || (has_peer && is_peer_in(END_EITHER));
            require!(holds, known: is_local_known && is_peer_settled);
        }
    }
    if conditions & FILTER_CGROUP != 0 {
        // The events of a mini socket match by the process that closed the connection. This process
        // is stored for sockets of any cgroup.
        require!(connection.is_in_cgroup(), known: !closers::is_on());
    }
    if conditions & FILTER_MOVES != 0 {
        let row = from & (STATE_SLOTS - 1);
        // SAFETY: `filter_ptr` points to the static `FILTER`, and the index is masked to the
        // array's length.
        let moves = unsafe {
            (&raw const (*config::filter_ptr()).moves).cast_item().add(row).read_volatile()
        };
        require!(moves >> (to & (STATE_SLOTS - 1)) & 1 != 0, known: false);
    }
    if conditions & FILTER_UID != 0 {
        // The user may still change, because accept() gives the connection to the user of the
        // accepting process.
        require!(is_user(connection.uid()) != 0, known: false);
    }
    verdict
}

/// Returns whether the filter has a condition that [`of_socket`] checks.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    filter!(conditions) & !FILTER_NO_CHOSEN_PORT != 0
}

/// Returns whether the table may hold the state of a socket although the socket never matches. At
/// the birth of the socket, the filter could not know that the socket never matches.
#[inline(always)]
pub(crate) fn was_undecided(from: usize) -> bool {
    const OF_CHILDREN: u32 =
        FILTER_REMOTE_PORT | FILTER_PORT | FILTER_LOCAL | FILTER_REMOTE | FILTER_ADDRESS;
    let conditions = filter!(conditions);
    if from == State::SynSent as usize || from == State::Listen as usize {
        conditions & (FILTER_LOCAL_PORT | FILTER_PORT) != 0
            && conditions & FILTER_NO_CHOSEN_PORT == 0
    } else {
        from == State::SynRecv as usize && conditions & OF_CHILDREN != 0
    }
}

/// Returns whether an event matches by a process and by the duration of the old state. The process
/// is the owner of a full socket, and the process that closed the connection of a mini socket.
#[inline(always)]
pub(crate) fn of_state(pid: u32, comm: [u8; COMM_BYTES], duration: u64) -> bool {
    let conditions = filter!(conditions);
    if conditions & FILTER_DURATION != 0
        && (duration == UNKNOWN_DURATION || duration < filter!(min_duration))
    {
        return false;
    }
    if conditions & FILTER_PID != 0 && is_process(program_tree::plain(pid)) == 0 {
        return false;
    }
    if !is_in_tree(pid) {
        return false;
    }
    if conditions & FILTER_COMM != 0 {
        let name = u128::from_ne_bytes(comm);
        return pid != 0 && is_name(name as u64, (name >> 64) as u64) != 0;
    }
    true
}

/// Returns whether a process meets the filter's condition on the tree of a program. The result is
/// true if the filter has no such condition.
#[inline(always)]
pub(crate) fn is_in_tree(pid: u32) -> bool {
    !program_tree::is_on() || program_tree::is_marked(pid)
}

/// Returns whether a port is in a set of ports. The port 0 means that the port is unknown.
#[inline(always)]
fn is_among(set: u32, port: u16) -> bool {
    is_port_among(set, u64::from(port)) != 0
}

checked_once! {
    fn is_port_among(set: u32, port: u64) -> u64 {
        let Some(set) = PORTS.get_ptr(set) else { return 0 };
        // SAFETY: `set` points to an element of the map, and the index is masked to the number of
        // words.
        let word = unsafe {
            set.cast::<u64>().add((port >> 6) as usize & (PortSet::WORDS - 1)).read_volatile()
        };
        u64::from(port != 0) & word >> (port & 63)
    }
}

checked_once! {
    /// Returns whether an address is in a network that the filter compares with this address (local
    /// or remote).
    fn is_in(end: u32, is_v6: u64, high: u64, low: u64) -> u64 {
        u64::from(any!(network, networks, |network: Network| network.end == end
            && (is_v6 != 0 || network.is_v6 == 0)
            && high & network.mask[0] == network.first[0]
            && low & network.mask[1] == network.first[1]))
    }
}

checked_once! {
    /// Returns whether the local address is known: only a newborn child of a listener that is not
    /// bound to an address has the unspecified address for now.
    fn is_local_known(known: u64, is_v6: u64, high: u64, low: u64) -> u64 {
        // In IPv4-mapped form, the unspecified IPv4 address is `::ffff:0.0.0.0`, which is not all
        // zeroes.
        let is_unspecified = if is_v6 != 0 { high | low == 0 } else { low == ANY_V4 };
        u64::from(known & Known::IS_CHILD == 0 || !is_unspecified)
    }
}

checked_once! {
    fn is_user(uid: u32) -> u64 {
        u64::from(any!(uid, uids, |item| item == uid))
    }
}

checked_once! {
    fn is_process(pid: u32) -> u64 {
        u64::from(any!(pid, pids, |item| item == pid))
    }
}

checked_once! {
    /// Returns whether the filter contains the name whose bytes are in the two numbers.
    fn is_name(first: u64, last: u64) -> u64 {
        let name = u128::from(last) << 64 | u128::from(first);
        u64::from(any!(comm, comms, |comm| u128::from_ne_bytes(comm) == name))
    }
}

//! The table of full sockets. Each event reads the stored state of its socket from the table, and
//! stores the socket's state for the next event.
//!
//! Events and histograms share one entry of fixed layout per socket, [`SocketState`]. An event
//! therefore needs only one look-up, even if both events and histograms are enabled. Frozen flags
//! enable events and histograms. The key of an entry is the socket's address.
//!
//! If an entry does not [fit](SocketState::fits) an event, an earlier event was missed. After a
//! missed event, the duration and the owner are unknown, and the entry is replaced. Events of one
//! socket never race, because the kernel holds the socket's lock.

use tcpstate_common::{
    State,
    abi::{
        FLAG_EVENTS, FLAG_HISTOGRAMS, SOCKET_BIRTH_SEEN, SOCKET_IS_CHILD, SocketState,
        UNKNOWN_DURATION, is_birth,
    },
};

use crate::{
    access::Access,
    atomic::add_one_atomically,
    config::config,
    histograms, maps,
    maps::SOCKETS,
    owner_hints,
    process::Process,
    ring::{self, Loss},
    sock::Sock,
};

const LISTEN: usize = State::Listen as usize;
const SYN_SENT: usize = State::SynSent as usize;
const SYN_RECV: usize = State::SynRecv as usize;
const CLOSE: usize = State::Close as usize;

/// The facts that the table provides about a socket at an event. The fields have plain values
/// instead of an `Option`, because the verifier requires every register to be set.
#[derive(Clone, Copy)]
pub(crate) struct Observed {
    /// Whether the table has the state after the previous event of the socket.
    pub(crate) is_known: bool,
    /// How long the socket was in the old state (nanoseconds), or [`UNKNOWN_DURATION`].
    pub(crate) duration: u64,
    /// Time of the socket's birth (monotonic clock, nanoseconds); 0 if the birth was not observed.
    pub(crate) born: u64,
    /// Whether the socket is known to be the child of a listener.
    pub(crate) is_child: bool,
    /// The owner of the socket, set only if owners are needed.
    pub(crate) owner: Process,
}

/// The state of a socket that is stored for its next event.
#[derive(Clone, Copy)]
struct Kept {
    since: u64,
    born: u64,
    /// The marks [`SOCKET_BIRTH_SEEN`] and [`SOCKET_IS_CHILD`], without the state's number.
    marks: u8,
    /// Whether the owner differs from the owner that the entry stores.
    is_owner_new: bool,
}

/// Updates the table with an event, and returns the known facts about the socket.
#[inline(always)]
pub(crate) fn observe<A: Access>(
    sock: Sock<A>,
    from: usize,
    to: usize,
    now: u64,
    remote_port: u16,
) -> Observed {
    let is_birth = is_birth(from, to);
    // A newborn socket replaces the entry of an earlier socket at its address.
    let entry = if is_birth { None } else { SOCKETS.get(sock.address()) };
    let (mut is_known, mut duration, mut owner) = (false, UNKNOWN_DURATION, Process::UNKNOWN);
    let mut kept = Kept { since: now, born: now, marks: 0, is_owner_new: false };
    if let Some(entry) = entry {
        // SAFETY: the kernel does not free the memory of a map entry while the program runs.
        let state = unsafe { &*entry };
        if state.fits(from, to, remote_port) {
            is_known = true;
            kept.born = state.born;
            kept.marks = state.marks & (SOCKET_BIRTH_SEEN | SOCKET_IS_CHILD);
            if wants_owner() {
                owner = Process { pid: state.pid, comm: state.comm };
            }
            // The event that leaves SYN_RECV is the second event of a child. No process has
            // accepted the child yet.
            if has_hints() && owner.pid == 0 && from != SYN_RECV {
                owner = owner_hints::take(sock.address(), kept.born);
                kept.is_owner_new = true;
            }
            if from == to {
                // The socket stays in its state, so its duration in the state continues.
                kept.since = state.since;
            } else {
                duration = now - state.since;
            }
        }
    } else if is_birth {
        kept.marks = SOCKET_BIRTH_SEEN | if to == SYN_RECV { SOCKET_IS_CHILD } else { 0 };
        owner = owner_at_birth(from, to);
    } else if has_hints() && from != to {
        owner = owner_hints::take_from_before(sock);
    }
    if to == CLOSE || (from == to && !is_known) {
        if entry.is_some() {
            SOCKETS.remove(sock.address());
        }
    } else {
        keep(sock.address(), entry, is_known, to, remote_port, kept, owner);
    }
    Observed {
        is_known,
        duration,
        born: if kept.marks & SOCKET_BIRTH_SEEN == 0 { 0 } else { kept.born },
        is_child: kept.marks & SOCKET_IS_CHILD != 0,
        owner,
    }
}

/// Returns the owner of a newborn socket, if owners are needed.
///
/// Only the transitions of connect() and listen() prove an owner, because the owner calls these
/// functions. A close does not prove an owner, because any process may be the last to hold a
/// socket. Packets and timers do not prove an owner, because the kernel handles them while any
/// process runs.
#[inline(always)]
fn owner_at_birth(from: usize, to: usize) -> Process {
    if wants_owner() && from == CLOSE && (to == SYN_SENT || to == LISTEN) {
        Process::current()
    } else {
        Process::UNKNOWN
    }
}

/// Stores the state of a socket for its next event. In the entry of a known socket, only the
/// changed fields are written.
#[inline(always)]
fn keep(
    address: u64,
    entry: Option<*mut SocketState>,
    is_known: bool,
    to: usize,
    remote_port: u16,
    kept: Kept,
    owner: Process,
) {
    let Kept { since, born, marks, is_owner_new } = kept;
    let marks = marks | to as u8;
    if let Some(entry) = entry
        && is_known
    {
        // SAFETY: the kernel does not free the memory of a map entry while the program runs.
        unsafe {
            (*entry).since = since;
            (*entry).remote_port = remote_port;
            (*entry).marks = marks;
            if is_owner_new {
                (*entry).is_hinted = 0;
                (*entry).pid = owner.pid;
                (*entry).comm = owner.comm;
            }
        }
        return;
    }
    let Process { pid, comm } = owner;
    let state = SocketState { since, born, pid, remote_port, marks, is_hinted: 0, comm };
    if let Some(entry) = entry {
        // SAFETY: the kernel does not free the memory of a map entry while the program runs.
        unsafe { *entry = state };
    } else if SOCKETS.insert(address, state).is_err() {
        count_untracked();
    }
}

/// Removes the entry of a socket that can no longer match the filter.
#[inline(always)]
pub(crate) fn forget<A: Access>(sock: Sock<A>) {
    SOCKETS.remove(sock.address());
}

/// Returns whether owner hints are in use; the verifier knows the value.
#[inline(always)]
fn has_hints() -> bool {
    config!(flags) & FLAG_EVENTS != 0
}

/// Returns whether owners are needed; the verifier knows the value.
#[inline(always)]
fn wants_owner() -> bool {
    config!(flags) & FLAG_EVENTS != 0 || histograms::is_by_owner()
}

/// Counts a socket that did not fit in the table, for each feature that needed it.
#[inline(never)]
fn count_untracked() {
    if config!(flags) & FLAG_EVENTS != 0 {
        ring::count(Loss::Untracked);
    }
    if config!(flags) & FLAG_HISTOGRAMS != 0
        && let Some(slots) = maps::histogram_slots()
    {
        // SAFETY: `slots` points to this CPU's map element, which stays valid while the program
        // runs.
        unsafe { add_one_atomically(&raw mut (*slots).untracked) };
    }
}

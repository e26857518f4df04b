//! The table of full sockets: what an event reveals about the state that the socket leaves, and what is kept for its next event.
//!
//! Events and histograms share one entry of fixed layout per socket, [`SocketState`], so that any combination of them makes one
//! look-up. Frozen flags switch the parts on. Between its events a socket is known by its address.
//!
//! An entry that does not [fit](SocketState::fits) the event was left by an event that was missed. Then duration and owner are
//! unknown, and the entry begins again. Events of one socket never race, because the socket is locked.

use tcpstate_common::{
    State,
    abi::{
        FLAG_EVENTS, FLAG_HISTOGRAMS, SOCKET_BIRTH_SEEN, SOCKET_IS_CHILD, SocketState,
        UNKNOWN_DURATION, is_birth,
    },
};

use crate::{
    atomic::add_one_atomically,
    config::config,
    histograms, maps,
    maps::SOCKETS,
    owner_hints,
    process::Process,
    ring::{self, Loss},
    sock::{Access, Sock},
};

const LISTEN: usize = State::Listen as usize;
const SYN_SENT: usize = State::SynSent as usize;
const SYN_RECV: usize = State::SynRecv as usize;
const CLOSE: usize = State::Close as usize;

/// What is known of a socket at an event. Plain values and no `Option`: the verifier wants every register set.
#[derive(Clone, Copy)]
pub(crate) struct Observed {
    /// Whether the event before this one is known.
    pub(crate) is_known: bool,
    /// Nanoseconds in the state that the socket leaves, or [`UNKNOWN_DURATION`].
    pub(crate) duration: u64,
    /// When the socket was born; 0 if its birth was not observed.
    pub(crate) born: u64,
    /// Whether the socket is known to be a listener's child.
    pub(crate) is_child: bool,
    /// The owner, where owners are of interest.
    pub(crate) owner: Process,
}

/// What is kept of a socket for its next event.
#[derive(Clone, Copy)]
struct Kept {
    since: u64,
    born: u64,
    /// [`SOCKET_BIRTH_SEEN`] and its like, without the state.
    marks: u8,
    /// Whether the owner is not the one in the entry.
    is_owner_new: bool,
}

/// Updates the table by an event, and returns what it reveals.
#[inline(always)]
pub(crate) fn observe<A: Access>(
    sock: Sock<A>,
    from: usize,
    to: usize,
    now: u64,
    remote_port: u16,
) -> Observed {
    let is_birth = is_birth(from, to);
    // The entry of an earlier socket at this address reveals nothing about a new one, which overwrites it.
    let entry = if is_birth { None } else { SOCKETS.get(sock.address()) };
    let (mut is_known, mut duration, mut owner) = (false, UNKNOWN_DURATION, Process::UNKNOWN);
    let mut kept = Kept { since: now, born: now, marks: 0, is_owner_new: false };
    if let Some(entry) = entry {
        // SAFETY: an entry's memory stays an entry's while the program runs.
        let state = unsafe { &*entry };
        if state.fits(from, to, remote_port) {
            is_known = true;
            kept.born = state.born;
            kept.marks = state.marks & (SOCKET_BIRTH_SEEN | SOCKET_IS_CHILD);
            if wants_owner() {
                owner = Process { pid: state.pid, comm: state.comm };
            }
            // At the second event of its life no process has accepted a child yet.
            if has_hints() && owner.pid == 0 && from != SYN_RECV {
                owner = owner_hints::take(sock.address(), kept.born);
                kept.is_owner_new = true;
            }
            if from == to {
                // The socket leaves no state, so the time in the state goes on.
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

/// The owner of a socket that is born, where owners are of interest.
///
/// Only the owner makes these two moves: it calls connect() or listen(). The last process that holds a socket may be any
/// process, so a close proves nothing. Packets and timers run in the name of any process.
#[inline(always)]
fn owner_at_birth(from: usize, to: usize) -> Process {
    if wants_owner() && from == CLOSE && (to == SYN_SENT || to == LISTEN) {
        Process::current()
    } else {
        Process::UNKNOWN
    }
}

/// Stores the state of a socket for its next event. In a known entry the fields that stay as they are are spared.
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
        // SAFETY: an entry's memory stays an entry's while the program runs.
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
        // SAFETY: as above.
        unsafe { *entry = state };
    } else if SOCKETS.insert(address, state).is_err() {
        count_untracked();
    }
}

/// Removes the entry of a socket that was found never to match the filter.
#[inline(always)]
pub(crate) fn forget<A: Access>(sock: Sock<A>) {
    SOCKETS.remove(sock.address());
}

/// Whether hints of owners are left and taken; a known value to the verifier.
#[inline(always)]
fn has_hints() -> bool {
    config!(flags) & FLAG_EVENTS != 0
}

/// Whether owners are of interest; a known value to the verifier.
#[inline(always)]
fn wants_owner() -> bool {
    config!(flags) & FLAG_EVENTS != 0 || histograms::is_by_owner()
}

/// Counts a socket that had no room, for each part that wanted it.
#[inline(never)]
fn count_untracked() -> u32 {
    if config!(flags) & FLAG_EVENTS != 0 {
        ring::count(Loss::Untracked);
    }
    if config!(flags) & FLAG_HISTOGRAMS != 0
        && let Some(slots) = maps::histogram_slots()
    {
        // SAFETY: `slots` is this CPU's element.
        unsafe { add_one_atomically(&raw mut (*slots).untracked) };
    }
    0
}

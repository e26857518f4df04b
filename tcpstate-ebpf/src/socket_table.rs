//! The table of full sockets. Each event reads the stored state of its socket from the table, and
//! stores the socket's state for the next event.
//!
//! Events, histograms and counters by owner share one entry of fixed layout per socket,
//! [`SocketState`]. An event therefore needs only one look-up, whatever is enabled. Frozen flags
//! enable the features. The key of an entry is the socket's address.
//!
//! If an entry does not [fit](SocketState::fits) an event, an earlier event was missed. After a
//! missed event, the duration and the owner are unknown, and the entry is replaced. Events of one
//! socket never race, because the kernel holds the socket's lock.

use core::ptr::NonNull;

use tcpstate_common::{
    State,
    abi::{
        HINT_OF_ACCEPT, SOCKET_BIRTH_SEEN, SOCKET_IS_CHILD, SocketState, UNKNOWN_DURATION, is_birth,
    },
};

use crate::{
    access::{Access, Probed},
    maps::SOCKETS,
    owner_hints,
    owners::{self, Owned},
    process::Process,
    ring,
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
    /// Whether the owner was found at this event.
    pub(crate) is_owner_new: bool,
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
    /// The owners for which the socket counts, if sockets are counted by owner.
    numbers: Owned,
}

impl Kept {
    /// The state of a socket of which nothing is known before an event at the time `now`.
    #[inline(always)]
    fn at(now: u64) -> Self {
        Self { since: now, born: now, marks: 0, is_owner_new: false, numbers: Owned::UNKNOWN }
    }
}

/// Updates the table with an event, and returns the known facts about the socket.
#[inline(always)]
pub(crate) fn observe<A: Access>(
    sock: Sock<A>,
    from: usize,
    to: usize,
    now: u64,
    remote_port: u16,
    control: u32,
) -> Observed {
    let is_birth = is_birth(from, to);
    // A newborn socket replaces the entry of an earlier socket at its address. The entry is 0 if
    // there is none, because the verifier requires every register to be set.
    let entry = if is_birth { None } else { SOCKETS.get(sock.address()).and_then(NonNull::new) };
    let (mut is_known, mut is_hinted) = (false, false);
    let (mut duration, mut owner) = (UNKNOWN_DURATION, Process::UNKNOWN);
    let mut kept = Kept::at(now);
    if let Some(entry) = entry {
        // SAFETY: the kernel does not free the memory of a map entry while the program runs.
        let state = unsafe { entry.as_ref() };
        if state.fits(from, to, remote_port) {
            is_known = true;
            kept.numbers = Owned::of(state);
            is_hinted = is_accept_hinted(entry.as_ptr());
            kept.born = state.born;
            kept.marks = state.marks & (SOCKET_BIRTH_SEEN | SOCKET_IS_CHILD);
            if owner_hints::are_needed() {
                owner = Process { pid: state.pid, comm: state.comm };
            }
            // No process has accepted a child that leaves SYN_RECV.
            if owner_hints::are_needed() && owner.pid == 0 && from != SYN_RECV {
                owner = owner_hints::take(sock.address(), kept.born);
                kept.is_owner_new = true;
            }
            if from == to {
                // The socket stays in its state, so its duration in the state continues.
                kept.since = state.since;
            } else {
                duration = now - state.since;
            }
        } else if owners::is_on() {
            owners::forget(state);
        }
    } else if is_birth {
        kept.marks = SOCKET_BIRTH_SEEN | if to == SYN_RECV { SOCKET_IS_CHILD } else { 0 };
        owner = owner_at_birth(from, to);
    } else if owner_hints::are_needed() && from != to {
        owner = owner_hints::take_from_before(sock);
    }
    let event = owners::Event { from, to, control, marks: kept.marks, is_hinted };
    store(sock, entry, event, Stored { is_known, remote_port, kept, owner });
    Observed {
        is_known,
        duration,
        born: if kept.marks & SOCKET_BIRTH_SEEN == 0 { 0 } else { kept.born },
        is_child: kept.marks & SOCKET_IS_CHILD != 0,
        owner,
        is_owner_new: kept.is_owner_new,
    }
}

/// Returns the known facts about a socket that is in a state, without an event. The owner is taken
/// from the hints, so the function is called only after the last event that may have a line.
#[inline(always)]
pub(crate) fn look(sock: Sock<Probed>, state: usize, now: u64) -> Observed {
    let mut observed = Observed {
        is_known: false,
        duration: UNKNOWN_DURATION,
        born: 0,
        is_child: false,
        owner: Process::UNKNOWN,
        is_owner_new: false,
    };
    let Some(entry) = SOCKETS.get(sock.address()) else {
        observed.owner = owner_hints::take_from_before(sock);
        return observed;
    };
    // SAFETY: the kernel does not free the memory of a map entry while the program runs.
    let stored = unsafe { &*entry };
    if stored.fits(state, state, sock.remote_port()) {
        observed.is_known = true;
        observed.duration = now - stored.since;
        observed.is_child = stored.marks & SOCKET_IS_CHILD != 0;
        if stored.marks & SOCKET_BIRTH_SEEN != 0 {
            observed.born = stored.born;
        }
        observed.owner = Process { pid: stored.pid, comm: stored.comm };
        if stored.pid == 0 {
            observed.owner = owner_hints::take(sock.address(), stored.born);
        }
    }
    observed
}

/// What an event stores of a socket.
#[derive(Clone, Copy)]
struct Stored {
    is_known: bool,
    remote_port: u16,
    kept: Kept,
    owner: Process,
}

/// Stores or removes the state of a socket, and counts the event by owner if sockets are counted by
/// owner.
#[inline(always)]
fn store<A: Access>(
    sock: Sock<A>,
    entry: Option<NonNull<SocketState>>,
    mut event: owners::Event,
    Stored { is_known, remote_port, mut kept, owner }: Stored,
) {
    let (from, to) = (event.from, event.to);
    let counts_owners = owners::is_on() && from != to;
    if counts_owners && !is_known {
        kept.numbers = owners::first(sock, event);
    }
    if to == CLOSE || (from == to && !is_known) {
        if entry.is_some() {
            SOCKETS.remove(sock.address());
        }
        if counts_owners && is_known {
            owners::next(sock, event, kept.numbers, kept.born);
        }
        return;
    }
    keep(sock.address(), entry, is_known, to, remote_port, kept, owner);
    if counts_owners
        && is_known
        && let Some(entry) = entry
    {
        event.is_hinted |= is_accept_hinted(entry.as_ptr());
        let numbers = owners::next(sock, event, kept.numbers, kept.born);
        // SAFETY: the kernel does not free the memory of a map entry while the program runs.
        unsafe {
            (*entry.as_ptr()).owner = numbers.owner;
            (*entry.as_ptr()).closer = numbers.closer;
        }
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
    if owner_hints::are_needed() && from == CLOSE && (to == SYN_SENT || to == LISTEN) {
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
    entry: Option<NonNull<SocketState>>,
    is_known: bool,
    to: usize,
    remote_port: u16,
    kept: Kept,
    owner: Process,
) {
    let Kept { since, born, marks, is_owner_new, numbers: Owned { owner: number, closer } } = kept;
    let marks = marks | to as u8;
    if let Some(entry) = entry
        && is_known
    {
        let entry = entry.as_ptr();
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
    let is_hinted = 0;
    let state = SocketState {
        comm,
        since,
        born,
        pid,
        remote_port,
        marks,
        is_hinted,
        owner: number,
        closer,
    };
    if let Some(entry) = entry {
        // SAFETY: the kernel does not free the memory of a map entry while the program runs.
        unsafe { entry.write(state) };
    } else if !insert(address, state) {
        ring::count_untracked();
        if owners::is_on() {
            owners::not_stored(number, closer, to);
        }
    }
}

/// Stores the state of a socket that has no entry. Returns whether the table had room.
#[inline(always)]
fn insert(address: u64, state: SocketState) -> bool {
    if owners::is_on() {
        // The end of an earlier socket at this address was missed. The earlier socket no longer
        // counts for its owner.
        // SAFETY: the kernel does not free the memory of a map entry while the program runs.
        let forget = |earlier: *const SocketState| owners::forget(unsafe { &*earlier });
        SOCKETS.replace(address, state, forget).is_ok()
    } else {
        SOCKETS.insert(address, state).is_ok()
    }
}

/// Returns whether a process has accepted the socket since its last event.
#[inline(always)]
fn is_accept_hinted(entry: *mut SocketState) -> bool {
    // SAFETY: the kernel does not free the memory of a map entry while the program runs.
    let hints = unsafe { (&raw const (*entry).is_hinted).read_volatile() };
    hints & HINT_OF_ACCEPT != 0
}

/// Removes the entry of a socket that can no longer match the filter.
#[inline(always)]
pub(crate) fn forget<A: Access>(sock: Sock<A>) {
    SOCKETS.remove(sock.address());
}

//! Counts children of listeners for the processes that accept them, or that use them first.
//!
//! accept() causes no event of the child and does not hold the child's lock. So an event of the
//! child can happen at the same time. The program at accept() moves the child to the row of the
//! process, and stores in [`ACCEPTED_SOCKETS`] what it moved. The next event of the child takes the
//! entry, and corrects the rows if the child had another state by then. Only one program can remove
//! an entry, so each move is corrected at most once.

use aya_ebpf::bindings::BPF_NOEXIST;
use tcpstate_common::{
    State,
    abi::{
        AcceptedSocket, OWNER_IS_ACCEPTED, OWNER_NUMBER, OWNER_UNKNOWN, SOCKET_IS_CHILD,
        SocketState,
    },
};

use super::{
    Owned, count_accepted, key,
    rows::{self, add_live, add_waiting, release, retain},
};
use crate::{
    access::Probed, atomic::add_one_atomically, config, maps::ACCEPTED_SOCKETS, sock::Sock,
};

/// Returns whether a socket waits for a process that accepts it.
#[inline(always)]
pub(crate) fn is_waiting(state: &SocketState) -> bool {
    state.marks & SOCKET_IS_CHILD != 0 && state.owner & OWNER_IS_ACCEPTED == 0
}

/// Counts a child for the current process, which has accepted it. Returns whether the child has an
/// entry in the map.
#[inline(never)]
pub(crate) fn accept(address: u64, state: *mut SocketState) -> bool {
    // SAFETY: the caller passes the address of a socket to which it holds a reference.
    let sock = unsafe { Sock::<Probed>::from_ptr(address as *const u8) };
    // SAFETY: the kernel does not free the memory of a map entry while the program runs.
    let (born, before) = unsafe { ((*state).born, (*state).owner & OWNER_NUMBER) };
    let is_known = before != OWNER_UNKNOWN && !key::has_process();
    let owner =
        if is_known { before } else { key::number(sock, State::Established as usize, true) };
    let mut accepted = AcceptedSocket { born, owner, before, state: now(state), reserved: 0 };
    let mut attempts = 0;
    while attempts < 2 {
        if !store(address, &accepted) {
            return false;
        }
        // An event that began before the entry was stored does not find the entry. The event stores
        // the new state of the child before it looks for an entry.
        // SAFETY: as above.
        let (is_same, current) =
            unsafe { ((&raw const (*state).born).read_volatile() == born, now(state)) };
        if is_same && current == accepted.state {
            return true;
        }
        if ACCEPTED_SOCKETS.remove(address).is_err() {
            // An event has taken the entry.
            return false;
        }
        take_back(&accepted);
        if !is_same {
            return false;
        }
        accepted.state = current;
        attempts += 1;
    }
    false
}

/// Returns the state of a socket as the last event stored it.
#[inline(always)]
fn now(state: *mut SocketState) -> u32 {
    // SAFETY: the kernel does not free the memory of a map entry while the program runs.
    unsafe {
        let marks = (&raw const (*state).marks).read_volatile();
        SocketState { marks, ..EMPTY }.state() as u32
    }
}

const EMPTY: SocketState = SocketState {
    comm: [0; 16],
    since: 0,
    born: 0,
    pid: 0,
    remote_port: 0,
    marks: 0,
    is_hinted: 0,
    owner: 0,
    closer: 0,
};

/// Stores an entry and moves the child to the row of the owner.
#[inline(always)]
fn store(address: u64, accepted: &AcceptedSocket) -> bool {
    if ACCEPTED_SOCKETS.insert(address, *accepted, u64::from(BPF_NOEXIST)).is_err() {
        // The entry of an earlier socket at this address stays if the end of that socket was
        // missed.
        remove_earlier(address);
        if ACCEPTED_SOCKETS.insert(address, *accepted, u64::from(BPF_NOEXIST)).is_err() {
            if let Some(memory) = rows::memory() {
                // SAFETY: `memory` points to this CPU's map element, which stays valid while the
                // program runs.
                unsafe { add_one_atomically(&raw mut (*memory).untracked) };
            }
            return false;
        }
    }
    retain(accepted.owner);
    add_live(accepted.before, accepted.state as usize, -1);
    add_live(accepted.owner, accepted.state as usize, 1);
    add_waiting(-1);
    count_accepted(accepted.owner, config::control(), 1);
    true
}

/// Takes the entry of a child, if a process has accepted the child since its last event. The child
/// leaves the state `state`.
#[inline(always)]
pub(super) fn take(address: u64, born: u64, state: usize, numbers: &mut Owned) {
    let Some(entry) = ACCEPTED_SOCKETS.get_ptr(address) else { return };
    // SAFETY: the kernel does not free the memory of a map entry while the program runs.
    let accepted = unsafe { *entry };
    if ACCEPTED_SOCKETS.remove(address).is_err() {
        return;
    }
    if accepted.born != born {
        // The entry belongs to an earlier socket at this address.
        take_back(&accepted);
        return;
    }
    if accepted.state as usize != state {
        add_live(accepted.owner, accepted.state as usize, -1);
        add_live(accepted.owner, state, 1);
        add_live(accepted.before, accepted.state as usize, 1);
        add_live(numbers.number(), state, -1);
    }
    // The socket takes over the reference of the entry.
    release(numbers.number());
    numbers.set_number(accepted.owner);
    numbers.owner |= OWNER_IS_ACCEPTED;
}

#[inline(always)]
fn remove_earlier(address: u64) {
    let Some(entry) = ACCEPTED_SOCKETS.get_ptr(address) else { return };
    // SAFETY: the kernel does not free the memory of a map entry while the program runs.
    let accepted = unsafe { *entry };
    if ACCEPTED_SOCKETS.remove(address).is_ok() {
        take_back(&accepted);
    }
}

/// Takes back what [`store`] counted for an entry that was removed.
#[inline(always)]
fn take_back(accepted: &AcceptedSocket) {
    add_live(accepted.owner, accepted.state as usize, -1);
    add_live(accepted.before, accepted.state as usize, 1);
    add_waiting(1);
    count_accepted(accepted.owner, config::control(), -1);
    release(accepted.owner);
}

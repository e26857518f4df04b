//! Counts time-wait sockets for the owners that closed their connections.
//!
//! A time-wait socket has no owner, and no field leads to its full socket. The kernel makes the
//! time-wait socket just before it closes the full socket, on the same CPU (`tcp_time_wait`). The
//! birth therefore leaves the time-wait socket in the memory of the CPU, and the close of the full
//! socket takes it if the connection is the same. A time-wait socket that no full socket takes
//! counts in the row of unknown owners.
//!
//! The programs at timers have many paths, so the functions that they call are checked once.

use tcpstate_common::{
    State,
    abi::{CONTROL_EVENTS, MiniOwner, NEWBORNS, NewbornMini, OWNER_UNKNOWN, OwnerCount},
};

use super::{
    is_on,
    rows::{self, add_live, count, release, retain},
};
use crate::{
    access::{Access, Probed},
    atomic::add_one_atomically,
    maps::{MINI_OWNERS, OWNED_FIN_WAIT2},
    sock::Sock,
    verifier::checked_once,
};

const FIN_WAIT2: usize = State::FinWait2 as usize;
const TIME_WAIT: usize = State::TimeWait as usize;

/// Called when a time-wait socket is born.
#[inline(always)]
pub(crate) fn born<A: Access>(tw: Sock<A>, control: u32) {
    if is_on() {
        owned_mini_born(tw.plain_address(), u64::from(control));
    }
}

checked_once! {
    fn owned_mini_born(address: u64, control: u64) -> u64 {
        if !is_on() {
            return 0;
        }
        // The end of an earlier time-wait socket at this address may have been missed.
        forget(address);
        let is_counted = control as u32 & CONTROL_EVENTS;
        if is_counted != 0 {
            count(OWNER_UNKNOWN, OwnerCount::TimeWaitEntries, 1);
        }
        // SAFETY: the callers pass the address of a socket that exists while the program runs.
        let tw = unsafe { Sock::<Probed>::from_ptr(address as *const u8) };
        let newborn = NewbornMini {
            address,
            net: tw.namespace().address(),
            ports: u64::from(tw.held_port()) << 16 | u64::from(tw.remote_port()),
            hash: tw.hash(),
            is_counted,
        };
        let Some(memory) = rows::memory() else { return 0 };
        // SAFETY: `memory` points to this CPU's map element, and the index is masked to the array's
        // length.
        unsafe {
            let births = (&raw const (*memory).births).read_volatile();
            (&raw mut (*memory).births).write_volatile(births + 1);
            let newborns = (&raw mut (*memory).newborns).cast::<NewbornMini>();
            newborns.add(births as usize & (NEWBORNS - 1)).write_volatile(newborn);
        }
        0
    }
}

/// Called when a full socket closes. If the kernel has just made a time-wait socket for its
/// connection, the time-wait socket counts for the owner that closed the connection.
#[inline(always)]
pub(crate) fn given<A: Access>(sock: Sock<A>, from: usize, closer: u32) {
    if !may_have_time_wait(from) || closer == OWNER_UNKNOWN {
        return;
    }
    let ports = u64::from(sock.local_port(from)) << 16 | u64::from(sock.remote_port());
    let hash = sock.hash();
    let net = sock.namespace().address();
    let Some(memory) = rows::memory() else { return };
    let mut index = 0;
    while index < NEWBORNS {
        // SAFETY: `memory` points to this CPU's map element, and the index is below the array's
        // length.
        let (newborn, place) = unsafe {
            let place = (&raw mut (*memory).newborns).cast::<NewbornMini>().add(index);
            (place.read_volatile(), place)
        };
        if newborn.address != 0
            && newborn.ports == ports
            && newborn.hash == hash
            && newborn.net == net
        {
            // SAFETY: `place` points to this CPU's map element.
            unsafe { (&raw mut (*place).address).write_volatile(0) };
            give(&newborn, closer);
            return;
        }
        index += 1;
    }
}

/// Returns whether the kernel can make a time-wait socket for a full socket that leaves this state.
#[inline(always)]
fn may_have_time_wait(from: usize) -> bool {
    from == State::FinWait1 as usize || from == FIN_WAIT2 || from == State::Closing as usize
}

/// Moves a time-wait socket from the row of unknown owners to the row of its owner.
///
/// The time-wait socket may have moved or ended on another CPU since its birth. The program that
/// counts such an event finds no owner yet. The function therefore looks at the socket again after
/// it has stored the owner. The kernel frees the memory of a time-wait socket only for other
/// time-wait sockets.
#[inline(always)]
fn give(newborn: &NewbornMini, owner: u32) {
    // SAFETY: `Probed` reads by a helper that takes any address.
    let tw = unsafe { Sock::<Probed>::from_ptr(newborn.address as *const u8) };
    store(tw, owner, tw.substate());
    if tw.refcount() == 0 || tw.hash() != newborn.hash {
        remove(newborn.address);
    }
    if newborn.is_counted != 0 {
        count(OWNER_UNKNOWN, OwnerCount::TimeWaitEntries, -1);
        count(owner, OwnerCount::TimeWaitEntries, 1);
    }
}

/// Stores the owner of a mini socket, and counts the mini socket for it.
///
/// The mini socket counts before its owner is stored. Another program that finds the owner can
/// therefore take the count back.
#[inline(always)]
pub(super) fn store(mini: Sock<Probed>, owner: u32, state: usize) {
    if owner == OWNER_UNKNOWN {
        return;
    }
    let address = mini.address();
    retain(owner);
    add_live(owner, state, 1);
    let is_stored = (state != FIN_WAIT2 || OWNED_FIN_WAIT2.insert(address, owner, 0).is_ok())
        && MINI_OWNERS.insert(address, MiniOwner { owner, state: state as u32 }).is_ok();
    if !is_stored {
        take_back(address, owner, state);
        if let Some(memory) = rows::memory() {
            // SAFETY: `memory` points to this CPU's map element, which stays valid while the
            // program runs.
            unsafe { add_one_atomically(&raw mut (*memory).untracked) };
        }
    } else if state == FIN_WAIT2 && mini.substate() == TIME_WAIT {
        // The program that counted the move may have found no owner.
        settle(address);
    }
}

/// Takes back what [`store`] counted for a mini socket.
#[inline(always)]
fn take_back(address: u64, owner: u32, state: usize) {
    let has_moved = state == FIN_WAIT2 && OWNED_FIN_WAIT2.remove(address).is_err();
    add_live(owner, if has_moved { TIME_WAIT } else { state }, -1);
    release(owner);
}

/// Called when the move of a time-wait socket from FIN_WAIT2 to TIME_WAIT is counted.
#[inline(always)]
pub(crate) fn moved<A: Access>(tw: Sock<A>) {
    if is_on() {
        owned_mini_moved(tw.plain_address());
    }
}

checked_once! {
    fn owned_mini_moved(address: u64) -> u64 {
        if is_on() {
            settle(address);
        }
        0
    }
}

/// Counts the move of a time-wait socket to TIME_WAIT for its owner, and counts it only once. Only
/// one program can remove the entry of the socket.
#[inline(always)]
fn settle(address: u64) {
    let Some(entry) = OWNED_FIN_WAIT2.get_ptr(address) else { return };
    // SAFETY: the kernel does not free the memory of a map entry while the program runs.
    let owner = unsafe { *entry };
    if OWNED_FIN_WAIT2.remove(address).is_ok() {
        add_live(owner, FIN_WAIT2, -1);
        add_live(owner, TIME_WAIT, 1);
    }
}

/// Called when a time-wait socket ends. A later call of [`resumed`] may cancel
/// the end.
#[inline(always)]
pub(crate) fn gone<A: Access>(tw: Sock<A>) {
    if is_on() {
        owned_mini_gone(tw.plain_address());
    }
}

checked_once! {
    pub(super) fn owned_mini_gone(address: u64) -> u64 {
        if !is_on() {
            return 0;
        }
        let owner = remove(address);
        if let Some(memory) = rows::memory() {
            // SAFETY: `memory` points to this CPU's map element, which stays valid while the
            // program runs.
            unsafe {
                (&raw mut (*memory).stopped).write_volatile(address);
                (&raw mut (*memory).stopped_owner).write_volatile(u64::from(owner));
            }
        }
        0
    }
}

/// Called when a time-wait socket that was reported as ended still exists. The kernel stopped its
/// timer and started it again within one section without interrupts.
#[inline(always)]
pub(crate) fn resumed<A: Access>(tw: Sock<A>, state: usize) {
    if is_on() {
        owned_mini_resumed(tw.plain_address(), state as u64);
    }
}

checked_once! {
    pub(super) fn owned_mini_resumed(address: u64, state: u64) -> u64 {
        if !is_on() {
            return 0;
        }
        let Some(memory) = rows::memory() else { return 0 };
        // SAFETY: `memory` points to this CPU's map element, which stays valid while the program
        // runs.
        let (stopped, owner) = unsafe {
            (
                (&raw const (*memory).stopped).read_volatile(),
                (&raw const (*memory).stopped_owner).read_volatile() as u32,
            )
        };
        // If the owner was unknown at the stop, another program may have stored the owner since.
        if stopped == address {
            // SAFETY: the callers pass the address of a socket that exists while the program runs.
            store(unsafe { Sock::from_ptr(address as *const u8) }, owner, state as usize);
        }
        0
    }
}

/// Removes the entry of a mini socket whose end was missed.
#[inline(always)]
pub(super) fn forget(address: u64) {
    if remove(address) != OWNER_UNKNOWN
        && let Some(memory) = rows::memory()
    {
        // SAFETY: `memory` points to this CPU's map element, which stays valid while the program
        // runs.
        unsafe { add_one_atomically(&raw mut (*memory).broken) };
    }
}

/// Removes the entry of a mini socket, and returns the owner for which the mini socket counted.
#[inline(always)]
fn remove(address: u64) -> u32 {
    let Some(entry) = MINI_OWNERS.get(address) else { return OWNER_UNKNOWN };
    // SAFETY: the kernel does not free the memory of a map entry while the program runs.
    let MiniOwner { owner, state } = unsafe { *entry };
    MINI_OWNERS.remove(address);
    take_back(address, owner, state as usize);
    owner
}

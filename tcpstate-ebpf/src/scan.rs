//! A scan finds how many sockets were in each state at its t0: [`CpuSlots::base`].
//!
//! t0 is the store that sets the scan flag. From t0 until the flag is cleared, each socket counts at its *first observation*.
//! That is an event, whose old state is the state at t0; or the visit of the iterator, if no event came before. Births add
//! nothing, because they were not there at t0. The entry that an observation leaves in the map stays when the socket
//! closes: its address may serve another socket at once, whose birth was counted.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use tcpstate_common::abi::{CpuSlots, NamespaceSlots, STATE_SLOTS, is_birth};

use crate::{
    atomic::add_one_atomically,
    config::config,
    families,
    kernel::{E2BIG, EEXIST},
    maps::TOUCHED,
    namespaces::CounterRefs,
    sock::{Access, Sock},
};

/// What observed a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum By {
    /// An event.
    Event = 0,
    /// The iterator, and no event since.
    Visit = 1,
}

/// The result of an observation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Observation {
    /// The first observation of this socket since t0.
    First,
    /// The socket was observed before.
    Again,
    /// The map is full, or failed, so the answer is not known. Counted.
    Unknown,
}

/// Two states as one number.
#[inline(always)]
pub(crate) fn pair(from: usize, to: usize) -> u64 {
    (from as u64) << 32 | to as u64
}

/// Shows an event to the scan that runs. Out of line, to keep the hot path's code short, and with a look-up of its own, so
/// that the hot path need not keep what it found.
#[inline(never)]
pub(crate) fn show<A: Access>(sock: Sock<A>, namespace: *mut NamespaceSlots, states: u64) {
    let Some(slots) = families::slots(sock, config!(flags)) else { return };
    let (from, to) = ((states >> 32) as usize, states as u32 as usize);
    event(CounterRefs { slots, namespace }, sock.address(), from, to);
}

/// An event of a full socket while the scan flag is set.
#[inline(always)]
fn event(counters: CounterRefs, address: u64, from: usize, to: usize) {
    if observe(counters.slots, address, By::Event) == Observation::First && !is_birth(from, to) {
        add_to_base(counters, from);
    }
}

/// Leaves a mark in the scan's map, and says whether there was one.
#[inline(always)]
pub(crate) fn observe(slots: *mut CpuSlots, address: u64, by: By) -> Observation {
    let Some(touched) = TOUCHED.get(0) else { return Observation::Unknown };
    match touched.insert(address, by as u32, u64::from(BPF_NOEXIST)) {
        Ok(()) => Observation::First,
        Err(errno) if errno == -EEXIST => Observation::Again,
        Err(errno) => {
            // SAFETY: `slots` is this CPU's element.
            unsafe {
                let counter = if errno == -E2BIG {
                    &raw mut (*slots).map_full
                } else {
                    &raw mut (*slots).map_errors
                };
                add_one_atomically(counter);
            }
            Observation::Unknown
        }
    }
}

/// Makes a mark an event's, and says whether it was the iterator's.
#[inline(always)]
pub(crate) fn was_visited(address: u64) -> bool {
    let Some(touched) = TOUCHED.get(0) else { return false };
    // SAFETY: an entry's memory stays an entry's while the program runs, and all values are valid.
    let is_visit = unsafe { touched.get(address) }.is_some_and(|&by| by == By::Visit as u32);
    if is_visit {
        // The entry is there, so there is room for it.
        let _ = touched.insert(address, By::Event as u32, u64::from(BPF_ANY));
    }
    is_visit
}

/// Adds a full socket to the base.
#[inline(always)]
pub(crate) fn add_to_base(counters: CounterRefs, state: usize) {
    // SAFETY: both are entries of their maps.
    unsafe {
        add_to(&raw mut (*counters.slots).base, state);
        if !counters.namespace.is_null() {
            add_to(&raw mut (*counters.namespace).base, state);
        }
    }
}

/// Adds a mini socket to the base.
#[inline(always)]
pub(crate) fn add_mini_to_base(counters: CounterRefs, state: usize) {
    // SAFETY: both are entries of their maps.
    unsafe {
        add_to(&raw mut (*counters.slots).base_minis, state);
        if !counters.namespace.is_null() {
            add_to(&raw mut (*counters.namespace).base_minis, state);
        }
    }
}

/// Always atomic: an event's program may interrupt the iterator's on this CPU.
///
/// # Safety
/// `base` is in an entry of a map.
#[inline(always)]
unsafe fn add_to(base: *mut [u64; STATE_SLOTS], state: usize) {
    // SAFETY: the caller's promise, and the index is masked to the array's length.
    unsafe { add_one_atomically(base.cast::<u64>().add(state & (STATE_SLOTS - 1))) };
}

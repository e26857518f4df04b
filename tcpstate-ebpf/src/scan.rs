//! A scan finds how many sockets were in each state at its t0: [`CpuSlots::base`].
//!
//! t0 is the store that sets the scan flag. From t0 until the flag is cleared, each socket counts
//! at its *first observation*. The first observation is either an event, whose old state is the
//! state at t0, or the iterator's visit if no event came before. A birth adds nothing to the base,
//! because the socket did not exist at t0.
//!
//! The entry of an observation stays in the map when the socket closes. A new socket may get the
//! address immediately, and its birth was counted.

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

/// The source of an observation.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum By {
    /// An event.
    Event = 0,
    /// The iterator, without any event since.
    Visit = 1,
}

/// The result of an observation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Observation {
    /// The first observation of this socket since t0.
    First,
    /// The map is full or failed, so it is unknown whether the socket was observed before. This
    /// case is counted.
    Again,
    /// The map is full, or failed, so the answer is not known. Counted.
    Unknown,
}

/// Two states as one number.
#[inline(always)]
pub(crate) fn pair(from: usize, to: usize) -> u64 {
    (from as u64) << 32 | to as u64
}

/// Reports an event to the running scan.
///
/// The function is out of line to keep the code of the hot path short. It looks up the counters
/// again, so that the hot path does not have to keep them.
#[inline(never)]
pub(crate) fn show<A: Access>(sock: Sock<A>, namespace: *mut NamespaceSlots, states: u64) {
    let Some(slots) = families::slots(sock, config!(flags)) else { return };
    let (from, to) = ((states >> 32) as usize, states as u32 as usize);
    event(CounterRefs { slots, namespace }, sock.address(), from, to);
}

/// Handles an event of a full socket while the scan flag is set.
#[inline(always)]
fn event(counters: CounterRefs, address: u64, from: usize, to: usize) {
    if observe(counters.slots, address, By::Event) == Observation::First && !is_birth(from, to) {
        add_to_base(counters, from);
    }
}

/// Marks a socket as observed in the scan's map, and returns whether it was observed before.
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

/// Changes a mark of the iterator to a mark of an event. Returns whether the mark was the
/// iterator's.
#[inline(always)]
pub(crate) fn was_visited(address: u64) -> bool {
    let Some(touched) = TOUCHED.get(0) else { return false };
    // SAFETY: an entry's memory stays an entry's while the program runs, and all values are valid.
    let is_visit = unsafe { touched.get(address) }.is_some_and(|&by| by == By::Visit as u32);
    if is_visit {
        // The entry exists, so the update needs no room.
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

/// Adds one to the base. The addition is always atomic, because the program of an event can
/// interrupt the iterator's program on this CPU.
///
/// # Safety
/// `base` is in an entry of a map.
#[inline(always)]
unsafe fn add_to(base: *mut [u64; STATE_SLOTS], state: usize) {
    // SAFETY: the caller's promise, and the index is masked to the array's length.
    unsafe { add_one_atomically(base.cast::<u64>().add(state & (STATE_SLOTS - 1))) };
}

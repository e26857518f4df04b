//! A scan finds how many sockets were in each state at the scan's t0: [`CpuSlots::base`].
//!
//! t0 is the time of the store that sets the scan flag. From t0 until the flag is cleared, each
//! socket is counted at its *first observation*. The first observation is either an event, whose
//! old state is the state at t0, or the iterator's visit if no event happened earlier. A birth adds
//! nothing to the base counts, because the socket did not exist at t0.
//!
//! When a socket closes, its entry stays in the scan's map. If a new socket gets the address, the
//! kept entry is right for the new socket, because its birth was counted.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use tcpstate_common::abi::{CpuSlots, NamespaceSlots, STATE_SLOTS, is_birth};

use crate::{
    access::Access,
    atomic::add_one_atomically,
    config::config,
    families,
    kernel::{E2BIG, EEXIST},
    maps::TOUCHED,
    namespaces::CounterRefs,
    sock::Sock,
};

/// The source of an observation.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum By {
    /// An event of the socket.
    Event = 0,
    /// The iterator visited the socket, and no event of the socket was observed since.
    Visit = 1,
}

/// The result of an observation of a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Observation {
    /// No earlier observation of this socket was made since t0.
    First,
    /// The socket was already observed since t0.
    Again,
    /// The map is full or failed, so it is unknown whether the socket was observed before.
    /// [`observe`] counts the full map or the error.
    Unknown,
}

/// Packs two states into one number.
#[inline(always)]
pub(crate) fn pair(from: usize, to: usize) -> u64 {
    (from as u64) << 32 | to as u64
}

/// Reports an event of a full socket to the running scan.
///
/// The function is not inlined, to keep the code of the hot path short. The function looks up the
/// counters again, so that the hot path does not have to keep them.
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
            // SAFETY: `slots` points to this CPU's map element, which stays valid while the program
            // runs.
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

/// Changes the iterator's mark of a socket to the mark of an event. The function returns whether
/// the socket had the iterator's mark.
#[inline(always)]
pub(crate) fn was_visited(address: u64) -> bool {
    let Some(touched) = TOUCHED.get(0) else { return false };
    // SAFETY: the kernel does not free the memory of a map entry while the program runs, and every
    // value is valid.
    let is_visit = unsafe { touched.get(address) }.is_some_and(|&by| by == By::Visit as u32);
    if is_visit {
        // The entry exists, so the update needs no space.
        let _ = touched.insert(address, By::Event as u32, u64::from(BPF_ANY));
    }
    is_visit
}

/// Adds a full socket to the base counts.
#[inline(always)]
pub(crate) fn add_to_base(counters: CounterRefs, state: usize) {
    // SAFETY: both pointers point to entries of their maps, which stay valid.
    unsafe {
        add_to(&raw mut (*counters.slots).base, state);
        if !counters.namespace.is_null() {
            add_to(&raw mut (*counters.namespace).base, state);
        }
    }
}

/// Adds a mini socket to the base counts.
#[inline(always)]
pub(crate) fn add_mini_to_base(counters: CounterRefs, state: usize) {
    // SAFETY: both pointers point to entries of their maps, which stay valid.
    unsafe {
        add_to(&raw mut (*counters.slots).base_minis, state);
        if !counters.namespace.is_null() {
            add_to(&raw mut (*counters.namespace).base_minis, state);
        }
    }
}

/// Adds one to the base count of a state. The addition is always atomic, because the program of an
/// event can interrupt the iterator's program on this CPU.
///
/// # Safety
/// `base` must point into an entry of a map.
#[inline(always)]
unsafe fn add_to(base: *mut [u64; STATE_SLOTS], state: usize) {
    // SAFETY: the caller guarantees that `base` points into an entry of a map, and the index is
    // masked to the array's length.
    unsafe { add_one_atomically(base.cast::<u64>().add(state & (STATE_SLOTS - 1))) };
}

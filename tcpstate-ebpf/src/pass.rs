//! A pass finds out how many sockets were in each state at its moment zero: [`CpuSlots::base`].
//!
//! From moment zero, the store that opens the gate, until the gate closes, every socket is looked at when it is
//! *first touched*: by an event, whose old state is the state at moment zero, or by the iterator's visit, if no
//! event came before. Births add nothing, for they were not there at moment zero. The entry that a touch leaves
//! in the map stays when the socket closes: its address may serve another socket at once, whose birth was counted.

use aya_ebpf::bindings::BPF_NOEXIST;
use tcpstate_common::{
    State,
    abi::{CONTROL_GATE, CpuSlots, STATE_SLOTS, is_birth},
};

use crate::{
    count::add_one_atomically,
    maps::{self, TOUCHED},
    sock::SockCommon,
};

/// `EEXIST`, which is the common case: the socket was touched before.
const EEXIST: i32 = 17;
/// `E2BIG`: the map holds as many entries as it was made for.
const E2BIG: i32 = 7;

/// What a touch found.
enum Touch {
    /// Nobody touched this socket since moment zero.
    First,
    /// Somebody did.
    Again,
    /// The map is full, or failed: nobody can tell. Counted.
    Unknown,
}

/// An event of a socket while the gate is open. Passes are rare: out of line, to keep the hot path's code short.
#[inline(never)]
pub(crate) fn event(sk: SockCommon, from: usize, to: usize) {
    let Some(slots) = maps::cpu_slots() else { return };
    if let Touch::First = touch(slots, sk)
        && !is_birth(from, to)
    {
        add_to_base(slots, from);
    }
}

/// The iterator's visit of a socket. The kernel holds the socket's lock (since 5.15), so that no event comes in
/// between the read of the state and the touch.
#[inline(always)]
pub(crate) fn visit(sk: SockCommon) {
    if maps::control() & CONTROL_GATE == 0 || !sk.is_in_scope() {
        return;
    }
    // Before the touch: an event between the two then finds itself first, and adds the older state.
    let state = sk.state();
    if state == State::TimeWait as usize || state == State::NewSynRecv as usize {
        return;
    }
    let Some(slots) = maps::cpu_slots() else { return };
    // SAFETY: `slots` is this CPU's element.
    unsafe { add_one_atomically(&raw mut (*slots).visited) };
    match touch(slots, sk) {
        Touch::First => add_to_base(slots, state),
        Touch::Again => {}
        // A visit comes once, so most likely nothing was there before; the failed touch is counted either way.
        Touch::Unknown => add_to_base(slots, state),
    }
}

#[inline(always)]
fn touch(slots: *mut CpuSlots, sk: SockCommon) -> Touch {
    let Some(touched) = TOUCHED.get(0) else { return Touch::Unknown };
    match touched.insert(sk.address(), 0, u64::from(BPF_NOEXIST)) {
        Ok(()) => Touch::First,
        Err(errno) if errno == -EEXIST => Touch::Again,
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
            Touch::Unknown
        }
    }
}

/// Adds a socket to the base. Always atomic: an event's program may interrupt the iterator's on this CPU.
#[inline(always)]
fn add_to_base(slots: *mut CpuSlots, state: usize) {
    // SAFETY: `slots` is this CPU's element, and the index is masked to the array's length.
    unsafe {
        add_one_atomically((&raw mut (*slots).base).cast::<u64>().add(state & (STATE_SLOTS - 1)))
    };
}

//! Counts a transition in [`CpuSlots::buffers`](tcpstate_common::abi::CpuSlots). This module is the
//! hot path.

use core::ptr;

use tcpstate_common::{
    State,
    abi::{
        CONTROL_BUFFER, CONTROL_SCAN, Counters, CpuSlots, FLAG_DROP, FLAG_LOG, FLAG_NAMESPACES,
        Flow, STATE_SLOTS, is_birth, transition_slot,
    },
};

use crate::{
    access::Access,
    atomic::{add_one, add_one_atomically},
    config::{self, config},
    families, losses, maps, namespaces, scan,
    sock::Sock,
};

/// Counts one event of a socket in scope, and reports the event to the scan if a scan is running.
///
/// The verifier knows the value of the flags and removes the code of disabled features. The
/// verifier does not remove the arithmetic with the flags. If the caller passes the constant 0, the
/// compiler removes both the code and the arithmetic.
#[inline(always)]
pub(crate) fn transition<A: Access>(sock: Sock<A>, from: usize, to: usize, flags: u32) {
    if flags & (FLAG_LOG | FLAG_DROP) != 0 && is_dropped(flags, from, to) {
        return;
    }
    let Some(slots) = families::slots(sock, flags) else { return };
    // One read of the control word gives both the buffer and the scan flag: see `CONTROL_SCAN`.
    let control = config::control();
    // SAFETY: `slots` points to this CPU's map element, and each index is masked to the array's
    // length.
    unsafe {
        let buffer = (&raw mut (*slots).buffers).cast::<Counters>();
        let buffer = buffer.add((control & CONTROL_BUFFER) as usize);
        let transitions = (&raw mut (*buffer).transitions).cast::<u64>();
        add_one(transitions.add(transition_slot(from, to)), flags);
        // The tracepoint also reports `X -> X`, but the socket then stays in its state.
        if from != to {
            let states = (&raw mut (*buffer).states).cast::<Flow>();
            if !is_birth(from, to) {
                add_one(&raw mut (*states.add(from & (STATE_SLOTS - 1))).left, flags);
            }
            if to != State::Close as usize {
                add_one(&raw mut (*states.add(to & (STATE_SLOTS - 1))).entered, flags);
            }
        }
    }
    // No value is used after either call below, so the compiler saves no register for the calls.
    if flags & FLAG_NAMESPACES != 0 {
        of_namespace(slots, sock, control, from, to);
    } else if control & CONTROL_SCAN != 0 {
        scan::show(sock, ptr::null_mut(), scan::pair(from, to));
    }
}

/// Counts a transition in the counters of the socket's namespace, and reports the event to the scan
/// if a scan is running.
#[inline(never)]
fn of_namespace<A: Access>(
    slots: *mut CpuSlots,
    sock: Sock<A>,
    control: u32,
    from: usize,
    to: usize,
) {
    let namespace = namespaces::of_namespace(slots, sock);
    if !namespace.is_null() && from != to {
        // SAFETY: `namespace` points to an entry of its map, and each index is masked to the
        // array's length.
        unsafe {
            let buffer = namespaces::buffer(namespace, control);
            let states = (&raw mut (*buffer).states).cast::<Flow>();
            if !is_birth(from, to) {
                add_one_atomically(&raw mut (*states.add(from & (STATE_SLOTS - 1))).left);
            }
            if to != State::Close as usize {
                add_one_atomically(&raw mut (*states.add(to & (STATE_SLOTS - 1))).entered);
            }
        }
    }
    if control & CONTROL_SCAN != 0 {
        scan::show(sock, namespace, scan::pair(from, to));
    }
}

/// Logs the event, and returns whether to drop it; the function is for tests and debugging only.
///
/// The function is not inlined and is called after one test of the flags, so that the verifier
/// removes the call completely.
#[inline(never)]
fn is_dropped(flags: u32, from: usize, to: usize) -> bool {
    if flags & FLAG_LOG != 0 {
        log_transition(from, to);
    }
    if losses::is_lost_transition(from, to) {
        return true;
    }
    let one_in = u64::from(config!(drop_one_in));
    if flags & FLAG_DROP == 0 || one_in == 0 {
        return false;
    }
    let Some(slots) = maps::cpu_slots() else { return false };
    // SAFETY: `slots` points to this CPU's map element, which stays valid while the program runs.
    unsafe {
        let events = (&raw const (*slots).events).read_volatile() + 1;
        (&raw mut (*slots).events).write_volatile(events);
        let is_dropped = events.is_multiple_of(one_in);
        if is_dropped {
            add_one_atomically(&raw mut (*slots).dropped);
        }
        is_dropped
    }
}

/// Logs a transition for debugging.
#[inline(always)]
#[cfg(feature = "log")]
fn log_transition(from: usize, to: usize) {
    /// A context for the log macros, which require a context but do not use it.
    struct NoContext;
    impl aya_ebpf::EbpfContext for NoContext {
        fn as_ptr(&self) -> *mut core::ffi::c_void {
            core::ptr::null_mut()
        }
    }
    aya_log_ebpf::debug!(&NoContext, "inet_sock_set_state {} -> {}", from, to);
}

#[inline(always)]
#[cfg(not(feature = "log"))]
fn log_transition(_from: usize, _to: usize) {}

//! A transition becomes counts: [`CpuSlots::buffers`](tcpstate_common::abi::CpuSlots). This is the hot path.

use core::{
    intrinsics::{AtomicOrdering, atomic_xadd},
    ptr,
};

use tcpstate_common::{
    State,
    abi::{
        CONTROL_BUFFER, CONTROL_GATE, Counters, FLAG_ATOMIC, FLAG_DROP, FLAG_LOG, FLAG_NAMESPACES,
        Flow, NamespaceSlots, STATE_SLOTS, is_birth, transition_slot,
    },
};

use crate::{
    books::{self, Books},
    families,
    maps::{self, config},
    pass,
    sock::{Access, Sock},
};

/// Counts one event of a socket in scope, and shows the socket to the pass if one runs.
///
/// The flags are a known value to the verifier, which prunes what is switched off, though not the reckoning with them; so
/// whoever knows that they are 0 says so, and the compiler does it.
#[inline(always)]
pub(crate) fn transition<A: Access>(sock: Sock<A>, from: usize, to: usize, flags: u32) {
    if flags & (FLAG_LOG | FLAG_DROP) != 0 && is_dropped(flags, from, to) {
        return;
    }
    let Some(slots) = families::slots(sock, flags) else { return };
    // One read decides both the buffer and the gate: see `CONTROL_GATE`.
    let control = maps::control();
    // SAFETY: `slots` is this CPU's element, and each index is masked to the array's length.
    unsafe {
        let buffer = (&raw mut (*slots).buffers).cast::<Counters>();
        let buffer = buffer.add((control & CONTROL_BUFFER) as usize);
        let transitions = (&raw mut (*buffer).transitions).cast::<u64>();
        add_one(transitions.add(transition_slot(from, to)), flags);
        // `X -> X` is reported but moves nothing.
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
    // Nothing is needed after either call, so nothing is kept for it.
    if flags & FLAG_NAMESPACES != 0 {
        books::transition(slots, sock, control, from, to);
    } else if control & CONTROL_GATE != 0 {
        show_to_pass(sock, ptr::null_mut(), pair(from, to));
    }
}

/// Two states as one number.
#[inline(always)]
pub(crate) fn pair(from: usize, to: usize) -> u64 {
    (from as u64) << 32 | to as u64
}

/// Shows an event to the pass that runs. Out of line, to keep the hot path's code short, and with a look-up of its own, so
/// that that need not keep what it found.
#[inline(never)]
pub(crate) fn show_to_pass<A: Access>(sock: Sock<A>, namespace: *mut NamespaceSlots, states: u64) {
    let Some(slots) = families::slots(sock, config!(flags)) else { return };
    let (from, to) = ((states >> 32) as usize, states as u32 as usize);
    pass::event(Books { slots, namespace }, sock.address(), from, to);
}

/// Adds one to a counter of this CPU.
///
/// Kernels since 6.1 never let a program interrupt itself, so a plain addition is exact there, and cheaper.
///
/// # Safety
/// `counter` points into this CPU's map element.
#[inline(always)]
unsafe fn add_one(counter: *mut u64, flags: u32) {
    if flags & FLAG_ATOMIC == 0 {
        // SAFETY: the caller's promise.
        unsafe { counter.write_volatile(counter.read_volatile() + 1) };
    } else {
        // SAFETY: the caller's promise.
        unsafe { add_one_atomically(counter) };
    }
}

/// Adds one to a counter that another program may be adding to on the same CPU.
///
/// # Safety
/// `counter` points into a map element.
#[inline(always)]
pub(crate) unsafe fn add_one_atomically(counter: *mut u64) {
    // SAFETY: the caller's promise.
    unsafe { add_atomically(counter, 1) };
}

/// The same for a number.
///
/// # Safety
/// `counter` points into a map element.
#[inline(always)]
pub(crate) unsafe fn add_atomically(counter: *mut u64, number: u64) {
    // SAFETY: the caller's promise. The result goes unused, which makes this the old `lock +=`.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, number) };
}

/// Takes back what [`add_one_atomically`] added, maybe to another CPU's counter: sums wrap.
///
/// # Safety
/// `counter` points into a map element.
#[inline(always)]
pub(crate) unsafe fn take_one_atomically(counter: *mut u64) {
    // SAFETY: the caller's promise.
    unsafe { take_atomically(counter, 1) };
}

/// The same for a number.
///
/// # Safety
/// `counter` points into a map element.
#[inline(always)]
pub(crate) unsafe fn take_atomically(counter: *mut u64, number: u64) {
    // SAFETY: the caller's promise.
    unsafe { add_atomically(counter, number.wrapping_neg()) };
}

/// What only tests and debugging ask for: logs the event, and says whether it is to be ignored. Out of line and
/// behind one test, so that the verifier prunes it without a trace.
#[inline(never)]
fn is_dropped(flags: u32, from: usize, to: usize) -> bool {
    if flags & FLAG_LOG != 0 {
        log_transition(from, to);
    }
    let Some(slots) = maps::cpu_slots() else { return false };
    let one_in = u64::from(config!(drop_one_in));
    // SAFETY: `slots` is this CPU's element.
    unsafe {
        let events = (&raw const (*slots).events).read_volatile() + 1;
        (&raw mut (*slots).events).write_volatile(events);
        let is_dropped = flags & FLAG_DROP != 0 && events.is_multiple_of(one_in);
        if is_dropped {
            add_one_atomically(&raw mut (*slots).dropped);
        }
        is_dropped
    }
}

/// Says what is counted.
#[inline(always)]
#[cfg(feature = "log")]
fn log_transition(from: usize, to: usize) {
    /// The macros ask for the program's context and don't use it.
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

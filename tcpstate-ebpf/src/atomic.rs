//! Additions to counters in map elements, atomic and plain.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use tcpstate_common::abi::FLAG_ATOMIC;

/// Adds one to a counter of this CPU, as the flags ask.
///
/// Kernels since 6.1 never let a program interrupt itself, so a plain addition is exact there, and cheaper.
///
/// # Safety
/// `counter` points into this CPU's map element.
#[inline(always)]
pub(crate) unsafe fn add_one(counter: *mut u64, flags: u32) {
    if flags & FLAG_ATOMIC == 0 {
        // SAFETY: the caller's promise.
        unsafe { counter.write_volatile(counter.read_volatile() + 1) };
    } else {
        // SAFETY: the caller's promise.
        unsafe { add_one_atomically(counter) };
    }
}

/// Adds one to a counter to which another program may add at the same time, on this CPU or another.
///
/// # Safety
/// `counter` points into a map element.
#[inline(always)]
pub(crate) unsafe fn add_one_atomically(counter: *mut u64) {
    // SAFETY: the caller's promise.
    unsafe { add_atomically(counter, 1) };
}

/// Adds a number to such a counter.
///
/// # Safety
/// `counter` points into a map element.
#[inline(always)]
pub(crate) unsafe fn add_atomically(counter: *mut u64, number: u64) {
    // SAFETY: the caller's promise. The result goes unused, which makes this the old `lock +=`.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, number) };
}

/// Takes back what [`add_one_atomically`] added, perhaps to another CPU's counter: sums wrap.
///
/// # Safety
/// `counter` points into a map element.
#[inline(always)]
pub(crate) unsafe fn take_one_atomically(counter: *mut u64) {
    // SAFETY: the caller's promise.
    unsafe { take_atomically(counter, 1) };
}

/// Takes back a number that [`add_atomically`] added.
///
/// # Safety
/// `counter` points into a map element.
#[inline(always)]
pub(crate) unsafe fn take_atomically(counter: *mut u64, number: u64) {
    // SAFETY: the caller's promise.
    unsafe { add_atomically(counter, number.wrapping_neg()) };
}

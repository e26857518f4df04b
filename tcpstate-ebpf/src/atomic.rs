//! Atomic and plain additions to counters in map elements.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use tcpstate_common::abi::FLAG_ATOMIC;

/// Adds one to a counter of this CPU. The flags select an atomic or a plain addition.
///
/// Since 6.1 a program cannot interrupt itself. A plain addition is then exact, and it costs less
/// than an atomic addition.
///
/// # Safety
/// `counter` must point into this CPU's map element.
#[inline(always)]
pub(crate) unsafe fn add_one(counter: *mut u64, flags: u32) {
    if flags & FLAG_ATOMIC == 0 {
        // SAFETY: the caller guarantees that `counter` points into this CPU's map element.
        unsafe { counter.write_volatile(counter.read_volatile() + 1) };
    } else {
        // SAFETY: the caller guarantees that `counter` points into this CPU's map element.
        unsafe { add_one_atomically(counter) };
    }
}

/// Adds one to a counter to which another program may add at the same time, on any CPU.
///
/// # Safety
/// `counter` must point into a map element.
#[inline(always)]
pub(crate) unsafe fn add_one_atomically(counter: *mut u64) {
    // SAFETY: the caller guarantees that `counter` points into a map element.
    unsafe { add_atomically(counter, 1) };
}

/// Adds a number to a counter to which another program may add at the same time, on any CPU.
///
/// # Safety
/// `counter` must point into a map element.
#[inline(always)]
pub(crate) unsafe fn add_atomically(counter: *mut u64, number: u64) {
    // SAFETY: the caller guarantees that `counter` points into a map element. The result of the
    // addition is unused, so the compiler emits the old `lock +=` instruction.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, number) };
}

/// Adds a number to a counter of four bytes to which another program may add at the same time. The
/// counter may wrap.
///
/// # Safety
/// `counter` must point into a map element.
#[inline(always)]
pub(crate) unsafe fn add_half_atomically(counter: *mut u32, number: u32) {
    // SAFETY: the caller guarantees that `counter` points into a map element. The result of the
    // addition is unused, so the compiler emits the old `lock +=` instruction.
    unsafe { atomic_xadd::<u32, u32, { AtomicOrdering::Relaxed }>(counter, number) };
}

/// Subtracts 1 from a counter to undo [`add_one_atomically`], which may have added to the counter
/// of another CPU. The counter may wrap below 0, but the sum over all CPUs is right.
///
/// # Safety
/// `counter` must point into a map element.
#[inline(always)]
pub(crate) unsafe fn take_one_atomically(counter: *mut u64) {
    // SAFETY: the caller guarantees that `counter` points into a map element.
    unsafe { take_atomically(counter, 1) };
}

/// Subtracts a number that [`add_atomically`] added.
///
/// # Safety
/// `counter` must point into a map element.
#[inline(always)]
pub(crate) unsafe fn take_atomically(counter: *mut u64, number: u64) {
    // SAFETY: the caller guarantees that `counter` points into a map element.
    unsafe { add_atomically(counter, number.wrapping_neg()) };
}

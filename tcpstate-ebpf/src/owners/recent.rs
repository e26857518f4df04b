//! The numbers of the processes that had events on this CPU, so that most events need no look-up by
//! process.
//!
//! A number stays that of its process until user space gives the number to another owner. User
//! space first removes the process from [`OWNER_NUMBERS`], then changes [`OWNER_GENERATION`], and
//! then waits for all running programs. A program therefore reads the generation before it looks up
//! the number. If the generation is the new one, the look-up finds no number of a process that was
//! removed.
//!
//! [`OWNER_NUMBERS`]: crate::maps::OWNER_NUMBERS

use core::ptr;

use tcpstate_common::abi::{FIRST_OWNER, RECENT_NUMBERS, RECENT_OWNERS, RecentOwner};

use super::rows;
use crate::{config::config, maps::OWNER_GENERATION, process::Running};

/// Returns the number of a process. The function `look_up` finds the number of a process without a
/// recent event on this CPU. It is called at one place, so that its stack is that of the caller.
#[inline(always)]
pub(super) fn number(process: Running, look_up: impl FnOnce() -> u32) -> u32 {
    let recent = place(process.tgid);
    let word = RecentOwner::word(process.tgid, generation());
    if !recent.is_null() {
        // SAFETY: `recent` points to this CPU's map element.
        let (start, stored) = unsafe {
            (
                (&raw const (*recent).start).read_volatile(),
                (&raw const (*recent).word).read_volatile(),
            )
        };
        // If the process and the generation are the same, the number remains.
        let number = stored ^ word;
        if number < u64::from(RECENT_NUMBERS) && start == process.start {
            return number as u32;
        }
    }
    let number = look_up();
    if !recent.is_null() && (FIRST_OWNER..RECENT_NUMBERS).contains(&number) {
        // SAFETY: as above.
        unsafe {
            (&raw mut (*recent).start).write_volatile(process.start);
            (&raw mut (*recent).word).write_volatile(word | u64::from(number));
        }
    }
    number
}

/// Returns the place of a process in the memory of this CPU, or null if numbers are not remembered.
#[inline(always)]
fn place(tgid: u32) -> *mut RecentOwner {
    // CPUs that may reorder loads have no slots either: see [`crate::slots`].
    if config!(slot_shift) == 0 {
        return ptr::null_mut();
    }
    let Some(memory) = rows::memory() else { return ptr::null_mut() };
    // SAFETY: `memory` points to this CPU's map element, and the index is below the array's length.
    unsafe {
        let recent = (&raw mut (*memory).recent).cast::<RecentOwner>();
        recent.add(tgid as usize & (RECENT_OWNERS - 1))
    }
}

#[inline(always)]
fn generation() -> u64 {
    let Some(generation) = OWNER_GENERATION.get_ptr(0) else { return 0 };
    // SAFETY: `generation` points to a map element, which stays valid while the program runs.
    unsafe { generation.read_volatile() }
}

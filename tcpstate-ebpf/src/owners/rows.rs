//! The rows of counters, one for each owner. Each CPU adds to its own copy of a row.

use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use tcpstate_common::abi::{
    FIRST_OWNER, LIVE_REFERENCES, LIVE_WAITING, OWNER_COUNTS, OWNER_UNKNOWN, OwnerCount,
    OwnerMemory, OwnerRow, STATE_SLOTS,
};

use crate::{
    atomic::{add_atomically, add_half_atomically},
    maps::{OWNER_MEMORY, OWNER_ROWS},
};

/// Adds to the number of sockets that an owner has in a state. The states of unknown owners are not
/// counted: user space knows them from the totals.
#[inline(always)]
pub(crate) fn add_live(owner: u32, state: usize, number: i32) {
    if owner != OWNER_UNKNOWN {
        add_to_gauge(owner, state, number);
    }
}

/// Adds to the number of children that neither were accepted nor ended.
#[inline(always)]
pub(crate) fn add_waiting(number: i32) {
    add_to_gauge(OWNER_UNKNOWN, LIVE_WAITING, number);
}

#[inline(always)]
fn add_to_gauge(owner: u32, gauge: usize, number: i32) {
    let Some(row) = OWNER_ROWS.get_ptr_mut(owner) else { return };
    // SAFETY: `row` points to this CPU's map element, and the index is masked to the array's
    // length. The addition is atomic, because another program can interrupt this one.
    unsafe {
        let live = (&raw mut (*row).live).cast::<u32>();
        add_half_atomically(live.add(gauge & (STATE_SLOTS - 1)), number.cast_unsigned());
    }
}

/// Adds to a count of an owner.
#[inline(always)]
pub(crate) fn count(owner: u32, column: OwnerCount, number: i64) {
    let row: Option<*mut OwnerRow> = OWNER_ROWS.get_ptr_mut(owner);
    let Some(row) = row else { return };
    // SAFETY: `row` points to this CPU's map element, and the index is masked to the array's
    // length. The addition is atomic, because another program can interrupt this one.
    unsafe {
        let counts = (&raw mut (*row).counts).cast::<u64>();
        add_atomically(counts.add(column as usize & (OWNER_COUNTS - 1)), number.cast_unsigned());
    }
}

/// Counts a reference to an owner. User space gives the number of an owner to another owner only
/// if nothing refers to it.
#[inline(always)]
pub(crate) fn retain(owner: u32) {
    if owner >= FIRST_OWNER {
        add_live(owner, LIVE_REFERENCES, 1);
    }
}

/// Takes back a reference to an owner.
#[inline(always)]
pub(crate) fn release(owner: u32) {
    if owner >= FIRST_OWNER {
        add_live(owner, LIVE_REFERENCES, -1);
    }
}

/// Returns this CPU's memory for counters by owner.
#[inline(always)]
pub(crate) fn memory() -> Option<*mut OwnerMemory> {
    OWNER_MEMORY.get_ptr_mut(0)
}

/// Returns a number for the birth of a full socket. If only counts by owner are enabled, the number
/// stands for the time of the birth, because it costs less than a clock. Two sockets that had the
/// same address never have the same number.
#[inline(always)]
pub(crate) fn number_of_birth() -> u64 {
    let Some(memory) = memory() else { return 0 };
    // Before 6.1 a program can interrupt itself. Two sockets could then get the same number, but
    // not at the same address, because both exist.
    // SAFETY: `memory` points to this CPU's map element, and the helper takes no arguments.
    unsafe {
        let number = (&raw const (*memory).sockets).read_volatile() + 1;
        (&raw mut (*memory).sockets).write_volatile(number);
        number << 16 | u64::from(bpf_get_smp_processor_id())
    }
}

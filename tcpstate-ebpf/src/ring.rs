//! The ring of event records, and the function that writes a record to it.

use aya_ebpf::{
    btf_maps::{PerCpuArray, RingBuf},
    macros::btf_map,
};
use tcpstate_common::abi::{
    CONTROL_BUFFER, CONTROL_EVENTS, ConnectionRecord, EventLosses, EventRecord, FLAG_CONNECTIONS,
    FLAG_EVENTS, FLAG_HISTOGRAMS,
};

use crate::{
    atomic::{add_one, add_one_atomically},
    config::{self, config},
    maps,
};

/// Flag that submits a record to the ring without waking the reader.
const BPF_RB_NO_WAKEUP: u64 = 1;

/// The event records for user space, oldest first. No record wakes the reader, because user space
/// polls the ring by a timer. A wakeup would cost ten times as much as the record, and would
/// interrupt the programs that write records.
///
/// If events are enabled, user space sets the ring's size to the size that the user chose.
#[btf_map]
static EVENTS: RingBuf<EventRecord, 4096> = RingBuf::new();

/// Counts of events that did not fit in the ring, of sockets that did not fit in the table of
/// sockets, and of events that the tracking program handled.
#[btf_map]
static EVENT_LOSSES: PerCpuArray<EventLosses, 1> = PerCpuArray::new();

/// Returns whether events are written to the ring now.
#[inline(always)]
pub(crate) fn is_open() -> bool {
    config::control() & CONTROL_EVENTS != 0
}

/// Writes a record to the ring. If the ring has no space, the function returns false and does not
/// call `record`.
#[inline(always)]
pub(crate) fn write(record: impl FnOnce() -> EventRecord) -> bool {
    write_and_complete(record, |_| ())
}

/// Writes a record to the ring as [`write()`] does, and completes it there. The fields that the
/// function `complete` copies need no space on the stack, which the kernel limits.
#[inline(always)]
pub(crate) fn write_and_complete(
    record: impl FnOnce() -> EventRecord,
    complete: impl FnOnce(&mut EventRecord),
) -> bool {
    let Some(mut entry) = EVENTS.reserve(0) else { return false };
    complete(entry.write(record()));
    entry.submit(BPF_RB_NO_WAKEUP);
    true
}

/// Writes the record of a connection to the ring. The function `complete` sets the fields after the
/// event. They need no space on the stack.
#[inline(always)]
pub(crate) fn write_connection(
    event: impl FnOnce() -> EventRecord,
    complete: impl FnOnce(*mut ConnectionRecord),
) -> bool {
    let Some(mut entry) = EVENTS.reserve_untyped::<ConnectionRecord>(0) else { return false };
    let record = entry.as_mut_ptr();
    // SAFETY: `record` points to reserved space of the ring.
    unsafe { (&raw mut (*record).event).write(event()) };
    complete(record);
    entry.submit(BPF_RB_NO_WAKEUP);
    true
}

/// The kinds of losses that a CPU counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// An event of a time-wait socket that did not fit in the ring.
    TimeWait,
    /// An event of a request socket that did not fit in the ring.
    Request,
    /// A socket that did not fit in the table of sockets, or an owner that did not fit in the map
    /// of owner hints.
    Untracked,
}

/// Counts a loss on this CPU.
#[inline(always)]
pub(crate) fn count(loss: Loss) {
    let Some(losses) = EVENT_LOSSES.get_ptr_mut(0) else { return };
    // SAFETY: `losses` points to this CPU's map element, which stays valid while the program runs.
    unsafe {
        add_one_atomically(match loss {
            Loss::TimeWait => &raw mut (*losses).time_wait,
            Loss::Request => &raw mut (*losses).syn_recv,
            Loss::Untracked => &raw mut (*losses).untracked,
        });
    }
}

/// Counts an event of a full socket that did not fit in the ring. `is_end` tells whether the event
/// ends a connection.
#[inline(always)]
pub(crate) fn count_dropped(is_end: bool) {
    let Some(losses) = EVENT_LOSSES.get_ptr_mut(0) else { return };
    // SAFETY: `losses` points to this CPU's map element, which stays valid while the program runs.
    unsafe {
        add_one_atomically(&raw mut (*losses).dropped);
        if is_end {
            add_one_atomically(&raw mut (*losses).dropped_ends);
        }
    }
}

/// Counts an event of a full socket that the tracking program handles, if events or durations are
/// recorded now. `is_end` tells whether the event ends a connection.
///
/// User space subtracts this count from the number of counted events. The difference is the number
/// of events that the tracking program missed.
///
/// The tracking program decides by the same control word whether to write the event. An event that
/// is written, rejected by the filter or dropped is therefore always counted here.
#[inline(always)]
pub(crate) fn count_tracked(control: u32, flags: u32, is_end: bool) {
    if control & CONTROL_EVENTS == 0 {
        return;
    }
    let Some(losses) = EVENT_LOSSES.get_ptr_mut(0) else { return };
    // SAFETY: `losses` points to this CPU's map element, which stays valid while the program runs.
    // The index is 0 or 1. Only the tracking program adds to this counter.
    unsafe {
        let tracked = (&raw mut (*losses).tracked).cast::<u64>();
        add_one(tracked.add((control & CONTROL_BUFFER) as usize), flags);
        if flags & FLAG_CONNECTIONS != 0 && is_end {
            let ends = (&raw mut (*losses).tracked_ends).cast::<u64>();
            add_one(ends.add((control & CONTROL_BUFFER) as usize), flags);
        }
    }
}

/// Counts a socket that did not fit in the table of sockets, or a process that did not fit in its
/// map, for each feature that needed it.
#[inline(never)]
pub(crate) fn count_untracked() {
    if config!(flags) & FLAG_EVENTS != 0 {
        count(Loss::Untracked);
    }
    if config!(flags) & FLAG_HISTOGRAMS != 0
        && let Some(slots) = maps::histogram_slots()
    {
        // SAFETY: `slots` points to this CPU's map element, which stays valid while the program
        // runs.
        unsafe { add_one_atomically(&raw mut (*slots).untracked) };
    }
}

//! The ring of event records, and how a record gets into it.

use aya_ebpf::{
    btf_maps::{PerCpuArray, RingBuf},
    macros::btf_map,
};
use tcpstate_common::abi::{CONTROL_EVENTS, EventLosses, EventRecord};

use crate::{atomic::add_one_atomically, config};

/// Submit a record without a wakeup.
const BPF_RB_NO_WAKEUP: u64 = 1;

/// Events on their way to user space, oldest first. No record wakes the reader, which comes by a timer:
/// a wakeup would cost ten times the record, and interrupt the very programs that write records.
///
/// User space makes the ring as large as the user asks, where events are asked for.
#[btf_map]
static EVENTS: RingBuf<EventRecord, 4096> = RingBuf::new();

/// Events that had no room in the ring, and sockets that had no room in the table of sockets.
#[btf_map]
static EVENT_LOSSES: PerCpuArray<EventLosses, 1> = PerCpuArray::new();

/// Whether events are written now.
#[inline(always)]
pub(crate) fn is_open() -> bool {
    config::control() & CONTROL_EVENTS != 0
}

/// Writes a record. Returns false if the ring has no room, and makes no record then.
#[inline(always)]
pub(crate) fn write(record: impl FnOnce() -> EventRecord) -> bool {
    let Some(mut entry) = EVENTS.reserve(0) else { return false };
    entry.write(record());
    entry.submit(BPF_RB_NO_WAKEUP);
    true
}

/// What a CPU could not write or remember.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// An event of a full socket without room in the ring.
    Event,
    /// An event of a time-wait socket without room in the ring.
    TimeWait,
    /// An event of a request socket without room in the ring.
    Request,
    /// A socket without room in the table of sockets, or without room for its owner.
    Untracked,
}

/// Counts a loss.
#[inline(always)]
pub(crate) fn count(loss: Loss) {
    let Some(losses) = EVENT_LOSSES.get_ptr_mut(0) else { return };
    // SAFETY: `losses` is this CPU's element.
    unsafe {
        add_one_atomically(match loss {
            Loss::Event => &raw mut (*losses).dropped,
            Loss::TimeWait => &raw mut (*losses).time_wait,
            Loss::Request => &raw mut (*losses).syn_recv,
            Loss::Untracked => &raw mut (*losses).untracked,
        });
    }
}

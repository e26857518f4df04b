//! Events that tests make the counting programs lose. A lost event changes no counter, and the
//! kernel does not count it as missed. A test can therefore check which losses tcpstate finds.
//!
//! The frozen configuration selects the lost events. Without such a test the verifier removes the
//! code of this module.

use tcpstate_common::abi::{LossPattern, LostEvents};

use crate::{
    atomic::add_one_atomically,
    config::{self, config},
    maps,
};

/// Returns whether this event of a mini socket is lost.
#[inline(always)]
pub(crate) fn is_lost(events: LostEvents, control: u32) -> bool {
    config!(losses.events) == events as u32
        && control & config!(losses.spared) == 0
        && is_its_turn()
}

/// Returns whether this transition of a full socket is lost.
#[inline(always)]
pub(crate) fn is_lost_transition(from: usize, to: usize) -> bool {
    let has = |states: u32, state: usize| (u64::from(states) >> (state & 31)) & 1 != 0;
    config!(losses.events) == LostEvents::Transitions as u32
        && has(config!(losses.from), from)
        && has(config!(losses.to), to)
        && is_its_turn()
}

/// Counts an event of the selected kind, and returns whether the pattern selects the event. Each
/// CPU has its own count of events.
#[inline(never)]
fn is_its_turn() -> bool {
    let pattern = config!(losses.pattern);
    if pattern == LossPattern::Switched as u32 {
        return config::is_losing();
    }
    let Some(slots) = maps::cpu_slots() else { return false };
    // SAFETY: `slots` points to this CPU's map element, which stays valid while the program runs.
    let earlier = unsafe {
        let earlier = (&raw const (*slots).events).read_volatile();
        add_one_atomically(&raw mut (*slots).events);
        earlier
    };
    let number = u64::from(config!(losses.number));
    if pattern == LossPattern::EveryNth as u32 {
        (earlier + 1).is_multiple_of(number)
    } else {
        earlier.checked_div(number).is_some_and(|bursts| bursts.is_multiple_of(2))
    }
}

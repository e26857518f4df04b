//! The state of each mini socket between its events: when it entered its state, and which processes
//! opened and closed its connection. [`crate::mini_events`] and [`crate::mini_durations`] read it.

use aya_ebpf::bindings::BPF_ANY;
use tcpstate_common::abi::{Callers, FLAG_LINES, MiniState};

use crate::{
    access::{Access, Probed},
    closers,
    config::config,
    maps::{self, MINI_STATES},
    mini_events::Kind,
    sock::Sock,
    verifier::checked_once,
};

/// Nothing is known of a mini socket.
static UNKNOWN: MiniState = MiniState { since: 0, callers: Callers::UNKNOWN };

/// Returns whether states are stored; the verifier knows the value.
#[inline(always)]
fn is_on() -> bool {
    config!(flags) & FLAG_LINES != 0 || closers::are_for_durations()
}

/// Returns whether [`born`] must be called for this kind of mini sockets; the verifier knows the
/// value. Only event lines need the states of request sockets. The record of a connection only says
/// whether its time-wait socket was born.
#[inline(always)]
pub(crate) fn sees_births(kind: Kind) -> bool {
    match kind {
        Kind::TimeWait => closers::is_on(),
        Kind::Request => config!(flags) & FLAG_LINES != 0,
    }
}

/// Called when a mini socket enters its first state.
#[inline(always)]
pub(crate) fn born<A: Access>(kind: Kind, mini: Sock<A>, time: u64) {
    if kind == Kind::Request {
        insert(mini.address(), &MiniState { since: time, callers: Callers::UNKNOWN });
    } else if A::IS_TYPED {
        store_newborn(mini, time);
    } else {
        store_probed(mini.plain_address(), time);
    }
}

/// Stores the state of a newborn time-wait socket.
#[inline(always)]
fn store_newborn<A: Access>(tw: Sock<A>, since: u64) {
    let mut callers = Callers::UNKNOWN;
    if let Some(entry) = closers::of(tw) {
        // SAFETY: the kernel does not free the memory of a map entry while the program runs.
        unsafe {
            (*entry).has_time_wait = 1;
            callers = *entry;
        }
    }
    if is_on() {
        insert(tw.address(), &MiniState { since, callers });
    }
}

checked_once! {
    /// Stores the state of a newborn time-wait socket in a program that is attached to timers.
    fn store_probed(tw: u64, since: u64) -> u64 {
        if !closers::is_on() {
            return 0;
        }
        // SAFETY: the callers pass the address of a socket that exists while the program runs.
        store_newborn(unsafe { Sock::<Probed>::from_ptr(tw as *const u8) }, since);
        0
    }
}

checked_once! {
    /// Stores when a time-wait socket moved.
    pub(crate) fn set_since(tw: u64, since: u64) -> u64 {
        if !is_on() {
            return 0;
        }
        if let Some(state) = MINI_STATES.get_ptr_mut(tw) {
            // SAFETY: the kernel does not free the memory of a map entry while the program runs.
            unsafe { (*state).since = since };
        } else {
            insert(tw, &MiniState { since, callers: Callers::UNKNOWN });
        }
        0
    }
}

checked_once! {
    /// Keeps the state of a mini socket that may resume in the memory of the CPU.
    pub(crate) fn stopped(mini: u64) -> u64 {
        if !is_on() {
            return 0;
        }
        let Some(memory) = maps::event_memory() else { return 0 };
        let state = MINI_STATES.get_ptr(mini);
        // SAFETY: `memory` points to this CPU's map element, which stays valid while the program
        // runs. The kernel does not free the memory of a map entry either.
        unsafe {
            (&raw mut (*memory).stopped).write_volatile(mini);
            let kept = &raw mut (*memory).state;
            match state {
                Some(state) => *kept = *state,
                None => *kept = MiniState { since: 0, callers: Callers::UNKNOWN },
            }
        }
        0
    }
}

/// Called when a mini socket that was reported as ended still exists. The timer of a resumed socket
/// starts again on the CPU that stopped the timer.
#[inline(always)]
pub(crate) fn resumed(address: u64) {
    if !is_on() {
        return;
    }
    let Some(memory) = maps::event_memory() else { return };
    // SAFETY: `memory` points to this CPU's map element, which stays valid while the program runs.
    unsafe {
        if (&raw const (*memory).stopped).read_volatile() == address {
            insert(address, &(*memory).state);
        }
    }
}

/// Called after the last use of the state of a mini socket.
#[inline(always)]
pub(crate) fn forget(address: u64) {
    if is_on() {
        let _ = MINI_STATES.remove(address);
    }
}

/// Stores the state of a mini socket. If the map has no space, the durations and the processes of
/// the socket are unknown.
#[inline(always)]
fn insert(address: u64, state: &MiniState) {
    let _ = MINI_STATES.insert(address, state, u64::from(BPF_ANY));
}

/// Returns when a mini socket entered its state; 0 if unknown.
#[inline(always)]
pub(crate) fn since(address: u64) -> u64 {
    // SAFETY: the kernel does not free the memory of a map entry while the program runs.
    MINI_STATES.get_ptr(address).map_or(0, |state| unsafe { (*state).since })
}

/// Returns the processes that opened and closed the connection of a mini socket.
#[inline(always)]
pub(crate) fn callers(address: u64) -> &'static Callers {
    let state = MINI_STATES.get_ptr(address).unwrap_or(&raw const UNKNOWN);
    // SAFETY: the pointer is to the value of a map entry, which the kernel does not free while the
    // program runs, or to a static.
    unsafe { &(*state).callers }
}

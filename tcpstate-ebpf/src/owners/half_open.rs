//! Counts half-open connections (request sockets) for the owners of their listeners.
//!
//! If owners are distinguished by the peer's address, half-open connections stay unknown. A flood
//! of SYN segments with invented addresses would otherwise use up all numbers.

use tcpstate_common::{
    State,
    abi::{OWNER_NUMBER, OWNER_REMOTE, OWNER_UNKNOWN},
};

use super::{is_on, key, time_wait};
use crate::{
    access::{Access, Probed},
    config::config,
    maps::{EARLIER_SOCKETS, SOCKETS},
    sock::Sock,
    verifier::checked_once,
};

const SYN_RECV: usize = State::SynRecv as usize;

/// Returns whether half-open connections have owners; the verifier knows the value.
#[inline(always)]
fn have_owners() -> bool {
    is_on() && !key::has(OWNER_REMOTE)
}

/// Called when a request socket was inserted into the kernel's table.
#[inline(always)]
pub(crate) fn born<A: Access>(request: Sock<A>) {
    if have_owners() {
        half_open_born(request.plain_address());
    }
}

checked_once! {
    fn half_open_born(address: u64) -> u64 {
        if !is_on() {
            return 0;
        }
        // SAFETY: the callers pass the address of a socket that exists while the program runs.
        let request = unsafe { Sock::<Probed>::from_ptr(address as *const u8) };
        // The end of an earlier mini socket at this address may have been missed.
        time_wait::forget(address);
        time_wait::store(request, owner_of_listener(request.listener()), SYN_RECV);
        0
    }
}

/// Returns the owner of a listener.
#[inline(always)]
fn owner_of_listener(address: u64) -> u32 {
    if address == 0 {
        return OWNER_UNKNOWN;
    }
    // SAFETY: the kernel does not free the memory of a map entry while the program runs.
    unsafe {
        if let Some(state) = SOCKETS.get(address) {
            return (*state).owner & OWNER_NUMBER;
        }
        // The listener may be from before the start, and has had no event since.
        let cookie: u64 =
            Sock::<Probed>::from_ptr(address as *const u8).load(config!(events.skc_cookie));
        EARLIER_SOCKETS.get_ptr(cookie).map_or(OWNER_UNKNOWN, |earlier| (*earlier).owner)
    }
}

/// Called when a request socket was removed from the kernel's table, or when its timer has stopped
/// and may start again.
#[inline(always)]
pub(crate) fn gone<A: Access>(request: Sock<A>) {
    if have_owners() {
        time_wait::owned_mini_gone(request.plain_address());
    }
}

/// Called when a request socket did not end: its timer starts again.
#[inline(always)]
pub(crate) fn resumed<A: Access>(request: Sock<A>) {
    if have_owners() {
        time_wait::owned_mini_resumed(request.plain_address(), SYN_RECV as u64);
    }
}

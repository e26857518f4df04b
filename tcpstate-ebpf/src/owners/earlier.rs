//! The owners of sockets that existed before tcpstate started. User space finds them and stores
//! them by the cookie of the socket.
//!
//! While user space stores sockets, their first events happen too. Whoever inserts the entry of a
//! cookie first decides: if it is user space, the socket counts in the state that user space found,
//! until its first event. If it is the first event, user space does not count the socket.
//!
//! User space lists all sockets before the programs are attached, so every earlier socket has a
//! cookie, and stores only sockets of this list.

use aya_ebpf::bindings::BPF_NOEXIST;
use tcpstate_common::{
    State,
    abi::{CONTROL_EVENTS, EarlierSocket, OWNER_IS_SERVER, OWNER_UNKNOWN},
};

use super::rows::add_live;
use crate::{
    access::Access,
    config::{self, config},
    maps::EARLIER_SOCKETS,
    sock::Sock,
};

/// The entry of a socket whose first event was counted before user space stored the socket.
const HAD_EVENT: EarlierSocket = EarlierSocket { owner: OWNER_UNKNOWN, state: State::Close as u32 };

/// Removes the entry of a socket and returns the owner, with [`OWNER_IS_SERVER`]. The socket no
/// longer counts in the state that user space found. The reference that user space counted becomes
/// the reference of the socket.
#[inline(always)]
pub(crate) fn take<A: Access>(sock: Sock<A>) -> u32 {
    let cookie: u64 = sock.load(config!(events.skc_cookie));
    if cookie == 0 {
        return OWNER_UNKNOWN;
    }
    if EARLIER_SOCKETS.get_ptr(cookie).is_none() {
        // Events are enabled only after user space has stored all sockets.
        if config::control() & CONTROL_EVENTS != 0
            || EARLIER_SOCKETS.insert(cookie, HAD_EVENT, u64::from(BPF_NOEXIST)).is_ok()
        {
            return OWNER_UNKNOWN;
        }
    }
    let Some(entry) = EARLIER_SOCKETS.get_ptr(cookie) else { return OWNER_UNKNOWN };
    // SAFETY: the kernel does not free the memory of a map entry while the program runs.
    let EarlierSocket { owner, state } = unsafe { *entry };
    let _ = EARLIER_SOCKETS.remove(cookie);
    add_live(owner, (state & !OWNER_IS_SERVER) as usize, -1);
    owner | state & OWNER_IS_SERVER
}

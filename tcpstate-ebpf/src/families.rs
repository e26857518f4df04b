//! Selects the element of [`CPU_SLOTS`] that counts a socket. With [`FLAG_FAMILIES`] each family
//! has its own element; otherwise all sockets share the first element. Without [`FLAG_FAMILIES`],
//! the verifier removes all code of this module except the index of the first element.

use tcpstate_common::abi::{CpuSlots, FLAG_FAMILIES};

use crate::{access::Access, kernel::AF_INET6, maps::CPU_SLOTS, sock::Sock};

/// Returns the counts of this CPU for the family of a socket.
#[inline(always)]
pub(crate) fn slots<A: Access>(sock: Sock<A>, flags: u32) -> Option<*mut CpuSlots> {
    CPU_SLOTS.get_ptr_mut(element(sock, flags))
}

#[inline(always)]
fn element<A: Access>(sock: Sock<A>, flags: u32) -> u32 {
    if flags & FLAG_FAMILIES == 0 {
        return 0;
    }
    u32::from(sock.family() == AF_INET6)
}

//! On which element of [`CPU_SLOTS`] a socket counts: with [`FLAG_FAMILIES`] each family has an element, otherwise all sockets
//! share the first. Without the flag nothing of this module is left but the number of the first element.

use tcpstate_common::abi::{CpuSlots, FLAG_FAMILIES};

use crate::{
    kernel::AF_INET6,
    maps::CPU_SLOTS,
    sock::{Access, Sock},
};

/// This CPU's counts of the sockets of this socket's family.
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

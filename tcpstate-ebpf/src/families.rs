//! On which element of [`CPU_SLOTS`] a socket counts: there is one for each family, where they are told apart
//! ([`FLAG_FAMILIES`]), else one for all. Switched off, nothing of this is left but the first element's number.

use tcpstate_common::abi::{CpuSlots, FLAG_FAMILIES};

use crate::{
    maps::{CPU_SLOTS, config},
    sock::{Access, Sock},
};

/// `AF_INET6`.
const AF_INET6: u16 = 10;

/// This CPU's counts of the sockets of this one's family.
#[inline(always)]
pub(crate) fn slots<A: Access>(sock: Sock<A>, flags: u32) -> Option<*mut CpuSlots> {
    CPU_SLOTS.get_ptr_mut(element(sock, flags))
}

#[inline(always)]
fn element<A: Access>(sock: Sock<A>, flags: u32) -> u32 {
    if flags & FLAG_FAMILIES == 0 {
        return 0;
    }
    u32::from(sock.load::<u16>(config!(offsets.skc_family)) == AF_INET6)
}

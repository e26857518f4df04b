//! Reads of the kernel's socket structs, by the offsets that user space took from the kernel's BTF.
//!
//! They are direct loads from typed pointers: the verifier holds each against the kernel's own types and refuses
//! a wrong offset, where a probe read would return rubbish.

use crate::maps::{self, config};

/// `IPPROTO_TCP`. MPTCP's master sockets report protocol 262 and are no TCP sockets to `ss`.
const IPPROTO_TCP: u16 = 6;

/// A `struct sock *`.
#[derive(Clone, Copy)]
pub(crate) struct Sock(*const u8);

/// A `struct sock_common *`: what full sockets and both kinds of mini sockets begin with.
#[derive(Clone, Copy)]
pub(crate) struct SockCommon(*const u8);

impl Sock {
    /// # Safety
    /// `sk` is a `struct sock` that stays alive while the value is in use.
    #[inline(always)]
    pub(crate) unsafe fn from_ptr(sk: *const u8) -> Self {
        Self(sk)
    }

    /// `struct sock` begins with its `struct sock_common`.
    #[inline(always)]
    pub(crate) fn common(self) -> SockCommon {
        SockCommon(self.0)
    }

    /// Whether it is a TCP socket of a namespace that is counted.
    #[inline(always)]
    pub(crate) fn is_counted(self) -> bool {
        let (net, proto) = (self.common().scope(), self.common().proto());
        maps::is_known(net, proto) || self.is_counted_by_the_book(net, proto)
    }

    /// The same without a memory; out of line, to keep the hot path's code short.
    #[inline(never)]
    fn is_counted_by_the_book(self, net: Option<u64>, proto: u64) -> bool {
        let offset = config!(offsets.sk_protocol);
        // SAFETY: the constructor's promise, and an offset from BTF.
        let protocol: u16 = unsafe { load(self.0, offset) };
        let is_counted = protocol == IPPROTO_TCP && self.common().is_in_scope();
        if is_counted {
            maps::know(net, proto);
        }
        is_counted
    }
}

impl SockCommon {
    /// # Safety
    /// `sk_common` is a `struct sock_common` that stays alive while the value is in use.
    #[inline(always)]
    pub(crate) unsafe fn from_ptr(sk_common: *const u8) -> Self {
        Self(sk_common)
    }

    /// The address, which names the socket for as long as it lives.
    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.0 as u64
    }

    /// `skc_state`: a kernel number, also `TIME_WAIT` and `NEW_SYN_RECV`, which only mini sockets have.
    #[inline(always)]
    pub(crate) fn state(self) -> usize {
        let offset = config!(offsets.skc_state);
        // SAFETY: the constructor's promise, and an offset from BTF.
        let state: u8 = unsafe { load(self.0, offset) };
        usize::from(state)
    }

    /// Whether the socket is in the network namespace that is counted.
    #[inline(always)]
    pub(crate) fn is_in_scope(self) -> bool {
        let scope = config!(netns);
        scope == 0 || {
            let net_inum = config!(offsets.net_inum);
            // SAFETY: a socket's namespace outlives it; an offset from BTF.
            scope == unsafe { load::<u32>(self.net(), net_inum) }
        }
    }

    /// Address of the socket's `struct net`, if only one is counted.
    #[inline(always)]
    fn scope(self) -> Option<u64> {
        (config!(netns) != 0).then(|| self.net() as u64)
    }

    #[inline(always)]
    fn net(self) -> *const u8 {
        let offset = config!(offsets.skc_net);
        // SAFETY: the constructor's promise, and an offset from BTF.
        unsafe { load(self.0, offset) }
    }

    /// Address of the socket's `struct proto`.
    #[inline(always)]
    fn proto(self) -> u64 {
        let offset = config!(offsets.skc_prot);
        // SAFETY: the constructor's promise, and an offset from BTF.
        unsafe { load::<*const u8>(self.0, offset) as u64 }
    }
}

/// Loads a field in one instruction; volatile, so that the compiler neither widens nor splits it.
#[inline(always)]
unsafe fn load<T: Copy>(object: *const u8, offset: u32) -> T {
    // SAFETY: the caller's promise.
    unsafe { object.add(offset as usize).cast::<T>().read_volatile() }
}

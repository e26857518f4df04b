//! A connection as filters see it: the fields of a full socket, or of a mini socket.

use crate::{
    cgroups,
    sock::{Access, Sock},
};

/// What a filter may ask about a connection. A filter asks only for fields on which there is a condition.
pub(crate) trait Connection {
    /// 0 while there is none.
    fn local_port(&self) -> u16;
    /// In the machine's order.
    fn remote_port(&self) -> u16;
    /// The connection's own address, IPv4 in IPv6's form; all zeroes is any address.
    fn local(&self) -> [u64; 2];
    /// The address of the peer.
    fn remote(&self) -> [u64; 2];
    /// Whether the addresses are IPv6's, mapped ones included.
    fn is_v6(&self) -> bool;
    /// The user.
    fn uid(&self) -> u32;
    /// The cgroup's number; 0 if unknown.
    fn cgroup(&self) -> u64;
    /// Whether the cgroup is one that is wanted, or below one.
    fn is_within_cgroup(&self, is_wanted: impl Fn(u64) -> bool) -> bool;
}

/// A full socket.
pub(crate) struct Full<A> {
    pub(crate) sock: Sock<A>,
    /// The state that it leaves.
    pub(crate) from: usize,
}

impl<A: Access> Connection for Full<A> {
    #[inline(always)]
    fn local_port(&self) -> u16 {
        self.sock.local_port(self.from)
    }

    #[inline(always)]
    fn remote_port(&self) -> u16 {
        self.sock.remote_port()
    }

    #[inline(always)]
    fn local(&self) -> [u64; 2] {
        self.sock.local()
    }

    #[inline(always)]
    fn remote(&self) -> [u64; 2] {
        self.sock.remote()
    }

    #[inline(always)]
    fn is_v6(&self) -> bool {
        Sock::<A>::has_v6_addresses(self.sock.family())
    }

    #[inline(always)]
    fn uid(&self) -> u32 {
        self.sock.uid()
    }

    #[inline(always)]
    fn cgroup(&self) -> u64 {
        cgroups::cgroup(self.sock)
    }

    #[inline(always)]
    fn is_within_cgroup(&self, is_wanted: impl Fn(u64) -> bool) -> bool {
        cgroups::is_within(self.sock, is_wanted)
    }
}

/// A mini socket, which has no owner. A request socket shows what it has in common with its child.
pub(crate) struct Mini<A>(pub(crate) Sock<A>);

impl<A: Access> Connection for Mini<A> {
    #[inline(always)]
    fn local_port(&self) -> u16 {
        self.0.held_port()
    }

    #[inline(always)]
    fn remote_port(&self) -> u16 {
        self.0.remote_port()
    }

    #[inline(always)]
    fn local(&self) -> [u64; 2] {
        self.0.local()
    }

    #[inline(always)]
    fn remote(&self) -> [u64; 2] {
        self.0.remote()
    }

    #[inline(always)]
    fn is_v6(&self) -> bool {
        Sock::<A>::has_v6_addresses(self.0.family())
    }

    #[inline(always)]
    fn uid(&self) -> u32 {
        u32::MAX
    }

    #[inline(always)]
    fn cgroup(&self) -> u64 {
        0
    }

    #[inline(always)]
    fn is_within_cgroup(&self, _is_wanted: impl Fn(u64) -> bool) -> bool {
        false
    }
}

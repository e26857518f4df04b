//! The fields of a connection that the filter reads, from a full socket or a mini socket.

use crate::{access::Access, cgroups, sock::Sock};

/// The fields of a connection that a filter can check. A filter reads only the fields for which it
/// has a condition.
pub(crate) trait Connection {
    /// The local port in host byte order; 0 if the socket has no port yet.
    fn local_port(&self) -> u16;
    /// The remote port in host byte order.
    fn remote_port(&self) -> u16;
    /// The local address; an IPv4 address is in IPv4-mapped IPv6 form. The unspecified address
    /// means that the socket is not bound to an address.
    fn local(&self) -> [u64; 2];
    /// The remote address; an IPv4 address is in IPv4-mapped IPv6 form.
    fn remote(&self) -> [u64; 2];
    /// Whether the addresses are IPv6 addresses; IPv4-mapped addresses are IPv6 addresses.
    fn is_v6(&self) -> bool;
    /// ID of the user that created the socket.
    fn uid(&self) -> u32;
    /// The number of the socket's cgroup; 0 if unknown.
    fn cgroup(&self) -> u64;
    /// Whether `is_wanted` is true for the socket's cgroup or for one of its ancestors.
    fn is_within_cgroup(&self, is_wanted: impl Fn(u64) -> bool) -> bool;
}

/// A full socket.
pub(crate) struct Full<A> {
    pub(crate) sock: Sock<A>,
    /// The old state of the event.
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

/// A mini socket, which has no owner. The fields of a request socket are the fields that its child
/// will also have.
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

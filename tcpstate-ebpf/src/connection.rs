//! The fields of a connection that the filter reads, from a full socket or a mini socket.

use crate::{access::Access, cgroup_filter, cgroups, sock::Sock};

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
    /// Whether the filter contains the cgroup of the connection, or one of its ancestors.
    fn is_in_cgroup(&self) -> bool;
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
    fn is_in_cgroup(&self) -> bool {
        cgroup_filter::is_in_cgroup(cgroups::cgroup(self.sock), |is_wanted| {
            cgroups::is_within(self.sock, is_wanted)
        })
    }
}

/// A mini socket. The fields of a request socket are the fields that its child will also have.
pub(crate) struct Mini<A> {
    pub(crate) sock: Sock<A>,
    /// Whether the process that closed the connection is in a cgroup of the filter.
    pub(crate) is_in_cgroup: bool,
}

impl<A: Access> Connection for Mini<A> {
    #[inline(always)]
    fn local_port(&self) -> u16 {
        self.sock.held_port()
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
        u32::MAX
    }

    #[inline(always)]
    fn is_in_cgroup(&self) -> bool {
        self.is_in_cgroup
    }
}

//! Reads of the kernel's socket structs, by the offsets that user space took from the kernel's BTF.
//!
//! Full sockets and both kinds of mini sockets begin with a `struct sock_common`, so one type serves them all.

use core::marker::PhantomData;

use aya_ebpf::helpers::{bpf_get_socket_cookie, bpf_probe_read_kernel};
use tcpstate_common::{
    State,
    abi::{FLAG_COOKIES, FLAG_MAKE_COOKIES},
};

use crate::{
    config::{self, config},
    kernel::{AF_INET6, IPPROTO_TCP},
};

/// How a field comes out of kernel memory.
pub(crate) trait Access: Copy {
    /// # Safety
    /// `object` points to a kernel object with a `T` at `offset`.
    unsafe fn load<T: Copy + Default>(object: *const u8, offset: u32) -> T;

    /// The cookie of a socket; 0 if it has none and can't be given one.
    ///
    /// # Safety
    /// `sock` points to a socket.
    unsafe fn cookie(sock: *const u8) -> u64 {
        // SAFETY: the caller's promise, and an offset from BTF.
        unsafe { Self::load(sock, config!(events.skc_cookie)) }
    }
}

/// By a direct load, from a pointer whose type the verifier knows: it holds each against the kernel's own types and
/// refuses a wrong offset.
#[derive(Clone, Copy)]
pub(crate) struct Typed;

/// By a helper that reads any address: for pointers that a program computed, or that its hook gives as mere numbers.
#[derive(Clone, Copy)]
pub(crate) struct Probed;

impl Access for Typed {
    /// One instruction; volatile, so that the compiler neither widens nor splits it.
    #[inline(always)]
    unsafe fn load<T: Copy + Default>(object: *const u8, offset: u32) -> T {
        // SAFETY: the caller's promise.
        unsafe { object.add(offset as usize).cast::<T>().read_volatile() }
    }

    #[inline(always)]
    unsafe fn cookie(sock: *const u8) -> u64 {
        // SAFETY: the caller's promise; the verifier holds the pointer against the helper's argument.
        unsafe {
            if config!(flags) & FLAG_MAKE_COOKIES != 0 {
                return bpf_get_socket_cookie(sock.cast_mut().cast());
            }
            Self::load(sock, config!(events.skc_cookie))
        }
    }
}

impl Access for Probed {
    #[inline(always)]
    unsafe fn load<T: Copy + Default>(object: *const u8, offset: u32) -> T {
        // SAFETY: the helper takes any address, and fails where nothing is mapped.
        unsafe { bpf_probe_read_kernel(object.add(offset as usize).cast::<T>()) }
            .unwrap_or_default()
    }
}

/// A `struct sock *`, `struct inet_timewait_sock *` or `struct request_sock *`: some socket, by its address.
#[derive(Clone, Copy)]
pub(crate) struct Sock<A> {
    address: *const u8,
    access: PhantomData<A>,
}

impl<A: Access> Sock<A> {
    /// # Safety
    /// `address` is that of a socket that stays alive while the value is in use.
    #[inline(always)]
    pub(crate) unsafe fn from_ptr(address: *const u8) -> Self {
        Self { address, access: PhantomData }
    }

    /// The address, which names the socket for as long as it lives.
    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.address as u64
    }

    /// Whether a full socket is a TCP socket of a namespace and a family that are counted.
    #[inline(always)]
    pub(crate) fn is_counted(self) -> bool {
        self.is_counted_in(config!(netns) != 0, config!(family))
    }

    /// The same for a caller that knows whether one namespace is counted, and whether one family.
    #[inline(always)]
    pub(crate) fn is_counted_in(self, one_namespace: bool, family: u32) -> bool {
        // 0 and no `Option`: the verifier wants to see every register of an argument set.
        let net = if one_namespace { self.net() as u64 } else { 0 };
        let proto = self.proto();
        (config::is_known(net, proto) || self.is_counted_by_its_fields(net, proto))
            && self.is_of_family(family)
    }

    /// The same without a memory; out of line, to keep the hot path's code short.
    #[inline(never)]
    fn is_counted_by_its_fields(self, net: u64, proto: u64) -> bool {
        let protocol: u16 = self.load(config!(offsets.sk_protocol));
        let is_counted = protocol == IPPROTO_TCP && self.is_in_namespace();
        if is_counted {
            config::know(net, proto);
        }
        is_counted
    }

    /// Whether the socket is of a network namespace and a family that are counted.
    #[inline(always)]
    pub(crate) fn is_in_scope(self) -> bool {
        self.is_of_family(config!(family)) && self.is_in_namespace()
    }

    /// Whether the socket is of the family that is counted, 0 if all are. Of its own, not its protocol's: an IPv6 socket with an IPv4
    /// peer is an IPv6 socket, and works by IPv4's functions.
    #[inline(always)]
    fn is_of_family(self, family: u32) -> bool {
        family == 0 || family == u32::from(self.load::<u16>(config!(offsets.skc_family)))
    }

    /// Whether the socket is in the network namespace that is counted.
    #[inline(always)]
    fn is_in_namespace(self) -> bool {
        let scope = config!(netns);
        if scope == 0 {
            return true;
        }
        let net = self.net();
        if config::is_own_net(net as u64) {
            return true;
        }
        scope == self.namespace().inode()
    }

    /// `skc_state`: a kernel number, also `TIME_WAIT` and `NEW_SYN_RECV`, which only mini sockets have.
    #[inline(always)]
    pub(crate) fn state(self) -> usize {
        usize::from(self.load::<u8>(config!(offsets.skc_state)))
    }

    /// `tw_substate` of a time-wait socket: the state as which `ss` shows it.
    #[inline(always)]
    pub(crate) fn substate(self) -> usize {
        usize::from(self.load::<u8>(config!(minis.tw_substate)))
    }

    /// `skc_refcnt`.
    #[inline(always)]
    pub(crate) fn refcount(self) -> u32 {
        self.load(config!(minis.skc_refcnt))
    }

    /// `num_timeout` of a request socket, 0 until its timer expired once. (The bits are not shifted: 0 is what matters.)
    #[inline(always)]
    pub(crate) fn num_timeout(self) -> u32 {
        u32::from(self.load::<u8>(config!(minis.num_timeout))) & config!(minis.num_timeout_mask)
    }

    /// The socket's network namespace.
    #[inline(always)]
    pub(crate) fn namespace(self) -> Net<A> {
        Net { address: self.net(), access: PhantomData }
    }

    #[inline(always)]
    fn net(self) -> *const u8 {
        // SAFETY: the constructor's promise, and an offset from BTF.
        unsafe { A::load(self.address, config!(offsets.skc_net)) }
    }

    /// Address of the socket's `struct proto`.
    #[inline(always)]
    fn proto(self) -> u64 {
        // SAFETY: the constructor's promise, and an offset from BTF.
        unsafe { A::load::<*const u8>(self.address, config!(offsets.skc_prot)) as u64 }
    }

    /// The kernel's name for the socket, which its mini socket bears too. Made now, where a program may: as `ss -e` does.
    #[inline(always)]
    pub(crate) fn cookie(self) -> u64 {
        // SAFETY: the constructor's promise.
        unsafe { A::cookie(self.address) }
    }

    /// The family.
    #[inline(always)]
    pub(crate) fn family(self) -> u16 {
        self.load(config!(offsets.skc_family))
    }

    /// Whether the kernel keeps the addresses of a socket of this family in IPv6's form.
    #[inline(always)]
    pub(crate) fn has_v6_addresses(family: u16) -> bool {
        family == AF_INET6 && config!(events.skc_v6_daddr) != 0
    }

    /// The local port while the socket holds it; otherwise 0.
    #[inline(always)]
    pub(crate) fn held_port(self) -> u16 {
        self.load(config!(events.skc_num))
    }

    /// The local port of a full socket that leaves a state; 0 while it has none yet.
    ///
    /// A socket that ends has given its port back by now, and `inet_sport` still holds the number. A socket that begins
    /// may find a number there from an earlier connection of its own.
    #[inline(always)]
    pub(crate) fn local_port(self, from: usize) -> u16 {
        let port = self.held_port();
        if port != 0 || from == State::Close as usize {
            return port;
        }
        // By the helper, whatever the access: the field lies beyond `struct sock`, the type that the verifier knows.
        // SAFETY: a full TCP socket is a `struct inet_sock`.
        let port: u16 = unsafe { Probed::load(self.address, config!(events.inet_sport)) };
        u16::from_be(port)
    }

    /// The user that made the socket.
    #[inline(always)]
    pub(crate) fn uid(self) -> u32 {
        self.load(config!(events.sk_uid))
    }

    /// The port of the peer.
    #[inline(always)]
    pub(crate) fn remote_port(self) -> u16 {
        u16::from_be(self.load(config!(events.skc_dport)))
    }

    /// The local and the remote address by the socket's family, in the network's order, IPv4 in the first word. An IPv6 socket
    /// has IPv4 addresses in IPv6's form.
    #[inline(always)]
    pub(crate) fn addresses(self, family: u16) -> ([u32; 4], [u32; 4]) {
        if Self::has_v6_addresses(family) {
            let local = self.words(config!(events.skc_v6_rcv_saddr));
            return (local, self.words(config!(events.skc_v6_daddr)));
        }
        let local = self.load(config!(events.skc_rcv_saddr));
        let remote = self.load(config!(events.skc_daddr));
        ([local, 0, 0, 0], [remote, 0, 0, 0])
    }

    /// The local address in IPv6's form; all zeroes, or [`ANY_V4`] in the lower half, is any address.
    #[inline(always)]
    pub(crate) fn local(self) -> [u64; 2] {
        if Self::has_v6_addresses(self.family()) {
            halves(self.words(config!(events.skc_v6_rcv_saddr)))
        } else {
            mapped(self.load(config!(events.skc_rcv_saddr)))
        }
    }

    /// The address of the peer in IPv6's form.
    #[inline(always)]
    pub(crate) fn remote(self) -> [u64; 2] {
        if Self::has_v6_addresses(self.family()) {
            halves(self.words(config!(events.skc_v6_daddr)))
        } else {
            mapped(self.load(config!(events.skc_daddr)))
        }
    }

    /// An IPv6 address. Word by word: the verifier allows no larger load here.
    #[inline(always)]
    fn words(self, offset: u32) -> [u32; 4] {
        [self.load(offset), self.load(offset + 4), self.load(offset + 8), self.load(offset + 12)]
    }

    /// A field by its offset, which is one from BTF.
    #[inline(always)]
    pub(crate) fn load<T: Copy + Default>(self, offset: u32) -> T {
        // SAFETY: the constructor's promise, and an offset from BTF.
        unsafe { A::load(self.address, offset) }
    }
}

/// The lower half of `::ffff:0.0.0.0`.
pub(crate) const ANY_V4: u64 = 0xffff_u32.to_be() as u64;

/// An IPv6 address from its words, as they lie in memory.
#[inline(always)]
fn halves(words: [u32; 4]) -> [u64; 2] {
    let half = |first: u32, second: u32| u64::from(second) << 32 | u64::from(first);
    [half(words[0], words[1]), half(words[2], words[3])]
}

/// An IPv4 address in IPv6's form.
#[inline(always)]
fn mapped(address: u32) -> [u64; 2] {
    [0, u64::from(address) << 32 | ANY_V4]
}

/// A `struct net`: a network namespace, by its address.
#[derive(Clone, Copy)]
pub(crate) struct Net<A> {
    address: *const u8,
    access: PhantomData<A>,
}

impl<A: Access> Net<A> {
    /// The address, which names the namespace for as long as it lives.
    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.address as u64
    }

    /// `ns.inum`: the number that user space knows the namespace by. Used again as soon as it is free.
    #[inline(always)]
    pub(crate) fn inode(self) -> u32 {
        self.load(config!(offsets.net_inum))
    }

    /// A number that no other namespace has or will have.
    #[inline(always)]
    pub(crate) fn identity(self) -> u64 {
        let offset = config!(offsets.net_identity);
        if config!(flags) & FLAG_COOKIES != 0 {
            self.load(offset)
        } else {
            u64::from(self.inode()) << 32 | u64::from(self.load::<u32>(offset))
        }
    }

    #[inline(always)]
    fn load<T: Copy + Default>(self, offset: u32) -> T {
        // SAFETY: the maker of this value has a socket of the namespace, or reads by the helper; and an offset from BTF.
        unsafe { A::load(self.address, offset) }
    }
}

impl Net<Probed> {
    /// A namespace by an address at which one was.
    #[inline(always)]
    pub(crate) fn once_at(address: u64) -> Self {
        Self { address: address as *const u8, access: PhantomData }
    }

    /// Whether the namespace has no user any more: it is being taken down, or its memory is free.
    #[inline(always)]
    pub(crate) fn is_gone(self) -> bool {
        self.load::<u32>(config!(offsets.net_users)) == 0
    }
}

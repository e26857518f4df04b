//! Reads the kernel's socket structs, at the offsets that user space reads from the kernel's BTF.
//!
//! Full sockets and both kinds of mini sockets begin with a `struct sock_common`, so one type
//! serves all of them.

use core::{arch::asm, marker::PhantomData};

use tcpstate_common::{State, abi::FLAG_COOKIES};

use crate::{
    access::{Access, Probed},
    config::{self, config},
    kernel::{AF_INET6, IPPROTO_TCP},
};

/// A socket of any kind, by its address: a `struct sock *`, `struct inet_timewait_sock *` or
/// `struct request_sock *`.
#[derive(Clone, Copy)]
pub(crate) struct Sock<A> {
    address: *const u8,
    access: PhantomData<A>,
}

impl<A: Access> Sock<A> {
    /// Returns the address as a plain number. The verifier may know the address as a pointer, and a
    /// function that is [checked once](crate::verifier) takes no pointer. The verifier treats a
    /// negated pointer as a number.
    #[inline(always)]
    pub(crate) fn plain_address(self) -> u64 {
        let mut address = self.address as u64;
        // SAFETY: the instructions only negate a register, twice.
        unsafe {
            asm!("{0} = -{0}", "{0} = -{0}", inout(reg) address, options(pure, nomem, nostack));
        }
        address
    }

    /// Creates a socket from its address.
    ///
    /// # Safety
    /// `address` must be the address of a socket that exists while the value is in use.
    #[inline(always)]
    pub(crate) unsafe fn from_ptr(address: *const u8) -> Self {
        Self { address, access: PhantomData }
    }

    /// Returns the address, which identifies the socket while the socket exists.
    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.address as u64
    }

    /// Returns whether a full socket is a TCP socket of a counted namespace and family.
    #[inline(always)]
    pub(crate) fn is_counted(self) -> bool {
        self.is_counted_in(config!(netns) != 0, config!(family))
    }

    /// Returns whether a full socket is a TCP socket of a counted namespace and family. The caller
    /// passes whether only one namespace is counted, and the only counted family (0 for all
    /// families).
    #[inline(always)]
    pub(crate) fn is_counted_in(self, one_namespace: bool, family: u32) -> bool {
        // `net` is 0 instead of `None`, because the verifier requires every register of an argument
        // to be set.
        let net = if one_namespace { self.net() as u64 } else { 0 };
        let proto = self.proto();
        (config::is_known(net, proto) || self.is_counted_by_its_fields(net, proto))
            && self.is_of_family(family)
    }

    /// Decides by the fields of the socket whether it is counted, and remembers a positive result.
    /// The function is not inlined, to keep the code of the hot path short.
    #[inline(never)]
    fn is_counted_by_its_fields(self, net: u64, proto: u64) -> bool {
        let protocol: u16 = self.load(config!(offsets.sk_protocol));
        let is_counted = protocol == IPPROTO_TCP && self.is_in_namespace();
        if is_counted {
            config::know(net, proto);
        }
        is_counted
    }

    /// Returns whether the socket is of a counted network namespace and family.
    #[inline(always)]
    pub(crate) fn is_in_scope(self) -> bool {
        self.is_of_family(config!(family)) && self.is_in_namespace()
    }

    /// Returns whether the socket is of the given family; the family 0 means all families. The
    /// family is the socket's own family: an IPv6 socket with an IPv4 peer is an IPv6 socket,
    /// although IPv4 functions handle it.
    #[inline(always)]
    fn is_of_family(self, family: u32) -> bool {
        family == 0 || family == u32::from(self.load::<u16>(config!(offsets.skc_family)))
    }

    /// Returns whether the socket is in the counted network namespace, or all namespaces are
    /// counted.
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

    /// Returns `skc_state`, the kernel number of the socket's state. Only mini sockets have the
    /// states `TIME_WAIT` and `NEW_SYN_RECV`.
    #[inline(always)]
    pub(crate) fn state(self) -> usize {
        usize::from(self.load::<u8>(config!(offsets.skc_state)))
    }

    /// Returns whether a process called the function that changes the state of a full socket. A
    /// packet can complete a close that a process began earlier, and the kernel then handles the
    /// packet while any process runs. The kernel holds the lock of the socket for a process only in
    /// a call of this process (`lock_sock`).
    #[inline(always)]
    pub(crate) fn is_locked_by_process(self) -> bool {
        self.load::<u32>(config!(owners.sk_lock_owned)) != 0
    }

    /// Returns `tw_substate` of a time-wait socket: the state that `ss` shows for the socket.
    #[inline(always)]
    pub(crate) fn substate(self) -> usize {
        usize::from(self.load::<u8>(config!(minis.tw_substate)))
    }

    /// Returns the reference count `skc_refcnt` of the socket.
    #[inline(always)]
    pub(crate) fn refcount(self) -> u32 {
        self.load(config!(minis.skc_refcnt))
    }

    /// Returns `num_timeout` of a request socket; 0 until the socket's timer has expired once. The
    /// bits are not shifted, because only the comparison with 0 matters.
    #[inline(always)]
    pub(crate) fn num_timeout(self) -> u32 {
        u32::from(self.load::<u8>(config!(minis.num_timeout))) & config!(minis.num_timeout_mask)
    }

    /// Returns the socket's network namespace.
    #[inline(always)]
    pub(crate) fn namespace(self) -> Net<A> {
        Net { address: self.net(), access: PhantomData }
    }

    #[inline(always)]
    fn net(self) -> *const u8 {
        // SAFETY: the constructor's caller guarantees that the socket exists, and the offset is
        // from BTF.
        unsafe { A::load(self.address, config!(offsets.skc_net)) }
    }

    /// Returns the address of the socket's `struct proto`.
    #[inline(always)]
    fn proto(self) -> u64 {
        // SAFETY: the constructor's caller guarantees that the socket exists, and the offset is
        // from BTF.
        unsafe { A::load::<*const u8>(self.address, config!(offsets.skc_prot)) as u64 }
    }

    /// Returns the socket's cookie; a full socket and its mini socket have the same cookie. If the
    /// socket has no cookie, the program creates a cookie where it is allowed to, as `ss -e` does.
    #[inline(always)]
    pub(crate) fn cookie(self) -> u64 {
        // SAFETY: the constructor's caller guarantees that the socket exists.
        unsafe { A::cookie(self.address) }
    }

    /// Returns the socket's `skc_family`.
    #[inline(always)]
    pub(crate) fn family(self) -> u16 {
        self.load(config!(offsets.skc_family))
    }

    /// Returns whether the kernel stores the addresses of a socket of this family as IPv6
    /// addresses.
    #[inline(always)]
    pub(crate) fn has_v6_addresses(family: u16) -> bool {
        family == AF_INET6 && config!(events.skc_v6_daddr) != 0
    }

    /// Returns the local port while the socket is bound; otherwise 0.
    #[inline(always)]
    pub(crate) fn held_port(self) -> u16 {
        self.load(config!(events.skc_num))
    }

    /// Returns the local port of a full socket that leaves the state `from`; 0 if the socket has no
    /// port yet.
    ///
    /// A socket that closes has already released its port, but `inet_sport` still holds the number.
    /// At the birth of a socket, `inet_sport` may hold the number of an earlier connection of the
    /// socket.
    #[inline(always)]
    pub(crate) fn local_port(self, from: usize) -> u16 {
        let port = self.held_port();
        if port != 0 || from == State::Close as usize {
            return port;
        }
        // The field is read by the helper for any access, because it lies beyond `struct sock`,
        // which is the type that the verifier knows. SAFETY: a full TCP socket is a `struct
        // inet_sock`.
        let port: u16 = unsafe { Probed::load(self.address, config!(events.inet_sport)) };
        u16::from_be(port)
    }

    /// Returns the hash of the socket's connection; a time-wait socket has the hash of its full
    /// socket.
    #[inline(always)]
    pub(crate) fn hash(self) -> u32 {
        self.load(config!(owners.skc_hash))
    }

    /// Returns the address of a request socket's listener.
    #[inline(always)]
    pub(crate) fn listener(self) -> u64 {
        self.load(config!(owners.skc_listener))
    }

    /// Returns the ID of the user that created the socket.
    #[inline(always)]
    pub(crate) fn uid(self) -> u32 {
        self.load(config!(events.sk_uid))
    }

    /// Returns the remote port in host byte order.
    #[inline(always)]
    pub(crate) fn remote_port(self) -> u16 {
        u16::from_be(self.load(config!(events.skc_dport)))
    }

    /// Returns the local and the remote address, according to the socket's family, in network byte
    /// order. An IPv4 address is in the first word. The IPv4 addresses of an IPv6 socket are in
    /// IPv4-mapped form.
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

    /// Returns the local address in IPv6 form. A result of all zeroes, or with [`ANY_V4`] in the
    /// lower half, is the unspecified address.
    #[inline(always)]
    pub(crate) fn local(self) -> [u64; 2] {
        if Self::has_v6_addresses(self.family()) {
            halves(self.words(config!(events.skc_v6_rcv_saddr)))
        } else {
            mapped(self.load(config!(events.skc_rcv_saddr)))
        }
    }

    /// Returns the remote address in IPv6 form.
    #[inline(always)]
    pub(crate) fn remote(self) -> [u64; 2] {
        if Self::has_v6_addresses(self.family()) {
            halves(self.words(config!(events.skc_v6_daddr)))
        } else {
            mapped(self.load(config!(events.skc_daddr)))
        }
    }

    /// Loads an IPv6 address word by word, because the verifier allows no larger load here.
    #[inline(always)]
    fn words(self, offset: u32) -> [u32; 4] {
        [self.load(offset), self.load(offset + 4), self.load(offset + 8), self.load(offset + 12)]
    }

    /// Loads a field of the socket at an offset from BTF.
    #[inline(always)]
    pub(crate) fn load<T: Copy>(self, offset: u32) -> T {
        // SAFETY: the constructor's caller guarantees that the socket exists, and the offset is
        // from BTF.
        unsafe { A::load(self.address, offset) }
    }
}

/// The lower half of the address `::ffff:0.0.0.0`.
pub(crate) const ANY_V4: u64 = 0xffff_u32.to_be() as u64;

/// Returns the two halves of an IPv6 address from its words in memory order.
#[inline(always)]
fn halves(words: [u32; 4]) -> [u64; 2] {
    let half = |first: u32, second: u32| u64::from(second) << 32 | u64::from(first);
    [half(words[0], words[1]), half(words[2], words[3])]
}

/// Returns an IPv4 address in IPv4-mapped IPv6 form.
#[inline(always)]
fn mapped(address: u32) -> [u64; 2] {
    [0, u64::from(address) << 32 | ANY_V4]
}

/// A network namespace (`struct net`), by its address.
#[derive(Clone, Copy)]
pub(crate) struct Net<A> {
    address: *const u8,
    access: PhantomData<A>,
}

impl<A: Access> Net<A> {
    /// Returns the address, which identifies the namespace while the namespace exists.
    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.address as u64
    }

    /// Returns `ns.inum`, the number by which user space identifies the namespace. The kernel
    /// reuses a namespace's number as soon as the number is free.
    #[inline(always)]
    pub(crate) fn inode(self) -> u32 {
        self.load(config!(offsets.net_inum))
    }

    /// Returns a number that no other namespace has, not even an earlier or a later namespace.
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
    fn load<T: Copy>(self, offset: u32) -> T {
        // SAFETY: the offset is from BTF. A socket of the namespace keeps the namespace alive, or
        // the load uses the helper that takes any address.
        unsafe { A::load(self.address, offset) }
    }
}

impl Net<Probed> {
    /// Creates a reference to a namespace that may no longer exist, from its former address.
    #[inline(always)]
    pub(crate) fn once_at(address: u64) -> Self {
        Self { address: address as *const u8, access: PhantomData }
    }

    /// Returns whether the namespace has no users, because it is being removed or its memory is
    /// free.
    #[inline(always)]
    pub(crate) fn is_gone(self) -> bool {
        self.load::<u32>(config!(offsets.net_users)) == 0
    }
}

//! Whose a socket is: the process, as far as one can be sure of it, and the cgroup.
//!
//! Three ways lead to a process, and none goes by who happens to run when a packet comes:
//!
//! * connect() and listen() are their caller's, which [`events`](crate::events) asks for at once;
//! * an accepted connection is its accept()'s caller's; where no program can be attached to accept(), it is whose send or
//!   receive on it comes first. Neither is an event of the socket, and the socket is not locked, so they leave a
//!   [`Claim`] for its next event;
//! * a socket from before the start is whose `/proc/PID/fd` it is in: claims that user space leaves, by inode.

use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::{bpf_get_current_pid_tgid, bpf_get_current_task, bpf_probe_read_kernel_str_bytes},
    macros::{btf_tracepoint, fexit},
    programs::{BtfTracePointContext, FExitContext},
};
use tcpstate_common::abi::{COMM_BYTES, Claim};

use crate::{
    count::add_one_atomically,
    maps::{CLAIMS, EVENT_LOSSES, LIVES, config},
    sock::{Access, IPPROTO_TCP, Probed, Sock, Typed},
};

/// Flag of a task that belongs to the kernel.
const PF_KTHREAD: u32 = 0x0020_0000;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// The process that a socket belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Owner {
    /// 0 if unknown.
    pub(crate) pid: u32,
    pub(crate) comm: [u8; COMM_BYTES],
}

impl Owner {
    pub(crate) const UNKNOWN: Self = Self { pid: 0, comm: [0; COMM_BYTES] };

    /// Whoever runs. Not a thread of the kernel, which works for somebody else; and by the name of the process, not of
    /// one of its threads.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        // SAFETY: these helpers take nothing; what is read is read by a helper that takes any address.
        unsafe {
            let task = bpf_get_current_task() as *const u8;
            if Probed::load::<u32>(task, config!(events.task_flags)) & PF_KTHREAD != 0 {
                return Self::UNKNOWN;
            }
            let leader = Probed::load::<u64>(task, config!(events.group_leader)) as *const u8;
            let mut comm = [0; COMM_BYTES];
            // As text: older kernels (5.10) leave the rest of a longer, earlier name behind the zero.
            let name = leader.add(config!(events.comm) as usize);
            let _ = bpf_probe_read_kernel_str_bytes(name, &mut comm);
            Self { pid: (bpf_get_current_pid_tgid() >> 32) as u32, comm }
        }
    }

    /// Takes what was found out about a socket since its last event, if anything was.
    #[inline(always)]
    pub(crate) fn claimed(address: u64, born: u64) -> Self {
        let Some(claim) = CLAIMS.get_ptr(address) else { return Self::UNKNOWN };
        // SAFETY: an entry's memory stays an entry's while the program runs.
        let claim = unsafe { *claim };
        let _ = CLAIMS.remove(address);
        // Else it came too late for the socket that it is of.
        if claim.born == born { claim.into() } else { Self::UNKNOWN }
    }

    /// Takes what user space found out about a socket that was there before the first event of any.
    #[inline(always)]
    pub(crate) fn claimed_before<A: Access>(sock: Sock<A>) -> Self {
        let socket = sock.load::<u64>(config!(owners.sk_socket)) as *const u8;
        // SAFETY: read by a helper that takes any address; null and its like hold nothing.
        let inode = unsafe { Probed::load::<u64>(socket, config!(owners.socket_inode)) };
        let Some(claim) = CLAIMS.get_ptr(inode) else { return Self::UNKNOWN };
        // SAFETY: as above.
        let claim = unsafe { *claim };
        let _ = CLAIMS.remove(inode);
        claim.into()
    }
}

impl From<Claim> for Owner {
    #[inline(always)]
    fn from(claim: Claim) -> Self {
        Self { pid: claim.pid, comm: claim.comm }
    }
}

/// `struct sock *inet_csk_accept(struct sock *sk, struct proto_accept_arg *arg)`, since 6.10. The result's place follows from
/// the number of arguments, which the verifier must know, so there is a program for each.
#[fexit(function = "inet_csk_accept")]
pub(crate) fn accepted_2(ctx: FExitContext) -> i32 {
    claim(ctx.arg(2), false);
    0
}

/// `struct sock *inet_csk_accept(struct sock *sk, int flags, int *err, bool kern)`
#[fexit(function = "inet_csk_accept")]
pub(crate) fn accepted_4(ctx: FExitContext) -> i32 {
    claim(ctx.arg(4), false);
    0
}

/// `sock_recv_length(struct sock *sk, int ret, int flags)`, since 6.3: after each receive.
#[btf_tracepoint]
pub(crate) fn received(ctx: BtfTracePointContext) -> i32 {
    used(&ctx)
}

/// `sock_send_length(struct sock *sk, int ret, int flags)`, since 6.3: after each send.
#[btf_tracepoint]
pub(crate) fn sent(ctx: BtfTracePointContext) -> i32 {
    used(&ctx)
}

/// `tcp_rcv_space_adjust(struct sock *sk)`: somebody took data from a TCP socket.
#[btf_tracepoint]
pub(crate) fn took(ctx: BtfTracePointContext) -> i32 {
    used(&ctx)
}

/// Somebody uses a socket that need not be TCP's.
#[inline(always)]
fn used(ctx: &BtfTracePointContext) -> i32 {
    // SAFETY: the tracepoint's first argument, alive while the program runs.
    let sock = unsafe { Sock::<Typed>::from_ptr(ctx.arg(0)) };
    let family: u16 = sock.load(config!(offsets.skc_family));
    let is_tcp = (family == AF_INET || family == AF_INET6)
        && sock.load::<u16>(config!(offsets.sk_protocol)) == IPPROTO_TCP;
    if is_tcp {
        claim(sock.address(), true);
    }
    0
}

/// Leaves word of whose a socket is, unless that is known. By its address; 0 is none's, but what accept() returns when nobody
/// has connected.
///
/// The caller holds a reference, so the address is no other socket's; but its life may end meanwhile, and the entry become
/// another socket's. That is what [`Claim::born`] is for.
#[inline(always)]
fn claim(address: u64, is_use: bool) {
    if address == 0 {
        return;
    }
    let Some(life) = LIVES.get(address) else { return };
    // SAFETY: an entry's memory stays an entry's while the program runs.
    let (born, pid, is_claimed) =
        unsafe { ((*life).born, (*life).pid, (&raw const (*life).is_claimed).read_volatile()) };
    if pid != 0 || is_claimed != 0 || (is_use && !has_file(address)) {
        return;
    }
    let Owner { pid, comm } = Owner::current();
    if pid == 0 {
        return;
    }
    let claim = Claim { born, pid, reserved: 0, comm };
    if CLAIMS.insert(address, claim, u64::from(BPF_ANY)).is_ok() {
        // Saves the next uses the rest. If the entry is another socket's by now, that one may go without an owner.
        // SAFETY: as above.
        unsafe { (&raw mut (*life).is_claimed).write_volatile(1) };
    } else if let Some(losses) = EVENT_LOSSES.get_ptr_mut(0) {
        // SAFETY: `losses` is this CPU's element.
        unsafe { add_one_atomically(&raw mut (*losses).untracked) };
    }
}

/// Whether a process has the socket open. The kernel's own have no file, and whoever runs may work with them.
#[inline(always)]
fn has_file(address: u64) -> bool {
    // SAFETY: read by a helper that takes any address.
    unsafe {
        let socket = Probed::load::<u64>(address as *const u8, config!(owners.sk_socket));
        Probed::load::<u64>(socket as *const u8, config!(owners.socket_file)) != 0
    }
}

/// Number of the cgroup in which the socket was made, or its listener; 0 if unknown.
#[inline(always)]
pub(crate) fn cgroup<A: Access>(sock: Sock<A>) -> u64 {
    if config!(owners.sk_cgroup) == 0 {
        return 0;
    }
    if config!(owners.cgroup_is_number) != 0 {
        // SAFETY: read by a helper that takes any address.
        return unsafe { Probed::load(node_by_number(sock), config!(owners.kn_id)) };
    }
    // SAFETY: offsets from BTF, each of the type that the field before points to; null holds nothing.
    unsafe { A::load(node(sock), config!(owners.kn_id)) }
}

/// Whether that cgroup is one of those that are wanted, or below one.
#[inline(always)]
pub(crate) fn is_within<A: Access>(sock: Sock<A>, is_wanted: impl Fn(u64) -> bool) -> bool {
    /// Of folders, one in the other. Container platforms come to ten.
    const MOST_LEVELS: usize = 32;
    let mut node =
        if config!(owners.cgroup_is_number) != 0 { node_by_number(sock) } else { node(sock) }
            as u64;
    for _ in 0..MOST_LEVELS {
        // SAFETY: read by a helper that takes any address.
        let id = unsafe { Probed::load(node as *const u8, config!(owners.kn_id)) };
        if is_wanted(id) {
            return true;
        }
        // SAFETY: as above.
        node = unsafe { Probed::load(node as *const u8, config!(owners.kn_parent)) };
        if node == 0 {
            return false;
        }
    }
    false
}

/// The `struct kernfs_node` of the socket's cgroup.
#[inline(always)]
fn node<A: Access>(sock: Sock<A>) -> *const u8 {
    let cgroup: *const u8 = sock.load(config!(owners.sk_cgroup));
    // SAFETY: an offset from BTF; null holds nothing.
    unsafe { A::load(cgroup, config!(owners.cgroup_kn)) }
}

/// The same where it is kept as a number. One of the two lowest bits says that the number is something else: priority and
/// class of version 1.
#[inline(always)]
fn node_by_number<A: Access>(sock: Sock<A>) -> *const u8 {
    const NO_POINTER: u64 = 3;
    let cgroup: u64 = sock.load(config!(owners.sk_cgroup));
    if cgroup & NO_POINTER != 0 {
        return core::ptr::null();
    }
    // SAFETY: read by a helper that takes any address.
    unsafe { Probed::load(cgroup as *const u8, config!(owners.cgroup_kn)) }
}

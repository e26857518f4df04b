//! Owners of sockets that are found between two events of a socket, or before its first event:
//! [`OWNER_HINTS`].
//!
//! connect() and listen() are events of the socket, and their caller is the owner. Two other
//! sources give an owner. Neither uses the process that happens to run when a packet arrives:
//!
//! * The owner of an accepted connection is the process that calls accept(). If no program can be
//!   attached to accept(), it is the process that first sends or receives. These calls are not
//!   events of the socket, and they do not hold its lock. So the program leaves an [`OwnerHint`]
//!   for the socket's next event.
//! * The owner of a socket from before the start is the process that has it open, from
//!   `/proc/PID/fd`. User space leaves these hints by the inode of the socket's file.

use aya_ebpf::{
    bindings::BPF_ANY,
    macros::{btf_tracepoint, fexit},
    programs::{BtfTracePointContext, FExitContext},
};
use tcpstate_common::abi::OwnerHint;

use crate::{
    config::config,
    kernel::{AF_INET, AF_INET6, IPPROTO_TCP},
    maps::{OWNER_HINTS, SOCKETS},
    process::Process,
    ring::{self, Loss},
    sock::{Access, Probed, Sock, Typed},
};

/// Removes and returns the hint of the socket that was born at this time, if there is one.
#[inline(always)]
pub(crate) fn take(address: u64, born: u64) -> Process {
    let Some(hint) = OWNER_HINTS.get_ptr(address) else { return Process::UNKNOWN };
    // SAFETY: an entry's memory stays an entry's while the program runs.
    let hint = unsafe { *hint };
    let _ = OWNER_HINTS.remove(address);
    // If the times differ, the hint belongs to an earlier socket at this address.
    if hint.born == born { hint.into() } else { Process::UNKNOWN }
}

/// Removes and returns the hint that user space left for a socket from before the start.
#[inline(always)]
pub(crate) fn take_from_before<A: Access>(sock: Sock<A>) -> Process {
    let socket = sock.load::<u64>(config!(owners.sk_socket)) as *const u8;
    // SAFETY: read by a helper that takes any address; at a null pointer it reads 0.
    let inode = unsafe { Probed::load::<u64>(socket, config!(owners.socket_inode)) };
    let Some(hint) = OWNER_HINTS.get_ptr(inode) else { return Process::UNKNOWN };
    // SAFETY: an entry's memory stays an entry's while the program runs.
    let hint = unsafe { *hint };
    let _ = OWNER_HINTS.remove(inode);
    hint.into()
}

impl From<OwnerHint> for Process {
    #[inline(always)]
    fn from(hint: OwnerHint) -> Self {
        Self { pid: hint.pid, comm: hint.comm }
    }
}

/// `struct sock *inet_csk_accept(struct sock *sk, struct proto_accept_arg *arg)`, since 6.10.
///
/// The position of the result depends on the number of arguments, which the verifier must know. So
/// each number of arguments has its own program.
#[fexit(function = "inet_csk_accept")]
pub(crate) fn accepted_2(ctx: FExitContext) -> i32 {
    leave(ctx.arg(2), false);
    0
}

/// `struct sock *inet_csk_accept(struct sock *sk, int flags, int *err, bool kern)`
#[fexit(function = "inet_csk_accept")]
pub(crate) fn accepted_4(ctx: FExitContext) -> i32 {
    leave(ctx.arg(4), false);
    0
}

/// `sock_recv_length(struct sock *sk, int ret, int flags)`, since 6.3: called after each receive.
#[btf_tracepoint]
pub(crate) fn received(ctx: BtfTracePointContext) -> i32 {
    used(&ctx)
}

/// `sock_send_length(struct sock *sk, int ret, int flags)`, since 6.3: called after each send.
#[btf_tracepoint]
pub(crate) fn sent(ctx: BtfTracePointContext) -> i32 {
    used(&ctx)
}

/// `tcp_rcv_space_adjust(struct sock *sk)`: a process read data from a TCP socket.
#[btf_tracepoint]
pub(crate) fn took(ctx: BtfTracePointContext) -> i32 {
    used(&ctx)
}

/// A process uses a socket, which may have a protocol other than TCP.
#[inline(always)]
fn used(ctx: &BtfTracePointContext) -> i32 {
    // SAFETY: the tracepoint's first argument, alive while the program runs.
    let sock = unsafe { Sock::<Typed>::from_ptr(ctx.arg(0)) };
    let family: u16 = sock.load(config!(offsets.skc_family));
    let is_tcp = (family == AF_INET || family == AF_INET6)
        && sock.load::<u16>(config!(offsets.sk_protocol)) == IPPROTO_TCP;
    if is_tcp {
        leave(sock.address(), true);
    }
    0
}

/// Leaves a hint of a socket's owner, unless the owner is known. The address is 0 if accept() had
/// no connection to return.
///
/// The caller holds a reference, so the address still belongs to this socket. But the socket may
/// end meanwhile, and its entry may then belong to another socket. [`OwnerHint::born`] tells these
/// apart.
#[inline(always)]
fn leave(address: u64, is_use: bool) {
    if address == 0 {
        return;
    }
    let Some(state) = SOCKETS.get(address) else { return };
    // SAFETY: an entry's memory stays an entry's while the program runs.
    let (born, pid, is_hinted) =
        unsafe { ((*state).born, (*state).pid, (&raw const (*state).is_hinted).read_volatile()) };
    if pid != 0 || is_hinted != 0 || (is_use && !has_file(address)) {
        return;
    }
    let Process { pid, comm } = Process::current();
    if pid == 0 {
        return;
    }
    let hint = OwnerHint { born, pid, reserved: 0, comm };
    if OWNER_HINTS.insert(address, hint, u64::from(BPF_ANY)).is_ok() {
        // Lets later uses return early. If the entry belongs to another socket by now, that socket
        // may stay without an owner.
        unsafe { (&raw mut (*state).is_hinted).write_volatile(1) };
    } else {
        ring::count(Loss::Untracked);
    }
}

/// Whether a process has the socket open. The kernel's own sockets have no file. The kernel may use
/// them while any process runs.
#[inline(always)]
fn has_file(address: u64) -> bool {
    // SAFETY: read by a helper that takes any address.
    unsafe {
        let socket = Probed::load::<u64>(address as *const u8, config!(owners.sk_socket));
        Probed::load::<u64>(socket as *const u8, config!(owners.socket_file)) != 0
    }
}

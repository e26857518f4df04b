//! Finds the owner of a socket between two events of the socket, or before its first event: see
//! [`OWNER_HINTS`].
//!
//! connect() and listen() cause events of the socket, and the process that calls them is the owner.
//! Two other sources give the owner of a socket, and neither uses the process that happens to run
//! when a packet arrives:
//!
//! * The owner of an accepted connection is the process that calls accept(). If no program can be
//!   attached to accept(), the owner is the process that first sends or receives on the connection.
//!   accept(), sends and receives cause no events of the socket, and they do not hold the socket's
//!   lock. The programs that observe accept(), sends or receives therefore leave an [`OwnerHint`]
//!   for the socket's next event.
//! * If a socket existed before tcpstate started, its owner is the process that has it open,
//!   according to `/proc/PID/fd`. User space stores the hint for a socket from before the start by
//!   the inode of the socket's file.

use aya_ebpf::{
    bindings::BPF_ANY,
    macros::{btf_tracepoint, fexit},
    programs::{BtfTracePointContext, FExitContext},
};
use tcpstate_common::abi::{
    FLAG_EVENTS, FLAG_HISTOGRAMS, HINT_OF_ACCEPT, HINT_OF_NAME, OwnerHint, SocketState,
};

use crate::{
    access::{Access, Probed, Typed},
    config::config,
    histograms,
    kernel::{AF_INET, AF_INET6, IPPROTO_TCP},
    maps::{OWNER_HINTS, SOCKETS},
    owners,
    process::Process,
    program_tree, ring,
    sock::Sock,
};

/// Returns whether the ID or the name of the owner is needed; the verifier knows the value.
#[inline(always)]
pub(crate) fn are_needed() -> bool {
    let flags = config!(flags);
    flags & FLAG_EVENTS != 0
        || histograms::is_by_owner()
        || flags & FLAG_HISTOGRAMS != 0 && program_tree::is_on()
}

/// Removes the hint at a socket's address, and returns it if it belongs to the socket that was born
/// at the time `born`.
#[inline(always)]
pub(crate) fn take(address: u64, born: u64) -> Process {
    let Some(hint) = OWNER_HINTS.get_ptr(address) else { return Process::UNKNOWN };
    // SAFETY: the kernel does not free the memory of a map entry while the program runs.
    let hint = unsafe { *hint };
    let _ = OWNER_HINTS.remove(address);
    // If the two times differ, the hint belongs to an earlier socket at this address.
    if hint.born == born { hint.into() } else { Process::UNKNOWN }
}

/// Removes and returns the hint that user space stored for a socket that existed before tcpstate
/// started.
#[inline(always)]
pub(crate) fn take_from_before<A: Access>(sock: Sock<A>) -> Process {
    let socket = sock.load::<u64>(config!(owners.sk_socket)) as *const u8;
    // SAFETY: `Probed` reads by a helper that takes any address; the helper reads 0 at a null
    // pointer.
    let inode = unsafe { Probed::load::<u64>(socket, config!(owners.socket_inode)) };
    let Some(hint) = OWNER_HINTS.get_ptr(inode) else { return Process::UNKNOWN };
    // SAFETY: the kernel does not free the memory of a map entry while the program runs.
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
/// The position of the result depends on the number of arguments, which the verifier must know.
/// Each possible number of arguments of the kernel function therefore has its own BPF program.
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

/// `sock_recv_length(struct sock *sk, int ret, int flags)`, since 6.3: the kernel calls this
/// tracepoint after each receive.
#[btf_tracepoint]
pub(crate) fn received(ctx: BtfTracePointContext) -> i32 {
    used(&ctx)
}

/// `sock_send_length(struct sock *sk, int ret, int flags)`, since 6.3: the kernel calls this
/// tracepoint after each send.
#[btf_tracepoint]
pub(crate) fn sent(ctx: BtfTracePointContext) -> i32 {
    used(&ctx)
}

/// `tcp_rcv_space_adjust(struct sock *sk)`: a process read data from a TCP socket.
#[btf_tracepoint]
pub(crate) fn took(ctx: BtfTracePointContext) -> i32 {
    used(&ctx)
}

/// Called when a process uses a socket, which may have a protocol other than TCP.
#[inline(always)]
fn used(ctx: &BtfTracePointContext) -> i32 {
    // SAFETY: the pointer is the tracepoint's first argument, a socket that exists while the
    // program runs.
    let sock = unsafe { Sock::<Typed>::from_ptr(ctx.arg(0)) };
    let family: u16 = sock.load(config!(offsets.skc_family));
    let is_tcp = (family == AF_INET || family == AF_INET6)
        && sock.load::<u16>(config!(offsets.sk_protocol)) == IPPROTO_TCP;
    if is_tcp {
        leave(sock.address(), true);
    }
    0
}

/// Leaves a hint that the current process owns the socket, unless the owner is known. If sockets
/// are counted by owner, a child counts for the current process from now on. The address is 0 if
/// accept() had no connection to return.
///
/// The caller holds a reference to the socket, so the address still belongs to this socket. The
/// socket may close meanwhile, and its entry may then belong to another socket. The time of the
/// socket's birth distinguishes the two sockets.
#[inline(always)]
fn leave(address: u64, is_use: bool) {
    if address == 0 {
        return;
    }
    let Some(state) = SOCKETS.get(address) else { return };
    // SAFETY: the kernel does not free the memory of a map entry while the program runs.
    let (pid, is_hinted) =
        unsafe { ((*state).pid, (&raw const (*state).is_hinted).read_volatile()) };
    let wants_name = are_needed() && pid == 0;
    // SAFETY: as above.
    let is_accepted = owners::is_on() && unsafe { owners::is_waiting(&*state) };
    if !(wants_name || is_accepted) || is_hinted != 0 || (is_use && !has_file(address)) {
        return;
    }
    let mut hints = 0;
    if wants_name && leave_name(address, state) {
        hints |= HINT_OF_NAME;
    }
    if is_accepted && owners::accept(address, state) {
        hints |= HINT_OF_ACCEPT;
    }
    if hints != 0 {
        // The mark lets later calls of this function return early. If the entry belongs to another
        // socket by now, the other socket may stay without an owner.
        // SAFETY: `state` points to the value of a map entry. The kernel does not free the memory
        // of a map entry while the program runs. The field is one aligned integer.
        unsafe { (&raw mut (*state).is_hinted).write_volatile(hints) };
    }
}

/// Leaves the ID and the name of the current process for the next event of a socket. Returns
/// whether there is a hint.
#[inline(always)]
fn leave_name(address: u64, state: *mut SocketState) -> bool {
    let Process { pid, comm } = Process::current();
    if pid == 0 {
        return false;
    }
    // SAFETY: the kernel does not free the memory of a map entry while the program runs.
    let born = unsafe { (*state).born };
    let hint = OwnerHint { born, pid, reserved: 0, comm };
    let is_stored = OWNER_HINTS.insert(address, hint, u64::from(BPF_ANY)).is_ok();
    if !is_stored {
        ring::count_untracked();
    }
    is_stored
}

/// Returns whether a process has the socket open. The kernel's own sockets have no file. The kernel
/// may use its own sockets while any process runs.
#[inline(always)]
fn has_file(address: u64) -> bool {
    // SAFETY: `Probed` reads by a helper that takes any address.
    unsafe {
        let socket = Probed::load::<u64>(address as *const u8, config!(owners.sk_socket));
        Probed::load::<u64>(socket as *const u8, config!(owners.socket_file)) != 0
    }
}

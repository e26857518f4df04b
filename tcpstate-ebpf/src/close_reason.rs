//! The reasons why connections close: the error that the kernel has stored at the last transition,
//! and the RST that the kernel sends before or after that transition.
//!
//! At the last transition, `sk_err` holds the cause, except when the local side aborts the
//! connection. When the local side aborts a connection, the kernel first closes the socket and
//! sends the RST afterwards (`tcp_close`, `tcp_disconnect`). If a connection receives data after
//! its close, the kernel handles it like a connection that received a RST
//! (`tcp_rcv_state_process`). A RST after the last transition therefore has its own record, and
//! user space merges the two records.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use tcpstate_common::{
    State,
    abi::{
        EVENT_IS_AMENDABLE, EVENT_IS_SHUT, EVENT_SENT_RESET, EventRecord, RecordKind, SHUTDOWN_BOTH,
    },
};

use crate::{
    access::{Access, Probed},
    config::config,
    maps, ring,
    sock::Sock,
};

/// `tcp_send_reset(const struct sock *sk, const struct sk_buff *skb, ...)`: the kernel sends a RST,
/// with or without a socket. If the local side aborts the socket, the RST responds to no packet, so
/// `skb` is null.
#[raw_tracepoint(tracepoint = "tcp_send_reset")]
pub(crate) fn tcp_send_reset(ctx: RawTracePointContext) -> i32 {
    let (socket, packet): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    let Some(memory) = maps::event_memory() else { return 0 };
    if socket == 0 {
        return 0;
    }
    // SAFETY: the pointer is the tracepoint's first argument, a socket that exists while the
    // program runs.
    let sock = unsafe { Sock::<Probed>::from_ptr(socket as *const u8) };
    // By now, a socket of another namespace may use this address, and no program observes the close
    // of that socket.
    if !sock.is_in_scope() {
        return 0;
    }
    // SAFETY: `memory` points to this CPU's map element, which stays valid while the program runs.
    unsafe {
        if sock.state() != State::Close as usize {
            if packet == 0 {
                (&raw mut (*memory).reset).write_volatile(socket);
            }
        } else if (&raw const (*memory).closing).read_volatile() == socket {
            (&raw mut (*memory).closing).write_volatile(0);
            write_reset(socket);
        }
    }
    0
}

/// Returns `sk_err` and the record flags of a socket that closes; both are 0 for any other
/// transition.
#[inline(always)]
pub(crate) fn facts<A: Access>(sock: Sock<A>, from: usize, to: usize) -> (u16, u8) {
    if to != State::Close as usize || from == State::Listen as usize {
        return (0, 0);
    }
    let Some(memory) = maps::event_memory() else { return (0, 0) };
    let mut flags = 0;
    // If the old state is ESTABLISHED, CLOSE_WAIT or SYN_SENT, the state itself shows whether a RST
    // follows. If the old state is any other state, a later record of a RST may amend the line.
    let is_amendable = from != State::Established as usize
        && from != State::CloseWait as usize
        && from != State::SynSent as usize;
    // SAFETY: `memory` points to this CPU's map element, which stays valid while the program runs.
    unsafe {
        if (&raw const (*memory).reset).read_volatile() == sock.address() {
            (&raw mut (*memory).reset).write_volatile(0);
            flags |= EVENT_SENT_RESET;
        }
        // If the line is not amendable, the store of 0 ensures that no RST amends it. The store
        // also prevents a RST from amending the line of an earlier socket at this address.
        (&raw mut (*memory).closing).write_volatile(if is_amendable { sock.address() } else { 0 });
        if is_amendable {
            flags |= EVENT_IS_AMENDABLE;
        }
    }
    if sock.load::<u8>(config!(events.sk_shutdown)) & SHUTDOWN_BOTH == SHUTDOWN_BOTH {
        flags |= EVENT_IS_SHUT;
    }
    (sock.load::<u32>(config!(events.sk_err)) as u16, flags)
}

/// Writes the record of a RST to the ring. If the ring has no space, no line is lost, but the line
/// of the close lacks the RST or reports an orderly close.
#[inline(always)]
fn write_reset(socket: u64) {
    if ring::is_open() {
        ring::write(|| EventRecord {
            socket,
            kind: RecordKind::ResetSent as u8,
            ..EventRecord::BLANK
        });
    }
}

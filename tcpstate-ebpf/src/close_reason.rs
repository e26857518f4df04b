//! Why connections end: the error that the kernel has stored at the last transition, and the RST
//! that it sends before or after that transition.
//!
//! At the last transition the cause is in `sk_err`, except when this side aborts the connection.
//! The kernel then closes the socket first and sends the RST afterwards (`tcp_close`,
//! `tcp_disconnect`). A connection that receives data after its close is even handled like a
//! connection that received a RST (`tcp_rcv_state_process`). Therefore a RST after the last
//! transition has its own record, and user space merges the two records.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use tcpstate_common::{
    State,
    abi::{
        EVENT_IS_AMENDABLE, EVENT_IS_SHUT, EVENT_SENT_RESET, EventRecord, RecordKind, SHUTDOWN_BOTH,
    },
};

use crate::{
    config::config,
    maps, ring,
    sock::{Access, Probed, Sock},
};

/// `tcp_send_reset(const struct sock *sk, const struct sk_buff *skb, ...)`: the kernel sends a RST,
/// with or without a socket. If the socket is aborted, the RST answers no packet, so `skb` is null.
#[raw_tracepoint(tracepoint = "tcp_send_reset")]
pub(crate) fn tcp_send_reset(ctx: RawTracePointContext) -> i32 {
    let (socket, packet): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    let Some(memory) = maps::event_memory() else { return 0 };
    if socket == 0 {
        return 0;
    }
    // SAFETY: the tracepoint's first argument, alive while the program runs.
    let sock = unsafe { Sock::<Probed>::from_ptr(socket as *const u8) };
    // The address of a socket that ended here may belong to a socket of another namespace by now.
    // The end of that socket is not observed.
    if !sock.is_in_scope() {
        return 0;
    }
    // SAFETY: `memory` is this CPU's element.
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

/// `sk_err` and flags of a socket that ends; zeroes at any other transition.
#[inline(always)]
pub(crate) fn facts<A: Access>(sock: Sock<A>, from: usize, to: usize) -> (u16, u8) {
    if to != State::Close as usize || from == State::Listen as usize {
        return (0, 0);
    }
    let Some(memory) = maps::event_memory() else { return (0, 0) };
    let mut flags = 0;
    // In the three states below, the state itself decides whether a RST follows. In other states a
    // later record decides it.
    let is_amendable = from != State::Established as usize
        && from != State::CloseWait as usize
        && from != State::SynSent as usize;
    // SAFETY: `memory` is this CPU's element.
    unsafe {
        if (&raw const (*memory).reset).read_volatile() == sock.address() {
            (&raw mut (*memory).reset).write_volatile(0);
            flags |= EVENT_SENT_RESET;
        }
        // No RST amends the line of this socket if it is not amendable. The store also prevents
        // that the RST amends the line of an earlier socket at this address.
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

/// Writes the record of a RST. If the ring has no room, no line is lost: the line then lacks the
/// RST, or reports an orderly close.
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

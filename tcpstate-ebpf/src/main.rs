//! The kernel half of tcpstate: its entry points, one for each hook, named after what they attach to.
//!
//! | program | attaches to | does |
//! |---|---|---|
//! | [`inet_sock_set_state`] | `tp_btf/inet_sock_set_state` | counts the transition ([`count`]) |
//! | [`tcp_iterator`] | `iter/tcp` | visits each socket once during a pass ([`pass`]) |
//!
//! Nothing here decides, prints or times: user space sets [`maps::CONFIG`] before the load, moves
//! [`maps::CONTROL`] while it runs, and reads [`maps::CPU_SLOTS`].
#![no_std]
#![no_main]
// `atomic_xadd` without a result is the one atomic that every kernel since 3.18 takes: the stable atomics
// fetch, and kernels before 5.12 refuse a whole program for one of those.
#![feature(core_intrinsics)]
#![allow(internal_features, reason = "see above")]

mod count;
mod maps;
mod pass;
mod sock;

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::sock::{Sock, SockCommon};

/// A TCP socket is about to change its state (`inet_sk_set_state`, `inet_sk_state_store` in `net/ipv4/af_inet.c`).
#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    let sk: *const u8 = ctx.arg(0);
    // Ints that are never negative, so that all 64 bits of the slot are the number.
    let from: u64 = ctx.arg(1);
    let to: u64 = ctx.arg(2);
    // SAFETY: the tracepoint's first argument is a `struct sock *`, alive while the program runs.
    let sock = unsafe { Sock::from_ptr(sk) };
    if sock.is_counted() {
        count::transition(sock, from as usize, to as usize);
    }
    0
}

/// What `iter/tcp` hands to its program (`struct bpf_iter__tcp` in `net/ipv4/tcp_ipv4.c`).
#[repr(C)]
pub struct IterTcp {
    meta: *const u8,
    sk_common: *const u8,
}

/// The kernel walks its socket tables and shows one socket, or none after the last one.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
pub extern "C" fn tcp_iterator(ctx: *const IterTcp) -> i32 {
    // SAFETY: the kernel calls with a valid context, and the field is checked for null before use.
    let sk_common = unsafe { (*ctx).sk_common };
    if !sk_common.is_null() {
        // SAFETY: the iterator holds a reference to the socket while the program runs.
        let common = unsafe { SockCommon::from_ptr(sk_common) };
        pass::visit(common);
    }
    0
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The helpers in use are lent to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

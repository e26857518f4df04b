//! The kernel half of tcpstate. Its entry points, named after what they attach to, and what they lead to:
//!
//! | module | attaches to | tells of |
//! |---|---|---|
//! | [`transitions`] | the tracepoint `inet_sock_set_state` | full sockets, to [`count`] |
//! | [`functions`] | functions of the kernel | mini sockets, to [`minis`] |
//! | [`events`] | the tracepoint `inet_sock_set_state` once more, where events are asked for | each transition and its connection, to [`maps::EVENTS`] |
//! | [`ends`] | the tracepoint `tcp_send_reset`, with the former | connections that end by a RST of ours |
//! | [`hist`] | the same, where histograms are asked for | how long each state lasted, to [`histograms`]; mini sockets, by [`hold`] |
//! | [`owners`] | accept(), else the tracepoints of sends and receives, where events are asked for | whose an accepted connection is, to [`maps::CLAIMS`] |
//! | [`timers`] | the tracepoints `timer_start`, `timer_cancel`, `timer_expire_entry` | the same, where functions can't be had |
//! | [`iterators`] | `iter/tcp`, `iter/bpf_map_elem` | each socket once during a pass, to [`pass`] |
//!
//! What is remembered of a socket from one event to the next is in [`lives`].
//! Where events are asked for, [`minis`] tells [`mini_events`] what lines mini sockets have.
//!
//! What they tell of counts in [`books`]: on this CPU, and for the network namespace.
//!
//! Nothing here decides, prints or times: user space sets [`maps::CONFIG`] before the load, moves
//! [`maps::CONTROL`] while it runs, and reads [`maps::CPU_SLOTS`].
#![no_std]
#![no_main]
// `atomic_xadd` without a result is the one atomic that every kernel since 3.18 takes: the stable atomics
// fetch, and kernels before 5.12 refuse a whole program for one of those.
#![feature(core_intrinsics)]
// BPF's assembly, of which there is one instruction in `lives`.
#![feature(asm_experimental_arch)]
#![allow(internal_features, reason = "see above")]

mod books;
mod count;
mod ends;
mod event_filter;
mod events;
mod families;
mod functions;
mod hist;
mod histograms;
mod hold;
mod iterators;
mod lives;
mod maps;
mod mini_events;
mod minis;
mod owners;
mod pass;
mod sock;
mod timers;
mod transitions;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The helpers in use are lent to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

//! The kernel half of tcpstate. A program's entry point bears the name of what it attaches to, where only one program attaches
//! there. The modules, from the hooks down:
//!
//! | module | attaches to | leads to |
//! |---|---|---|
//! | [`transitions`] | the tracepoint `inet_sock_set_state` | full sockets, to [`count`] |
//! | [`tracking`] | the same tracepoint, where events or histograms are asked for | [`events`], [`durations`] |
//! | [`close_reason`] | the tracepoint `tcp_send_reset`, with events | connections that end by a RST of this side |
//! | [`owner_hints`] | accept(), or the tracepoints of sends and receives, with events | owners of accepted connections |
//! | [`functions`] | functions of the kernel | mini sockets, to [`minis`] and [`mini_durations`] |
//! | [`timers`] | the tracepoints `timer_start`, `timer_cancel`, `timer_expire_entry` | the same, where no program can be attached to functions |
//! | [`iterators`] | `iter/tcp`, `iter/bpf_map_elem` | each socket once during a scan, to [`scan`] |
//!
//! | module | holds |
//! |---|---|
//! | [`count`], [`minis`] | what a transition and the life of a mini socket count |
//! | [`events`], [`mini_events`] | the records of lines |
//! | [`durations`], [`mini_durations`], [`histograms`] | durations, buckets and groups |
//! | [`event_filter`], [`connection`] | which events match |
//! | [`socket_table`] | the state of each full socket between its events |
//! | [`scan`] | first observations during a scan |
//! | [`namespaces`], [`families`] | where an event counts |
//! | [`sock`], [`process`], [`cgroups`] | reads of the kernel's structs |
//! | [`slots`], [`maps`], [`ring`], [`config`], [`atomic`], [`kernel`] | the bottom: memory, configuration, additions |
//!
//! Nothing here prints or times: user space sets the configuration before the load, moves the control word while the programs run,
//! and reads the maps.
#![no_std]
#![no_main]
// `atomic_xadd` without a result is the one atomic that every kernel since 3.18 takes: the stable atomics
// fetch, and kernels before 5.12 refuse a whole program for one of those.
#![feature(core_intrinsics)]
// BPF's assembly, of which there is one instruction in `slots`.
#![feature(asm_experimental_arch)]
#![allow(internal_features, reason = "see above")]
#![allow(
    clippy::inline_always,
    reason = "a call costs registers, and the verifier loses what it knows of them"
)]
#![allow(clippy::needless_pass_by_value, reason = "aya's macros pass a program's context by value")]
#![allow(
    clippy::cast_possible_truncation,
    reason = "state numbers and fields of records are narrow, and a checked conversion is a branch"
)]

mod atomic;
mod cgroups;
mod close_reason;
mod config;
mod connection;
mod count;
mod durations;
mod event_filter;
mod events;
mod families;
mod functions;
mod histograms;
mod iterators;
mod kernel;
mod maps;
mod mini_durations;
mod mini_events;
mod minis;
mod namespaces;
mod owner_hints;
mod process;
mod ring;
mod scan;
mod slots;
mod sock;
mod socket_table;
mod timers;
mod tracking;
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

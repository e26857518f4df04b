//! The BPF programs of tcpstate, which run in the kernel. A program has the name of its attach
//! point if no other program attaches there.
//!
//! A *full socket* is the kernel's `struct sock`. A *mini socket* is a smaller struct that replaces
//! a full socket. A *request socket* is the mini socket of a half-open connection, and a
//! *time-wait socket* is the mini socket of a connection that has closed.
//!
//! The following modules contain programs:
//!
//! | module | attaches to | leads to |
//! |---|---|---|
//! | [`transitions`] | the tracepoint `inet_sock_set_state` | full sockets, to [`count`] |
//! | [`tracking`] | `inet_sock_set_state`, for events and histograms | [`events`], [`durations`] |
//! | [`close_reason`] | `tcp_send_reset`, for events | connections that this side resets |
//! | [`owner_hints`] | accept(), or the tracepoints of sends and receives | owners of connections |
//! | [`program_tree`] | `sched_process_fork`, `sched_process_free` | members of a process tree |
//! | [`functions`] | kernel functions | mini sockets, to [`minis`] and [`mini_durations`] |
//! | [`timers`] | `timer_start`, `timer_cancel`, `timer_expire_entry` | mini sockets instead |
//! | [`iterators`] | `iter/tcp`, `iter/bpf_map_elem` | each socket once per scan, to [`scan`] |
//!
//! The module [`timers`] is used where no program can be attached to kernel functions. The
//! following modules contain no programs:
//!
//! | module | holds |
//! |---|---|
//! | [`count`], [`minis`] | the counts of transitions and of mini sockets |
//! | [`events`], [`mini_events`] | the records of event lines |
//! | [`closers`] | the processes that close connections |
//! | [`mini_states`] | the state of each mini socket between its events |
//! | [`durations`], [`mini_durations`], [`histograms`] | durations, buckets and groups |
//! | [`owners`] | counts by process, destination, port and other owners |
//! | [`event_filter`], [`cgroup_filter`], [`connection`] | the events that match |
//! | [`filter_lists`] | access to the lists of the filter |
//! | [`socket_table`] | the state of each full socket between its events |
//! | [`scan`] | first observations during a scan |
//! | [`failures`] | the counts of failed connects |
//! | [`losses`] | events that tests make the programs lose |
//! | [`namespaces`], [`families`] | the counters to which an event adds |
//! | [`sock`], [`process`], [`cgroups`] | reads of kernel structs |
//! | [`slots`], [`maps`], [`ring`], [`config`], [`atomic`], [`kernel`] | memory and configuration |
//!
//! The BPF programs print nothing and have no timers of their own. User space sets the
//! configuration before the load, changes the control word while the programs run, and reads the
//! maps.
#![no_std]
#![no_main]
// `atomic_xadd` without a result is the only atomic operation that every kernel since 3.18 accepts.
// Rust's stable atomics fetch a result, and kernels before 5.12 refuse a program that contains one.
#![feature(core_intrinsics)]
// BPF assembly is needed for one instruction in `slots`.
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

mod access;
mod atomic;
mod cgroup_filter;
mod cgroups;
mod close_reason;
mod closers;
mod config;
mod connection;
mod connections;
mod count;
mod durations;
mod event_filter;
mod events;
mod failures;
mod families;
mod filter_lists;
mod functions;
mod histograms;
mod iterators;
mod kernel;
mod losses;
mod maps;
mod mini_durations;
mod mini_events;
mod mini_states;
mod minis;
mod namespaces;
mod owner_hints;
mod owners;
mod process;
mod program_tree;
mod ring;
mod scan;
mod slots;
mod sock;
mod socket_table;
mod timers;
mod tracking;
mod transitions;
mod verifier;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel allows only GPL-compatible programs to call the helpers in use.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

//! Observes mini sockets by their timers. These hooks are the second choice, for kernels on which
//! no program can be attached to functions.
//!
//! A mini socket exists while its timer runs. The kernel functions `enqueue_timer` and
//! `detach_timer` (`kernel/time/timer.c`) call the tracepoints `timer_start` and `timer_cancel`.
//! Each tracepoint is therefore called once whenever a timer is queued or removed from a queue, on
//! every code path. Interrupts are disabled when the kernel calls either tracepoint.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tcpstate_common::abi::{
    CONTROL_SCAN, CONTROL_SYN_RECV_TIMERS, CONTROL_TIME_WAIT_TIMERS, CpuSlots, LastCancel,
};

use crate::{
    access::{Access as _, Probed, Typed},
    config::{self, config},
    maps, mini_durations,
    mini_events::UNKNOWN_EXIT,
    mini_states, minis,
    namespaces::CounterRefs,
    sock::Sock,
};

/// Number of references to a time-wait socket when a packet starts its timer again. The kernel's
/// tables and the timer hold three of the references, and the packet holds one. A newborn time-wait
/// socket has no references (before 6.12), or only the three references of the tables and the
/// timer.
const REFERENCES_AT_REARM: u32 = 4;

/// The socket to which a timer belongs.
enum Owner {
    TimeWait(Sock<Probed>),
    Request(Sock<Probed>),
    /// The timer belongs to no mini socket.
    Other,
}

/// Called when a timer is queued.
#[btf_tracepoint(function = "timer_start")]
pub(crate) fn timer_start(ctx: BtfTracePointContext) -> i32 {
    let timer: *const u8 = ctx.arg(0);
    let Some(slots) = maps::cpu_slots() else { return 0 };
    let control = config::control();
    match owner(timer, control) {
        Owner::TimeWait(tw) => {
            let last = last_cancel(slots);
            // A packet makes the kernel stop and start the socket's timer in one section without
            // interrupts. If no other timer event happened between the stop and the start, this
            // socket is the stopped socket, and not another socket at its address.
            if last.timer == timer as u64 && tw.refcount() >= REFERENCES_AT_REARM {
                // The correction must use the buffer in which the stop was counted. User space does
                // not read the buffer of the stop yet, because it waits for the end of the section
                // without interrupts.
                minis::time_wait_rearmed(CounterRefs::of(slots, tw), last.control as u32, tw);
                mini_durations::time_wait_restarted(tw, last.control as u32);
            } else if tw.is_in_scope() {
                minis::time_wait_born(CounterRefs::of(slots, tw), control, tw);
                mini_durations::time_wait_born(tw);
            }
        }
        Owner::Request(req) => {
            if req.is_in_scope() {
                let counters = CounterRefs::of(slots, req);
                if req.num_timeout() == 0 {
                    minis::request_born(counters, control, req);
                    mini_durations::request_born(req.address());
                } else {
                    minis::request_restarted(counters, control, req);
                    mini_durations::request_restarted(req.address());
                }
            }
        }
        Owner::Other => {}
    }
    forget_cancel(slots);
    0
}

/// Called when a timer is removed from its queue. Most timers are unrelated to mini sockets. For an
/// unrelated timer this program does nothing, and does not clear the last cancel.
///
/// A later start of a timer is still not mistaken for a restart. Either the socket has too few
/// references, or an event between the cancel and the start has cleared the last cancel. Any start
/// of a timer, and any stop of a mini socket's timer, clears or replaces the last cancel.
#[btf_tracepoint(function = "timer_cancel")]
pub(crate) fn timer_cancel(ctx: BtfTracePointContext) -> i32 {
    let timer: *const u8 = ctx.arg(0);
    let control = config::control();
    let owner = owner(timer, control);
    if matches!(owner, Owner::Other) {
        return 0;
    }
    let Some(slots) = maps::cpu_slots() else { return 0 };
    match owner {
        Owner::TimeWait(tw) if tw.is_in_scope() => {
            let may_resume = tw.refcount() >= REFERENCES_AT_REARM;
            minis::time_wait_gone(
                CounterRefs::of(slots, tw),
                control,
                tw,
                UNKNOWN_EXIT,
                may_resume,
            );
            mini_durations::time_wait_gone(tw, control);
            mini_states::forget(tw.address());
            // If this stop happens before the scan's t0, a start of the timer in the same section
            // also counts as before t0.
            let last =
                LastCancel { timer: timer as u64, control: u64::from(control & !CONTROL_SCAN) };
            // SAFETY: `slots` points to this CPU's map element, which stays valid while the program
            // runs.
            unsafe { (&raw mut (*slots).last_cancel).write_volatile(last) };
            return 0;
        }
        Owner::Request(req) if req.is_in_scope() => {
            // The timer may have stopped because it expired. An expired timer of a request socket
            // starts again for the next SYN-ACK.
            minis::request_gone(CounterRefs::of(slots, req), control, req, true);
            mini_durations::request_stopped(req);
        }
        _ => {}
    }
    forget_cancel(slots);
    0
}

/// Called when the kernel is about to call the function of a timer. The program counts only that a
/// time-wait socket expired, because the cancel of the timer already counted the end of the socket.
#[btf_tracepoint(function = "timer_expire_entry")]
pub(crate) fn timer_expire_entry(ctx: BtfTracePointContext) -> i32 {
    let control = config::control();
    let Owner::TimeWait(tw) = owner(ctx.arg(0), control) else { return 0 };
    let Some(slots) = maps::cpu_slots() else { return 0 };
    if tw.is_in_scope() {
        minis::count_expiry(CounterRefs::of(slots, tw), control);
    }
    forget_cancel(slots);
    0
}

#[inline(always)]
fn owner(timer: *const u8, control: u32) -> Owner {
    // SAFETY: `timer` is the tracepoint's `struct timer_list`, and the offset is from BTF.
    let function: u64 = unsafe { Typed::load(timer, config!(minis.timer_function)) };
    let (time_wait, request) = (config!(tw_timer_handler), config!(reqsk_timer_handler));
    if time_wait != 0 && function == time_wait {
        if control & CONTROL_TIME_WAIT_TIMERS == 0 {
            return Owner::Other;
        }
        Owner::TimeWait(container(timer, config!(minis.tw_timer)))
    } else if request != 0 && function == request {
        if control & CONTROL_SYN_RECV_TIMERS == 0 {
            return Owner::Other;
        }
        Owner::Request(container(timer, config!(minis.rsk_timer)))
    } else {
        Owner::Other
    }
}

/// Returns the socket that contains the timer (`container_of`).
#[inline(always)]
fn container(timer: *const u8, offset: u32) -> Sock<Probed> {
    // SAFETY: a timer with this function is always a field of a socket of this kind.
    unsafe { Sock::from_ptr(timer.wrapping_sub(offset as usize)) }
}

#[inline(always)]
fn last_cancel(slots: *mut CpuSlots) -> LastCancel {
    // SAFETY: `slots` points to this CPU's map element, which stays valid while the program runs.
    unsafe { (&raw const (*slots).last_cancel).read_volatile() }
}

#[inline(always)]
fn forget_cancel(slots: *mut CpuSlots) {
    // SAFETY: `slots` points to this CPU's map element, which stays valid while the program runs.
    unsafe { (&raw mut (*slots).last_cancel.timer).write_volatile(0) };
}

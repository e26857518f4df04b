//! Mini sockets by their timers: the second choice, for kernels on which no program can be attached
//! to functions.
//!
//! A mini socket lives while its timer runs. `timer_start` and `timer_cancel` are called by
//! `enqueue_timer` and `detach_timer` (`kernel/time/timer.c`). So each is called once whenever a
//! timer is queued or removed from a queue, on every code path. Interrupts are off in both.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tcpstate_common::abi::{
    CONTROL_SCAN, CONTROL_SYN_RECV_TIMERS, CONTROL_TIME_WAIT_TIMERS, CpuSlots, LastCancel,
};

use crate::{
    config::{self, config},
    maps, mini_durations,
    mini_events::UNKNOWN_EXIT,
    minis,
    namespaces::CounterRefs,
    sock::{Access as _, Probed, Sock, Typed},
};

/// Number of references to a time-wait socket whose timer is started by a packet. Three belong to
/// the kernel's tables and the timer, and one to the packet. A newborn time-wait socket has no
/// references (before 6.12), or the first three.
const REFERENCES_AT_REARM: u32 = 4;

/// The socket that a timer belongs to.
enum Owner {
    TimeWait(Sock<Probed>),
    Request(Sock<Probed>),
    /// An unrelated timer.
    Other,
}

/// A timer is queued.
#[btf_tracepoint(function = "timer_start")]
pub(crate) fn timer_start(ctx: BtfTracePointContext) -> i32 {
    let timer: *const u8 = ctx.arg(0);
    let Some(slots) = maps::cpu_slots() else { return 0 };
    let control = config::control();
    match owner(timer, control) {
        Owner::TimeWait(tw) => {
            let last = last_cancel(slots);
            // A packet makes the kernel stop and start the socket's timer in one section without
            // interrupts. If no other timer event came between, this is the stopped socket, and not
            // another socket at its address.
            if last.timer == timer as u64 && tw.refcount() >= REFERENCES_AT_REARM {
                // Use the buffer of the stop. User space does not read it yet: it waits for the end
                // of this section.
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
                    minis::request_restarted(counters, control, req.address());
                    mini_durations::request_restarted(req.address());
                }
            }
        }
        Owner::Other => {}
    }
    forget_cancel(slots);
    0
}

/// A timer is removed from its queue. Most timers are unrelated to mini sockets, and this program
/// then does nothing, not even clear the last cancel.
///
/// A later start is still not mistaken for a re-arm. Either the number of references is too small,
/// or an event in between has cleared the last cancel. Such an event is any start of a timer, or
/// any stop of a mini socket's timer.
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
            // If this stop comes before the scan's t0, a start in this section also belongs to the
            // time before t0.
            let last =
                LastCancel { timer: timer as u64, control: u64::from(control & !CONTROL_SCAN) };
            // SAFETY: `slots` is this CPU's element.
            unsafe { (&raw mut (*slots).last_cancel).write_volatile(last) };
            return 0;
        }
        Owner::Request(req) if req.is_in_scope() => {
            // The timer may have expired. It then starts again for the next SYN-ACK.
            minis::request_gone(CounterRefs::of(slots, req), control, req, true);
            mini_durations::request_stopped(req);
        }
        _ => {}
    }
    forget_cancel(slots);
    0
}

/// The kernel is about to call the function of a timer. Only expiries of time-wait sockets are
/// counted here: the end of the socket was counted by its cancel.
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
    // SAFETY: the tracepoint's `struct timer_list`, and an offset from BTF.
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

/// The socket that contains the timer (`container_of`).
#[inline(always)]
fn container(timer: *const u8, offset: u32) -> Sock<Probed> {
    // SAFETY: a timer with this function is always a field of such a socket.
    unsafe { Sock::from_ptr(timer.wrapping_sub(offset as usize)) }
}

#[inline(always)]
fn last_cancel(slots: *mut CpuSlots) -> LastCancel {
    // SAFETY: `slots` is this CPU's element.
    unsafe { (&raw const (*slots).last_cancel).read_volatile() }
}

#[inline(always)]
fn forget_cancel(slots: *mut CpuSlots) {
    // SAFETY: `slots` is this CPU's element.
    unsafe { (&raw mut (*slots).last_cancel.timer).write_volatile(0) };
}

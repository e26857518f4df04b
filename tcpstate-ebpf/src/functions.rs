//! Observes mini sockets by hooks on kernel functions. These hooks are the first choice, if
//! programs can be attached to functions.
//!
//! The kernel calls all these functions with softirqs disabled, so no program of this module can
//! interrupt another one or miss a call.

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use tcpstate_common::{
    State,
    abi::{Cause, Exit, ExitLabel},
};

use crate::{
    access::Typed,
    config::{self, config},
    maps, mini_durations, mini_states,
    minis::{self, Seen},
    namespaces::CounterRefs,
    sock::Sock,
};

/// An argument or result of type `bool` is one byte; the remaining bytes of its 8 bytes are
/// undefined (5.10).
const BOOL: u64 = 0xff;

/// `void __inet_twsk_schedule(struct inet_timewait_sock *tw, int timeo, bool rearm)`: starts the
/// timer of a time-wait socket for the first time, or starts it again. After every change of the
/// substate, the kernel starts the timer again (`tcp_timewait_state_process`).
#[fentry(function = "__inet_twsk_schedule")]
pub(crate) fn inet_twsk_schedule(ctx: FEntryContext) -> i32 {
    // SAFETY: the pointer is the function's first argument, a socket that exists while the function
    // runs.
    let tw = unsafe { Sock::<Typed>::from_ptr(ctx.arg(0)) };
    let is_rearm = ctx.arg::<u64>(2) & BOOL != 0;
    if let Some(slots) = maps::cpu_slots()
        && tw.is_in_scope()
    {
        let (counters, control) = (CounterRefs::of(slots, tw), config::control());
        if is_rearm {
            minis::settle(counters, control, tw, Seen::Now);
            mini_durations::time_wait_rearmed(tw, control);
        } else {
            minis::time_wait_born(counters, control, tw);
            mini_durations::time_wait_born(tw);
        }
    }
    0
}

/// `void inet_twsk_kill(struct inet_timewait_sock *tw)`: the kernel calls this function once for
/// each time-wait socket.
#[fentry(function = "inet_twsk_kill")]
pub(crate) fn inet_twsk_kill(ctx: FEntryContext) -> i32 {
    // SAFETY: the pointer is the function's first argument, a socket that exists while the function
    // runs.
    let tw = unsafe { Sock::<Typed>::from_ptr(ctx.arg(0)) };
    if let Some(slots) = maps::cpu_slots()
        && tw.is_in_scope()
    {
        let (counters, control) = (CounterRefs::of(slots, tw), config::control());
        // SAFETY: `slots` points to this CPU's map element, which stays valid while the program
        // runs.
        let label = unsafe { (&raw const (*slots).exit_label).read_volatile() };
        let cause = if label.tw == tw.address() { label.cause } else { Cause::Unknown as u64 };
        minis::time_wait_gone(counters, control, tw, cause >> 8, false);
        mini_durations::time_wait_gone(tw, control);
        mini_states::forget(tw.address());
        minis::count_exit(counters, control, cause);
        // The label is cleared, because a new socket may get this address.
        set_label(0, Cause::Unknown, Exit::Unknown);
    }
    0
}

/// `void tw_timer_handler(struct timer_list *timer)`: kills the time-wait socket because its timer
/// expired.
#[fentry(function = "tw_timer_handler")]
pub(crate) fn tw_timer_handler(ctx: FEntryContext) -> i32 {
    let timer: *const u8 = ctx.arg(0);
    set_label(timer as u64 - u64::from(config!(minis.tw_timer)), Cause::Expired, Exit::Expired);
    0
}

/// `enum tcp_tw_status tcp_timewait_state_process(struct inet_timewait_sock *tw, ...)`: handles a
/// packet for a time-wait socket, and kills the socket if the packet is a RST.
#[fentry(function = "tcp_timewait_state_process")]
pub(crate) fn time_wait_packet(ctx: FEntryContext) -> i32 {
    set_label(ctx.arg(0), Cause::Killed, Exit::Reset);
    0
}

/// Stores the label for the result of `tcp_timewait_state_process`. The result tells the callers of
/// the kernel function (`tcp_v4_rcv`, `tcp_v6_rcv`) how to handle the socket.
#[inline(always)]
fn time_wait_verdict(ctx: &FExitContext, arguments: usize) -> i32 {
    let verdict: u32 = ctx.arg::<u64>(arguments) as u32;
    let (cause, exit) = if verdict == config!(tcp_tw_syn) {
        (Cause::Reused, Exit::Unknown)
    } else if verdict == config!(tcp_tw_rst) {
        (Cause::Killed, Exit::Data)
    } else {
        (Cause::Unknown, Exit::Unknown)
    };
    set_label(ctx.arg(0), cause, exit);
    0
}

/// Handles the result of `tcp_timewait_state_process` with 3 arguments (before 6.12).
///
/// The position of the result depends on the number of arguments, which the verifier must know.
/// Each possible number of arguments of the kernel function therefore has its own BPF program.
#[fexit(function = "tcp_timewait_state_process")]
pub(crate) fn time_wait_verdict_3(ctx: FExitContext) -> i32 {
    time_wait_verdict(&ctx, 3)
}

/// Handles the result of `tcp_timewait_state_process` with 4 arguments.
#[fexit(function = "tcp_timewait_state_process")]
pub(crate) fn time_wait_verdict_4(ctx: FExitContext) -> i32 {
    time_wait_verdict(&ctx, 4)
}

/// Handles the result of `tcp_timewait_state_process` with 5 arguments (since 6.18).
#[fexit(function = "tcp_timewait_state_process")]
pub(crate) fn time_wait_verdict_5(ctx: FExitContext) -> i32 {
    time_wait_verdict(&ctx, 5)
}

/// `int tcp_twsk_unique(struct sock *sk, struct sock *sktw, void *twp)`: a result other than 0
/// allows connect() to replace the time-wait socket.
#[fexit(function = "tcp_twsk_unique")]
pub(crate) fn tcp_twsk_unique(ctx: FExitContext) -> i32 {
    if ctx.arg::<u64>(3) as u32 != 0 {
        set_label(ctx.arg(1), Cause::Reused, Exit::Unknown);
    }
    0
}

/// `int tcp_abort(struct sock *sk, int err)`: aborts a socket, for example on behalf of `ss -K`.
#[fentry(function = "tcp_abort")]
pub(crate) fn tcp_abort(ctx: FEntryContext) -> i32 {
    set_label(ctx.arg(0), Cause::Killed, Exit::Aborted);
    0
}

/// `bool inet_ehash_insert(struct sock *sk, struct sock *osk, bool *found_dup_sk)`: inserts `sk`
/// into the kernel's table and removes `osk` if it is not null.
///
/// A newly inserted request socket has no reference yet, so the kernel cannot remove it before this
/// program returns. The exception is a copy of a request socket: when a listener was closed,
/// `reqsk_timer_handler` makes the copy for another listener. A request socket that this function
/// removes was completed, or was moved to another listener.
#[fexit(function = "inet_ehash_insert")]
pub(crate) fn inet_ehash_insert(ctx: FExitContext) -> i32 {
    const REQUEST: usize = State::NewSynRecv as usize;
    if ctx.arg::<u64>(3) & BOOL == 0 {
        return 0;
    }
    let replaced: *const u8 = ctx.arg(1);
    // SAFETY: the pointer is the function's first argument, a socket that exists while the function
    // runs.
    let sk = unsafe { Sock::<Typed>::from_ptr(ctx.arg(0)) };
    let is_request = sk.state() == REQUEST;
    if !is_request && replaced.is_null() {
        return 0;
    }
    // SAFETY: the pointer is the function's second argument, to which the function's caller holds a
    // reference.
    let osk = unsafe { Sock::<Typed>::from_ptr(replaced) };
    let Some(slots) = maps::cpu_slots() else { return 0 };
    if sk.is_in_scope() {
        let (counters, control) = (CounterRefs::of(slots, sk), config::control());
        if is_request {
            minis::request_born(counters, control, sk);
            mini_durations::request_born(sk.address());
        }
        if !replaced.is_null() && osk.state() == REQUEST {
            minis::request_gone(counters, control, osk, false);
            mini_durations::request_stopped(osk);
        }
    }
    0
}

/// `bool __inet_csk_reqsk_queue_drop(struct sock *sk, struct request_sock *req, bool from_timer)`:
/// returns whether this call removed the request from the kernel's table.
#[fexit(function = "__inet_csk_reqsk_queue_drop")]
pub(crate) fn inet_csk_reqsk_queue_drop(ctx: FExitContext) -> i32 {
    // SAFETY: the pointer is the function's second argument, to which the function's caller holds a
    // reference.
    let req = unsafe { Sock::<Typed>::from_ptr(ctx.arg(1)) };
    if ctx.arg::<u64>(3) & BOOL != 0
        && let Some(slots) = maps::cpu_slots()
        && req.is_in_scope()
    {
        let control = config::control();
        minis::request_gone(CounterRefs::of(slots, req), control, req, false);
        mini_durations::request_dropped(req, control);
    }
    0
}

/// Stores on this CPU the cause that applies to a time-wait socket if the socket is the next to
/// end.
#[inline(always)]
fn set_label(tw: u64, cause: Cause, exit: Exit) {
    if let Some(slots) = maps::cpu_slots() {
        let label = ExitLabel::new(tw, cause, exit);
        // SAFETY: `slots` points to this CPU's map element, which stays valid while the program
        // runs.
        unsafe { (&raw mut (*slots).exit_label).write_volatile(label) };
    }
}

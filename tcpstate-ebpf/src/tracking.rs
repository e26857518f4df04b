//! Tracks full sockets by `sock:inet_sock_set_state`, for the features that need the earlier events
//! of a socket.
//!
//! User space attaches these programs only if events or histograms are enabled, in addition to the
//! [counting program](crate::transitions). The counting program therefore stays short, and it stays
//! exact while the tracking program drops events.
//!
//! One program handles every combination of features, so that an event needs one look-up in the
//! [table of sockets](crate::socket_table). Frozen flags enable the features:
//! [lines](crate::events), [connections], [durations](crate::durations) and
//! [counts by owner](crate::owners).

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use tcpstate_common::{
    State,
    abi::{CONTROL_EVENTS, FLAG_DROP_TRACKED, FLAG_EVENTS, FLAG_HISTOGRAMS, is_birth},
};

use crate::{
    access::{Access, Probed, Typed},
    atomic::add_one_atomically,
    close_reason, closers,
    config::{self, config},
    connection::Full,
    connections, durations,
    event_filter::{self, Verdict},
    events::{self, Transition},
    histograms,
    kernel::now,
    maps, owners, ring,
    sock::Sock,
    socket_table,
};

/// The tracking program of first choice: the verifier knows the types of the arguments. User space
/// sets the tracepoint of this program to `inet_sock_set_state`.
#[btf_tracepoint]
pub(crate) fn track(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the pointer is the tracepoint's first argument, a socket that exists while the
    // program runs.
    let sock = unsafe { Sock::<Typed>::from_ptr(ctx.arg(0)) };
    transition(sock, ctx.arg(1), ctx.arg(2));
    0
}

/// The tracking program of second choice: the arguments are plain numbers.
#[raw_tracepoint]
pub(crate) fn track_raw(ctx: RawTracePointContext) -> i32 {
    // SAFETY: the pointer is the tracepoint's first argument, a socket that exists while the
    // program runs.
    let sock = unsafe { Sock::<Probed>::from_ptr(ctx.arg(0)) };
    transition(sock, ctx.arg(1), ctx.arg(2));
    0
}

#[inline(always)]
fn transition<A: Access>(sock: Sock<A>, from: usize, to: usize) {
    let flags = config!(flags);
    let (has_events, has_histograms) = (flags & FLAG_EVENTS != 0, flags & FLAG_HISTOGRAMS != 0);
    if !sock.is_counted() || (flags & FLAG_DROP_TRACKED != 0 && is_dropped()) {
        return;
    }
    // One read of the control word decides about the count, the line and the duration.
    let control = config::control();
    ring::count_tracked(control, flags, connections::is_end(from, to));
    if has_histograms {
        histograms::observe_listener(sock, from, to);
    }
    // The function `facts` must see the close of every socket, even if the socket does not match
    // the filter. If `facts` missed a close, the next socket at the address could be mistaken for
    // the closed socket.
    let (error, record_flags) =
        if has_events { close_reason::facts(sock, from, to) } else { (0, 0) };
    let verdict = event_filter::of_socket(&Full { sock, from }, from, to);
    // Sockets are counted by owner whether they match the filter or not.
    if verdict == Verdict::Never && !owners::is_on() {
        if event_filter::was_undecided(from) {
            socket_table::forget(sock);
            connections::forget(sock);
        }
        return;
    }
    let now = if has_events || has_histograms {
        now()
    } else if is_birth(from, to) {
        // Counts by owner need no time. They only distinguish two sockets at one address.
        owners::number_of_birth()
    } else {
        0
    };
    let remote_port = sock.remote_port();
    let observed = socket_table::observe(sock, from, to, now, remote_port, control);
    let transition = Transition { sock, from, to, now, remote_port };
    connections::passed(sock, from, to, &observed);
    closers::began(sock, from, to, observed.is_owner_new);
    let closer = closers::Entry::at(sock, from, to);
    if has_histograms && from != to && !is_birth(from, to) {
        let matches = verdict == Verdict::Now && event_filter::is_in_tree(observed.owner.pid);
        durations::add(transition, &observed, matches, control);
    }
    if has_events
        && verdict == Verdict::Now
        && event_filter::of_state(observed.owner.pid, observed.owner.comm, observed.duration)
        && control & CONTROL_EVENTS != 0
    {
        events::write(transition, &observed, closer, (error, record_flags));
    }
    if to == State::Close as usize {
        connections::forget(sock);
    }
    closer.forget();
}

/// Returns whether a test makes the program drop this event. If no test drops events, the verifier
/// removes this function.
#[inline(never)]
fn is_dropped() -> bool {
    let Some(slots) = maps::histogram_slots() else { return false };
    // SAFETY: `slots` points to this CPU's map element, which stays valid while the program runs.
    unsafe {
        add_one_atomically(&raw mut (*slots).events);
        (*slots).events.is_multiple_of(u64::from(config!(drop_one_in)))
    }
}

//! Counts the births, moves and ends of mini sockets: [`MiniCounters`]. The hooks are in
//! [`crate::functions`] and [`crate::timers`].
//!
//! Time-wait sockets are born in FIN_WAIT2 or in TIME_WAIT, and may move from FIN_WAIT2 to
//! TIME_WAIT. No timer reports this move. So the map [`FIN_WAIT2`] holds the time-wait sockets in
//! FIN_WAIT2. Each observation of such a socket [settles](settle) the move if it has happened since
//! the last observation.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use tcpstate_common::{
    State,
    abi::{CONTROL_BUFFER, CONTROL_SCAN, Cause, EXIT_SLOTS, Flow, MiniCounters, STATE_SLOTS},
};

use crate::{
    atomic::{add_one_atomically, take_one_atomically},
    kernel::EEXIST,
    maps::FIN_WAIT2,
    mini_events::{self, Kind, UNKNOWN_EXIT},
    namespaces::{self, CounterRefs},
    scan::{self, By, Observation},
    sock::{Access, Probed, Sock},
};

const IN_FIN_WAIT2: usize = State::FinWait2 as usize;
const IN_TIME_WAIT: usize = State::TimeWait as usize;
const IN_SYN_RECV: usize = State::SynRecv as usize;

/// A time-wait socket's timer is about to start for the first time. No other CPU can have found the
/// socket yet, except packets on other CPUs (6.12).
#[inline(always)]
pub(crate) fn time_wait_born<A: Access>(counters: CounterRefs, control: u32, tw: Sock<A>) {
    let state = tw.substate();
    if state == IN_FIN_WAIT2 {
        record(counters, tw.address(), BPF_ANY);
    }
    mini_events::born(Kind::TimeWait, control, tw, state);
    add(counters, control, state, Side::Entered);
    if control & CONTROL_SCAN != 0 {
        scan::observe(counters.slots, tw.address(), By::Event);
    }
    if state == IN_FIN_WAIT2 {
        // A packet may have moved the socket before its entry was made.
        settle(counters, control, tw, Seen::Now);
    }
}

/// Whether a time-wait socket is observed at the time of its possible move, or later.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Now,
    Late,
}

/// Counts the move of a time-wait socket to TIME_WAIT if it has moved, and counts it only once.
/// Returns the current state of the socket.
#[inline(always)]
pub(crate) fn settle<A: Access>(
    counters: CounterRefs,
    control: u32,
    tw: Sock<A>,
    seen: Seen,
) -> usize {
    let state = tw.substate();
    let address = tw.address();
    let is_on_record = FIN_WAIT2.get_ptr(address).is_some();
    // Observe before the entry is removed. A program that no longer finds the entry then finds the
    // observation.
    if control & CONTROL_SCAN != 0
        && scan::observe(counters.slots, address, By::Event) == Observation::First
    {
        let then = if is_on_record { IN_FIN_WAIT2 } else { state };
        scan::add_mini_to_base(counters, then);
    }
    if state == IN_TIME_WAIT && is_on_record && FIN_WAIT2.remove(address).is_ok() {
        add(counters, control, IN_FIN_WAIT2, Side::Left);
        add(counters, control, IN_TIME_WAIT, Side::Entered);
        // SAFETY: both buffers are in entries of their maps.
        each_buffer(counters, control, |minis| unsafe {
            add_one_atomically(&raw mut (*minis).moved);
        });
        mini_events::moved(control, tw, [IN_FIN_WAIT2, IN_TIME_WAIT], seen == Seen::Now);
    }
    state
}

/// A time-wait socket ends. `exit` is an [`Exit`](tcpstate_common::abi::Exit) as far as known. With
/// `may_resume`, its timer was stopped and may start again.
#[inline(always)]
pub(crate) fn time_wait_gone<A: Access>(
    counters: CounterRefs,
    control: u32,
    tw: Sock<A>,
    exit: u64,
    may_resume: bool,
) {
    let state = settle(counters, control, tw, Seen::Late);
    if state == IN_FIN_WAIT2 {
        // There may be no entry, because the map may have been full.
        let _ = FIN_WAIT2.remove(tw.address());
    }
    add(counters, control, state, Side::Left);
    mini_events::gone(Kind::TimeWait, control, tw, state, exit, may_resume);
}

/// A time-wait socket did not end: its timer was only stopped and started again.
#[inline(always)]
pub(crate) fn time_wait_rearmed<A: Access>(counters: CounterRefs, control: u32, tw: Sock<A>) {
    let state = tw.substate();
    if state == IN_FIN_WAIT2 {
        record(counters, tw.address(), BPF_ANY);
    }
    take_back(counters, control, state);
    mini_events::resumed(control, tw.address());
}

/// Counts the cause of the end of a time-wait socket.
#[inline(always)]
pub(crate) fn count_exit(counters: CounterRefs, control: u32, cause: u64) {
    // SAFETY: both buffers are in entries of their maps, and the index is masked to the array's
    // length.
    each_buffer(counters, control, |minis| unsafe {
        let exits = (&raw mut (*minis).exits).cast::<u64>();
        add_one_atomically(exits.add(cause as usize & (EXIT_SLOTS - 1)));
    });
}

/// Counts the expiry of a time-wait socket, if the hook itself is called for expiries.
#[inline(always)]
pub(crate) fn count_expiry(counters: CounterRefs, control: u32) {
    count_exit(counters, control, Cause::Expired as u64);
}

/// A request socket was just inserted into the kernel's table, or its timer starts for the first
/// time soon after the insertion.
#[inline(always)]
pub(crate) fn request_born<A: Access>(counters: CounterRefs, control: u32, req: Sock<A>) {
    let address = req.address();
    mini_events::born(Kind::Request, control, req, IN_SYN_RECV);
    // If the iterator visited the request before this hook ran, the request is already in the base.
    if control & CONTROL_SCAN != 0
        && scan::observe(counters.slots, address, By::Event) == Observation::Again
        && scan::was_visited(address)
    {
        return;
    }
    add(counters, control, IN_SYN_RECV, Side::Entered);
}

/// A request socket was removed from the kernel's table, or its timer has stopped and may start
/// again.
#[inline(always)]
pub(crate) fn request_gone<A: Access>(
    counters: CounterRefs,
    control: u32,
    req: Sock<A>,
    may_resume: bool,
) {
    let address = req.address();
    mini_events::gone(Kind::Request, control, req, IN_SYN_RECV, UNKNOWN_EXIT, may_resume);
    if control & CONTROL_SCAN != 0 {
        if scan::observe(counters.slots, address, By::Event) == Observation::First {
            scan::add_mini_to_base(counters, IN_SYN_RECV);
        } else {
            // Clear the iterator's mark: the next request at this address was not visited.
            scan::was_visited(address);
        }
    }
    add(counters, control, IN_SYN_RECV, Side::Left);
}

/// A request socket did not end: its timer expired, and starts again for the next SYN-ACK.
#[inline(always)]
pub(crate) fn request_restarted(counters: CounterRefs, control: u32, address: u64) {
    mini_events::resumed(control, address);
    if control & CONTROL_SCAN != 0 {
        // If the timer stopped before t0, no end was counted after t0, so there is none to take
        // back.
        match scan::observe(counters.slots, address, By::Event) {
            Observation::First => {
                scan::add_mini_to_base(counters, IN_SYN_RECV);
                return;
            }
            Observation::Again if scan::was_visited(address) => return,
            Observation::Again | Observation::Unknown => {}
        }
    }
    take_back(counters, control, IN_SYN_RECV);
}

/// The iterator visits a time-wait socket.
#[inline(always)]
pub(crate) fn visit_time_wait(counters: CounterRefs, control: u32, tw: Sock<Probed>) {
    let address = tw.address();
    let was_new = tw.substate() == IN_FIN_WAIT2 && record(counters, address, BPF_NOEXIST);
    // A socket in the map still counts as FIN_WAIT2, whatever its substate is now, because its move
    // has not been counted.
    let state = if FIN_WAIT2.get_ptr(address).is_some() { IN_FIN_WAIT2 } else { tw.substate() };
    if scan::observe(counters.slots, address, By::Visit) == Observation::Again {
        // An event observed the socket earlier in this scan, and the socket may have ended since.
        // Remove the entry made above, because it would then stay.
        if was_new {
            let _ = FIN_WAIT2.remove(address);
        }
        return;
    }
    scan::add_mini_to_base(counters, state);
    if state == IN_FIN_WAIT2 {
        settle(counters, control, tw, Seen::Late);
    }
}

/// The iterator visits a request socket.
#[inline(always)]
pub(crate) fn visit_request(counters: CounterRefs, address: u64) {
    if scan::observe(counters.slots, address, By::Visit) != Observation::Again {
        scan::add_mini_to_base(counters, IN_SYN_RECV);
    }
}

/// Stores that a time-wait socket is in FIN_WAIT2. Returns whether its entry is new.
#[inline(always)]
fn record(counters: CounterRefs, address: u64, flags: u32) -> bool {
    match FIN_WAIT2.insert(address, 0, u64::from(flags)) {
        Ok(()) => true,
        Err(errno) if errno == -EEXIST => false,
        Err(_) => {
            // SAFETY: `slots` is this CPU's element.
            unsafe { add_one_atomically(&raw mut (*counters.slots).unrecorded) };
            false
        }
    }
}

/// The counter of a [`Flow`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Entered,
    Left,
}

#[inline(always)]
fn add(counters: CounterRefs, control: u32, state: usize, side: Side) {
    // SAFETY: both buffers are in entries of their maps. The additions are atomic, because other
    // programs can interrupt the iterator's programs.
    each_buffer(counters, control, |minis| unsafe {
        let flow = flow(minis, state);
        add_one_atomically(match side {
            Side::Entered => &raw mut (*flow).entered,
            Side::Left => &raw mut (*flow).left,
        });
    });
}

/// Takes back the end of a mini socket that did not end.
#[inline(always)]
fn take_back(counters: CounterRefs, control: u32, state: usize) {
    // SAFETY: both buffers are in entries of their maps.
    each_buffer(counters, control, |minis| unsafe {
        take_one_atomically(&raw mut (*flow(minis, state)).left);
    });
}

/// The flow of a state.
///
/// # Safety
/// `minis` is in an entry of a map.
#[inline(always)]
unsafe fn flow(minis: *mut MiniCounters, state: usize) -> *mut Flow {
    // SAFETY: the caller's promise, and the index is masked to the array's length.
    unsafe { (&raw mut (*minis).states).cast::<Flow>().add(state & (STATE_SLOTS - 1)) }
}

/// Changes the active buffer of this CPU, and the active buffer of the namespace if there is one.
#[inline(always)]
fn each_buffer(counters: CounterRefs, control: u32, change: impl Fn(*mut MiniCounters)) {
    // SAFETY: `slots` is this CPU's element, and there are two buffers.
    change(unsafe {
        let minis = (&raw mut (*counters.slots).minis).cast::<MiniCounters>();
        minis.add((control & CONTROL_BUFFER) as usize)
    });
    if !counters.namespace.is_null() {
        // SAFETY: an entry of the map of namespaces.
        change(unsafe { &raw mut (*namespaces::buffer(counters.namespace, control)).minis });
    }
}

//! Counts the births, moves and ends of mini sockets in [`MiniCounters`]. The hooks that call this
//! module are in [`crate::functions`] and [`crate::timers`].
//!
//! A time-wait socket is born in FIN_WAIT2 or in TIME_WAIT, and may move from FIN_WAIT2 to
//! TIME_WAIT. No timer reports the move from FIN_WAIT2 to TIME_WAIT. The map [`FIN_WAIT2`]
//! therefore holds the time-wait sockets in FIN_WAIT2. Each observation of a time-wait socket
//! counts the move if it has happened since the last observation: see [`settle`].

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use tcpstate_common::{
    State,
    abi::{
        CONTROL_BUFFER, CONTROL_SCAN, Cause, EXIT_SLOTS, Flow, LostEvents, MiniCounters,
        STATE_SLOTS,
    },
};

use crate::{
    access::{Access, Probed},
    atomic::{add_one_atomically, take_one_atomically},
    kernel::EEXIST,
    losses,
    maps::FIN_WAIT2,
    mini_events::{self, Kind, UNKNOWN_EXIT},
    namespaces::{self, CounterRefs},
    owners::{half_open, time_wait as owned},
    scan::{self, By, Observation},
    sock::Sock,
};

const IN_FIN_WAIT2: usize = State::FinWait2 as usize;
const IN_TIME_WAIT: usize = State::TimeWait as usize;
const IN_SYN_RECV: usize = State::SynRecv as usize;

/// Called when the timer of a time-wait socket is about to start for the first time. Only a packet
/// that another CPU handles can already have found the socket (6.12).
#[inline(always)]
pub(crate) fn time_wait_born<A: Access>(counters: CounterRefs, control: u32, tw: Sock<A>) {
    if losses::is_lost(LostEvents::TimeWaitBirths, control) {
        return;
    }
    let state = tw.substate();
    if state == IN_FIN_WAIT2 {
        record(counters, tw.address(), BPF_ANY);
    }
    mini_events::born(Kind::TimeWait, control, tw, state);
    owned::born(tw, control);
    add(counters, control, state, Side::Entered);
    if control & CONTROL_SCAN != 0 {
        scan::observe(counters.slots, tw.address(), By::Event);
    }
    if state == IN_FIN_WAIT2 {
        // A packet may have moved the socket to TIME_WAIT before the socket's entry was inserted.
        settle(counters, control, tw, Seen::Now);
    }
}

/// The time of an observation of a time-wait socket: at the socket's possible move (`Now`), or
/// later (`Late`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Now,
    Late,
}

/// Counts the move of a time-wait socket to TIME_WAIT if the socket has moved, and counts it only
/// once. The function returns the current state of the socket.
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
    // The socket is observed before its entry is removed. Another program that no longer finds the
    // entry therefore finds the observation.
    if control & CONTROL_SCAN != 0
        && scan::observe(counters.slots, address, By::Event) == Observation::First
    {
        let then = if is_on_record { IN_FIN_WAIT2 } else { state };
        scan::add_mini_to_base(counters, then);
    }
    if state == IN_TIME_WAIT && is_on_record && FIN_WAIT2.remove(address).is_ok() {
        add(counters, control, IN_FIN_WAIT2, Side::Left);
        add(counters, control, IN_TIME_WAIT, Side::Entered);
        // SAFETY: each buffer is in an entry of its map, which stays valid while the program runs.
        each_buffer(counters, control, |minis| unsafe {
            add_one_atomically(&raw mut (*minis).moved);
        });
        mini_events::moved(control, tw, [IN_FIN_WAIT2, IN_TIME_WAIT], seen == Seen::Now);
        owned::moved(tw);
    }
    state
}

/// Called when a time-wait socket ends. `exit` is the [`Exit`](tcpstate_common::abi::Exit) of the
/// socket; it is 0 if no hook observed how the socket ended. If `may_resume` is true, the socket's
/// timer was stopped and may start again.
#[inline(always)]
pub(crate) fn time_wait_gone<A: Access>(
    counters: CounterRefs,
    control: u32,
    tw: Sock<A>,
    exit: u64,
    may_resume: bool,
) {
    if losses::is_lost(LostEvents::TimeWaitEnds, control) {
        return;
    }
    let state = settle(counters, control, tw, Seen::Late);
    if state == IN_FIN_WAIT2 {
        // The map may have no entry for the socket, because the map may have been full.
        let _ = FIN_WAIT2.remove(tw.address());
    }
    add(counters, control, state, Side::Left);
    mini_events::gone(Kind::TimeWait, control, tw, state, exit, may_resume);
    owned::gone(tw);
}

/// Called when a time-wait socket did not end: its timer was only stopped and started again.
#[inline(always)]
pub(crate) fn time_wait_rearmed<A: Access>(counters: CounterRefs, control: u32, tw: Sock<A>) {
    let state = tw.substate();
    if state == IN_FIN_WAIT2 {
        record(counters, tw.address(), BPF_ANY);
    }
    take_back(counters, control, state);
    mini_events::resumed(control, tw.address());
    owned::resumed(tw, state);
}

/// Counts the cause of the end of a time-wait socket.
#[inline(always)]
pub(crate) fn count_exit(counters: CounterRefs, control: u32, cause: u64) {
    // SAFETY: both pointers point into entries of their maps, and the index is masked to the
    // array's length.
    each_buffer(counters, control, |minis| unsafe {
        let exits = (&raw mut (*minis).exits).cast::<u64>();
        add_one_atomically(exits.add(cause as usize & (EXIT_SLOTS - 1)));
    });
}

/// Counts the expiry of a time-wait socket, for a hook that the kernel calls only for expiries.
#[inline(always)]
pub(crate) fn count_expiry(counters: CounterRefs, control: u32) {
    count_exit(counters, control, Cause::Expired as u64);
}

/// Called when a request socket was just inserted into the kernel's table, or when its timer starts
/// for the first time, soon after the insertion.
#[inline(always)]
pub(crate) fn request_born<A: Access>(counters: CounterRefs, control: u32, req: Sock<A>) {
    if losses::is_lost(LostEvents::RequestBirths, control) {
        return;
    }
    let address = req.address();
    mini_events::born(Kind::Request, control, req, IN_SYN_RECV);
    half_open::born(req);
    // If the iterator visited the request socket before this hook ran, the request socket is
    // already in the base counts.
    if control & CONTROL_SCAN != 0
        && scan::observe(counters.slots, address, By::Event) == Observation::Again
        && scan::was_visited(address)
    {
        return;
    }
    add(counters, control, IN_SYN_RECV, Side::Entered);
}

/// Called when a request socket was removed from the kernel's table, or when its timer has stopped
/// and may start again.
#[inline(always)]
pub(crate) fn request_gone<A: Access>(
    counters: CounterRefs,
    control: u32,
    req: Sock<A>,
    may_resume: bool,
) {
    if losses::is_lost(LostEvents::RequestEnds, control) {
        return;
    }
    let address = req.address();
    mini_events::gone(Kind::Request, control, req, IN_SYN_RECV, UNKNOWN_EXIT, may_resume);
    half_open::gone(req);
    if control & CONTROL_SCAN != 0 {
        if scan::observe(counters.slots, address, By::Event) == Observation::First {
            scan::add_mini_to_base(counters, IN_SYN_RECV);
        } else {
            // The call clears the iterator's mark, because the iterator has not visited the next
            // request socket at this address.
            scan::was_visited(address);
        }
    }
    add(counters, control, IN_SYN_RECV, Side::Left);
}

/// Called when a request socket did not end: its timer expired, and starts again for the next
/// SYN-ACK.
#[inline(always)]
pub(crate) fn request_restarted<A: Access>(counters: CounterRefs, control: u32, req: Sock<A>) {
    let address = req.address();
    mini_events::resumed(control, address);
    half_open::resumed(req);
    if control & CONTROL_SCAN != 0 {
        // If the timer stopped before t0, no end was counted after t0, so no end must be
        // subtracted.
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

/// Called when the iterator visits a time-wait socket.
#[inline(always)]
pub(crate) fn visit_time_wait(counters: CounterRefs, control: u32, tw: Sock<Probed>) {
    let address = tw.address();
    let was_new = tw.substate() == IN_FIN_WAIT2 && record(counters, address, BPF_NOEXIST);
    // A socket with an entry in the map still counts as FIN_WAIT2, whatever its substate is now,
    // because its move has not been counted.
    let state = if FIN_WAIT2.get_ptr(address).is_some() { IN_FIN_WAIT2 } else { tw.substate() };
    if scan::observe(counters.slots, address, By::Visit) == Observation::Again {
        // An event observed the socket earlier in this scan, and the socket may have ended since.
        // The entry that this function inserted must be removed, because no later event would
        // remove it.
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

/// Called when the iterator visits a request socket.
#[inline(always)]
pub(crate) fn visit_request(counters: CounterRefs, address: u64) {
    if scan::observe(counters.slots, address, By::Visit) != Observation::Again {
        scan::add_mini_to_base(counters, IN_SYN_RECV);
    }
}

/// Stores in the map [`FIN_WAIT2`] that a time-wait socket is in FIN_WAIT2. The function returns
/// whether the socket's entry is new.
#[inline(always)]
fn record(counters: CounterRefs, address: u64, flags: u32) -> bool {
    match FIN_WAIT2.insert(address, 0, u64::from(flags)) {
        Ok(()) => true,
        Err(errno) if errno == -EEXIST => false,
        Err(_) => {
            // SAFETY: `slots` points to this CPU's map element, which stays valid while the program
            // runs.
            unsafe { add_one_atomically(&raw mut (*counters.slots).unrecorded) };
            false
        }
    }
}

/// Selects one of the two counters of a [`Flow`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Entered,
    Left,
}

#[inline(always)]
fn add(counters: CounterRefs, control: u32, state: usize, side: Side) {
    // SAFETY: each buffer is in an entry of its map, which stays valid while the program runs. The
    // additions are atomic, because other programs can interrupt the iterator's programs.
    each_buffer(counters, control, |minis| unsafe {
        let flow = flow(minis, state);
        add_one_atomically(match side {
            Side::Entered => &raw mut (*flow).entered,
            Side::Left => &raw mut (*flow).left,
        });
    });
}

/// Subtracts the counted end of a mini socket that did not end.
#[inline(always)]
fn take_back(counters: CounterRefs, control: u32, state: usize) {
    // SAFETY: each buffer is in an entry of its map, which stays valid while the program runs.
    each_buffer(counters, control, |minis| unsafe {
        take_one_atomically(&raw mut (*flow(minis, state)).left);
    });
}

/// Returns the two counters of a state.
///
/// # Safety
/// `minis` must point into an entry of a map.
#[inline(always)]
unsafe fn flow(minis: *mut MiniCounters, state: usize) -> *mut Flow {
    // SAFETY: the caller guarantees that `minis` points into an entry of a map, and the index is
    // masked to the array's length.
    unsafe { (&raw mut (*minis).states).cast::<Flow>().add(state & (STATE_SLOTS - 1)) }
}

/// Changes the active buffer of this CPU and, if the namespace is counted separately, the active
/// buffer of the namespace.
#[inline(always)]
fn each_buffer(counters: CounterRefs, control: u32, change: impl Fn(*mut MiniCounters)) {
    // SAFETY: `slots` points to this CPU's map element, which has two buffers.
    change(unsafe {
        let minis = (&raw mut (*counters.slots).minis).cast::<MiniCounters>();
        minis.add((control & CONTROL_BUFFER) as usize)
    });
    if !counters.namespace.is_null() {
        // SAFETY: `namespace` points to an entry of the map of namespaces.
        change(unsafe { &raw mut (*namespaces::buffer(counters.namespace, control)).minis });
    }
}

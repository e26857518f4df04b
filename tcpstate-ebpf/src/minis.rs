//! The lives of mini sockets become counts: [`MiniCounters`]. The hooks are in [`crate::functions`] and
//! [`crate::timers`].
//!
//! Time-wait sockets are born in FIN_WAIT2 or in TIME_WAIT, and may move from FIN_WAIT2 to TIME_WAIT. That move is the one
//! change of a mini socket that no timer reports. So time-wait sockets in FIN_WAIT2 are kept in [`FIN_WAIT2`]. Each
//! observation of such a socket [settles](settle) what has changed since the last one.

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

/// A time-wait socket's timer is about to start for the first time. No other CPU has seen the socket yet, except (6.12)
/// packets on other CPUs.
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
        // A packet may have moved it before it was on record.
        settle(counters, control, tw, Seen::Now);
    }
}

/// Whether a time-wait socket is observed because it may just have moved.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Now,
    Late,
}

/// Something may have moved a time-wait socket to TIME_WAIT. Counts the move, once; returns the state it is in.
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
    // Before the entry goes: a program that finds it gone then finds the observation.
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

/// A time-wait socket ends, as far as known by an [`Exit`](tcpstate_common::abi::Exit); or its timer was stopped, and may
/// start again.
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
        // It need not be there: the map may have been full.
        let _ = FIN_WAIT2.remove(tw.address());
    }
    add(counters, control, state, Side::Left);
    mini_events::gone(Kind::TimeWait, control, tw, state, exit, may_resume);
}

/// A time-wait socket did not end after all: its timer was only stopped to be started again.
#[inline(always)]
pub(crate) fn time_wait_rearmed<A: Access>(counters: CounterRefs, control: u32, tw: Sock<A>) {
    let state = tw.substate();
    if state == IN_FIN_WAIT2 {
        record(counters, tw.address(), BPF_ANY);
    }
    take_back(counters, control, state);
    mini_events::resumed(control, tw.address());
}

/// Why a time-wait socket ended.
#[inline(always)]
pub(crate) fn count_exit(counters: CounterRefs, control: u32, cause: u64) {
    // SAFETY: both buffers are in entries of their maps, and the index is masked to the array's length.
    each_buffer(counters, control, |minis| unsafe {
        let exits = (&raw mut (*minis).exits).cast::<u64>();
        add_one_atomically(exits.add(cause as usize & (EXIT_SLOTS - 1)));
    });
}

/// Why a time-wait socket ended, where the hook itself says it.
#[inline(always)]
pub(crate) fn count_expiry(counters: CounterRefs, control: u32) {
    count_exit(counters, control, Cause::Expired as u64);
}

/// A request socket has been put into the kernel's table, or its timer starts for the first time, soon after.
#[inline(always)]
pub(crate) fn request_born<A: Access>(counters: CounterRefs, control: u32, req: Sock<A>) {
    let address = req.address();
    mini_events::born(Kind::Request, control, req, IN_SYN_RECV);
    // The iterator may have been quicker than the hook: then the request is in the base.
    if control & CONTROL_SCAN != 0
        && scan::observe(counters.slots, address, By::Event) == Observation::Again
        && scan::was_visited(address)
    {
        return;
    }
    add(counters, control, IN_SYN_RECV, Side::Entered);
}

/// A request socket has been taken out of the kernel's table, or its timer has stopped and may start again.
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
            // The address's next request is not the one that was visited.
            scan::was_visited(address);
        }
    }
    add(counters, control, IN_SYN_RECV, Side::Left);
}

/// A request socket did not end after all: its timer expired, and starts again for the next SYN-ACK.
#[inline(always)]
pub(crate) fn request_restarted(counters: CounterRefs, control: u32, address: u64) {
    mini_events::resumed(control, address);
    if control & CONTROL_SCAN != 0 {
        // Stopped before t0, where it was not counted as gone: nothing to take back.
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

/// The iterator's visit of a time-wait socket.
#[inline(always)]
pub(crate) fn visit_time_wait(counters: CounterRefs, control: u32, tw: Sock<Probed>) {
    let address = tw.address();
    let was_new = tw.substate() == IN_FIN_WAIT2 && record(counters, address, BPF_NOEXIST);
    // What is on record has not been settled, whatever it is now.
    let state = if FIN_WAIT2.get_ptr(address).is_some() { IN_FIN_WAIT2 } else { tw.substate() };
    if scan::observe(counters.slots, address, By::Visit) == Observation::Again {
        // Its events know better: it may be gone already.
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

/// The iterator's visit of a request socket.
#[inline(always)]
pub(crate) fn visit_request(counters: CounterRefs, address: u64) {
    if scan::observe(counters.slots, address, By::Visit) != Observation::Again {
        scan::add_mini_to_base(counters, IN_SYN_RECV);
    }
}

/// Puts a time-wait socket on record as being in FIN_WAIT2. Says whether it was not yet.
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

/// A side of a [`Flow`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Entered,
    Left,
}

#[inline(always)]
fn add(counters: CounterRefs, control: u32, state: usize, side: Side) {
    // SAFETY: both buffers are in entries of their maps. Atomic, for the iterator's programs are interrupted by the
    // others.
    each_buffer(counters, control, |minis| unsafe {
        let flow = flow(minis, state);
        add_one_atomically(match side {
            Side::Entered => &raw mut (*flow).entered,
            Side::Left => &raw mut (*flow).left,
        });
    });
}

/// One that left did not.
#[inline(always)]
fn take_back(counters: CounterRefs, control: u32, state: usize) {
    // SAFETY: both buffers are in entries of their maps.
    each_buffer(counters, control, |minis| unsafe {
        take_one_atomically(&raw mut (*flow(minis, state)).left);
    });
}

/// # Safety
/// `minis` is in an entry of a map.
#[inline(always)]
unsafe fn flow(minis: *mut MiniCounters, state: usize) -> *mut Flow {
    // SAFETY: the caller's promise, and the index is masked to the array's length.
    unsafe { (&raw mut (*minis).states).cast::<Flow>().add(state & (STATE_SLOTS - 1)) }
}

/// Does something to this CPU's buffer that takes the counts, and to the namespace's, if there is one.
#[inline(always)]
fn each_buffer(counters: CounterRefs, control: u32, change: impl Fn(*mut MiniCounters)) {
    // SAFETY: `slots` is this CPU's element, and there are two buffers.
    change(unsafe {
        let minis = (&raw mut (*counters.slots).minis).cast::<MiniCounters>();
        minis.add((control & CONTROL_BUFFER) as usize)
    });
    if !counters.namespace.is_null() {
        // SAFETY: the row's buffer.
        change(unsafe { &raw mut (*namespaces::buffer(counters.namespace, control)).minis });
    }
}

//! The lives of mini sockets become counts: [`CpuSlots::minis`]. What tells of them is in [`crate::functions`] and
//! [`crate::timers`].
//!
//! Time-wait sockets are born in FIN_WAIT2 or in TIME_WAIT and may move from the one to the other, which is the one
//! change of a mini socket that no timer tells of. So those in FIN_WAIT2 are kept in [`FIN_WAIT2`]: who looks at one
//! [settles](settle) what has changed since somebody last looked.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use tcpstate_common::{
    State,
    abi::{
        CONTROL_BUFFER, CONTROL_GATE, Cause, CpuSlots, EXIT_SLOTS, Flow, MiniCounters, STATE_SLOTS,
    },
};

use crate::{
    count::{add_one_atomically, take_one_atomically},
    maps::FIN_WAIT2,
    pass::{self, By, Touch},
    sock::{Access, Probed, Sock},
};

const EEXIST: i32 = 17;
const IN_FIN_WAIT2: usize = State::FinWait2 as usize;
const IN_TIME_WAIT: usize = State::TimeWait as usize;
const IN_SYN_RECV: usize = State::SynRecv as usize;

/// A time-wait socket's timer is about to start for the first time. Nobody has seen the socket yet, or (6.12) nobody
/// but packets on other CPUs.
#[inline(always)]
pub(crate) fn time_wait_born<A: Access>(slots: *mut CpuSlots, control: u32, tw: Sock<A>) {
    let state = tw.substate();
    if state == IN_FIN_WAIT2 {
        record(slots, tw.address(), BPF_ANY);
    }
    add(slots, control, state, Side::Entered);
    if control & CONTROL_GATE != 0 {
        pass::touch(slots, tw.address(), By::Event);
    }
    if state == IN_FIN_WAIT2 {
        // A packet may have moved it before it was on record.
        settle(slots, control, tw);
    }
}

/// Something may have moved a time-wait socket to TIME_WAIT. Counts the move, once; returns the state it is in.
#[inline(always)]
pub(crate) fn settle<A: Access>(slots: *mut CpuSlots, control: u32, tw: Sock<A>) -> usize {
    let state = tw.substate();
    let address = tw.address();
    let is_on_record = FIN_WAIT2.get_ptr(address).is_some();
    // Before the entry goes: who finds it gone then finds the touch.
    if control & CONTROL_GATE != 0 && pass::touch(slots, address, By::Event) == Touch::First {
        let then = if is_on_record { IN_FIN_WAIT2 } else { state };
        // SAFETY: `slots` is this CPU's element.
        unsafe { pass::add_to_base(&raw mut (*slots).base_minis, then) };
    }
    if state == IN_TIME_WAIT && is_on_record && FIN_WAIT2.remove(address).is_ok() {
        add(slots, control, IN_FIN_WAIT2, Side::Left);
        add(slots, control, IN_TIME_WAIT, Side::Entered);
        // SAFETY: `buffer` is in this CPU's element.
        unsafe { add_one_atomically(&raw mut (*buffer(slots, control)).moved) };
    }
    state
}

/// A time-wait socket ends. Returns the state that it left.
#[inline(always)]
pub(crate) fn time_wait_gone<A: Access>(slots: *mut CpuSlots, control: u32, tw: Sock<A>) -> usize {
    let state = settle(slots, control, tw);
    if state == IN_FIN_WAIT2 {
        // It need not be there: the map may have been full.
        let _ = FIN_WAIT2.remove(tw.address());
    }
    add(slots, control, state, Side::Left);
    state
}

/// A time-wait socket did not end after all: its timer was only stopped to be started again.
#[inline(always)]
pub(crate) fn time_wait_rearmed<A: Access>(slots: *mut CpuSlots, control: u32, tw: Sock<A>) {
    let state = tw.substate();
    if state == IN_FIN_WAIT2 {
        record(slots, tw.address(), BPF_ANY);
    }
    // SAFETY: `flow` is in this CPU's element.
    unsafe { take_one_atomically(&raw mut (*flow(slots, control, state)).left) };
}

/// Why a time-wait socket ended.
#[inline(always)]
pub(crate) fn count_exit(slots: *mut CpuSlots, control: u32, cause: u64) {
    // SAFETY: `buffer` is in this CPU's element, and the index is masked to the array's length.
    unsafe {
        let exits = (&raw mut (*buffer(slots, control)).exits).cast::<u64>();
        add_one_atomically(exits.add(cause as usize & (EXIT_SLOTS - 1)));
    }
}

/// Why a time-wait socket ended, where the hook itself says it.
#[inline(always)]
pub(crate) fn count_expiry(slots: *mut CpuSlots, control: u32) {
    count_exit(slots, control, Cause::Expired as u64);
}

/// A request socket has been put into the kernel's table, or its timer starts for the first time, soon after.
#[inline(always)]
pub(crate) fn request_born(slots: *mut CpuSlots, control: u32, address: u64) {
    // The iterator may have been quicker than the hook: then the request is in the base.
    if control & CONTROL_GATE != 0
        && pass::touch(slots, address, By::Event) == Touch::Again
        && pass::was_visited(address)
    {
        return;
    }
    add(slots, control, IN_SYN_RECV, Side::Entered);
}

/// A request socket has been taken out of the kernel's table, or its timer has stopped.
#[inline(always)]
pub(crate) fn request_gone(slots: *mut CpuSlots, control: u32, address: u64) {
    if control & CONTROL_GATE != 0 {
        if pass::touch(slots, address, By::Event) == Touch::First {
            // SAFETY: `slots` is this CPU's element.
            unsafe { pass::add_to_base(&raw mut (*slots).base_minis, IN_SYN_RECV) };
        } else {
            // The address's next request is not the one that was visited.
            pass::was_visited(address);
        }
    }
    add(slots, control, IN_SYN_RECV, Side::Left);
}

/// A request socket did not end after all: its timer expired, and starts again for the next SYN-ACK.
#[inline(always)]
pub(crate) fn request_restarted(slots: *mut CpuSlots, control: u32, address: u64) {
    if control & CONTROL_GATE != 0 {
        // Stopped before moment zero, where it was not counted as gone: nothing to take back.
        match pass::touch(slots, address, By::Event) {
            Touch::First => {
                // SAFETY: `slots` is this CPU's element.
                unsafe { pass::add_to_base(&raw mut (*slots).base_minis, IN_SYN_RECV) };
                return;
            }
            Touch::Again if pass::was_visited(address) => return,
            Touch::Again | Touch::Unknown => {}
        }
    }
    // SAFETY: `flow` is in this CPU's element.
    unsafe { take_one_atomically(&raw mut (*flow(slots, control, IN_SYN_RECV)).left) };
}

/// The iterator's visit of a time-wait socket.
#[inline(always)]
pub(crate) fn visit_time_wait(slots: *mut CpuSlots, control: u32, tw: Sock<Probed>) {
    let address = tw.address();
    let was_new = tw.substate() == IN_FIN_WAIT2 && record(slots, address, BPF_NOEXIST);
    // What is on record has not been settled, whatever it is now.
    let state = if FIN_WAIT2.get_ptr(address).is_some() { IN_FIN_WAIT2 } else { tw.substate() };
    if pass::touch(slots, address, By::Visit) == Touch::Again {
        // Its events know better: it may be gone already.
        if was_new {
            let _ = FIN_WAIT2.remove(address);
        }
        return;
    }
    // SAFETY: `slots` is this CPU's element.
    unsafe { pass::add_to_base(&raw mut (*slots).base_minis, state) };
    if state == IN_FIN_WAIT2 {
        settle(slots, control, tw);
    }
}

/// The iterator's visit of a request socket.
#[inline(always)]
pub(crate) fn visit_request(slots: *mut CpuSlots, address: u64) {
    if pass::touch(slots, address, By::Visit) != Touch::Again {
        // SAFETY: `slots` is this CPU's element.
        unsafe { pass::add_to_base(&raw mut (*slots).base_minis, IN_SYN_RECV) };
    }
}

/// Puts a time-wait socket on record as being in FIN_WAIT2. Says whether it was not yet.
#[inline(always)]
fn record(slots: *mut CpuSlots, address: u64, flags: u32) -> bool {
    match FIN_WAIT2.insert(address, 0, u64::from(flags)) {
        Ok(()) => true,
        Err(errno) if errno == -EEXIST => false,
        Err(_) => {
            // SAFETY: `slots` is this CPU's element.
            unsafe { add_one_atomically(&raw mut (*slots).unrecorded) };
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
fn add(slots: *mut CpuSlots, control: u32, state: usize, side: Side) {
    let flow = flow(slots, control, state);
    // SAFETY: `flow` is in this CPU's element. Atomic, for the iterator's programs are interrupted by the others.
    unsafe {
        add_one_atomically(match side {
            Side::Entered => &raw mut (*flow).entered,
            Side::Left => &raw mut (*flow).left,
        });
    }
}

#[inline(always)]
fn flow(slots: *mut CpuSlots, control: u32, state: usize) -> *mut Flow {
    // SAFETY: `buffer` is in this CPU's element, and the index is masked to the array's length.
    unsafe {
        let states = (&raw mut (*buffer(slots, control)).states).cast::<Flow>();
        states.add(state & (STATE_SLOTS - 1))
    }
}

#[inline(always)]
fn buffer(slots: *mut CpuSlots, control: u32) -> *mut MiniCounters {
    // SAFETY: `slots` is this CPU's element, and there are two buffers.
    unsafe {
        let minis = (&raw mut (*slots).minis).cast::<MiniCounters>();
        minis.add((control & CONTROL_BUFFER) as usize)
    }
}

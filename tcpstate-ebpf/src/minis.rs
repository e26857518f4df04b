//! The lives of mini sockets become counts: [`MiniCounters`]. What tells of them is in [`crate::functions`] and
//! [`crate::timers`].
//!
//! Time-wait sockets are born in FIN_WAIT2 or in TIME_WAIT and may move from the one to the other, which is the one
//! change of a mini socket that no timer tells of. So those in FIN_WAIT2 are kept in [`FIN_WAIT2`]: who looks at one
//! [settles](settle) what has changed since somebody last looked.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use tcpstate_common::{
    State,
    abi::{CONTROL_BUFFER, CONTROL_GATE, Cause, EXIT_SLOTS, Flow, MiniCounters, STATE_SLOTS},
};

use crate::{
    books::{self, Books},
    count::{add_one_atomically, take_one_atomically},
    maps::FIN_WAIT2,
    mini_events::{self, Kind, UNKNOWN_EXIT},
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
pub(crate) fn time_wait_born<A: Access>(books: Books, control: u32, tw: Sock<A>) {
    let state = tw.substate();
    if state == IN_FIN_WAIT2 {
        record(books, tw.address(), BPF_ANY);
    }
    mini_events::born(Kind::TimeWait, control, tw, state);
    add(books, control, state, Side::Entered);
    if control & CONTROL_GATE != 0 {
        pass::touch(books.slots, tw.address(), By::Event);
    }
    if state == IN_FIN_WAIT2 {
        // A packet may have moved it before it was on record.
        settle(books, control, tw, Seen::Now);
    }
}

/// Whether somebody looks because a time-wait socket may just have moved.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Now,
    Late,
}

/// Something may have moved a time-wait socket to TIME_WAIT. Counts the move, once; returns the state it is in.
#[inline(always)]
pub(crate) fn settle<A: Access>(books: Books, control: u32, tw: Sock<A>, seen: Seen) -> usize {
    let state = tw.substate();
    let address = tw.address();
    let is_on_record = FIN_WAIT2.get_ptr(address).is_some();
    // Before the entry goes: who finds it gone then finds the touch.
    if control & CONTROL_GATE != 0 && pass::touch(books.slots, address, By::Event) == Touch::First {
        let then = if is_on_record { IN_FIN_WAIT2 } else { state };
        pass::add_mini_to_base(books, then);
    }
    if state == IN_TIME_WAIT && is_on_record && FIN_WAIT2.remove(address).is_ok() {
        add(books, control, IN_FIN_WAIT2, Side::Left);
        add(books, control, IN_TIME_WAIT, Side::Entered);
        // SAFETY: both buffers are in entries of their maps.
        each_buffer(books, control, |minis| unsafe { add_one_atomically(&raw mut (*minis).moved) });
        mini_events::moved(control, tw, [IN_FIN_WAIT2, IN_TIME_WAIT], seen == Seen::Now);
    }
    state
}

/// A time-wait socket ends, as far as known by an [`Exit`](tcpstate_common::abi::Exit); or its timer was stopped, and may
/// start again.
#[inline(always)]
pub(crate) fn time_wait_gone<A: Access>(
    books: Books,
    control: u32,
    tw: Sock<A>,
    exit: u64,
    may_resume: bool,
) {
    let state = settle(books, control, tw, Seen::Late);
    if state == IN_FIN_WAIT2 {
        // It need not be there: the map may have been full.
        let _ = FIN_WAIT2.remove(tw.address());
    }
    add(books, control, state, Side::Left);
    mini_events::gone(Kind::TimeWait, control, tw, state, exit, may_resume);
}

/// A time-wait socket did not end after all: its timer was only stopped to be started again.
#[inline(always)]
pub(crate) fn time_wait_rearmed<A: Access>(books: Books, control: u32, tw: Sock<A>) {
    let state = tw.substate();
    if state == IN_FIN_WAIT2 {
        record(books, tw.address(), BPF_ANY);
    }
    take_back(books, control, state);
    mini_events::resumed(control, tw.address());
}

/// Why a time-wait socket ended.
#[inline(always)]
pub(crate) fn count_exit(books: Books, control: u32, cause: u64) {
    // SAFETY: both buffers are in entries of their maps, and the index is masked to the array's length.
    each_buffer(books, control, |minis| unsafe {
        let exits = (&raw mut (*minis).exits).cast::<u64>();
        add_one_atomically(exits.add(cause as usize & (EXIT_SLOTS - 1)));
    });
}

/// Why a time-wait socket ended, where the hook itself says it.
#[inline(always)]
pub(crate) fn count_expiry(books: Books, control: u32) {
    count_exit(books, control, Cause::Expired as u64);
}

/// A request socket has been put into the kernel's table, or its timer starts for the first time, soon after.
#[inline(always)]
pub(crate) fn request_born<A: Access>(books: Books, control: u32, req: Sock<A>) {
    let address = req.address();
    mini_events::born(Kind::Request, control, req, IN_SYN_RECV);
    // The iterator may have been quicker than the hook: then the request is in the base.
    if control & CONTROL_GATE != 0
        && pass::touch(books.slots, address, By::Event) == Touch::Again
        && pass::was_visited(address)
    {
        return;
    }
    add(books, control, IN_SYN_RECV, Side::Entered);
}

/// A request socket has been taken out of the kernel's table, or its timer has stopped and may start again.
#[inline(always)]
pub(crate) fn request_gone<A: Access>(books: Books, control: u32, req: Sock<A>, may_resume: bool) {
    let address = req.address();
    mini_events::gone(Kind::Request, control, req, IN_SYN_RECV, UNKNOWN_EXIT, may_resume);
    if control & CONTROL_GATE != 0 {
        if pass::touch(books.slots, address, By::Event) == Touch::First {
            pass::add_mini_to_base(books, IN_SYN_RECV);
        } else {
            // The address's next request is not the one that was visited.
            pass::was_visited(address);
        }
    }
    add(books, control, IN_SYN_RECV, Side::Left);
}

/// A request socket did not end after all: its timer expired, and starts again for the next SYN-ACK.
#[inline(always)]
pub(crate) fn request_restarted(books: Books, control: u32, address: u64) {
    mini_events::resumed(control, address);
    if control & CONTROL_GATE != 0 {
        // Stopped before moment zero, where it was not counted as gone: nothing to take back.
        match pass::touch(books.slots, address, By::Event) {
            Touch::First => {
                pass::add_mini_to_base(books, IN_SYN_RECV);
                return;
            }
            Touch::Again if pass::was_visited(address) => return,
            Touch::Again | Touch::Unknown => {}
        }
    }
    take_back(books, control, IN_SYN_RECV);
}

/// The iterator's visit of a time-wait socket.
#[inline(always)]
pub(crate) fn visit_time_wait(books: Books, control: u32, tw: Sock<Probed>) {
    let address = tw.address();
    let was_new = tw.substate() == IN_FIN_WAIT2 && record(books, address, BPF_NOEXIST);
    // What is on record has not been settled, whatever it is now.
    let state = if FIN_WAIT2.get_ptr(address).is_some() { IN_FIN_WAIT2 } else { tw.substate() };
    if pass::touch(books.slots, address, By::Visit) == Touch::Again {
        // Its events know better: it may be gone already.
        if was_new {
            let _ = FIN_WAIT2.remove(address);
        }
        return;
    }
    pass::add_mini_to_base(books, state);
    if state == IN_FIN_WAIT2 {
        settle(books, control, tw, Seen::Late);
    }
}

/// The iterator's visit of a request socket.
#[inline(always)]
pub(crate) fn visit_request(books: Books, address: u64) {
    if pass::touch(books.slots, address, By::Visit) != Touch::Again {
        pass::add_mini_to_base(books, IN_SYN_RECV);
    }
}

/// Puts a time-wait socket on record as being in FIN_WAIT2. Says whether it was not yet.
#[inline(always)]
fn record(books: Books, address: u64, flags: u32) -> bool {
    match FIN_WAIT2.insert(address, 0, u64::from(flags)) {
        Ok(()) => true,
        Err(errno) if errno == -EEXIST => false,
        Err(_) => {
            // SAFETY: `slots` is this CPU's element.
            unsafe { add_one_atomically(&raw mut (*books.slots).unrecorded) };
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
fn add(books: Books, control: u32, state: usize, side: Side) {
    // SAFETY: both buffers are in entries of their maps. Atomic, for the iterator's programs are interrupted by the
    // others.
    each_buffer(books, control, |minis| unsafe {
        let flow = flow(minis, state);
        add_one_atomically(match side {
            Side::Entered => &raw mut (*flow).entered,
            Side::Left => &raw mut (*flow).left,
        });
    });
}

/// One that left did not.
#[inline(always)]
fn take_back(books: Books, control: u32, state: usize) {
    // SAFETY: both buffers are in entries of their maps.
    each_buffer(books, control, |minis| unsafe {
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
fn each_buffer(books: Books, control: u32, change: impl Fn(*mut MiniCounters)) {
    // SAFETY: `slots` is this CPU's element, and there are two buffers.
    change(unsafe {
        let minis = (&raw mut (*books.slots).minis).cast::<MiniCounters>();
        minis.add((control & CONTROL_BUFFER) as usize)
    });
    if !books.namespace.is_null() {
        // SAFETY: the row's buffer.
        change(unsafe { &raw mut (*books::buffer(books.namespace, control)).minis });
    }
}

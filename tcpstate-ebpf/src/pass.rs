//! A pass finds out how many sockets were in each state at its moment zero: [`CpuSlots::base`].
//!
//! From moment zero, the store that opens the gate, until the gate closes, every socket is looked at when it is
//! *first touched*: by an event, whose old state is the state at moment zero, or by the iterator's visit, if no
//! event came before. Births add nothing, for they were not there at moment zero. The entry that a touch leaves
//! in the map stays when the socket closes: its address may serve another socket at once, whose birth was counted.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use tcpstate_common::{
    State,
    abi::{CONTROL_GATE, CONTROL_SYN_RECV, CONTROL_TIME_WAIT, CpuSlots, STATE_SLOTS, is_birth},
};

use crate::{
    books::Books,
    count::add_one_atomically,
    maps::{self, TOUCHED},
    minis,
    sock::{Probed, Sock, Typed},
};

/// `EEXIST`, which is the common case: the socket was touched before.
const EEXIST: i32 = 17;
/// `E2BIG`: the map holds as many entries as it was made for.
const E2BIG: i32 = 7;

/// Who touched a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum By {
    /// An event.
    Event = 0,
    /// The iterator, and no event since.
    Visit = 1,
}

/// What a touch found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    /// Nobody touched this socket since moment zero.
    First,
    /// Somebody did.
    Again,
    /// The map is full, or failed: nobody can tell. Counted.
    Unknown,
}

/// An event of a full socket while the gate is open.
#[inline(always)]
pub(crate) fn event(books: Books, address: u64, from: usize, to: usize) {
    if touch(books.slots, address, By::Event) == Touch::First && !is_birth(from, to) {
        add_to_base(books, from);
    }
}

/// The iterator's visit of a socket. The kernel holds a full socket's lock (since 5.15), so that no event comes in
/// between the read of the state and the touch.
#[inline(always)]
pub(crate) fn visit(sock: Sock<Typed>) {
    let control = maps::control();
    if control & CONTROL_GATE == 0 || !sock.is_in_scope() {
        return;
    }
    let Some(slots) = maps::cpu_slots() else { return };
    let books = Books::of(slots, sock);
    // Before the touch: an event between the two then finds itself first, and adds the older state.
    let state = sock.state();
    if state == State::TimeWait as usize {
        if control & CONTROL_TIME_WAIT != 0 {
            // SAFETY: the state says that it is one, and the iterator holds a reference to it.
            minis::visit_time_wait(books, control, unsafe {
                Sock::<Probed>::from_ptr(sock.address() as *const u8)
            });
        }
    } else if state == State::NewSynRecv as usize {
        if control & CONTROL_SYN_RECV != 0 {
            minis::visit_request(books, sock.address());
        }
    } else if touch(slots, sock.address(), By::Visit) != Touch::Again {
        // If nobody can tell, most likely nothing was there before; the failed touch is counted either way.
        add_to_base(books, state);
    }
    // SAFETY: `slots` is this CPU's element.
    unsafe { add_one_atomically(&raw mut (*slots).visited) };
}

/// Leaves a mark in the pass's map, and says whether there was one.
#[inline(always)]
pub(crate) fn touch(slots: *mut CpuSlots, address: u64, by: By) -> Touch {
    let Some(touched) = TOUCHED.get(0) else { return Touch::Unknown };
    match touched.insert(address, by as u32, u64::from(BPF_NOEXIST)) {
        Ok(()) => Touch::First,
        Err(errno) if errno == -EEXIST => Touch::Again,
        Err(errno) => {
            // SAFETY: `slots` is this CPU's element.
            unsafe {
                let counter = if errno == -E2BIG {
                    &raw mut (*slots).map_full
                } else {
                    &raw mut (*slots).map_errors
                };
                add_one_atomically(counter);
            }
            Touch::Unknown
        }
    }
}

/// Makes a mark the event's, and says whether it was the iterator's.
#[inline(always)]
pub(crate) fn was_visited(address: u64) -> bool {
    let Some(touched) = TOUCHED.get(0) else { return false };
    // SAFETY: an entry's memory stays an entry's while the program runs, and all values are valid.
    let is_visit = unsafe { touched.get(address) }.is_some_and(|&by| by == By::Visit as u32);
    if is_visit {
        // The entry is there, so there is room for it.
        let _ = touched.insert(address, By::Event as u32, u64::from(BPF_ANY));
    }
    is_visit
}

/// Adds a full socket to the base.
#[inline(always)]
fn add_to_base(books: Books, state: usize) {
    // SAFETY: both are entries of their maps.
    unsafe {
        add_to(&raw mut (*books.slots).base, state);
        if !books.namespace.is_null() {
            add_to(&raw mut (*books.namespace).base, state);
        }
    }
}

/// Adds a mini socket to the base.
#[inline(always)]
pub(crate) fn add_mini_to_base(books: Books, state: usize) {
    // SAFETY: both are entries of their maps.
    unsafe {
        add_to(&raw mut (*books.slots).base_minis, state);
        if !books.namespace.is_null() {
            add_to(&raw mut (*books.namespace).base_minis, state);
        }
    }
}

/// Always atomic: an event's program may interrupt the iterator's on this CPU.
///
/// # Safety
/// `base` is in an entry of a map.
#[inline(always)]
unsafe fn add_to(base: *mut [u64; STATE_SLOTS], state: usize) {
    // SAFETY: the caller's promise, and the index is masked to the array's length.
    unsafe { add_one_atomically(base.cast::<u64>().add(state & (STATE_SLOTS - 1))) };
}

//! Counts by owner, for `trace --by`: which process, destination or port has sockets in which
//! state, opens and closes connections, and makes time-wait sockets.
//!
//! ```text
//! tracking -> socket_table -> first, next   full sockets: rows, references, children
//!                                |
//! minis    -> time_wait::born    |          a time-wait socket is born: owner unknown
//!                    \-----------+--> time_wait::given   its full socket closes: owner known
//! owner_hints ---> accept                   a process accepts a child
//! ```
//!
//! Each owner has a number ([`key`]), which is the index of its row ([`rows`]). A socket stores the
//! number of its owner, so an event needs no look-up by owner. A socket always counts in one row.
//! If its owner is unknown, it counts in the row [`OWNER_UNKNOWN`]. If its owner found no free
//! number, it counts in the row [`OWNER_OTHER`]. The sum over all rows is therefore exact.
//!
//! The flag for owners is frozen, so the verifier removes this code from programs that do not count
//! by owner.
//!
//! [`OWNER_OTHER`]: tcpstate_common::abi::OWNER_OTHER

mod accepted;
mod earlier;
pub(crate) mod half_open;
mod key;
mod process_exit;
mod recent;
mod rows;
pub(crate) mod time_wait;

use tcpstate_common::{
    State,
    abi::{
        CONTROL_EVENTS, FLAG_OWNERS, OWNER_IS_ACCEPTED, OWNER_IS_SERVER, OWNER_NUMBER,
        OWNER_UNKNOWN, OwnerCount, SOCKET_IS_CHILD, SocketState, is_birth,
    },
};

pub(crate) use self::accepted::{accept, is_waiting};
pub(crate) use self::rows::number_of_birth;
use self::rows::{add_live, add_waiting, count, release, retain};
use crate::{
    access::{Access, Probed},
    atomic::{add_atomically, add_one_atomically},
    config::config,
    sock::Sock,
    verifier::checked_once,
};

const CLOSE: usize = State::Close as usize;
const CLOSE_WAIT: usize = State::CloseWait as usize;
const ESTABLISHED: usize = State::Established as usize;
const FIN_WAIT1: usize = State::FinWait1 as usize;
const LAST_ACK: usize = State::LastAck as usize;
const LISTEN: usize = State::Listen as usize;
const SYN_RECV: usize = State::SynRecv as usize;
const SYN_SENT: usize = State::SynSent as usize;

/// Returns whether sockets are counted by owner; the verifier knows the value.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    config!(flags) & FLAG_OWNERS != 0
}

/// The owners of a socket: [`SocketState::owner`] and [`SocketState::closer`].
#[derive(Clone, Copy)]
pub(crate) struct Owned {
    pub(crate) owner: u32,
    pub(crate) closer: u32,
}

impl Owned {
    pub(crate) const UNKNOWN: Self = Self { owner: OWNER_UNKNOWN, closer: OWNER_UNKNOWN };

    #[inline(always)]
    pub(crate) fn of(state: &SocketState) -> Self {
        Self { owner: state.owner, closer: state.closer }
    }

    /// Returns both numbers in one number, for a function that returns only numbers.
    #[inline(always)]
    fn pack(self) -> u64 {
        u64::from(self.closer) << 32 | u64::from(self.owner)
    }

    #[inline(always)]
    fn unpack(packed: u64) -> Self {
        Self { owner: packed as u32, closer: (packed >> 32) as u32 }
    }

    /// Returns the number of the owner.
    #[inline(always)]
    fn number(self) -> u32 {
        self.owner & OWNER_NUMBER
    }

    /// Replaces the number of the owner.
    #[inline(always)]
    fn set_number(&mut self, number: u32) {
        self.owner = self.owner & !OWNER_NUMBER | number;
    }

    #[inline(always)]
    fn is_accepted(self) -> bool {
        self.owner & OWNER_IS_ACCEPTED != 0
    }

    #[inline(always)]
    fn is_server(self) -> bool {
        self.owner & OWNER_IS_SERVER != 0
    }

    /// Returns the owner that closed the connection. If owners are no processes, the owner of a
    /// socket never changes.
    #[inline(always)]
    fn closed_by(self) -> u32 {
        if key::has_process() { self.closer } else { self.number() }
    }
}

/// What is known of an event of a socket, in one number.
#[derive(Clone, Copy)]
pub(crate) struct Event {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) control: u32,
    /// [`SocketState::marks`] before the event.
    pub(crate) marks: u8,
    pub(crate) is_hinted: bool,
}

impl Event {
    #[inline(always)]
    fn pack(self) -> u64 {
        let Self { from, to, control, marks, is_hinted } = self;
        (from as u64 & 0xff)
            | (to as u64 & 0xff) << 8
            | u64::from(marks) << 16
            | u64::from(is_hinted) << 24
            | u64::from(control) << 32
    }

    #[inline(always)]
    fn unpack(packed: u64) -> Self {
        Self {
            from: (packed & 0xff) as usize,
            to: (packed >> 8 & 0xff) as usize,
            marks: (packed >> 16) as u8,
            is_hinted: packed >> 24 & 1 != 0,
            control: (packed >> 32) as u32,
        }
    }

    #[inline(always)]
    fn is_counted(self) -> bool {
        self.control & CONTROL_EVENTS != 0
    }

    #[inline(always)]
    fn is_of_child(self) -> bool {
        self.marks & SOCKET_IS_CHILD != 0
    }
}

/// Returns the number of the owner that an event can show, or [`OWNER_UNKNOWN`]. The function is
/// called before the event is counted, because the verifier limits the stack of nested calls.
#[inline(always)]
pub(crate) fn candidate<A: Access>(sock: Sock<A>, event: Event, numbers: Owned) -> u32 {
    let Event { from, to, .. } = event;
    let is_opened = from == CLOSE && (to == SYN_SENT || to == LISTEN);
    let is_closed = closes(to) && key::has_process() && sock.is_locked_by_process();
    // The peer of a child is known when it leaves SYN_RECV.
    let is_completed = from == SYN_RECV && event.is_of_child() && !key::has_process();
    if is_opened || is_closed || is_completed {
        key::number(sock, from, to == LISTEN || numbers.is_server())
    } else {
        OWNER_UNKNOWN
    }
}

/// Returns whether a side of the connection closes when its socket enters the state.
#[inline(always)]
fn closes(to: usize) -> bool {
    to == FIN_WAIT1 || to == LAST_ACK
}

/// Counts the first observed event of a socket, and returns its owners.
#[inline(always)]
pub(crate) fn first<A: Access>(sock: Sock<A>, event: Event) -> Owned {
    let earlier = if is_birth(event.from, event.to) {
        Owned::UNKNOWN
    } else {
        // A child that existed before tcpstate started counts neither as accepted nor as waiting.
        Owned { owner: earlier::take(sock) | OWNER_IS_ACCEPTED, ..Owned::UNKNOWN }
    };
    let candidate = candidate(sock, event, earlier);
    let address = sock.plain_address();
    Owned::unpack(count_first(address, event.pack(), earlier.pack(), candidate.into()))
}

checked_once! {
    fn count_first(address: u64, event: u64, earlier: u64, candidate: u64) -> u64 {
        if !is_on() {
            return 0;
        }
        let candidate = candidate as u32;
        // SAFETY: the caller passes the address of a socket that exists while the program runs.
        let sock = unsafe { Sock::<Probed>::from_ptr(address as *const u8) };
        let event = Event::unpack(event);
        let Event { from, to, .. } = event;
        let mut numbers = Owned::unpack(earlier);
        if is_birth(from, to) {
            if to == SYN_RECV || to == LISTEN {
                numbers.owner = OWNER_IS_SERVER;
            }
            if to == SYN_RECV {
                // The peer of a child is not known yet.
                add_waiting(1);
            } else {
                numbers.set_number(candidate);
                retain(candidate);
            }
        }
        count_event(event, &mut numbers, candidate);
        if to == CLOSE {
            end(sock, event, numbers);
        } else {
            add_live(numbers.number(), to, 1);
        }
        numbers.pack()
    }
}

/// Counts a later event of a socket, and returns its owners. The caller has already stored the new
/// state of the socket, or removed the socket from the table.
#[inline(always)]
pub(crate) fn next<A: Access>(sock: Sock<A>, event: Event, numbers: Owned, born: u64) -> Owned {
    let candidate = candidate(sock, event, numbers);
    let address = sock.plain_address();
    Owned::unpack(count_next(address, event.pack(), numbers.pack(), born, candidate.into()))
}

checked_once! {
    fn count_next(address: u64, event: u64, numbers: u64, born: u64, candidate: u64) -> u64 {
        if !is_on() {
            return 0;
        }
        let candidate = candidate as u32;
        // SAFETY: the caller passes the address of a socket that exists while the program runs.
        let sock = unsafe { Sock::<Probed>::from_ptr(address as *const u8) };
        let event = Event::unpack(event);
        let Event { from, to, .. } = event;
        let mut numbers = Owned::unpack(numbers);
        if event.is_of_child() && !numbers.is_accepted() {
            // A process may accept the socket while this program runs. A hint that this program
            // does not see is found at the next event. The end of the socket always looks for a
            // hint.
            if event.is_hinted || to == CLOSE {
                accepted::take(sock.address(), born, from, &mut numbers);
            }
            if numbers.number() == OWNER_UNKNOWN && from == SYN_RECV && !key::has_process() {
                numbers.set_number(candidate);
                retain(candidate);
                add_live(candidate, from, 1);
            }
        }
        add_live(numbers.number(), from, -1);
        count_event(event, &mut numbers, candidate);
        if to == CLOSE {
            end(sock, event, numbers);
        } else {
            add_live(numbers.number(), to, 1);
        }
        numbers.pack()
    }
}

/// Counts what an event says of the owner. If the event closes the connection, the function finds
/// the owner that closes it.
#[inline(always)]
fn count_event(event: Event, numbers: &mut Owned, candidate: u32) {
    let Event { from, to, .. } = event;
    let closes = closes(to);
    if closes && key::has_process() {
        // A socket can enter FIN_WAIT1 and LAST_ACK only once.
        numbers.closer = candidate;
        retain(numbers.closer);
    }
    if !event.is_counted() {
        return;
    }
    if closes {
        let column =
            if to == FIN_WAIT1 { OwnerCount::ClosedFirst } else { OwnerCount::ClosedSecond };
        count(numbers.closed_by(), column, 1);
    } else if to == SYN_SENT && from == CLOSE {
        count(numbers.number(), OwnerCount::Opened, 1);
    } else if from == SYN_SENT && to == ESTABLISHED {
        count(numbers.number(), OwnerCount::Connected, 1);
    } else if from == SYN_SENT && to == CLOSE {
        count(numbers.number(), OwnerCount::Failed, 1);
    } else if to == CLOSE && (from == ESTABLISHED || from == CLOSE_WAIT) {
        count(numbers.number(), OwnerCount::Reset, 1);
    }
}

/// Called when a socket closes. The socket no longer counts in a state.
#[inline(always)]
fn end<A: Access>(sock: Sock<A>, event: Event, numbers: Owned) {
    if event.is_of_child() && !numbers.is_accepted() {
        add_waiting(-1);
        count_accepted(numbers.number(), event.control, 1);
    }
    time_wait::given(sock, event.from, numbers.closed_by());
    release(numbers.number());
    release(numbers.closer);
}

/// Takes back what [`first`] counted, because the socket does not fit in the table of sockets.
#[inline(never)]
pub(crate) fn not_stored(owner: u32, closer: u32, to: usize) {
    let numbers = Owned { owner, closer };
    add_live(numbers.number(), to, -1);
    if to == SYN_RECV && !numbers.is_accepted() {
        add_waiting(-1);
    }
    release(numbers.number());
    release(closer);
    if let Some(memory) = rows::memory() {
        // SAFETY: `memory` points to this CPU's map element, which stays valid while the program
        // runs.
        unsafe { add_one_atomically(&raw mut (*memory).untracked) };
    }
}

/// Takes back what counts of a socket whose later events were missed.
#[inline(always)]
pub(crate) fn forget(state: &SocketState) {
    let is_child = u64::from(state.marks & SOCKET_IS_CHILD != 0);
    forget_socket(Owned::of(state).pack(), state.state() as u64 | is_child << 8);
}

#[inline(never)]
fn forget_socket(numbers: u64, state: u64) {
    let numbers = Owned::unpack(numbers);
    add_live(numbers.number(), (state & 0xff) as usize, -1);
    if state >> 8 != 0 && !numbers.is_accepted() {
        add_waiting(-1);
    }
    release(numbers.number());
    release(numbers.closer);
    if let Some(memory) = rows::memory() {
        // SAFETY: `memory` points to this CPU's map element, which stays valid while the program
        // runs.
        unsafe { add_one_atomically(&raw mut (*memory).broken) };
    }
}

#[inline(always)]
fn count_accepted(owner: u32, control: u32, number: i64) {
    if control & CONTROL_EVENTS == 0 {
        return;
    }
    count(owner, OwnerCount::Accepted, number);
    if let Some(memory) = rows::memory() {
        // SAFETY: `memory` points to this CPU's map element, which stays valid while the program
        // runs.
        unsafe { add_atomically(&raw mut (*memory).accepted, number.cast_unsigned()) };
    }
}

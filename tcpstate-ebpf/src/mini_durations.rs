//! Durations of mini sockets, for `hist`. The hooks in [`crate::functions`] and [`crate::timers`]
//! call this module. A frozen flag removes its code from programs that only count.
//!
//! Timers do not report every move of a time-wait socket from FIN_WAIT2 to TIME_WAIT. If a move is
//! only noticed at the end of the socket, the time of the move is unknown. Then only the lifetime
//! of the whole socket is known.

use tcpstate_common::{
    State,
    abi::{FLAG_HISTOGRAMS, UNKNOWN_DURATION},
    histogram::{
        GroupKey, LastRequest, LastTimeWait, SLOT_HOLD, SLOT_ORPHAN, SLOT_REQUEST, SLOT_TIME_WAIT,
        TimedMini,
    },
};

use crate::{
    atomic::add_one_atomically,
    config::config,
    connection::Mini,
    event_filter::{self, Verdict},
    histograms::HistogramRef,
    kernel::now,
    maps::{TIMED_MINIS, TIMED_REQUESTS, histogram_slots},
    sock::{Access, Sock},
};

const FIN_WAIT2: usize = State::FinWait2 as usize;
const TIME_WAIT: usize = State::TimeWait as usize;
const CLOSE: usize = State::Close as usize;

/// Whether histograms are enabled; the verifier knows the value.
#[inline(always)]
fn is_asked_for() -> bool {
    config!(flags) & FLAG_HISTOGRAMS != 0
}

/// A time-wait socket's timer is about to start for the first time.
#[inline(always)]
pub(crate) fn time_wait_born<A: Access>(tw: Sock<A>) {
    if is_asked_for() {
        let now = now();
        let timed = TimedMini { born: now, since: now, substate: tw.substate() as u64 };
        remember(tw.address(), timed);
    }
}

/// A packet starts the timer of a time-wait socket again. The packet may have just moved the socket
/// to TIME_WAIT.
#[inline(always)]
pub(crate) fn time_wait_rearmed<A: Access>(tw: Sock<A>, control: u32) {
    if !is_asked_for() {
        return;
    }
    let Some(entry) = TIMED_MINIS.get(tw.address()) else { return };
    // SAFETY: an entry's memory stays an entry's while the program runs.
    let timed = unsafe { *entry };
    // Write only after a move, which is rare. If the socket ends on another CPU, its entry may
    // already belong to another socket.
    if has_moved(tw, timed) {
        // SAFETY: an entry's memory stays an entry's while the program runs.
        unsafe { *entry = moved(tw, control, timed, now()) };
    }
}

/// A time-wait socket ends.
#[inline(always)]
pub(crate) fn time_wait_gone<A: Access>(tw: Sock<A>, control: u32) {
    if !is_asked_for() {
        return;
    }
    let address = tw.address();
    let entry = TIMED_MINIS.get(address);
    // SAFETY: an entry's memory stays an entry's while the program runs.
    let timed = entry.map_or_else(TimedMini::default, |entry| unsafe { *entry });
    let now = now();
    let End { slot, substate, lifetime } = End::of(tw, timed, now);
    let mut extremes = [[0; 2]; 2];
    let does_orphan_match = has_moved(tw, timed) && does_match(tw, FIN_WAIT2, TIME_WAIT);
    let does_end_match = does_match(tw, tw.substate(), CLOSE);
    // Only matching durations look up a group, because the number of groups is limited.
    if does_orphan_match || does_end_match {
        let histogram = of_mini(tw, control);
        extremes = [slot, SLOT_HOLD].map(|slot| histogram.extremes(slot));
        if does_orphan_match {
            histogram.add(SLOT_ORPHAN, UNKNOWN_DURATION);
        }
        if does_end_match {
            histogram.add(slot, substate);
            histogram.add(SLOT_HOLD, lifetime);
        }
    }
    if entry.is_some() {
        TIMED_MINIS.remove(address);
    }
    if let Some(slots) = histogram_slots() {
        let last = LastTimeWait { timed, until: now, extremes };
        // SAFETY: `slots` is this CPU's element.
        unsafe { (&raw mut (*slots).time_wait).write_volatile(last) };
    }
}

/// The time-wait socket that seemed to end last did not end. Its timer was only stopped and started
/// again, within one section without interrupts. `control` is the control word at the start of the
/// section.
#[inline(always)]
pub(crate) fn time_wait_restarted<A: Access>(tw: Sock<A>, control: u32) {
    if is_asked_for() {
        restarted(tw, control);
    }
}

/// Corrects the durations. Out of line, because it is rare.
#[inline(never)]
fn restarted<A: Access>(tw: Sock<A>, control: u32) {
    let Some(slots) = histogram_slots() else { return };
    // SAFETY: `slots` is this CPU's element.
    let last = unsafe { (&raw const (*slots).time_wait).read_volatile() };
    let LastTimeWait { timed, until, .. } = last;
    let End { slot, substate, lifetime } = End::of(tw, timed, until);
    let does_orphan_match = has_moved(tw, timed) && does_match(tw, FIN_WAIT2, TIME_WAIT);
    let does_end_match = does_match(tw, tw.substate(), CLOSE);
    if does_orphan_match || does_end_match {
        let histogram = of_mini(tw, control);
        if does_orphan_match {
            histogram.take_back(SLOT_ORPHAN, UNKNOWN_DURATION, [0; 2]);
        }
        if does_end_match {
            histogram.take_back(slot, substate, last.extremes[0]);
            histogram.take_back(SLOT_HOLD, lifetime, last.extremes[1]);
        }
    }
    if timed.substate != 0 {
        remember(tw.address(), moved(tw, control, timed, until));
    }
}

/// Whether the filter matches the end of a mini socket's state, as it would for the event line.
#[inline(always)]
pub(crate) fn does_match<A: Access>(mini: Sock<A>, from: usize, to: usize) -> bool {
    !event_filter::is_on() || passes_filter(mini, from, to)
}

/// Out of line, for it has many callers.
#[inline(never)]
fn passes_filter<A: Access>(mini: Sock<A>, from: usize, to: usize) -> bool {
    event_filter::of_socket(&Mini(mini), from, to) == Verdict::Now
}

/// The durations that are known at the end of a time-wait socket, and the histogram of its
/// substate.
struct End {
    slot: u32,
    /// Nanoseconds in the last substate, or [`UNKNOWN_DURATION`].
    substate: u64,
    /// Nanoseconds from the socket's birth to its end, or [`UNKNOWN_DURATION`].
    lifetime: u64,
}

impl End {
    #[inline(always)]
    fn of<A: Access>(tw: Sock<A>, timed: TimedMini, now: u64) -> Self {
        let state = tw.substate() as u64;
        let slot = if state == TIME_WAIT as u64 { SLOT_TIME_WAIT } else { SLOT_ORPHAN };
        let substate = if timed.substate == state { now - timed.since } else { UNKNOWN_DURATION };
        let lifetime = if timed.substate == 0 { UNKNOWN_DURATION } else { now - timed.born };
        Self { slot, substate, lifetime }
    }
}

/// Whether a time-wait socket moved to TIME_WAIT since its last observation.
#[inline(always)]
fn has_moved<A: Access>(tw: Sock<A>, timed: TimedMini) -> bool {
    timed.substate == FIN_WAIT2 as u64 && tw.substate() == TIME_WAIT
}

/// The new stored state of a time-wait socket that a packet may have moved at this time.
#[inline(always)]
fn moved<A: Access>(tw: Sock<A>, control: u32, timed: TimedMini, now: u64) -> TimedMini {
    if !has_moved(tw, timed) {
        return timed;
    }
    if does_match(tw, FIN_WAIT2, TIME_WAIT) {
        of_mini(tw, control).add(SLOT_ORPHAN, now - timed.since);
    }
    TimedMini { since: now, substate: TIME_WAIT as u64, ..timed }
}

/// A request socket was inserted into the kernel's table, or its timer starts for the first time.
#[inline(always)]
pub(crate) fn request_born(address: u64) {
    if is_asked_for() && TIMED_REQUESTS.insert(address, now()).is_err() {
        count_untracked();
    }
}

/// A request socket was replaced by its child, or its timer has stopped.
#[inline(always)]
pub(crate) fn request_stopped<A: Access>(req: Sock<A>) {
    if !is_asked_for() {
        return;
    }
    let Some(slots) = histogram_slots() else { return };
    let request = req.address();
    let since = forget_request(request);
    let last = LastRequest { request, since, until: now(), ports: ports(req) };
    // SAFETY: `slots` is this CPU's element.
    unsafe { (&raw mut (*slots).request).write_volatile(last) };
}

/// The timer of a request socket expired, and starts again.
#[inline(always)]
pub(crate) fn request_restarted(request: u64) {
    if !is_asked_for() {
        return;
    }
    let Some(slots) = histogram_slots() else { return };
    // SAFETY: `slots` is this CPU's element.
    let last = unsafe { (&raw const (*slots).request).read_volatile() };
    if last.request == request
        && last.since != 0
        && TIMED_REQUESTS.insert(request, last.since).is_err()
    {
        count_untracked();
    }
}

/// A request socket was dropped.
#[inline(always)]
pub(crate) fn request_dropped<A: Access>(req: Sock<A>, control: u32) {
    if is_asked_for() {
        let since = forget_request(req.address());
        let duration = if since == 0 { UNKNOWN_DURATION } else { now() - since };
        if does_match(req, State::SynRecv as usize, CLOSE) {
            of_mini(req, control).add(SLOT_REQUEST, duration);
        }
    }
}

/// Removes a request socket, and returns the start time of the request; 0 if unknown.
#[inline(always)]
fn forget_request(request: u64) -> u64 {
    let Some(entry) = TIMED_REQUESTS.get(request) else { return 0 };
    // SAFETY: an entry's memory stays an entry's while the program runs.
    let since = unsafe { *entry };
    TIMED_REQUESTS.remove(request);
    since
}

/// Both ports of a socket that has a remote port, full or mini.
#[inline(always)]
pub(crate) fn ports<A: Access>(sock: Sock<A>) -> u64 {
    let remote: u16 = sock.load(config!(events.skc_dport));
    let local: u16 = sock.load(config!(events.skc_num));
    u64::from(remote) << 16 | u64::from(local)
}

/// The histograms of a mini socket, which has no owner. Out of line, because it has many callers.
#[inline(never)]
fn of_mini<A: Access>(mini: Sock<A>, control: u32) -> HistogramRef {
    // TIME_WAIT stands for any mini socket: it has a local port and no cgroup.
    HistogramRef::of(mini, control, State::TimeWait as usize, GroupKey::default())
}

#[inline(never)]
fn remember(address: u64, timed: TimedMini) {
    if TIMED_MINIS.insert(address, timed).is_err() {
        count_untracked();
    }
}

#[inline(always)]
fn count_untracked() {
    if let Some(slots) = histogram_slots() {
        // SAFETY: `slots` is this CPU's element.
        unsafe { add_one_atomically(&raw mut (*slots).untracked_minis) };
    }
}

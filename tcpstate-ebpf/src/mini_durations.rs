//! Computes durations of mini sockets, for `hist`. The hooks in [`crate::functions`] and
//! [`crate::timers`] call this module. The flag for histograms is frozen, so the verifier removes
//! the code of this module from programs that only count.
//!
//! Timers do not report every move of a time-wait socket from FIN_WAIT2 to TIME_WAIT. If a move is
//! noticed only at the end of the socket, the time of the move is unknown. If the time of the move
//! is unknown, only the lifetime of the whole socket is known.

use tcpstate_common::{
    State,
    abi::{FLAG_HISTOGRAMS, UNKNOWN_DURATION},
    histogram::{
        GroupKey, LastRequest, LastTimeWait, SLOT_HOLD, SLOT_ORPHAN, SLOT_REQUEST, SLOT_TIME_WAIT,
        TimedMini,
    },
};

use crate::{
    access::Access,
    atomic::add_one_atomically,
    cgroup_filter,
    config::config,
    connection::Mini,
    event_filter::{self, Verdict},
    histograms::{self, HistogramRef},
    kernel::now,
    maps::{TIMED_MINIS, TIMED_REQUESTS, histogram_slots},
    mini_states, program_tree,
    sock::Sock,
};

const FIN_WAIT2: usize = State::FinWait2 as usize;
const TIME_WAIT: usize = State::TimeWait as usize;
const CLOSE: usize = State::Close as usize;

/// Returns whether histograms are enabled; the verifier knows the value.
#[inline(always)]
fn is_asked_for() -> bool {
    config!(flags) & FLAG_HISTOGRAMS != 0
}

/// Called when the timer of a time-wait socket is about to start for the first time.
#[inline(always)]
pub(crate) fn time_wait_born<A: Access>(tw: Sock<A>) {
    if is_asked_for() {
        let now = now();
        let timed = TimedMini { born: now, since: now, substate: tw.substate() as u64 };
        remember(tw.address(), timed);
    }
}

/// Called when a packet starts the timer of a time-wait socket again. The packet may have just
/// moved the socket to TIME_WAIT.
#[inline(always)]
pub(crate) fn time_wait_rearmed<A: Access>(tw: Sock<A>, control: u32) {
    if !is_asked_for() {
        return;
    }
    let Some(entry) = TIMED_MINIS.get(tw.address()) else { return };
    // SAFETY: the kernel does not free the memory of a map entry while the program runs.
    let timed = unsafe { *entry };
    // The entry is written only after a move, which is rare. If the socket ends on another CPU, its
    // entry may already belong to another socket, which a write would corrupt.
    if has_moved(tw, timed) {
        // SAFETY: the kernel does not free the memory of a map entry while the program runs.
        unsafe { *entry = moved(tw, control, timed, now()) };
    }
}

/// Called when a time-wait socket ends.
#[inline(always)]
pub(crate) fn time_wait_gone<A: Access>(tw: Sock<A>, control: u32) {
    if !is_asked_for() {
        return;
    }
    let address = tw.address();
    let entry = TIMED_MINIS.get(address);
    // SAFETY: the kernel does not free the memory of a map entry while the program runs.
    let timed = entry.map_or_else(TimedMini::default, |entry| unsafe { *entry });
    let now = now();
    let End { slot, substate, lifetime } = End::of(tw, timed, now);
    let mut extremes = [[0; 2]; 2];
    let does_orphan_match = has_moved(tw, timed) && does_match(tw, FIN_WAIT2, TIME_WAIT);
    let does_end_match = does_match(tw, tw.substate(), CLOSE);
    // A group is looked up only for matching durations, because the number of groups is limited.
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
        // SAFETY: `slots` points to this CPU's map element, which stays valid while the program
        // runs.
        unsafe { (&raw mut (*slots).time_wait).write_volatile(last) };
    }
}

/// Called when the time-wait socket that seemed to end last did not end. The kernel only stopped
/// the socket's timer and started it again, within one section without interrupts. `control` is the
/// control word at the start of the section.
#[inline(always)]
pub(crate) fn time_wait_restarted<A: Access>(tw: Sock<A>, control: u32) {
    if is_asked_for() {
        restarted(tw, control);
    }
}

/// Corrects the durations of a time-wait socket that did not end. The function is not inlined,
/// because corrections are rare.
#[inline(never)]
fn restarted<A: Access>(tw: Sock<A>, control: u32) {
    let Some(slots) = histogram_slots() else { return };
    // SAFETY: `slots` points to this CPU's map element, which stays valid while the program runs.
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

/// Returns whether the filter matches when a mini socket leaves the state `from`, as for the event
/// line.
#[inline(always)]
pub(crate) fn does_match<A: Access>(mini: Sock<A>, from: usize, to: usize) -> bool {
    !event_filter::is_on() || passes_filter(mini, from, to)
}

/// The function is not inlined, because it has many callers.
#[inline(never)]
fn passes_filter<A: Access>(mini: Sock<A>, from: usize, to: usize) -> bool {
    let is_in_cgroup =
        cgroup_filter::has_cgroups() && mini_states::callers(mini.address()).is_in_cgroup != 0;
    if program_tree::is_on()
        && !event_filter::is_in_tree(mini_states::callers(mini.address()).closer_pid)
    {
        return false;
    }
    let mini = Mini { sock: mini, is_in_cgroup };
    event_filter::of_socket(&mini, from, to) == Verdict::Now
}

/// The durations that are known at the end of a time-wait socket, and the histogram of its
/// substate.
struct End {
    slot: u32,
    /// How long the socket was in its last substate (nanoseconds), or [`UNKNOWN_DURATION`].
    substate: u64,
    /// How long the socket existed (nanoseconds), or [`UNKNOWN_DURATION`].
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

/// Returns whether a time-wait socket moved to TIME_WAIT since its last observation.
#[inline(always)]
fn has_moved<A: Access>(tw: Sock<A>, timed: TimedMini) -> bool {
    timed.substate == FIN_WAIT2 as u64 && tw.substate() == TIME_WAIT
}

/// Returns the new stored state of a time-wait socket that a packet may have moved at the time
/// `now`.
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

/// Called when a request socket was inserted into the kernel's table, or when its timer starts for
/// the first time.
#[inline(always)]
pub(crate) fn request_born(address: u64) {
    if is_asked_for() && TIMED_REQUESTS.insert(address, now()).is_err() {
        count_untracked();
    }
}

/// Called when a child replaced a request socket, or when the timer of a request socket has
/// stopped.
#[inline(always)]
pub(crate) fn request_stopped<A: Access>(req: Sock<A>) {
    if !is_asked_for() {
        return;
    }
    let Some(slots) = histogram_slots() else { return };
    let request = req.address();
    let since = forget_request(request);
    let last = LastRequest { request, since, until: now(), ports: ports(req) };
    // SAFETY: `slots` points to this CPU's map element, which stays valid while the program runs.
    unsafe { (&raw mut (*slots).request).write_volatile(last) };
}

/// Called when the expired timer of a request socket starts again.
#[inline(always)]
pub(crate) fn request_restarted(request: u64) {
    if !is_asked_for() {
        return;
    }
    let Some(slots) = histogram_slots() else { return };
    // SAFETY: `slots` points to this CPU's map element, which stays valid while the program runs.
    let last = unsafe { (&raw const (*slots).request).read_volatile() };
    if last.request == request
        && last.since != 0
        && TIMED_REQUESTS.insert(request, last.since).is_err()
    {
        count_untracked();
    }
}

/// Called when the kernel dropped a request socket.
#[inline(always)]
pub(crate) fn request_dropped<A: Access>(req: Sock<A>, control: u32) {
    if is_asked_for() {
        histograms::observe_request(req);
        let since = forget_request(req.address());
        let duration = if since == 0 { UNKNOWN_DURATION } else { now() - since };
        if does_match(req, State::SynRecv as usize, CLOSE) {
            of_mini(req, control).add(SLOT_REQUEST, duration);
        }
    }
}

/// Removes the stored start time of a request socket and returns it; 0 if unknown.
#[inline(always)]
fn forget_request(request: u64) -> u64 {
    let Some(entry) = TIMED_REQUESTS.get(request) else { return 0 };
    // SAFETY: the kernel does not free the memory of a map entry while the program runs.
    let since = unsafe { *entry };
    TIMED_REQUESTS.remove(request);
    since
}

/// Returns both ports of a full or mini socket that has a remote port.
#[inline(always)]
pub(crate) fn ports<A: Access>(sock: Sock<A>) -> u64 {
    let remote: u16 = sock.load(config!(events.skc_dport));
    let local: u16 = sock.load(config!(events.skc_num));
    u64::from(remote) << 16 | u64::from(local)
}

/// Returns the histograms of a mini socket, which counts for the process that closed the
/// connection. The function is not inlined, because it has many callers.
#[inline(never)]
fn of_mini<A: Access>(mini: Sock<A>, control: u32) -> HistogramRef {
    let closer = if histograms::is_by_owner() {
        GroupKey::of_name(mini_states::callers(mini.address()).closer_comm)
    } else {
        GroupKey::default()
    };
    // TIME_WAIT stands for the state of any mini socket: a mini socket has a local port and no
    // cgroup.
    HistogramRef::of(mini, control, State::TimeWait as usize, closer)
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
        // SAFETY: `slots` points to this CPU's map element, which stays valid while the program
        // runs.
        unsafe { add_one_atomically(&raw mut (*slots).untracked_minis) };
    }
}

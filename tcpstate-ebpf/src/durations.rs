//! The durations of the states of full sockets, for `hist`. [`crate::tracking`] calls this module
//! if histograms are enabled.
//!
//! A duration is counted as unknown if its start was not observed, or if an event between its start
//! and its end was missed. The filter checks the event that ends a duration, as the filter does for
//! event lines.

use tcpstate_common::{
    State,
    abi::UNKNOWN_DURATION,
    histogram::{
        GroupKey, LastRequest, SLOT_LIFETIME, SLOT_REQUEST, SLOT_SERVER_CONNECT, slot_of_pair,
    },
};

use crate::{
    access::Access,
    events::Transition,
    histograms::{self, HistogramRef},
    maps, mini_durations,
    process::Process,
    sock::Sock,
    socket_table::Observed,
};

const LISTEN: usize = State::Listen as usize;
const SYN_SENT: usize = State::SynSent as usize;
const SYN_RECV: usize = State::SynRecv as usize;
const ESTABLISHED: usize = State::Established as usize;
const CLOSE: usize = State::Close as usize;

/// Adds the durations that end with an event in which a socket leaves a state. `matches` tells
/// whether the event matches the filter.
#[inline(always)]
pub(crate) fn add<A: Access>(
    transition: Transition<A>,
    observed: &Observed,
    matches: bool,
    control: u32,
) {
    let Transition { sock, from, to, now, .. } = transition;
    let &Observed { is_known, duration, born, is_child, .. } = observed;
    let is_accepted = from == SYN_RECV && to == ESTABLISHED && (is_child || !is_known);
    let does_request_match = is_accepted && mini_durations::does_match(sock, SYN_RECV, CLOSE);
    // A group is looked up only for matching durations, because the number of groups is limited.
    if !matches && !does_request_match {
        return;
    }
    let histogram = HistogramRef::of(sock, control, from, owner_key(&observed.owner));
    if matches {
        histogram.add(slot_of_pair(from, to), duration);
    }
    if is_accepted {
        let since = if is_known { now - duration } else { u64::MAX };
        established(sock, histogram, [does_request_match, matches], now, since);
    }
    if matches && to == CLOSE && from != LISTEN && from != SYN_SENT && from != SYN_RECV {
        histogram.add(SLOT_LIFETIME, if born == 0 { UNKNOWN_DURATION } else { now - born });
    }
}

/// Adds the durations of a handshake when a child enters ESTABLISHED. `born` is the time of the
/// child's birth, or `u64::MAX` if the time is unknown.
///
/// The function uses the request socket that was last removed from the kernel's table on this CPU.
/// The request socket belongs to the child if it has the child's ports and was removed after the
/// child's birth. The handshake began when the child's request socket was inserted into the table.
/// A child has no request socket after a SYN cookie or with Fast Open. The programs may also have
/// missed the request socket. Without a known request socket, the start of the handshake is
/// unknown.
///
/// The first filter result is for the duration of the request socket, whose end another hook
/// reports. The second filter result is for the duration of the child.
#[inline(always)]
fn established<A: Access>(
    sock: Sock<A>,
    histogram: HistogramRef,
    [does_request_match, matches]: [bool; 2],
    now: u64,
    born: u64,
) {
    let Some(slots) = maps::histogram_slots() else { return };
    // SAFETY: `slots` points to this CPU's map element, which stays valid while the program runs.
    let request: LastRequest = unsafe { (*slots).request };
    let is_its_own =
        request.ports == mini_durations::ports(sock) && request.until >= born && request.since != 0;
    let (mut in_request, mut in_handshake) = (UNKNOWN_DURATION, UNKNOWN_DURATION);
    if is_its_own {
        (in_request, in_handshake) = (request.until - request.since, now - request.since);
    }
    if does_request_match {
        histogram.add(SLOT_REQUEST, in_request);
    }
    if matches {
        histogram.add(SLOT_SERVER_CONNECT, in_handshake);
    }
}

/// Returns the owner's name as the key of a group, if sockets are grouped by owner.
#[inline(always)]
fn owner_key(owner: &Process) -> GroupKey {
    if !histograms::is_by_owner() {
        return GroupKey { words: [0; 2] };
    }
    GroupKey::of_name(owner.comm)
}

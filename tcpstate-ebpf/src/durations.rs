//! How long each state of a full socket lasted, for `hist`. [`crate::tracking`] calls here where histograms are asked for.
//!
//! A duration whose start was not observed counts as unknown when it ends, and so does one of which an event was missed. The
//! filter decides by the event that ends a duration, as it does for the lines of events.

use tcpstate_common::{
    State,
    abi::UNKNOWN_DURATION,
    histogram::{
        GroupKey, LastRequest, SLOT_LIFETIME, SLOT_REQUEST, SLOT_SERVER_CONNECT, slot_of_pair,
    },
};

use crate::{
    events::Transition,
    histograms::{self, HistogramRef},
    maps, mini_durations,
    process::Process,
    sock::{Access, Sock},
    socket_table::Observed,
};

const LISTEN: usize = State::Listen as usize;
const SYN_SENT: usize = State::SynSent as usize;
const SYN_RECV: usize = State::SynRecv as usize;
const ESTABLISHED: usize = State::Established as usize;
const CLOSE: usize = State::Close as usize;

/// Adds the durations that end with an event which leaves a state. `matches` is the filter's verdict on the event.
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
    // Only durations that match use up a group, since there are few groups.
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

/// A child is established; its birth is far in the future if it is unknown. The request socket that it replaces may be the last
/// one that was taken out of the kernel's table on this CPU since that birth. Then the handshake began when the request was put
/// into the table. After a SYN cookie or with Fast Open there is no request, and none is known if the programs missed it. Then
/// the begin of the handshake is unknown.
///
/// The first verdict is on the request's own time, by its end, which another hook reports; the second is on the child's.
#[inline(always)]
fn established<A: Access>(
    sock: Sock<A>,
    histogram: HistogramRef,
    [does_request_match, matches]: [bool; 2],
    now: u64,
    born: u64,
) {
    let Some(slots) = maps::histogram_slots() else { return };
    // SAFETY: `slots` is this CPU's element.
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

/// The name of the owner as a group's key, where sockets are grouped by it.
#[inline(always)]
fn owner_key(owner: &Process) -> GroupKey {
    if !histograms::is_by_owner() {
        return GroupKey { words: [0; 2] };
    }
    let (first, second) = owner.comm.split_at(8);
    let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_ne_bytes);
    GroupKey { words: [word(first), word(second)] }
}

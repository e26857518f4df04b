//! Writes each transition of a full socket, with its connection, to the [ring](crate::ring) for
//! `trace --events`.
//!
//! [`crate::tracking`] calls this module if events are enabled. Two fields may be unknown: the
//! owner of a socket that called neither connect() nor listen(), and the duration of a state whose
//! start was not observed.

use tcpstate_common::{
    State,
    abi::{EVENT_IS_AMENDABLE, EventRecord, FLAG_LINES, RecordKind, is_birth},
};

use crate::{
    access::Access, cgroups, closers::Entry, config::config, connections, program_tree, ring,
    sock::Sock, socket_table::Observed,
};

/// An event of a full socket: the socket, its old and new state, and the time.
#[derive(Clone, Copy)]
pub(crate) struct Transition<A> {
    pub(crate) sock: Sock<A>,
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Time of the event (monotonic clock, nanoseconds).
    pub(crate) now: u64,
    pub(crate) remote_port: u16,
}

/// Writes the event line of an event that matches the filter. `facts` is the result of
/// [`crate::close_reason::facts`]. If connections are enabled, the last event of a connection is
/// written with the sum of the connection.
#[inline(always)]
pub(crate) fn write<A: Access>(
    transition: Transition<A>,
    observed: &Observed,
    closer: Entry,
    facts: (u16, u8),
) {
    let Transition { from, to, .. } = transition;
    let is_end = connections::is_end(from, to);
    let is_written = if connections::is_on() && is_end {
        connections::write(transition, observed, closer, facts)
    } else if config!(flags) & FLAG_LINES != 0 {
        ring::write(|| record(transition, observed, closer, facts, RecordKind::Transition))
    } else {
        true
    };
    if !is_written {
        ring::count_dropped(is_end);
    }
}

/// Returns the record of an event. `facts` is the result of [`crate::close_reason::facts`].
#[inline(always)]
pub(crate) fn record<A: Access>(
    transition: Transition<A>,
    observed: &Observed,
    closer: Entry,
    (error, flags): (u16, u8),
    kind: RecordKind,
) -> EventRecord {
    let Transition { sock, from, to, now, remote_port } = transition;
    let family = sock.family();
    let (local, remote) = sock.addresses(family);
    let is_birth = is_birth(from, to);
    let mut flags = flags;
    // The next event of a newborn socket completes this line, and usually follows immediately.
    if is_birth && to != State::Listen as usize {
        flags |= EVENT_IS_AMENDABLE;
    }
    // A newborn child still has the cookie of its request socket. `inet_csk_clone_lock` replaces
    // the cookie after this event.
    let is_child = to == State::SynRecv as usize && is_birth;
    let cookie = if is_child { 0 } else { sock.cookie() };
    let (closer_pid, closer_comm) = closer.closer();
    EventRecord {
        time: now,
        duration: observed.duration,
        cookie,
        socket: sock.address(),
        cgroup: cgroups::cgroup(sock),
        local,
        remote,
        netns: sock.namespace().inode(),
        pid: program_tree::plain(observed.owner.pid),
        uid: sock.uid(),
        family,
        from: from as u8,
        to: to as u8,
        local_port: sock.local_port(from),
        remote_port,
        kind: kind as u8,
        flags,
        error,
        comm: observed.owner.comm,
        closer_comm,
        closer_pid: program_tree::plain(closer_pid),
        reserved: 0,
    }
}

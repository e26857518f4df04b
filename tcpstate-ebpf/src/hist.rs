//! How long each state lasted, for `hist`: in programs of their own, attached only there.
//!
//! Between its events a socket is remembered in [`TIMED_LIVES`], by its address. What nobody saw begin is counted as unknown
//! when it ends, and so is what an event was missed of. A filter decides of the event that ends a duration, as it does of
//! events that are written down.

use aya_ebpf::{
    helpers::bpf_ktime_get_ns,
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use tcpstate_common::{
    State,
    abi::{FLAG_DROP_TIMED, UNKNOWN_DURATION, is_birth, is_same_life},
    histogram::{
        GroupKey, LastRequest, SLOT_LIFETIME, SLOT_REQUEST, SLOT_SERVER_CONNECT, TimedLife,
        slot_of_pair,
    },
};

use crate::{
    count::add_one_atomically,
    event_filter::{self, Verdict},
    events::Full,
    histograms::{self, Place},
    hold,
    maps::{self, TIMED_LIVES, config},
    owners::Owner,
    sock::{Access, Probed, Sock, Typed},
};

const LISTEN: usize = State::Listen as usize;
const SYN_SENT: usize = State::SynSent as usize;
const SYN_RECV: usize = State::SynRecv as usize;
const ESTABLISHED: usize = State::Established as usize;
const CLOSE: usize = State::Close as usize;

/// The first choice: the verifier knows the types of the arguments. User space names the tracepoint, `inet_sock_set_state`.
#[btf_tracepoint]
pub(crate) fn hist(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the tracepoint's first argument, alive while the program runs.
    let sock = unsafe { Sock::<Typed>::from_ptr(ctx.arg(0)) };
    transition(sock, ctx.arg(1), ctx.arg(2));
    0
}

/// The second: the same arguments, as mere numbers.
#[raw_tracepoint]
pub(crate) fn hist_raw(ctx: RawTracePointContext) -> i32 {
    // SAFETY: the tracepoint's first argument, alive while the program runs.
    let sock = unsafe { Sock::<Probed>::from_ptr(ctx.arg(0)) };
    transition(sock, ctx.arg(1), ctx.arg(2));
    0
}

#[inline(always)]
fn transition<A: Access>(sock: Sock<A>, from: usize, to: usize) {
    if !sock.is_counted() || is_dropped() {
        return;
    }
    let address = sock.address();
    let verdict = event_filter::of_socket(&Full { sock, from }, from, to);
    if verdict == Verdict::Never {
        if event_filter::was_undecided(from) {
            TIMED_LIVES.remove(address);
        }
        return;
    }
    let is_meant = verdict == Verdict::Now;
    // SAFETY: the helper takes nothing.
    let now = unsafe { bpf_ktime_get_ns() };
    let remote_port = u16::from_be(sock.load(config!(events.skc_dport)));
    let is_birth = is_birth(from, to);
    // What an earlier socket left there says nothing of a new one, which takes its place.
    let entry = if is_birth { None } else { TIMED_LIVES.get(address) };
    // Plain values and no `Option`: the verifier wants to see every register set.
    let (mut is_known, mut duration) = (false, UNKNOWN_DURATION);
    let (mut born, mut is_child, mut owner) = (0, 0, GroupKey { words: [0; 2] });
    if let Some(life) = entry {
        // SAFETY: an entry's memory stays an entry's while the program runs. Events of one socket never race: it is locked.
        let life = unsafe { &*life };
        if is_same_life(life.state.into(), life.remote_port, from, to, remote_port) {
            // Nothing is left, so the time in the state goes on.
            if from == to {
                return;
            }
            is_known = true;
            duration = now - life.since;
            (born, is_child) = (life.born, life.is_child);
            if histograms::is_by_owner() {
                owner = life.owner;
            }
        }
    }
    if is_birth {
        born = now;
        is_child = u32::from(to == SYN_RECV);
        if histograms::is_by_owner() && to != SYN_RECV {
            owner = whoever_runs();
        }
    } else if from != to {
        let is_accepted = from == SYN_RECV && to == ESTABLISHED && (is_child != 0 || !is_known);
        let is_request_meant = is_accepted && hold::is_meant(sock, SYN_RECV, CLOSE);
        // A place is a group's, of which there are few: for durations that are meant.
        if is_meant || is_request_meant {
            let place = Place::of(sock, maps::control(), from, owner);
            if is_meant {
                place.add(slot_of_pair(from, to), duration);
            }
            if is_accepted {
                let born = if is_known { now - duration } else { u64::MAX };
                established(sock, place, [is_request_meant, is_meant], now, born);
            }
            if is_meant && to == CLOSE && from != LISTEN && from != SYN_SENT && from != SYN_RECV {
                place.add(SLOT_LIFETIME, if born == 0 { UNKNOWN_DURATION } else { now - born });
            }
        }
    }
    if to == CLOSE || from == to {
        if entry.is_some() {
            TIMED_LIVES.remove(address);
        }
        return;
    }
    let life = TimedLife { since: now, born, owner, state: to as u16, remote_port, is_child };
    if let Some(entry) = entry {
        // SAFETY: as above. What is known of it stays as it is.
        unsafe {
            if is_known {
                (*entry).since = now;
                (*entry).state = to as u16;
                (*entry).remote_port = remote_port;
            } else {
                *entry = life;
            }
        }
    } else if TIMED_LIVES.insert(address, life).is_err()
        && let Some(slots) = histograms::slots()
    {
        // SAFETY: `slots` is this CPU's element.
        unsafe { add_one_atomically(&raw mut (*slots).untracked) };
    }
}

/// A child is established; its birth is far in the future if it is unknown. If the request socket that it replaces is the one
/// that was taken out of the kernel's table on this CPU since then, the handshake began when that was put in. There is none
/// after a SYN cookie or with Fast Open, and none is known if the programs missed it: then nobody knows.
///
/// What is meant: the request's own time, as decided by its own end, which another hook tells of; and the child's.
#[inline(always)]
fn established<A: Access>(
    sock: Sock<A>,
    place: Place,
    [is_request_meant, is_meant]: [bool; 2],
    now: u64,
    born: u64,
) {
    let Some(slots) = histograms::slots() else { return };
    // SAFETY: `slots` is this CPU's element.
    let request: LastRequest = unsafe { (*slots).request };
    let is_its_own =
        request.ports == hold::ports(sock) && request.until >= born && request.since != 0;
    let (mut in_request, mut in_handshake) = (UNKNOWN_DURATION, UNKNOWN_DURATION);
    if is_its_own {
        (in_request, in_handshake) = (request.until - request.since, now - request.since);
    }
    if is_request_meant {
        place.add(SLOT_REQUEST, in_request);
    }
    if is_meant {
        place.add(SLOT_SERVER_CONNECT, in_handshake);
    }
}

/// What only tests ask for; the verifier takes it out otherwise.
#[inline(always)]
fn is_dropped() -> bool {
    if config!(flags) & FLAG_DROP_TIMED == 0 {
        return false;
    }
    let Some(slots) = histograms::slots() else { return false };
    // SAFETY: `slots` is this CPU's element.
    unsafe {
        add_one_atomically(&raw mut (*slots).events);
        let is_dropped = (*slots).events.is_multiple_of(u64::from(config!(drop_one_in)));
        if is_dropped {
            add_one_atomically(&raw mut (*slots).dropped);
        }
        is_dropped
    }
}

/// The name of the process that connects or listens.
#[inline(always)]
fn whoever_runs() -> GroupKey {
    let comm = Owner::current().comm;
    let (first, second) = comm.split_at(8);
    let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_ne_bytes);
    GroupKey { words: [word(first), word(second)] }
}

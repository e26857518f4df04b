//! Each transition with its connection, written to [`maps::EVENTS`](crate::maps::EVENTS): what `trace --events` shows.
//!
//! In programs of their own, attached only where events are asked for: the counting ones stay as short as they are, and
//! exact while events are dropped. Between its events a socket is remembered in [`LIVES`], by its address. What nobody saw
//! is left unknown: who owns a socket that neither connected nor listened, how long a state lasted that it was in before.

use aya_ebpf::{
    helpers::bpf_ktime_get_ns,
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use tcpstate_common::{
    State,
    abi::{
        CONTROL_EVENTS, EVENT_IS_OPEN, EventLosses, EventRecord, Life, Told, UNKNOWN_DURATION,
        is_birth, is_same_life,
    },
};

use crate::{
    count::add_one_atomically,
    ends,
    event_filter::{self, Connection, Verdict, halves, mapped},
    maps::{self, EVENT_LOSSES, EVENTS, LIVES, config},
    owners::{self, Owner},
    sock::{Access, Probed, Sock, Typed},
};

/// Submit, and wake nobody.
pub(crate) const BPF_RB_NO_WAKEUP: u64 = 1;
const AF_INET6: u16 = 10;

/// The first choice: the verifier knows the types of the arguments. User space names the tracepoint, `inet_sock_set_state`.
#[btf_tracepoint]
pub(crate) fn event(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the tracepoint's first argument, alive while the program runs.
    let sock = unsafe { Sock::<Typed>::from_ptr(ctx.arg(0)) };
    transition(sock, ctx.arg(1), ctx.arg(2));
    0
}

/// The second: the same arguments, as mere numbers.
#[raw_tracepoint]
pub(crate) fn event_raw(ctx: RawTracePointContext) -> i32 {
    // SAFETY: the tracepoint's first argument, alive while the program runs.
    let sock = unsafe { Sock::<Probed>::from_ptr(ctx.arg(0)) };
    transition(sock, ctx.arg(1), ctx.arg(2));
    0
}

#[inline(always)]
fn transition<A: Access>(sock: Sock<A>, from: usize, to: usize) {
    if !sock.is_counted() {
        return;
    }
    // Of each end, whether it is meant or not: else the next socket at this address might be taken for this one.
    let (error, mut flags) = ends::facts(sock, from, to);
    let verdict = event_filter::of_socket(&Full { sock, from }, from, to);
    if verdict == Verdict::Never {
        if event_filter::was_undecided(from) {
            LIVES.remove(sock.address());
        }
        return;
    }
    let Some(losses) = EVENT_LOSSES.get_ptr_mut(0) else { return };
    // SAFETY: the helper takes nothing.
    let time = unsafe { bpf_ktime_get_ns() };
    let remote_port = u16::from_be(sock.load(config!(events.skc_dport)));
    let (duration, owner) = remember(losses, sock, time, from, to, remote_port);
    let is_meant = verdict == Verdict::Now && event_filter::of_life(&owner, duration);
    if !is_meant || maps::control() & CONTROL_EVENTS == 0 {
        return;
    }
    let Some(mut entry) = EVENTS.reserve(0) else {
        // SAFETY: `losses` is this CPU's element.
        unsafe { add_one_atomically(&raw mut (*losses).dropped) };
        return;
    };
    let family: u16 = sock.load(config!(offsets.skc_family));
    let (local, remote) = addresses(sock, family);
    let local_port = local_port(sock, from);
    // What it lacks its next event tells, which mostly comes at once.
    if is_birth(from, to) && to != State::Listen as usize {
        flags |= EVENT_IS_OPEN;
    }
    // A child's is not its own yet: `inet_csk_clone_lock` gives it the request's in a moment.
    let is_child = to == State::SynRecv as usize && is_birth(from, to);
    let cookie = if is_child { 0 } else { sock.cookie() };
    entry.write(EventRecord {
        time,
        duration,
        cookie,
        socket: sock.address(),
        cgroup: owners::cgroup(sock),
        local,
        remote,
        netns: sock.namespace().inode(),
        pid: owner.pid,
        uid: sock.load(config!(events.sk_uid)),
        family,
        from: from as u8,
        to: to as u8,
        local_port,
        remote_port,
        told: Told::Transition as u8,
        flags,
        error,
        comm: owner.comm,
    });
    entry.submit(BPF_RB_NO_WAKEUP);
}

/// Keeps [`LIVES`] true to this event; says how long the socket was in the state that it leaves, and whose it is.
///
/// An entry that does not fit the event was left by an event that was missed. Then neither is known, and the entry begins
/// anew. Events of one socket never race: it is locked.
#[inline(always)]
fn remember<A: Access>(
    losses: *mut EventLosses,
    sock: Sock<A>,
    time: u64,
    from: usize,
    to: usize,
    remote_port: u16,
) -> (u64, Owner) {
    let (mut duration, mut owner) = (UNKNOWN_DURATION, Owner::UNKNOWN);
    let address = sock.address();
    // What an earlier socket left there says nothing of a new one, which takes its place.
    let is_birth = is_birth(from, to);
    let entry = if is_birth { None } else { LIVES.get(address) };
    let mut is_known = false;
    let (mut since, mut born) = (time, time);
    if let Some(life) = entry {
        // SAFETY: an entry's memory stays an entry's while the program runs.
        let life = unsafe { *life };
        if is_same_life(life.state.into(), life.remote_port, from, to, remote_port) {
            is_known = true;
            born = life.born;
            owner = Owner { pid: life.pid, comm: life.comm };
            // Nobody has accepted it yet at the second event of its life.
            if owner.pid == 0 && from != State::SynRecv as usize {
                owner = Owner::claimed(address, born);
            }
            if from == to {
                // Nothing is left, so the time in the state goes on.
                since = life.since;
            } else {
                duration = time - life.since;
            }
        }
    }
    if entry.is_none() && !is_birth && from != to {
        owner = Owner::claimed_before(sock);
    }
    let close = State::Close as usize;
    // The only moves that only the owner makes: it calls connect() or listen(). A close may be anybody's who held the
    // socket last, and what packets and timers do happens in the name of whoever runs.
    if from == close && (to == State::SynSent as usize || to == State::Listen as usize) {
        owner = Owner::current();
    }
    if to == close || (from == to && !is_known) {
        if entry.is_some() {
            LIVES.remove(address);
        }
        return (duration, owner);
    }
    let Owner { pid, comm } = owner;
    let life = Life { since, born, state: to as u8, is_claimed: 0, remote_port, pid, comm };
    if let Some(entry) = entry {
        // SAFETY: as above.
        unsafe { *entry = life };
    } else if LIVES.insert(address, life).is_err() {
        // SAFETY: `losses` is this CPU's element.
        unsafe { add_one_atomically(&raw mut (*losses).untracked) };
    }
    (duration, owner)
}

/// A full socket, as a filter sees it.
pub(crate) struct Full<A> {
    pub(crate) sock: Sock<A>,
    /// The state that it leaves.
    pub(crate) from: usize,
}

impl<A: Access> Connection for Full<A> {
    #[inline(always)]
    fn local_port(&self) -> u16 {
        local_port(self.sock, self.from)
    }

    #[inline(always)]
    fn remote_port(&self) -> u16 {
        u16::from_be(self.sock.load(config!(events.skc_dport)))
    }

    #[inline(always)]
    fn local(&self) -> [u64; 2] {
        if self.is_v6() {
            halves(words(self.sock, config!(events.skc_v6_rcv_saddr)))
        } else {
            mapped(self.sock.load(config!(events.skc_rcv_saddr)))
        }
    }

    #[inline(always)]
    fn remote(&self) -> [u64; 2] {
        remote(self.sock)
    }

    #[inline(always)]
    fn is_v6(&self) -> bool {
        is_v6(self.sock.load(config!(offsets.skc_family)))
    }

    #[inline(always)]
    fn uid(&self) -> u32 {
        self.sock.load(config!(events.sk_uid))
    }

    #[inline(always)]
    fn cgroup(&self) -> u64 {
        owners::cgroup(self.sock)
    }

    #[inline(always)]
    fn is_within_cgroup(&self, is_wanted: impl Fn(u64) -> bool) -> bool {
        owners::is_within(self.sock, is_wanted)
    }
}

/// The peer's address, in IPv6's form.
#[inline(always)]
pub(crate) fn remote<A: Access>(sock: Sock<A>) -> [u64; 2] {
    if is_v6(sock.load(config!(offsets.skc_family))) {
        halves(words(sock, config!(events.skc_v6_daddr)))
    } else {
        mapped(sock.load(config!(events.skc_daddr)))
    }
}

/// Whether the addresses are kept in IPv6's form.
#[inline(always)]
pub(crate) fn is_v6(family: u16) -> bool {
    family == AF_INET6 && config!(events.skc_v6_daddr) != 0
}

/// The socket's addresses, its own and its peer's, by its family: an IPv6 socket has IPv4's in IPv6's form.
#[inline(always)]
pub(crate) fn addresses<A: Access>(sock: Sock<A>, family: u16) -> ([u32; 4], [u32; 4]) {
    if is_v6(family) {
        let local = words(sock, config!(events.skc_v6_rcv_saddr));
        return (local, words(sock, config!(events.skc_v6_daddr)));
    }
    let local = sock.load(config!(events.skc_rcv_saddr));
    let remote = sock.load(config!(events.skc_daddr));
    ([local, 0, 0, 0], [remote, 0, 0, 0])
}

/// An IPv6 address. Word by word: the verifier lets nobody load more at once.
#[inline(always)]
pub(crate) fn words<A: Access>(sock: Sock<A>, offset: u32) -> [u32; 4] {
    [sock.load(offset), sock.load(offset + 4), sock.load(offset + 8), sock.load(offset + 12)]
}

/// The local port; 0 while there is none yet.
///
/// A socket that ends has given its port back by now, and `inet_sport` still tells which that was. A socket that begins
/// may hold one there that it had in an earlier life.
#[inline(always)]
pub(crate) fn local_port<A: Access>(sock: Sock<A>, from: usize) -> u16 {
    let port: u16 = sock.load(config!(events.skc_num));
    if port != 0 || from == State::Close as usize {
        return port;
    }
    // By the helper, whatever the access: the field lies beyond `struct sock`, the type that the verifier knows.
    // SAFETY: a full TCP socket is a `struct inet_sock`.
    let port: u16 =
        unsafe { Probed::load(sock.address() as *const u8, config!(events.inet_sport)) };
    u16::from_be(port)
}

//! Each transition with its connection, written to [`maps::EVENTS`](crate::maps::EVENTS): what `trace --events` shows.
//!
//! In programs of their own, attached only where events are asked for: the counting ones stay as short as they are, and
//! exact while events are dropped. Between its events a socket is remembered in [`LIVES`], by its address. What nobody saw
//! is left unknown: who owns a socket that neither connected nor listened, how long a state lasted that it was in before.

use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::{bpf_get_current_pid_tgid, bpf_get_current_task, bpf_ktime_get_ns},
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use tcpstate_common::{
    State,
    abi::{
        COMM_BYTES, CONTROL_EVENTS, EventLosses, EventRecord, Life, UNKNOWN_DURATION, is_same_life,
    },
};

use crate::{
    count::add_one_atomically,
    maps::{self, EVENT_LOSSES, EVENTS, LIVES, config},
    sock::{Access, Probed, Sock, Typed},
};

/// Submit, and wake nobody.
const BPF_RB_NO_WAKEUP: u64 = 1;
/// Flag of a task that belongs to the kernel.
const PF_KTHREAD: u32 = 0x0020_0000;
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

/// The process that a socket belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Owner {
    /// 0 if unknown.
    pid: u32,
    pub(crate) comm: [u8; COMM_BYTES],
}

impl Owner {
    const UNKNOWN: Self = Self { pid: 0, comm: [0; COMM_BYTES] };

    /// Whoever runs. Not a thread of the kernel, which works for somebody else; and by the name of the process, not of
    /// one of its threads.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        // SAFETY: these helpers take nothing; what is read is read by a helper that takes any address.
        unsafe {
            let task = bpf_get_current_task() as *const u8;
            if Probed::load::<u32>(task, config!(events.task_flags)) & PF_KTHREAD != 0 {
                return Self::UNKNOWN;
            }
            let leader = Probed::load::<u64>(task, config!(events.group_leader)) as *const u8;
            let comm = Probed::load(leader, config!(events.comm));
            Self { pid: (bpf_get_current_pid_tgid() >> 32) as u32, comm }
        }
    }
}

#[inline(always)]
fn transition<A: Access>(sock: Sock<A>, from: usize, to: usize) {
    if !sock.is_counted() {
        return;
    }
    let Some(losses) = EVENT_LOSSES.get_ptr_mut(0) else { return };
    // SAFETY: the helper takes nothing.
    let time = unsafe { bpf_ktime_get_ns() };
    let remote_port = u16::from_be(sock.load(config!(events.skc_dport)));
    let (duration, owner) = remember(losses, sock.address(), time, from, to, remote_port);
    if maps::control() & CONTROL_EVENTS == 0 {
        return;
    }
    let Some(mut entry) = EVENTS.reserve(0) else {
        // SAFETY: `losses` is this CPU's element.
        unsafe { add_one_atomically(&raw mut (*losses).dropped) };
        return;
    };
    let family: u16 = sock.load(config!(offsets.skc_family));
    let (local, remote) = addresses(sock, family);
    entry.write(EventRecord {
        time,
        duration,
        cookie: sock.load(config!(events.skc_cookie)),
        local,
        remote,
        netns: sock.namespace().inode(),
        pid: owner.pid,
        uid: sock.load(config!(events.sk_uid)),
        family,
        from: from as u8,
        to: to as u8,
        local_port: local_port(sock, from),
        remote_port,
        reserved: 0,
        comm: owner.comm,
    });
    entry.submit(BPF_RB_NO_WAKEUP);
}

/// Keeps [`LIVES`] true to this event; says how long the socket was in the state that it leaves, and whose it is.
///
/// An entry that does not fit the event was left by an event that was missed. Then neither is known, and the entry begins
/// anew. Events of one socket never race: it is locked.
#[inline(always)]
fn remember(
    losses: *mut EventLosses,
    address: u64,
    time: u64,
    from: usize,
    to: usize,
    remote_port: u16,
) -> (u64, Owner) {
    let (mut duration, mut owner) = (UNKNOWN_DURATION, Owner::UNKNOWN);
    let entry = LIVES.get_ptr_mut(address);
    let mut is_known = false;
    let mut since = time;
    if let Some(life) = entry {
        // SAFETY: an entry's memory stays an entry's while the program runs.
        let life = unsafe { *life };
        if is_same_life(life.state, life.remote_port, from, to, remote_port) {
            is_known = true;
            owner = Owner { pid: life.pid, comm: life.comm };
            if from == to {
                // Nothing is left, so the time in the state goes on.
                since = life.since;
            } else {
                duration = time - life.since;
            }
        }
    }
    let close = State::Close as usize;
    // The only moves that only the owner makes: it calls connect() or listen(). A close may be anybody's who held the
    // socket last, and what packets and timers do happens in the name of whoever runs.
    if from == close && (to == State::SynSent as usize || to == State::Listen as usize) {
        owner = Owner::current();
    }
    if to == close || (from == to && !is_known) {
        if entry.is_some() {
            let _ = LIVES.remove(address);
        }
        return (duration, owner);
    }
    let Owner { pid, comm } = owner;
    let life = Life { since, state: to as u16, remote_port, pid, comm };
    if let Some(entry) = entry {
        // SAFETY: as above.
        unsafe { *entry = life };
    } else if LIVES.insert(address, life, u64::from(BPF_ANY)).is_err() {
        // SAFETY: `losses` is this CPU's element.
        unsafe { add_one_atomically(&raw mut (*losses).untracked) };
    }
    (duration, owner)
}

/// The socket's addresses, its own and its peer's, by its family: an IPv6 socket has IPv4's in IPv6's form.
#[inline(always)]
pub(crate) fn addresses<A: Access>(sock: Sock<A>, family: u16) -> ([u32; 4], [u32; 4]) {
    if family == AF_INET6 && config!(events.skc_v6_daddr) != 0 {
        let local = words(sock, config!(events.skc_v6_rcv_saddr));
        return (local, words(sock, config!(events.skc_v6_daddr)));
    }
    let local = sock.load(config!(events.skc_rcv_saddr));
    let remote = sock.load(config!(events.skc_daddr));
    ([local, 0, 0, 0], [remote, 0, 0, 0])
}

/// An IPv6 address. Word by word: the verifier lets nobody load more at once.
#[inline(always)]
fn words<A: Access>(sock: Sock<A>, offset: u32) -> [u32; 4] {
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

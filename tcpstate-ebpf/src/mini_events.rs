//! The lines of mini sockets: births, moves and ends, each with its connection, where events are asked for. What tells of
//! them is [`crate::minis`]; a frozen flag takes all of this out of programs that only count.

use aya_ebpf::{bindings::BPF_ANY, helpers::bpf_ktime_get_ns};
use tcpstate_common::{
    State,
    abi::{
        CONTROL_EVENTS, EVENT_IS_OPEN, EventRecord, Exit, FLAG_MINI_EVENTS, Told, UNKNOWN_DURATION,
    },
};

use crate::{
    count::add_one_atomically,
    ends,
    event_filter::{self, Connection, Verdict, halves, mapped},
    events::{self, BPF_RB_NO_WAKEUP},
    maps::{EVENT_LOSSES, EVENTS, MINI_LIVES, config},
    owners::Owner,
    sock::{Access, Sock},
};

const CLOSE: usize = State::Close as usize;

/// The two kinds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    TimeWait,
    Request,
}

/// A mini socket comes into its first state.
#[inline(always)]
pub(crate) fn born<A: Access>(kind: Kind, control: u32, mini: Sock<A>, state: usize) {
    if is_off() {
        return;
    }
    let time = now();
    remember(mini.address(), time);
    write_down(
        &Line { kind, from: CLOSE, to: state, since: 0, time, flags: 0, exit: 0 },
        control,
        mini,
    );
}

/// A time-wait socket went from one state to another: now, or nobody knows when.
#[inline(always)]
pub(crate) fn moved<A: Access>(control: u32, tw: Sock<A>, [from, to]: [usize; 2], is_now: bool) {
    if is_off() {
        return;
    }
    let time = now();
    let since = if is_now { since(tw.address()) } else { 0 };
    remember(tw.address(), if is_now { time } else { 0 });
    write_down(
        &Line { kind: Kind::TimeWait, from, to, since, time, flags: 0, exit: 0 },
        control,
        tw,
    );
}

/// A mini socket ends, unless it may be [`resumed`] in a moment.
#[inline(always)]
pub(crate) fn gone<A: Access>(
    kind: Kind,
    control: u32,
    mini: Sock<A>,
    state: usize,
    exit: u64,
    may_resume: bool,
) {
    if is_off() {
        return;
    }
    let address = mini.address();
    let since = since(address);
    let _ = MINI_LIVES.remove(address);
    let mut flags = 0;
    if may_resume && let Some(memory) = ends::memory() {
        flags = EVENT_IS_OPEN;
        // SAFETY: `memory` is this CPU's element.
        unsafe {
            (&raw mut (*memory).stopped).write_volatile(address);
            (&raw mut (*memory).since).write_volatile(since);
        }
    }
    let line = Line { kind, from: state, to: CLOSE, since, time: now(), flags, exit: exit as u16 };
    write_down(&line, control, mini);
}

/// A mini socket that was said to be gone is not: its timer starts again, on the same CPU.
#[inline(always)]
pub(crate) fn resumed(control: u32, address: u64) {
    if is_off() {
        return;
    }
    let mut since = 0;
    if let Some(memory) = ends::memory() {
        // SAFETY: `memory` is this CPU's element.
        unsafe {
            if (&raw const (*memory).stopped).read_volatile() == address {
                since = (&raw const (*memory).since).read_volatile();
            }
        }
    }
    remember(address, since);
    if control & CONTROL_EVENTS == 0 {
        return;
    }
    let Some(mut entry) = EVENTS.reserve(0) else { return };
    entry.write(EventRecord { socket: address, told: Told::Resumed as u8, ..EventRecord::BLANK });
    entry.submit(BPF_RB_NO_WAKEUP);
}

/// What a line says beside its connection.
struct Line {
    kind: Kind,
    from: usize,
    to: usize,
    /// When the state left began; 0 if unknown.
    since: u64,
    time: u64,
    flags: u8,
    /// An [`Exit`].
    exit: u16,
}

/// Out of line, since many call it: it is the larger part of their programs.
#[inline(never)]
fn write_down<A: Access>(line: &Line, control: u32, mini: Sock<A>) {
    if control & CONTROL_EVENTS == 0 {
        return;
    }
    let duration = if line.since == 0 { UNKNOWN_DURATION } else { line.time - line.since };
    // Nobody owns a mini socket, so conditions on owners leave it out.
    let is_meant = event_filter::of_socket(&Mini(mini), line.from, line.to) == Verdict::Now
        && event_filter::of_life(&Owner::UNKNOWN, duration);
    if !is_meant {
        return;
    }
    let Some(mut entry) = EVENTS.reserve(0) else {
        if let Some(losses) = EVENT_LOSSES.get_ptr_mut(0) {
            // SAFETY: `losses` is this CPU's element.
            unsafe {
                add_one_atomically(match line.kind {
                    Kind::TimeWait => &raw mut (*losses).time_wait,
                    Kind::Request => &raw mut (*losses).syn_recv,
                });
            }
        }
        return;
    };
    let family: u16 = mini.load(config!(offsets.skc_family));
    let (local, remote) = events::addresses(mini, family);
    entry.write(EventRecord {
        time: line.time,
        duration,
        // A request's goes on to its child, a time-wait socket has that of its full socket.
        cookie: mini.cookie(),
        socket: mini.address(),
        local,
        remote,
        netns: mini.namespace().inode(),
        family,
        from: line.from as u8,
        to: line.to as u8,
        local_port: mini.load(config!(events.skc_num)),
        remote_port: u16::from_be(mini.load(config!(events.skc_dport))),
        told: match line.kind {
            Kind::TimeWait => Told::TimeWait as u8,
            Kind::Request => Told::SynRecv as u8,
        },
        flags: line.flags,
        error: line.exit,
        ..EventRecord::BLANK
    });
    entry.submit(BPF_RB_NO_WAKEUP);
}

/// How a time-wait socket ended, where the hook itself knows no more.
pub(crate) const UNKNOWN_EXIT: u64 = Exit::Unknown as u64;

#[inline(always)]
fn is_off() -> bool {
    config!(flags) & FLAG_MINI_EVENTS == 0
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper takes nothing.
    unsafe { bpf_ktime_get_ns() }
}

/// One that there is no room for has no durations.
#[inline(always)]
fn remember(address: u64, since: u64) {
    let _ = MINI_LIVES.insert(address, since, u64::from(BPF_ANY));
}

#[inline(always)]
fn since(address: u64) -> u64 {
    // SAFETY: an entry's memory stays an entry's while the program runs.
    MINI_LIVES.get_ptr(address).map_or(0, |since| unsafe { *since })
}

/// A mini socket, as a filter sees it: nobody owns it. Of a request's child it tells what it told of the request.
pub(crate) struct Mini<A>(pub(crate) Sock<A>);

impl<A: Access> Connection for Mini<A> {
    #[inline(always)]
    fn local_port(&self) -> u16 {
        self.0.load(config!(events.skc_num))
    }

    #[inline(always)]
    fn remote_port(&self) -> u16 {
        u16::from_be(self.0.load(config!(events.skc_dport)))
    }

    #[inline(always)]
    fn local(&self) -> [u64; 2] {
        if self.is_v6() {
            halves(events::words(self.0, config!(events.skc_v6_rcv_saddr)))
        } else {
            mapped(self.0.load(config!(events.skc_rcv_saddr)))
        }
    }

    #[inline(always)]
    fn remote(&self) -> [u64; 2] {
        if self.is_v6() {
            halves(events::words(self.0, config!(events.skc_v6_daddr)))
        } else {
            mapped(self.0.load(config!(events.skc_daddr)))
        }
    }

    #[inline(always)]
    fn is_v6(&self) -> bool {
        events::is_v6(self.0.load(config!(offsets.skc_family)))
    }

    #[inline(always)]
    fn uid(&self) -> u32 {
        u32::MAX
    }

    #[inline(always)]
    fn cgroup(&self) -> u64 {
        0
    }

    #[inline(always)]
    fn is_within_cgroup(&self, _is_wanted: impl Fn(u64) -> bool) -> bool {
        false
    }
}

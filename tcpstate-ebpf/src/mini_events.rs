//! Writes the event lines of mini sockets: births, moves and ends, each with its connection.
//! [`crate::minis`] calls this module. The flag for events is frozen, so the verifier removes the
//! code of this module from programs that only count.

use aya_ebpf::bindings::BPF_ANY;
use tcpstate_common::{
    State,
    abi::{
        CONTROL_EVENTS, EVENT_IS_AMENDABLE, EventRecord, Exit, FLAG_EVENTS, RecordKind,
        UNKNOWN_DURATION,
    },
};

use crate::{
    access::{Access, Probed},
    config::config,
    connection::Mini,
    event_filter::{self, Verdict},
    kernel::now,
    maps::{self, MINI_SINCE},
    process::Process,
    ring::{self, Loss},
    sock::Sock,
    verifier::checked_once,
};

const CLOSE: usize = State::Close as usize;

/// The two kinds of mini sockets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    TimeWait,
    Request,
}

/// Called when a mini socket enters its first state.
#[inline(always)]
pub(crate) fn born<A: Access>(kind: Kind, control: u32, mini: Sock<A>, state: usize) {
    if is_off() {
        return;
    }
    let time = now();
    remember(mini.address(), time);
    write_line(
        Line { kind, from: CLOSE, to: state, since: 0, time, flags: 0, exit: 0 },
        control,
        mini,
    );
}

/// Called when a time-wait socket has moved from one state to another. The move happened now if
/// `is_now` is true, otherwise at an unknown earlier time.
#[inline(always)]
pub(crate) fn moved<A: Access>(control: u32, tw: Sock<A>, [from, to]: [usize; 2], is_now: bool) {
    if is_off() {
        return;
    }
    let time = now();
    let since = if is_now { since(tw.address()) } else { 0 };
    remember(tw.address(), if is_now { time } else { 0 });
    write_line(
        Line { kind: Kind::TimeWait, from, to, since, time, flags: 0, exit: 0 },
        control,
        tw,
    );
}

/// Called when a mini socket ends. If `may_resume` is true, a later call of [`resumed`] may cancel
/// the end.
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
    let _ = MINI_SINCE.remove(address);
    let mut flags = 0;
    if may_resume && let Some(memory) = maps::event_memory() {
        flags = EVENT_IS_AMENDABLE;
        // SAFETY: `memory` points to this CPU's map element, which stays valid while the program
        // runs.
        unsafe {
            (&raw mut (*memory).stopped).write_volatile(address);
            (&raw mut (*memory).since).write_volatile(since);
        }
    }
    let line = Line { kind, from: state, to: CLOSE, since, time: now(), flags, exit: exit as u16 };
    write_line(line, control, mini);
}

/// Called when a mini socket that was reported as ended still exists. The timer of a resumed socket
/// starts again on the CPU that stopped the timer.
#[inline(always)]
pub(crate) fn resumed(control: u32, address: u64) {
    if is_off() {
        return;
    }
    let mut since = 0;
    if let Some(memory) = maps::event_memory() {
        // SAFETY: `memory` points to this CPU's map element, which stays valid while the program
        // runs.
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
    ring::write(|| EventRecord {
        socket: address,
        kind: RecordKind::Resumed as u8,
        ..EventRecord::BLANK
    });
}

/// The fields of an event line that are not read from the socket.
#[derive(Clone, Copy)]
struct Line {
    kind: Kind,
    from: usize,
    to: usize,
    /// Time when the socket entered the old state; 0 if unknown.
    since: u64,
    time: u64,
    flags: u8,
    /// The [`Exit`] of a time-wait socket.
    exit: u16,
}

impl Line {
    /// Returns all fields but the times in one number, for a function that takes only numbers.
    #[inline(always)]
    fn pack(self) -> u64 {
        let Self { kind, from, to, flags, exit, .. } = self;
        u64::from(kind == Kind::Request)
            | (from as u64 & 0xff) << 8
            | (to as u64 & 0xff) << 16
            | u64::from(flags) << 24
            | u64::from(exit) << 32
    }

    #[inline(always)]
    fn unpack(packed: u64, since: u64, time: u64) -> Self {
        let kind = if packed & 1 == 0 { Kind::TimeWait } else { Kind::Request };
        let [_, from, to, flags, ..] = packed.to_le_bytes();
        let (from, to) = (usize::from(from), usize::from(to));
        Self { kind, from, to, since, time, flags, exit: (packed >> 32) as u16 }
    }
}

/// Writes the line if the filter matches.
#[inline(always)]
fn write_line<A: Access>(line: Line, control: u32, mini: Sock<A>) {
    if control & CONTROL_EVENTS == 0 {
        return;
    }
    if A::IS_TYPED {
        write_typed(&line, mini);
    } else {
        write_probed(mini.plain_address(), line.pack(), line.since, line.time);
    }
}

/// The function is not inlined, because it has many callers and is the larger part of their
/// programs.
#[inline(never)]
fn write_typed<A: Access>(line: &Line, mini: Sock<A>) {
    write_matching(line, mini);
}

checked_once! {
    /// Writes a line in a program that is attached to timers. The programs at timers have so many
    /// paths that older kernels (5.10, 6.1) refuse a function that is checked on each of them.
    fn write_probed(mini: u64, packed: u64, since: u64, time: u64) -> u64 {
        // SAFETY: the callers pass the address of a socket that exists while the program runs.
        let mini = unsafe { Sock::<Probed>::from_ptr(mini as *const u8) };
        write_matching(&Line::unpack(packed, since, time), mini);
        0
    }
}

#[inline(always)]
fn write_matching<A: Access>(line: &Line, mini: Sock<A>) {
    if is_off() {
        return;
    }
    let duration = if line.since == 0 { UNKNOWN_DURATION } else { line.time - line.since };
    // A mini socket has no owner, so it does not match a condition on owners.
    let matches = event_filter::of_socket(&Mini(mini), line.from, line.to) == Verdict::Now
        && event_filter::of_state(&Process::UNKNOWN, duration);
    if !matches {
        return;
    }
    let is_written = ring::write(|| {
        let family = mini.family();
        let (local, remote) = mini.addresses(family);
        EventRecord {
            time: line.time,
            duration,
            // A child inherits the cookie of its request socket. A time-wait socket has the cookie
            // of its full socket.
            cookie: mini.cookie(),
            socket: mini.address(),
            local,
            remote,
            netns: mini.namespace().inode(),
            family,
            from: line.from as u8,
            to: line.to as u8,
            local_port: mini.held_port(),
            remote_port: mini.remote_port(),
            kind: match line.kind {
                Kind::TimeWait => RecordKind::TimeWait as u8,
                Kind::Request => RecordKind::SynRecv as u8,
            },
            flags: line.flags,
            error: line.exit,
            ..EventRecord::BLANK
        }
    });
    if !is_written {
        ring::count(match line.kind {
            Kind::TimeWait => Loss::TimeWait,
            Kind::Request => Loss::Request,
        });
    }
}

/// The [`Exit`] for hooks that do not observe how a time-wait socket ended.
pub(crate) const UNKNOWN_EXIT: u64 = Exit::Unknown as u64;

#[inline(always)]
fn is_off() -> bool {
    config!(flags) & FLAG_EVENTS == 0
}

/// Stores when a mini socket entered its state. If the map has no space, the durations of the
/// socket are unknown.
#[inline(always)]
fn remember(address: u64, since: u64) {
    let _ = MINI_SINCE.insert(address, since, u64::from(BPF_ANY));
}

#[inline(always)]
fn since(address: u64) -> u64 {
    // SAFETY: the kernel does not free the memory of a map entry while the program runs.
    MINI_SINCE.get_ptr(address).map_or(0, |since| unsafe { *since })
}

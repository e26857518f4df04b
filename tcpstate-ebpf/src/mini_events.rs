//! Writes the event lines of mini sockets: births, moves and ends, each with its connection.
//! [`crate::minis`] calls this module. The flag for lines is frozen, so the verifier removes the
//! code of this module from programs that only count.

use tcpstate_common::{
    State,
    abi::{
        CONTROL_EVENTS, EVENT_IS_AMENDABLE, EventRecord, Exit, FLAG_LINES, RecordKind,
        UNKNOWN_DURATION,
    },
};

use crate::{
    access::{Access, Probed},
    config::config,
    connection::Mini,
    event_filter::{self, Verdict},
    kernel::now,
    mini_states, program_tree,
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
    if !mini_states::sees_births(kind) {
        return;
    }
    let time = now();
    mini_states::born(kind, mini, time);
    if is_off() {
        return;
    }
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
    let since = if is_now { mini_states::since(tw.address()) } else { 0 };
    mini_states::set_since(tw.plain_address(), if is_now { time } else { 0 });
    write_line(
        Line { kind: Kind::TimeWait, from, to, since, time, flags: 0, exit: 0 },
        control,
        tw,
    );
}

/// Called when a mini socket ends. If `may_resume` is true, a later call of [`resumed`] may cancel
/// the end. The caller removes the state of a time-wait socket, which durations need too.
#[inline(always)]
pub(crate) fn gone<A: Access>(
    kind: Kind,
    control: u32,
    mini: Sock<A>,
    state: usize,
    exit: u64,
    may_resume: bool,
) {
    if may_resume && mini_states::sees_births(kind) {
        mini_states::stopped(mini.plain_address());
    }
    if is_off() {
        return;
    }
    let since = mini_states::since(mini.address());
    let flags = if may_resume { EVENT_IS_AMENDABLE } else { 0 };
    let line = Line { kind, from: state, to: CLOSE, since, time: now(), flags, exit: exit as u16 };
    write_line(line, control, mini);
    if kind == Kind::Request {
        mini_states::forget(mini.address());
    }
}

/// Called when a mini socket that was reported as ended still exists. The timer of a resumed socket
/// starts again on the CPU that stopped the timer.
#[inline(always)]
pub(crate) fn resumed(control: u32, address: u64) {
    mini_states::resumed(address);
    if is_off() {
        return;
    }
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
    #[inline(always)]
    fn duration(&self) -> u64 {
        if self.since == 0 { UNKNOWN_DURATION } else { self.time - self.since }
    }

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
        if !event_filter::is_on() || matches_typed(&line, mini) {
            write_typed(&line, mini);
        }
        return;
    }
    let address = mini.plain_address();
    let (packed, since, time) = (line.pack(), line.since, line.time);
    if !event_filter::is_on() || matches_probed(address, packed, since, time) != 0 {
        write_probed(address, packed, since, time);
    }
}

/// The function is not inlined, because it has many callers and is the larger part of their
/// programs.
#[inline(never)]
fn matches_typed<A: Access>(line: &Line, mini: Sock<A>) -> bool {
    matches(line, mini)
}

/// The function is not inlined, for the same reason.
#[inline(never)]
fn write_typed<A: Access>(line: &Line, mini: Sock<A>) {
    write(line, mini);
}

checked_once! {
    /// Returns whether the filter matches in a program that is attached to timers. The programs at
    /// timers have so many paths that older kernels (5.10, 6.1) refuse a function that is checked
    /// on each of them. The line is written by another function, because the kernel limits the
    /// stack of nested calls.
    fn matches_probed(mini: u64, packed: u64, since: u64, time: u64) -> u64 {
        // SAFETY: the callers pass the address of a socket that exists while the program runs.
        let mini = unsafe { Sock::<Probed>::from_ptr(mini as *const u8) };
        matches(&Line::unpack(packed, since, time), mini).into()
    }
}

checked_once! {
    /// Writes a line in a program that is attached to timers.
    fn write_probed(mini: u64, packed: u64, since: u64, time: u64) -> u64 {
        // SAFETY: the callers pass the address of a socket that exists while the program runs.
        let mini = unsafe { Sock::<Probed>::from_ptr(mini as *const u8) };
        write(&Line::unpack(packed, since, time), mini);
        0
    }
}

/// Returns whether the line matches the filter. The event matches by the process that closed the
/// connection. A half-open connection has no such process.
#[inline(always)]
fn matches<A: Access>(line: &Line, mini: Sock<A>) -> bool {
    if is_off() {
        return false;
    }
    let callers = mini_states::callers(mini.address());
    let connection = Mini { sock: mini, is_in_cgroup: callers.is_in_cgroup != 0 };
    event_filter::of_socket(&connection, line.from, line.to) == Verdict::Now
        && event_filter::of_state(callers.closer_pid, callers.closer_comm, line.duration())
}

#[inline(always)]
fn write<A: Access>(line: &Line, mini: Sock<A>) {
    if is_off() {
        return;
    }
    let record = || {
        let family = mini.family();
        let (local, remote) = mini.addresses(family);
        EventRecord {
            time: line.time,
            duration: line.duration(),
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
    };
    let is_written = ring::write_and_complete(record, |record| {
        let callers = mini_states::callers(mini.address());
        record.pid = program_tree::plain(callers.opener_pid);
        record.comm = callers.opener_comm;
        record.closer_pid = program_tree::plain(callers.closer_pid);
        record.closer_comm = callers.closer_comm;
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
    config!(flags) & FLAG_LINES == 0
}

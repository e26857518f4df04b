//! Reads events in the order in which the BPF programs recorded them.

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::ffi::OsStringExt as _,
    ptr,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use aya::maps::{MapData, RingBuf};
use tcpstate_common::{
    State,
    abi::{
        COMM_BYTES, ConnectionRecord, EVENT_IS_AMENDABLE, EventRecord, NO_PID, RecordKind,
        UNKNOWN_DURATION,
    },
};

use super::{
    cgroups::Resolver,
    clock::Clock,
    close_reason,
    coalesce::{Coalescer, Settled, is_of_full_socket},
    connections,
};
use crate::{
    procfs::time::monotonic_offset,
    report::{Caller, Cgroup, CloseReason, Event, Family, Hook},
};

/// Decodes a record. The function returns `None` for a state or a family that TCP does not have.
fn event_of(
    record: &EventRecord,
    clock: &Clock,
    cgroup: impl FnOnce(&EventRecord) -> Option<Arc<Cgroup>>,
) -> Option<Event> {
    let hook = match record.kind {
        kind if is_of_full_socket(kind) => Hook::Transitions,
        kind if kind == RecordKind::TimeWait as u8 => Hook::TimeWait,
        kind if kind == RecordKind::SynRecv as u8 => Hook::SynRecv,
        _ => return None,
    };
    let from = State::from_number(record.from.into())?;
    let to = State::from_number(record.to.into())?;
    let family =
        Family::BOTH.into_iter().find(|family| family.number() == u32::from(record.family))?;
    // The fields of a listener may still contain the peer of an earlier connection. The kernel
    // creates a child as a copy of the listener. The child's peer is therefore known only if the
    // child's next record arrived in time to complete this record.
    let may_lack_peer = matches!(from, State::Close | State::Listen) && hook == Hook::Transitions;
    let is_child = may_lack_peer && to == State::SynRecv && record.flags & EVENT_IS_AMENDABLE != 0;
    let has_peer = !may_lack_peer || to == State::SynSent || (to == State::SynRecv && !is_child);
    let local = address(family, record.local);
    let monotonic = clock.here(record.time);
    let owner = || caller(record.pid, &record.comm);
    let of_full = if hook == Hook::Transitions { owner() } else { None };
    let closer = || caller(record.closer_pid, &record.closer_comm);
    let has_ends = hook == Hook::TimeWait
        || record.kind == RecordKind::Connection as u8
        || (hook == Hook::Transitions && to == State::Close);
    Some(Event {
        hook,
        time: UNIX_EPOCH + clock.since_1970 + monotonic,
        monotonic,
        from,
        to,
        family,
        local: Some(local).filter(|local| !(is_child && local.is_unspecified())),
        local_port: Some(record.local_port).filter(|&port| port != 0),
        remote: has_peer.then(|| address(family, record.remote)),
        remote_port: has_peer.then_some(record.remote_port),
        netns: record.netns,
        cookie: Some(record.cookie).filter(|&cookie| cookie != 0),
        // The record of a time-wait socket has the owner of its full socket.
        pid: of_full.as_ref().and_then(|owner| owner.pid),
        comm: of_full.map(|owner| owner.comm),
        uid: Some(record.uid).filter(|&uid| uid != u32::MAX),
        cgroup: cgroup(record),
        duration: Some(record.duration)
            .filter(|&nanos| nanos != UNKNOWN_DURATION)
            .map(Duration::from_nanos),
        ended_by: ended_by(hook, from, to, record),
        closed_by: if has_ends { closer() } else { None },
        opened_by: if has_ends { owner() } else { None },
        connection: None,
    })
}

/// Returns why a connection or a time-wait socket ended, if the record is an end.
fn ended_by(hook: Hook, from: State, to: State, record: &EventRecord) -> Option<CloseReason> {
    match (hook, to) {
        (Hook::Transitions, State::Close) => {
            close_reason::of_connection(from, record.error, record.flags)
        }
        (Hook::TimeWait, State::Close) => close_reason::of_time_wait(from, record.error),
        _ => None,
    }
}

/// Decodes a process. The function returns `None` if the process is unknown.
fn caller(pid: u32, comm: &[u8; COMM_BYTES]) -> Option<Caller> {
    let name = comm.split(|&byte| byte == 0).next().unwrap_or_default();
    let caller = || Caller {
        pid: Some(pid).filter(|&pid| pid != NO_PID),
        comm: OsString::from_vec(name.to_vec()),
    };
    (pid != 0).then(caller)
}

/// Decodes an address of a record. The first word of the array `words` contains an IPv4 address,
/// and all four words contain an IPv6 address.
fn address(family: Family, words: [u32; 4]) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from(Ipv4Addr::from(words[0].to_ne_bytes())),
        Family::V6 => {
            let mut bytes = [0; 16];
            for (into, word) in bytes.chunks_exact_mut(4).zip(words) {
                into.copy_from_slice(&word.to_ne_bytes());
            }
            IpAddr::from(Ipv6Addr::from(bytes))
        }
    }
}

/// The reader of the ring buffer. Events do not wake the reader, so the reader must poll.
pub struct Events {
    ring: RingBuf<MapData>,
    max_records: usize,
    coalescer: Coalescer,
    cgroups: Resolver,
    /// The memory of earlier events.
    spare: Vec<Event>,
    /// Whether the hooks observe births of time-wait sockets.
    sees_time_wait: bool,
    /// The monotonic clock of this process minus the clock of the records, in nanoseconds.
    offset: i64,
}

impl Events {
    pub(crate) fn new(ring: RingBuf<MapData>, bytes: u32, sees_time_wait: bool) -> Self {
        let max_records = bytes as usize / size_of::<EventRecord>();
        let (coalescer, cgroups) = (Coalescer::default(), Resolver::for_sockets());
        // If the offset is unknown, the run has the limit `Clock`.
        let offset = monotonic_offset().unwrap_or(0);
        Self { ring, max_records, coalescer, cgroups, spare: Vec::new(), sees_time_wait, offset }
    }

    /// Returns the maximum number of events that fit in the ring buffer.
    #[must_use]
    pub fn max_records(&self) -> usize {
        self.max_records
    }

    /// Returns up to `max` events that no later record can change, oldest first. If the function
    /// returns fewer than `max` events, a later record can still change each remaining event.
    pub fn take_settled(&mut self, max: usize) -> Vec<Event> {
        self.collect(max, |events| {
            loop {
                if let Some(record) = events.coalescer.pop(None) {
                    return Some(record);
                }
                if !events.take_in() {
                    return events.coalescer.pop(Some(Clock::now(events.offset).of_records()));
                }
            }
        })
    }

    /// Returns up to `max` events, oldest first, even if later records could change these events.
    pub fn take(&mut self, max: usize) -> Vec<Event> {
        while self.take_in() {}
        self.collect(max, |events| events.coalescer.pop_anyway())
    }

    /// Decodes the records of connections that are open.
    pub fn of_pending(&mut self, records: Vec<ConnectionRecord>) -> Vec<Event> {
        let mut records = records.into_iter();
        self.collect(usize::MAX, |_| {
            let ConnectionRecord { event, sum } = records.next()?;
            Some(Settled { event, sum: Some(Box::new(sum)) })
        })
    }

    /// Uses the memory of these events for the next events.
    pub fn reuse(&mut self, mut events: Vec<Event>) {
        events.clear();
        self.spare = events;
    }

    fn collect(
        &mut self,
        max: usize,
        mut next: impl FnMut(&mut Self) -> Option<Settled>,
    ) -> Vec<Event> {
        // The time is computed for each call, because the wall clock may be set between calls.
        let clock = Clock::now(self.offset);
        let mut events = std::mem::take(&mut self.spare);
        while events.len() < max {
            let Some(Settled { event: record, sum }) = next(self) else { break };
            let event = event_of(&record, &clock, |record| {
                // The cgroup of an event is the cgroup of a full socket.
                let is_full = is_of_full_socket(record.kind);
                let pid = Some(record.pid).filter(|&pid| is_full && pid != 0 && pid != NO_PID);
                let cookie = Some(record.cookie).filter(|&cookie| cookie != 0);
                let age = clock.of_records().saturating_sub(Duration::from_nanos(record.time));
                self.cgroups.of_socket(record.cgroup, pid, cookie, age)
            });
            let Some(event) = event else { continue };
            events.push(event);
            if let (Some(sum), Some(event)) = (sum, events.last_mut()) {
                let opened = |born| clock.wall(born);
                let connection = connections::of(&record, &sum, opened, self.sees_time_wait);
                event.connection = Some(Box::new(connection));
            }
        }
        events
    }

    /// Moves one record from the ring buffer to the coalescer. Returns whether the ring buffer
    /// contained a record.
    fn take_in(&mut self) -> bool {
        let Some(item) = self.ring.next() else { return false };
        if let Some(record) = read_record::<ConnectionRecord>(&item) {
            self.coalescer.push_connection(record);
        } else if let Some(record) = read_record::<EventRecord>(&item) {
            self.coalescer.push(record);
        }
        true
    }
}

/// Reads a record if the bytes have its size. Records of other kinds have other sizes.
pub(super) fn read_record<T: aya::Pod>(bytes: &[u8]) -> Option<T> {
    // SAFETY: the type is plain old data, for which every bit pattern is valid. The function
    // `read_unaligned` needs no alignment.
    (bytes.len() == size_of::<T>()).then(|| unsafe { ptr::read_unaligned(bytes.as_ptr().cast()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(from: State, to: State) -> EventRecord {
        let word = |bytes: [u8; 4]| u32::from_ne_bytes(bytes);
        EventRecord {
            time: 7_000_000_001,
            duration: 1500,
            local: [word([127, 0, 0, 1]), 0, 0, 0],
            remote: [word([192, 0, 2, 7]), 0, 0, 0],
            family: 2,
            from: from as u8,
            to: to as u8,
            local_port: 443,
            remote_port: 40_000,
            ..EventRecord::default()
        }
    }

    fn event(record: &EventRecord) -> Event {
        event_of(record, &clock(0), |_| None).expect("TCP has these states")
    }

    fn clock(offset: i64) -> Clock {
        let since_1970 = Duration::from_secs(1000);
        Clock { since_1970, monotonic: Duration::from_secs(90), offset }
    }

    #[test]
    fn a_process_outside_the_pid_namespace_has_a_name_and_no_pid() {
        let record = EventRecord {
            pid: NO_PID,
            comm: *b"curl\0\0\0\0\0\0\0\0\0\0\0\0",
            ..record(State::Established, State::CloseWait)
        };
        let event = event(&record);
        assert_eq!((event.pid, event.comm), (None, Some("curl".into())));
    }

    #[test]
    fn a_record_is_read_field_by_field() {
        let event = event(&EventRecord {
            pid: 77,
            comm: *b"curl\0\0\0\0\0\0\0\0\0\0\0\0",
            uid: 1000,
            cookie: 9,
            ..record(State::Established, State::CloseWait)
        });
        assert_eq!(event.time, UNIX_EPOCH + Duration::from_nanos(1_007_000_000_001));
        assert_eq!(event.local, Some("127.0.0.1".parse().expect("an address")));
        assert_eq!(event.remote, Some("192.0.2.7".parse().expect("an address")));
        assert_eq!((event.local_port, event.remote_port), (Some(443), Some(40_000)));
        assert_eq!((event.pid, event.comm), (Some(77), Some("curl".into())));
        assert_eq!((event.uid, event.cookie), (Some(1000), Some(9)));
        assert_eq!(event.duration, Some(Duration::from_nanos(1500)));
    }

    #[test]
    fn unknown_fields_are_none_instead_of_zero() {
        let event = event(&EventRecord {
            duration: UNKNOWN_DURATION,
            local_port: 0,
            uid: u32::MAX,
            ..record(State::Close, State::SynSent)
        });
        assert_eq!((event.duration, event.local_port, event.uid), (None, None, None));
        assert_eq!((event.pid, event.comm, event.cookie), (None, None, None));
    }

    #[test]
    fn listeners_and_new_children_have_no_peer() {
        for (from, to) in [
            (State::Close, State::Listen),
            (State::Listen, State::Close),
            (State::Listen, State::SynRecv),
            (State::Close, State::SynRecv),
        ] {
            let event = event(&EventRecord { flags: EVENT_IS_AMENDABLE, ..record(from, to) });
            assert_eq!((event.remote, event.remote_port), (None, None), "{from:?} -> {to:?}");
        }
        let bare =
            EventRecord { flags: EVENT_IS_AMENDABLE, ..record(State::Listen, State::SynRecv) };
        let of_any = EventRecord { local: [0; 4], ..bare };
        assert_eq!(event(&of_any).local, None);
        let listener = EventRecord { local: [0; 4], ..record(State::Close, State::Listen) };
        assert_eq!(event(&listener).local, Some("0.0.0.0".parse().expect("an address")));
    }

    #[test]
    fn a_child_has_a_peer_after_its_next_record() {
        let event = event(&record(State::Listen, State::SynRecv));
        assert_eq!(event.remote_port, Some(40_000));
    }

    #[test]
    fn time_wait_sockets_and_last_events_name_both_processes() {
        let known = EventRecord {
            pid: 77,
            comm: *b"nginx\0\0\0\0\0\0\0\0\0\0\0",
            closer_pid: NO_PID,
            closer_comm: *b"worker\0\0\0\0\0\0\0\0\0\0",
            ..record(State::FinWait2, State::Close)
        };
        let caller = |pid, comm: &str| Some(Caller { pid, comm: comm.into() });
        let last = event(&known);
        let ends = (caller(None, "worker"), caller(Some(77), "nginx"));
        assert_eq!((last.closed_by, last.opened_by), ends);
        assert_eq!((last.pid, last.comm), (Some(77), Some("nginx".into())));
        let mini = event(&EventRecord { kind: RecordKind::TimeWait as u8, ..known });
        assert_eq!((mini.closed_by, mini.opened_by), ends);
        assert_eq!((mini.pid, mini.comm), (None, None));
        let early = event(&EventRecord { to: State::FinWait2 as u8, from: 4, ..known });
        assert_eq!((early.closed_by, early.opened_by), (None, None));
        let unknown = event(&EventRecord { pid: 0, closer_pid: 0, ..known });
        assert_eq!((unknown.closed_by, unknown.opened_by), (None, None));
    }

    #[test]
    fn mini_sockets_have_a_peer_and_no_owner() {
        let born = EventRecord { kind: RecordKind::TimeWait as u8, ..EventRecord::BLANK };
        let connection = record(State::Close, State::TimeWait);
        let event = event(&EventRecord {
            family: connection.family,
            to: connection.to,
            from: connection.from,
            remote_port: connection.remote_port,
            ..born
        });
        assert_eq!((event.hook, event.remote_port), (Hook::TimeWait, Some(40_000)));
        assert_eq!((event.pid, event.uid, event.duration), (None, None, None));
    }

    #[test]
    fn a_record_of_an_unknown_state_or_family_is_none() {
        for record in [
            EventRecord { to: 77, ..record(State::Close, State::Listen) },
            EventRecord { family: 1, ..record(State::Close, State::Listen) },
        ] {
            assert_eq!(event_of(&record, &clock(0), |_| None), None);
        }
    }
}

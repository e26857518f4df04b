//! Events in the order in which the kernel half wrote them down.

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::ffi::OsStringExt as _,
    ptr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aya::maps::{MapData, RingBuf};
use nix::time::{ClockId, clock_gettime};
use tcpstate_common::{
    State,
    abi::{EventRecord, UNKNOWN_DURATION},
};

use super::cgroups::{Cgroup, Resolver};
use crate::family::Family;

/// One transition, as the tracepoint reported it, and the connection that made it. What can't be known is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, by the wall's clock.
    pub time: SystemTime,
    /// When, by the monotonic clock.
    pub monotonic: Duration,
    /// The old state.
    pub from: State,
    /// The new state.
    pub to: State,
    /// The socket's.
    pub family: Family,
    /// The socket's address; none for a child at its birth, unless its listener is bound to one.
    pub local: Option<IpAddr>,
    /// The socket's port; none at connect() and listen() while the kernel has yet to choose one.
    pub local_port: Option<u16>,
    /// The peer's address; none for a listener, and for a child at its birth.
    pub remote: Option<IpAddr>,
    /// The peer's port.
    pub remote_port: Option<u16>,
    /// Inode of the network namespace.
    pub netns: u32,
    /// The kernel's name for the socket, if anybody ever asked for it.
    pub cookie: Option<u64>,
    /// The process that connected, listened or accepted.
    pub pid: Option<u32>,
    /// Its name.
    pub comm: Option<OsString>,
    /// The user who made the socket; for a child the listener's, until it is accepted.
    pub uid: Option<u32>,
    /// The cgroup in which the socket was made; for a child its listener's.
    pub cgroup: Option<Arc<Cgroup>>,
    /// How long the socket was in the old state.
    pub duration: Option<Duration>,
}

impl Event {
    /// Reads a record; `None` if it is of a state or family that TCP does not have.
    fn of(
        record: &EventRecord,
        since_1970: Duration,
        cgroup: impl FnOnce(u64) -> Option<Arc<Cgroup>>,
    ) -> Option<Self> {
        let from = State::from_number(record.from.into())?;
        let to = State::from_number(record.to.into())?;
        let family =
            Family::BOTH.into_iter().find(|family| family.number() == u32::from(record.family))?;
        let address = |words: [u32; 4]| match family {
            Family::V4 => IpAddr::from(Ipv4Addr::from(words[0].to_ne_bytes())),
            Family::V6 => {
                let mut bytes = [0; 16];
                for (into, word) in bytes.chunks_exact_mut(4).zip(words) {
                    into.copy_from_slice(&word.to_ne_bytes());
                }
                IpAddr::from(Ipv6Addr::from(bytes))
            }
        };
        // A listener's fields may hold the peer of an earlier connection, and its child begins as a copy of it.
        let is_apart = |state| matches!(state, State::Close | State::Listen);
        let has_peer = !is_apart(from) || to == State::SynSent;
        let is_child = is_apart(from) && to == State::SynRecv;
        let local = address(record.local);
        let monotonic = Duration::from_nanos(record.time);
        let comm = || {
            let name = record.comm.split(|&byte| byte == 0).next().unwrap_or_default();
            OsString::from_vec(name.to_vec())
        };
        Some(Self {
            time: UNIX_EPOCH + since_1970 + monotonic,
            monotonic,
            from,
            to,
            family,
            local: Some(local).filter(|local| !(is_child && local.is_unspecified())),
            local_port: Some(record.local_port).filter(|&port| port != 0),
            remote: has_peer.then(|| address(record.remote)),
            remote_port: has_peer.then_some(record.remote_port),
            netns: record.netns,
            cookie: Some(record.cookie).filter(|&cookie| cookie != 0),
            pid: Some(record.pid).filter(|&pid| pid != 0),
            comm: (record.pid != 0).then(comm),
            uid: Some(record.uid).filter(|&uid| uid != u32::MAX),
            cgroup: cgroup(record.cgroup),
            duration: Some(record.duration)
                .filter(|&nanos| nanos != UNKNOWN_DURATION)
                .map(Duration::from_nanos),
        })
    }
}

/// What was not written down since the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Events for which the ring had no room.
    pub dropped: u64,
    /// Events that the kernel kept from the program because it was running already, whatever their namespace.
    pub missed: u64,
    /// Events whose socket there was no room to remember, so that its next one lacks duration and owner.
    pub untracked: u64,
}

impl Losses {
    /// Events without a line.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.dropped + self.missed
    }

    /// What was lost since an earlier count.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            dropped: self.dropped - earlier.dropped,
            missed: self.missed - earlier.missed,
            untracked: self.untracked - earlier.untracked,
        }
    }
}

/// The ring's end in user space. No event wakes who reads it: look every now and then.
pub struct Events {
    ring: RingBuf<MapData>,
    most: usize,
    cgroups: Resolver,
}

impl Events {
    pub(crate) fn new(ring: RingBuf<MapData>, bytes: u32) -> Self {
        let most = bytes as usize / size_of::<EventRecord>();
        Self { ring, most, cgroups: Resolver::default() }
    }

    /// How many there may be at one time.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }

    /// The next events, oldest first, at most so many. None are there if there are fewer.
    pub fn take(&mut self, most: usize) -> Vec<Event> {
        // Anew each time: the wall's clock may be set meanwhile.
        let since_1970 = since_1970();
        let mut events = Vec::new();
        while events.len() < most {
            let Some(item) = self.ring.next() else { break };
            if item.len() < size_of::<EventRecord>() {
                continue;
            }
            // SAFETY: the kernel half writes whole records, every bit pattern is one, and no alignment is asked for.
            let record = unsafe { ptr::read_unaligned(item.as_ptr().cast::<EventRecord>()) };
            events.extend(Event::of(&record, since_1970, |id| self.cgroups.get(id)));
        }
        events
    }
}

/// How long after 1970 the monotonic clock began, by the wall's clock as it stands.
fn since_1970() -> Duration {
    let now = |clock| clock_gettime(clock).map(Duration::from).unwrap_or_default();
    let monotonic = now(ClockId::CLOCK_MONOTONIC);
    now(ClockId::CLOCK_REALTIME).saturating_sub(monotonic)
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
        Event::of(record, Duration::from_secs(1000), |_| None).expect("TCP has these states")
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
    fn what_nobody_knows_is_none_and_not_zero() {
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
    fn a_listener_has_no_peer_whatever_its_fields_hold_and_neither_has_its_newborn_child() {
        for (from, to) in [
            (State::Close, State::Listen),
            (State::Listen, State::Close),
            (State::Listen, State::SynRecv),
            (State::Close, State::SynRecv),
        ] {
            let event = event(&record(from, to));
            assert_eq!((event.remote, event.remote_port), (None, None), "{from:?} -> {to:?}");
        }
        let of_any = EventRecord { local: [0; 4], ..record(State::Listen, State::SynRecv) };
        assert_eq!(event(&of_any).local, None);
        let listener = EventRecord { local: [0; 4], ..record(State::Close, State::Listen) };
        assert_eq!(event(&listener).local, Some("0.0.0.0".parse().expect("an address")));
    }

    #[test]
    fn a_record_of_an_unknown_state_or_family_is_none() {
        for record in [
            EventRecord { to: 77, ..record(State::Close, State::Listen) },
            EventRecord { family: 1, ..record(State::Close, State::Listen) },
        ] {
            assert_eq!(Event::of(&record, Duration::ZERO, |_| None), None);
        }
    }
}

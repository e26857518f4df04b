//! Generated events of a busy host, for measurements with millions of events.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use tcpstate::report::{Caller, Cgroup, CloseReason, Event, Family, Hook};
use tcpstate_common::State::{
    self, Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
};

use crate::random::Random;

/// The transitions of each side of a connection. Each transition has the average duration of the
/// state that the transition leaves, in nanoseconds.
const CLIENT: [(State, State, u64); 5] = [
    (Close, SynSent, 0),
    (SynSent, Established, 1_000_000),
    (Established, FinWait1, 50_000_000),
    (FinWait1, FinWait2, 300_000),
    (FinWait2, Close, 500_000),
];
const SERVER: [(State, State, u64); 5] = [
    (Listen, SynRecv, 0),
    (SynRecv, Established, 300),
    (Established, CloseWait, 50_000_000),
    (CloseWait, LastAck, 200_000),
    (LastAck, Close, 300_000),
];
const PROGRAMS: [&str; 5] = ["nginx", "envoy", "postgres", "node", "curl"];

/// Returns events of a host with about 16,000 new sockets per second, in order of time. Half of the
/// sockets are accepted, and there are 2,000 peers.
///
/// # Panics
/// Never panics.
#[must_use]
pub fn events(count: usize) -> Vec<Event> {
    let mut random = Random::new(0x9e37_79b9_7f4a_7c15);
    let mut waiting = BinaryHeap::new();
    let mut moves: Vec<Vec<Event>> = Vec::new();
    let mut events = Vec::with_capacity(count);
    let mut now = 5_000_000_000_000;
    while events.len() < count {
        now += random.about(60_000);
        let socket = moves.len();
        moves.push(connection(&mut random, now, socket as u64));
        let first = moves[socket][0].monotonic;
        waiting.push(Reverse((first, socket, 0)));
        while let Some(&Reverse((at, socket, number))) = waiting.peek()
            && at <= Duration::from_nanos(now)
        {
            waiting.pop();
            events.push(moves[socket][number].clone());
            match moves[socket].get(number + 1) {
                Some(next) => waiting.push(Reverse((next.monotonic, socket, number + 1))),
                None => moves[socket] = Vec::new(),
            }
        }
    }
    events.truncate(count);
    events
}

/// Returns the events of one socket that is created at `begin`.
fn connection(random: &mut Random, begin: u64, socket: u64) -> Vec<Event> {
    let is_server = random.below(2) == 0;
    let moves = if is_server { SERVER } else { CLIENT };
    let ephemeral = u16::try_from(32_768 + random.below(28_000)).expect("it is below 65,536");
    let ports = if is_server { (443, ephemeral) } else { (ephemeral, 443) };
    let program = random.below(5);
    let local = IpAddr::from([10, 0, 0, 7 + random.below(2).to_le_bytes()[0]]);
    let peer = u32::try_from(random.below(2000)).expect("it is small").wrapping_mul(0x9e37_79b1);
    let remote = IpAddr::from(Ipv4Addr::from(0x0a00_0000 | (peer & 0x00ff_ffff)));
    let mut at = begin;
    let unit = PROGRAMS[usize::try_from(program).expect("it is small")];
    let owner = Caller {
        pid: Some(1200 + u32::try_from(program).expect("it is small")),
        comm: unit.into(),
    };
    let cgroup = Arc::new(Cgroup::from(format!("/system.slice/{unit}.service")));
    let moves = moves.into_iter().enumerate();
    moves
        .map(|(number, (from, to, average))| {
            let duration = if average == 0 { 0 } else { 100 + random.about(average) };
            at += duration;
            let is_born = number == 0;
            let monotonic = Duration::from_nanos(at);
            Event {
                hook: Hook::Transitions,
                time: UNIX_EPOCH + Duration::from_secs(1_795_521_600) + monotonic,
                monotonic,
                from,
                to,
                family: Family::V4,
                local: Some(local),
                local_port: (is_server || !is_born).then_some(ports.0),
                remote: (!is_server || !is_born).then_some(remote),
                remote_port: (!is_server || !is_born).then_some(ports.1),
                netns: 4_026_531_840,
                cookie: (!is_born).then_some(0x2_0000 + socket * 3),
                pid: owner.pid,
                comm: Some(unit.into()),
                uid: Some(33),
                duration: (!is_born).then(|| Duration::from_nanos(duration)),
                cgroup: Some(Arc::clone(&cgroup)),
                ended_by: (to == Close).then_some(CloseReason::LocalFin),
                closed_by: (to == Close).then(|| owner.clone()),
                opened_by: (to == Close).then(|| owner.clone()),
                connection: None,
            }
        })
        .collect()
}

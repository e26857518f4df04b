//! Decodes the sums of connections.
//!
//! The kernel counts sequence numbers. A SYN and a FIN take one sequence number each, and are no
//! data. So a sum in bytes leaves them out.

use std::time::{Duration, SystemTime};

use tcpstate_common::{
    State,
    abi::{
        CONNECTION_BIRTH_SEEN, CONNECTION_HAD_NO_ROOM, CONNECTION_HAS_TIME_WAIT,
        CONNECTION_IS_CHILD, CONNECTION_IS_MPTCP, CONNECTION_TIME_WAIT_UNKNOWN, ConnectionSum,
        EventRecord, SOCK_DONE, UNKNOWN_DURATION,
    },
};

use crate::report::{Connection, Role};

/// Decodes the sum of a connection. `opened` returns the wall-clock time of a birth.
/// `sees_time_wait` tells whether the hooks observe births of time-wait sockets.
pub(super) fn of(
    last: &EventRecord,
    sum: &ConnectionSum,
    opened: impl FnOnce(u64) -> SystemTime,
    sees_time_wait: bool,
) -> Connection {
    let has = |mark| sum.marks & mark != 0;
    let birth = Some(sum.born).filter(|_| has(CONNECTION_BIRTH_SEEN));
    let role = match (has(CONNECTION_IS_CHILD), birth) {
        (true, _) => Some(Role::Server),
        (false, Some(_)) => Some(Role::Client),
        (false, None) => None,
    };
    let states = states(last, sum);
    let is_known = !has(CONNECTION_HAD_NO_ROOM);
    let time_wait = sees_time_wait && is_known && !has(CONNECTION_TIME_WAIT_UNKNOWN);
    Connection {
        opened: birth.map(opened),
        role,
        duration: birth.map(|born| Duration::from_nanos(last.time.saturating_sub(born))),
        handshake: handshake(role, sum, &states),
        time_wait: time_wait.then(|| has(CONNECTION_HAS_TIME_WAIT)),
        bytes_sent: role.map(|role| bytes_sent(role, last, sum)),
        bytes_received: is_known
            .then(|| sum.bytes_received.saturating_sub((sum.sock_flags & SOCK_DONE) >> 1)),
        retransmits: is_known.then(|| sum.retransmits.into()),
        srtt: (sum.srtt != 0).then(|| Duration::from_nanos(u64::from(sum.srtt) * 1000 / 8)),
        is_mptcp: has(CONNECTION_IS_MPTCP),
        states,
    }
}

/// Returns the states of the socket in order, each with the time in the state.
fn states(last: &EventRecord, sum: &ConnectionSum) -> Vec<(State, Option<Duration>)> {
    let known = |nanos| (nanos != UNKNOWN_DURATION).then(|| Duration::from_nanos(nanos));
    let current = State::from_number(last.from.into()).map(|state| (state, last.duration));
    let all = sum.earlier.iter().chain(current);
    all.map(|(state, nanos)| (state, known(nanos))).collect()
}

fn handshake(
    role: Option<Role>,
    sum: &ConnectionSum,
    states: &[(State, Option<Duration>)],
) -> Option<Duration> {
    match role? {
        Role::Server => {
            let micros = Some(sum.handshake).filter(|&micros| micros != 0);
            micros.map(|micros| Duration::from_micros(micros.into()))
        }
        Role::Client => {
            // Both sides can open the connection at the same time. The client is then in SYN_RECV
            // too.
            let established = states.iter().position(|&(state, _)| state == State::Established)?;
            states[..established].iter().map(|&(_, duration)| duration).sum()
        }
    }
}

/// Returns the bytes of data that the peer has acknowledged.
///
/// `bytes_acked` contains the SYN of a client. A child begins after its SYN-ACK
/// (`tcp_create_openreq_child`). `bytes_acked` contains the FIN if the peer has acknowledged
/// everything.
fn bytes_sent(role: Role, last: &EventRecord, sum: &ConnectionSum) -> u64 {
    const CLOSING: [State; 4] = [State::FinWait1, State::FinWait2, State::Closing, State::LastAck];
    let has_sent_fin = CLOSING.iter().any(|&state| last.from == state as u8);
    let fin = u64::from(has_sent_fin && sum.snd_una == sum.write_seq);
    let syn = u64::from(role == Role::Client);
    sum.bytes_acked.saturating_sub(fin + syn)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use tcpstate_common::abi::EarlierStates;

    use super::*;

    /// Returns the sum of a socket that was in SYN_SENT and ESTABLISHED, and closes from `last`.
    fn sum(marks: u32) -> ConnectionSum {
        let (sent, open) = (State::SynSent as u32, State::Established as u32);
        let durations = [2000, 5000, 0, 0];
        let earlier = EarlierStates { durations, path: sent | open << 4, length: 2 };
        ConnectionSum {
            born: 1000,
            earlier,
            bytes_acked: 102,
            bytes_received: 51,
            sock_flags: SOCK_DONE,
            srtt: 8004,
            snd_una: 7,
            write_seq: 7,
            marks,
            ..ConnectionSum::default()
        }
    }

    fn last(from: State) -> EventRecord {
        EventRecord { time: 9000, duration: 1000, from: from as u8, ..EventRecord::BLANK }
    }

    fn decoded(from: State, sum: &ConnectionSum) -> Connection {
        of(&last(from), sum, |born| UNIX_EPOCH + Duration::from_nanos(born), true)
    }

    #[test]
    fn a_client_has_neither_its_syn_nor_its_fin_in_the_bytes() {
        let client =
            decoded(State::FinWait2, &sum(CONNECTION_BIRTH_SEEN | CONNECTION_HAS_TIME_WAIT));
        assert_eq!((client.bytes_sent, client.bytes_received), (Some(100), Some(50)));
        assert_eq!(client.role, Some(Role::Client));
        assert_eq!(client.handshake, Some(Duration::from_micros(2)));
        assert_eq!(client.duration, Some(Duration::from_micros(8)));
        assert_eq!(client.opened, Some(UNIX_EPOCH + Duration::from_micros(1)));
        assert_eq!(
            (client.time_wait, client.srtt),
            (Some(true), Some(Duration::from_nanos(1_000_500)))
        );
        let states: Vec<_> = client.states.iter().map(|&(state, _)| state).collect();
        assert_eq!(states, [State::SynSent, State::Established, State::FinWait2]);
    }

    #[test]
    fn a_fin_counts_only_if_it_was_sent_and_acknowledged() {
        let with = |from, snd_una| {
            let sum = ConnectionSum { snd_una, ..sum(CONNECTION_BIRTH_SEEN) };
            decoded(from, &sum).bytes_sent
        };
        assert_eq!(with(State::LastAck, 7), Some(100));
        assert_eq!(with(State::LastAck, 6), Some(101), "the FIN was not acknowledged");
        assert_eq!(with(State::Established, 7), Some(101), "no FIN was sent");
    }

    #[test]
    fn a_child_has_no_syn_and_a_measured_handshake() {
        let mut sum = sum(CONNECTION_BIRTH_SEEN | CONNECTION_IS_CHILD);
        sum.handshake = 33;
        let child = decoded(State::LastAck, &sum);
        assert_eq!((child.role, child.bytes_sent), (Some(Role::Server), Some(101)));
        assert_eq!(child.handshake, Some(Duration::from_micros(33)));
        sum.handshake = 0;
        assert_eq!(decoded(State::LastAck, &sum).handshake, None, "the SYN-ACK was sent again");
    }

    #[test]
    fn unknown_values_are_none() {
        let old = decoded(State::FinWait2, &sum(CONNECTION_TIME_WAIT_UNKNOWN));
        assert_eq!((old.role, old.opened, old.duration, old.bytes_sent), (None, None, None, None));
        assert_eq!((old.handshake, old.time_wait), (None, None));
        let bare = ConnectionSum { marks: CONNECTION_HAD_NO_ROOM, ..ConnectionSum::default() };
        let bare = decoded(State::LastAck, &bare);
        assert_eq!((bare.bytes_received, bare.retransmits, bare.time_wait), (None, None, None));
        let refused = ConnectionSum { marks: CONNECTION_BIRTH_SEEN, ..ConnectionSum::default() };
        let refused = decoded(State::SynSent, &refused);
        assert_eq!((refused.bytes_sent, refused.srtt, refused.handshake), (Some(0), None, None));
        assert!(refused.has_failed());
    }
}

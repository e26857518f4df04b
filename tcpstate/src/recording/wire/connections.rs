//! Encodes the sums of the connections that end in the events of a record. Each field is one
//! column, with a value for each connection.

use std::time::Duration;

use minicbor::{Decode, Encode};
use tcpstate_common::State;

use super::{
    MAX_EVENTS, Malformed,
    limited::List,
    table::{Nanos, Number, Wire as _},
};
use crate::{
    recording::budget::Budget,
    report::{Connection, Event, Role},
};

/// The maximum number of states of a connection. Each state takes 4 bits of a path.
const MAX_STATES: usize = 8;

/// The maximum number of times in all states.
const MAX_TIMES: usize = MAX_STATES * MAX_EVENTS;

/// A column. A missing value means that the field is unknown.
type Column<T> = List<Option<T>, MAX_EVENTS>;

#[derive(Default, Encode, Decode)]
#[cbor(context_bound = "AsMut<Budget>")]
pub(super) struct Connections {
    /// The index of the event that ended the connection.
    #[n(0)]
    row: List<u32, MAX_EVENTS>,
    /// The wall-clock time of the birth, in nanoseconds since 1970.
    #[n(1)]
    opened: Column<u64>,
    /// The index of the role in [`Role::BOTH`].
    #[n(2)]
    role: Column<u8>,
    /// Times are in nanoseconds.
    #[n(3)]
    duration: Column<u64>,
    #[n(4)]
    handshake: Column<u64>,
    /// The number that the kernel uses for each state, the first state in the lowest 4 bits.
    #[n(5)]
    path: List<u32, MAX_EVENTS>,
    /// The time in each state, for one connection after the other.
    #[n(6)]
    times: List<Option<u64>, MAX_TIMES>,
    #[n(7)]
    time_wait: Column<bool>,
    #[n(8)]
    bytes_sent: Column<u64>,
    #[n(9)]
    bytes_received: Column<u64>,
    #[n(10)]
    retransmits: Column<u64>,
    #[n(11)]
    srtt: Column<u64>,
    #[n(12)]
    is_mptcp: List<bool, MAX_EVENTS>,
}

impl Connections {
    /// Returns the columns of all connections of these events, or `None` if there is none.
    pub(super) fn of(events: &[Event]) -> Option<Self> {
        let mut columns = Self::default();
        for (row, event) in (0..).zip(events) {
            if let Some(connection) = &event.connection {
                columns.push(row, connection);
            }
        }
        (!columns.row.0.is_empty()).then_some(columns)
    }

    fn push(&mut self, index: u32, connection: &Connection) {
        let Connection {
            opened,
            role,
            duration,
            handshake,
            states,
            time_wait,
            bytes_sent,
            bytes_received,
            retransmits,
            srtt,
            is_mptcp,
        } = connection;
        let nanos = |duration: &Option<Duration>| duration.map(|it| Nanos::of(&it).0);
        let states = &states[..states.len().min(MAX_STATES)];
        let path = states.iter().rev().fold(0, |path, &(state, _)| path << 4 | state as u32);
        self.row.0.push(index);
        self.opened.0.push(opened.map(|opened| Nanos::of(&opened).0));
        self.role.0.push(role.map(|role| role as u8));
        self.duration.0.push(nanos(duration));
        self.handshake.0.push(nanos(handshake));
        self.path.0.push(path);
        self.times.0.extend(states.iter().map(|(_, time)| nanos(time)));
        self.time_wait.0.push(*time_wait);
        self.bytes_sent.0.push(*bytes_sent);
        self.bytes_received.0.push(*bytes_received);
        self.retransmits.0.push(*retransmits);
        self.srtt.0.push(nanos(srtt));
        self.is_mptcp.0.push(*is_mptcp);
    }

    /// Decodes the connections, and adds each to its event.
    pub(super) fn add_to(self, events: &mut [Event], budget: &mut Budget) -> Result<(), Malformed> {
        let count = self.row.0.len();
        let lengths = [
            self.opened.0.len(),
            self.role.0.len(),
            self.duration.0.len(),
            self.handshake.0.len(),
            self.path.0.len(),
            self.time_wait.0.len(),
            self.bytes_sent.0.len(),
            self.bytes_received.0.len(),
            self.retransmits.0.len(),
            self.srtt.0.len(),
            self.is_mptcp.0.len(),
        ];
        if lengths.iter().any(|&length| length != count) {
            return Err(Malformed::message("columns of connections are of different lengths"));
        }
        let states = MAX_STATES * size_of::<(State, Option<Duration>)>();
        budget.take(count, size_of::<Connection>() + states)?;
        let mut times = self.times.0.iter();
        for (at, &row) in self.row.0.iter().enumerate() {
            let nanos = |column: &Column<u64>| column.0[at].map(Duration::from_nanos);
            let connection = Connection {
                opened: self.opened.0[at].map(|nanos| Nanos(nanos).read()).transpose()?,
                // A newer recording may contain a role that this program does not know.
                role: self.role.0[at].and_then(|it| Role::BOTH.get(usize::from(it)).copied()),
                duration: nanos(&self.duration),
                handshake: nanos(&self.handshake),
                states: read_states(self.path.0[at], &mut times)?,
                time_wait: self.time_wait.0[at],
                bytes_sent: self.bytes_sent.0[at],
                bytes_received: self.bytes_received.0[at],
                retransmits: self.retransmits.0[at],
                srtt: nanos(&self.srtt),
                is_mptcp: self.is_mptcp.0[at],
            };
            let event = events.get_mut(row as usize);
            let event = event.ok_or_else(|| Malformed::message("a connection of no event"))?;
            event.connection = Some(Box::new(connection));
        }
        Ok(())
    }
}

/// Returns the states of a path, each with the next time.
fn read_states<'a>(
    mut path: u32,
    times: &mut impl Iterator<Item = &'a Option<u64>>,
) -> Result<Vec<(State, Option<Duration>)>, Malformed> {
    let mut states = Vec::new();
    while path != 0 {
        let state = Number((path & 0xf) as u8).read()?;
        let time = times.next().ok_or_else(|| Malformed::message("a state without a time"))?;
        states.push((state, time.map(Duration::from_nanos)));
        path >>= 4;
    }
    Ok(states)
}

//! The rows of `/proc/thread-self/net/tcp` and `tcp6`, which show whether the sockets changed
//! between two readings.

use std::time::SystemTime;

use tcpstate_common::State;

use super::{
    Counts,
    proc::{MINI_COLUMNS, for_each_row, is_time_wait_mini, state, tables},
};
use crate::traffic::Family;

/// The kind of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A socket that a program can have open.
    Full,
    /// A mini socket in `TIME_WAIT` or `FIN_WAIT2`.
    TimeWait,
    /// A mini socket of a half-open connection.
    Request,
}

/// One socket of the kernel's tables.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The state. A request socket is in `SYN_RECV`.
    pub state: State,
    /// The kind of the socket.
    pub kind: Kind,
    /// Whether the socket is in the table of IPv6.
    pub is_v6: bool,
    /// The local address and the remote address, in the kernel's hexadecimal notation.
    pub addresses: Box<str>,
}

/// All sockets of the thread's namespace, in order, and the time of the reading.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The time at which the reading began.
    pub begin: SystemTime,
    /// The time at which the reading ended.
    pub end: SystemTime,
    sockets: Vec<Row>,
}

impl Rows {
    /// Reads both tables.
    ///
    /// # Panics
    /// Panics if the text cannot be parsed.
    #[must_use]
    pub fn read() -> Self {
        let begin = SystemTime::now();
        let mut sockets = Vec::new();
        for family in Family::BOTH {
            for table in tables(family) {
                for_each_row(table, |columns| sockets.push(row(columns, family)));
            }
        }
        let end = SystemTime::now();
        sockets.sort_unstable();
        Self { begin, end, sockets }
    }

    /// Returns whether both readings show the same sockets in the same states.
    #[must_use]
    pub fn equal(&self, other: &Self) -> bool {
        self.sockets == other.sockets
    }

    /// The number of sockets in each state, as `ss` shows them. `None` stands for both families.
    #[must_use]
    pub fn counts(&self, family: Option<Family>) -> Counts {
        let mut counts = Counts::default();
        let is_v6 = family.map(|family| family == Family::V6);
        for row in self.sockets.iter().filter(|row| is_v6.is_none_or(|is_v6| row.is_v6 == is_v6)) {
            counts[row.state] += 1;
        }
        counts
    }

    /// The number of sockets of this kind.
    #[must_use]
    pub fn of_kind(&self, kind: Kind) -> usize {
        self.sockets.iter().filter(|row| row.kind == kind).count()
    }
}

fn row(columns: &[&str], family: Family) -> Row {
    let state = state(columns);
    let kind = if is_time_wait_mini(columns) {
        Kind::TimeWait
    } else if state == State::SynRecv && columns.len() == MINI_COLUMNS {
        Kind::Request
    } else {
        Kind::Full
    };
    let addresses = format!("{} {}", columns[1], columns[2]).into_boxed_str();
    Row { state, kind, is_v6: family == Family::V6, addresses }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_the_kind_and_the_state_of_their_socket() {
        let rows = [
            "0: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0 0 0 52241 1 00000000a8c71b5f 100 0 0 10 0",
            "2: 0100007F:D2F0 0100007F:1F90 05 0:0 03:00001765 0 0 0 0 3 0000000011aa",
            "4: 0100007F:1F90 0100007F:D2F4 03 0:0 01:00000064 0 0 0 0 0 0000000033cc",
        ];
        let found = rows.map(|text| {
            let columns: Vec<&str> = text.split_ascii_whitespace().collect();
            let Row { state, kind, .. } = row(&columns, Family::V4);
            (state, kind)
        });
        let expected = [
            (State::Listen, Kind::Full),
            (State::FinWait2, Kind::TimeWait),
            (State::SynRecv, Kind::Request),
        ];
        assert_eq!(found, expected);
    }
}

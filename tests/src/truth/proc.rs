//! Reads `/proc/thread-self/net/tcp` and `tcp6` to count the sockets in each state. Full sockets
//! and each kind of mini socket are counted separately.

use std::fs;

use tcpstate_common::State;

use super::Counts;
use crate::{traffic::Family, wait};

/// The row of a full socket has 17 columns. The row of a mini socket has no columns after the
/// kernel's address of the socket.
pub(super) const MINI_COLUMNS: usize = 12;
/// The value in the timer column of a time-wait mini socket. Only time-wait sockets have the value
/// 03 in the timer column.
const TIME_WAIT_TIMER: &str = "03";

/// The sockets of one namespace, IPv4 and IPv6 together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    /// Full sockets.
    pub full: Counts,
    /// The time-wait mini sockets: sockets in `TIME_WAIT`, and closed sockets in `FIN_WAIT2`.
    pub minis: Counts,
    /// Request mini sockets: half-open connections.
    pub requests: u64,
}

impl Sockets {
    /// Returns the counts that `ss` shows, which count request sockets in `SYN_RECV`.
    #[must_use]
    pub fn all(&self) -> Counts {
        self.full + self.minis + Counts::from([(State::SynRecv, self.requests)].as_slice())
    }

    fn add(&mut self, columns: &[&str]) {
        match state(columns) {
            state if is_time_wait_mini(columns) => self.minis[state] += 1,
            State::SynRecv if columns.len() == MINI_COLUMNS => self.requests += 1,
            state => self.full[state] += 1,
        }
    }
}

/// Reads the IPv4 table and the IPv6 table of the thread's namespace.
///
/// # Panics
/// Panics if the text cannot be parsed.
#[must_use]
pub fn sockets() -> Sockets {
    sockets_in(&["tcp", "tcp6"])
}

/// Waits until no full socket is left.
///
/// # Panics
/// Panics if the namespace still has a full socket at the deadline.
pub fn await_end_of_sockets() {
    wait::until("the sockets to end", || sockets().full.total() == 0);
}

/// Reads one family's table of the thread's namespace.
///
/// # Panics
/// Panics if the text cannot be parsed.
#[must_use]
pub fn sockets_of(family: Family) -> Sockets {
    sockets_in(tables(family))
}

pub(super) fn tables(family: Family) -> &'static [&'static str] {
    match family {
        Family::V4 => &["tcp"],
        Family::V6 => &["tcp6"],
    }
}

fn sockets_in(tables: &[&str]) -> Sockets {
    let mut sockets = Sockets::default();
    for table in tables {
        for_each_row(table, |columns| sockets.add(columns));
    }
    sockets
}

/// Returns the number of mini sockets in `TIME_WAIT` with this port as local or remote port.
///
/// # Panics
/// Panics if the text cannot be parsed.
#[must_use]
pub fn time_wait_of(port: u16) -> u64 {
    let matches = |row: &MiniRow| row.state == State::TimeWait && row.ports.contains(&port);
    count_minis(&["tcp", "tcp6"], matches)
}

/// Returns whether there is a time-wait mini socket with these ports, of which the first is the
/// local port. The state of the mini socket is `TIME_WAIT` or `FIN_WAIT2`.
///
/// # Panics
/// Panics if the text cannot be parsed.
#[must_use]
pub fn has_mini(family: Family, ports: [u16; 2]) -> bool {
    count_minis(tables(family), |row| row.ports == ports) > 0
}

/// The row of a time-wait mini socket in `/proc/net/tcp`.
struct MiniRow {
    state: State,
    /// The local port and the peer's port of a time-wait mini socket.
    ports: [u16; 2],
}

fn count_minis(tables: &[&str], matches: impl Fn(&MiniRow) -> bool) -> u64 {
    let port = |address: &str| {
        let (_, port) = address.rsplit_once(':').expect("an address and a port");
        u16::from_str_radix(port, 16).expect("a port in hexadecimal digits")
    };
    let mut count = 0;
    for table in tables {
        for_each_row(table, |columns| {
            let row =
                MiniRow { state: state(columns), ports: [port(columns[1]), port(columns[2])] };
            count += u64::from(is_time_wait_mini(columns) && matches(&row));
        });
    }
    count
}

pub(super) fn for_each_row(table: &str, mut take: impl FnMut(&[&str])) {
    let text = fs::read_to_string(format!("/proc/thread-self/net/{table}"));
    for row in text.expect("the kernel has TCP and IPv6").lines().skip(1) {
        take(&columns(row));
    }
}

fn columns(row: &str) -> Vec<&str> {
    row.split_ascii_whitespace().collect()
}

pub(super) fn state(columns: &[&str]) -> State {
    let state = usize::from_str_radix(columns[3], 16).ok().and_then(State::from_number);
    state.unwrap_or_else(|| panic!("no such state: {columns:?}"))
}

pub(super) fn is_time_wait_mini(columns: &[&str]) -> bool {
    columns[5].split(':').next() == Some(TIME_WAIT_TIMER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rows: &str) -> Sockets {
        let mut sockets = Sockets::default();
        for row in rows.lines() {
            sockets.add(&columns(row));
        }
        sockets
    }

    #[test]
    fn full_sockets_have_long_rows() {
        let sockets = read(concat!(
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 ",
            "52241 1 00000000a8c71b5f 100 0 0 10 0\n",
            "   1: 0100007F:1F90 0100007F:D2F0 03 00000001:00000000 01:00000014 00000000     0        0 ",
            "0 2 00000000f3a1c9e2 20 0 0 10 -1",
        ));
        let expected = Counts::from([(State::Listen, 1), (State::SynRecv, 1)].as_slice());
        assert_eq!(sockets, Sockets { full: expected, ..Sockets::default() });
    }

    #[test]
    fn time_wait_minis_have_their_own_timer_value() {
        let sockets = read(concat!(
            "   2: 0100007F:D2F0 0100007F:1F90 05 00000000:00000000 03:00001765 00000000     0        0 0 3 0000000011aa\n",
            "   3: 0100007F:D2F2 0100007F:1F90 06 00000000:00000000 03:00001765 00000000     0        0 0 3 0000000022bb",
        ));
        let expected = Counts::from([(State::FinWait2, 1), (State::TimeWait, 1)].as_slice());
        assert_eq!(sockets, Sockets { minis: expected, ..Sockets::default() });
    }

    #[test]
    fn a_short_row_in_syn_recv_is_a_request() {
        let sockets = read(concat!(
            "   4: 00000000000000000000000001000000:1F90 00000000000000000000000001000000:D2F4 03 ",
            "00000000:00000000 01:00000064 00000000     0        0 0 0 0000000033cc",
        ));
        assert_eq!(sockets, Sockets { requests: 1, ..Sockets::default() });
        assert_eq!(sockets.all()[State::SynRecv], 1);
    }
}

//! Connections for people: a line for each connection, in aligned columns.

use std::io::{self, Write};

use tcpstate_common::State;

use crate::{
    report::{CloseReason, Connection, Event, Report, Role},
    text::escaped,
    view::{
        Clock, GroupOrder, Size, Table, View,
        events::{
            close_reason, endpoint,
            layout::{COMM, Layout, Line},
            place,
        },
        number::{UNKNOWN, or_unknown, span},
    },
};

/// Writes a line for each connection, and the blocks of a [`Table`] between them if snapshots are
/// asked for. On a narrow terminal, a connection uses two lines, or three if the addresses are
/// long.
#[derive(Clone, Debug)]
pub struct ConnectionTable {
    table: Table,
    clock: Clock,
    layout: Layout,
}

/// The length of the longest note.
const NOTE: usize = "remote_fin, TIME_WAIT".len();

impl ConnectionTable {
    /// Creates a table that shows the times of this clock.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let cells = head(["", "", "", "", "", ""]).len() + COMM + more("", "").len() + 3;
        Self { table: Table::default(), clock, layout: Layout::new(cells, NOTE) }
    }

    /// Shows the groups of snapshots in this order.
    #[must_use]
    pub fn with_order(self, order: GroupOrder) -> Self {
        Self { table: Table::new(order), ..self }
    }

    /// Makes the lines fit into a terminal. `size` returns the size of the terminal.
    #[must_use]
    pub fn on_terminal(self, size: fn() -> Size) -> Self {
        Self { layout: self.layout.on_terminal(size), ..self }
    }

    fn write_heading(&self, out: &mut dyn Write) -> io::Result<()> {
        let heading = Line {
            time: "ENDED".into(),
            head: head(["ROLE", "LASTED", "SENT", "RECEIVED", "RESENT", "PID"]),
            comm: "COMM".into(),
            more: more("HANDSHAKE", "RTT"),
            local: "LOCAL".into(),
            remote: "REMOTE".into(),
            note: "ENDED BY".into(),
            place: None,
        };
        self.layout.write(&heading, out)
    }

    fn line(&self, event: &Event, connection: &Connection) -> Line {
        let opener = event.opened_by.as_ref();
        Line {
            time: self.clock.show(event),
            head: head([
                connection.role.map_or(UNKNOWN, Role::name),
                &or_unknown(connection.duration, span),
                &or_unknown(connection.bytes_sent, size),
                &or_unknown(connection.bytes_received, size),
                &or_unknown(connection.retransmits, |number| number.to_string()),
                &or_unknown(opener.and_then(|opener| opener.pid), |pid| pid.to_string()),
            ]),
            comm: opener.map_or_else(|| UNKNOWN.into(), |opener| escaped(&opener.comm)),
            more: more(&or_unknown(connection.handshake, span), &or_unknown(connection.srtt, span)),
            local: endpoint(event.local, event.local_port),
            remote: endpoint(event.remote, event.remote_port),
            note: note(event, connection),
            place: event.cgroup.as_ref().and_then(|cgroup| place(cgroup)),
        }
    }
}

fn head([role, duration, sent, received, resent, pid]: [&str; 6]) -> String {
    format!("{role:<6} {duration:>7} {sent:>8} {received:>8} {resent:>6} {pid:>7}")
}

fn more(handshake: &str, rtt: &str) -> String {
    format!("{handshake:>9} {rtt:>7}")
}

/// Returns how the connection ended, and whether it left a time-wait socket. A connection that is
/// still open has the name of its state.
fn note(event: &Event, connection: &Connection) -> String {
    if event.to != State::Close {
        return event.from.name().to_owned();
    }
    let reason = event.ended_by.map_or(UNKNOWN, CloseReason::name);
    match connection.time_wait {
        Some(true) => format!("{reason}, TIME_WAIT"),
        _ => reason.to_owned(),
    }
}

/// Returns a number of bytes in at most 8 characters, for example `512`, `12.3 kB` or `4.56 GB`.
fn size(bytes: u64) -> String {
    if bytes < 10_000 {
        return bytes.to_string();
    }
    let mut number = bytes as f64;
    for unit in ["", "k", "M", "G", "T", "P"] {
        if number < 999.5 {
            let decimals = if number < 9.995 { 2 } else { usize::from(number < 99.95) };
            return format!("{number:.decimals$} {unit}B");
        }
        number /= 1000.0;
    }
    format!("{number:.1} EB")
}

impl View for ConnectionTable {
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        self.table.show_block(report, out)?;
        match report {
            Report::Start(_) => {
                self.layout.begin();
                self.write_heading(out)
            }
            Report::Snapshot(_) => writeln!(out),
            Report::End(end) => {
                self.table.show_summary(end, out)?;
                if let Some(reasons) = &end.close_reasons {
                    close_reason::write(reasons, out)?;
                }
                let losses = end.losses.unwrap_or_default();
                let causes = match losses.connections() {
                    0 => String::new(),
                    _ => format!(
                        " (buffer full {}, missed {})",
                        losses.dropped_ends, losses.missed_ends
                    ),
                };
                writeln!(
                    out,
                    "\nconnections lost {}{causes}, sockets not tracked for lack of room {}",
                    losses.connections(),
                    losses.untracked
                )?;
                self.table.show_limits(out)
            }
        }
    }

    fn show_events(&mut self, events: &[Event], out: &mut dyn Write) -> io::Result<()> {
        let ends = events.iter().filter_map(|event| Some((event, event.connection.as_ref()?)));
        let lines: Vec<Line> =
            ends.map(|(event, connection)| self.line(event, connection)).collect();
        if self.layout.fit(&lines) {
            self.write_heading(out)?;
        }
        lines.iter().try_for_each(|line| self.layout.write(line, out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_suitable_unit_and_fits_into_its_column() {
        for (bytes, shown) in [
            (0, "0"),
            (9999, "9999"),
            (12_345, "12.3 kB"),
            (999_400, "999 kB"),
            (999_600, "1.00 MB"),
            (4_560_000_000, "4.56 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(size(bytes), shown);
            assert!(size(bytes).len() <= 8);
        }
    }
}

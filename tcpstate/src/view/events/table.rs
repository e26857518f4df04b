//! Events for people: a line for each event, in aligned columns.

use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use jiff::{Timestamp, tz::TimeZone};

use super::{
    close_reason,
    layout::{COMM, Layout, Line},
};
use crate::{
    report::{Cgroup, CloseReason, Event, Hook, Losses, Report, container::short_id},
    text::escaped,
    view::{GroupOrder, Size, Table, View, number::UNKNOWN},
};

/// The clock that the times of events refer to.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The time of day in this time zone.
    Zone(TimeZone),
    /// Seconds since the machine started, without the time while the machine was suspended
    /// (CLOCK_MONOTONIC).
    Monotonic,
}

impl Clock {
    pub(in crate::view) fn show(&self, event: &Event) -> String {
        match self {
            Self::Zone(zone) => {
                let time = Timestamp::try_from(event.time).unwrap_or(Timestamp::UNIX_EPOCH);
                time.to_zoned_datetime(zone.clone()).strftime("%H:%M:%S%.3f").to_string()
            }
            Self::Monotonic => format!("{:.6}", event.monotonic.as_secs_f64()),
        }
    }
}

/// Writes a line for each event, and the blocks of a [`Table`] between them if snapshots are asked
/// for. On a narrow terminal, an event uses two lines, or three lines if the addresses are long.
#[derive(Clone, Debug)]
pub struct EventTable {
    table: Table,
    clock: Clock,
    layout: Layout,
}

/// The length of the longest note, `remote_rst (mini)`.
const NOTE: usize = 17;

impl EventTable {
    /// Creates a table that shows the times of this clock.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let cells = " ESTABLISHED -> ESTABLISHED 1234567 us 1234567 ".len() + COMM;
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
            time: "TIME".into(),
            head: head("FROM", "TO", "AFTER", "PID"),
            comm: "COMM".into(),
            more: String::new(),
            local: "LOCAL".into(),
            remote: "REMOTE".into(),
            note: "ENDED BY".into(),
            place: None,
        };
        self.layout.write(&heading, out)
    }
}

fn head(from: &str, to: &str, duration: &str, pid: &str) -> String {
    format!("{from:>11} -> {to:<11} {duration:>10} {pid:>7}")
}

impl View for EventTable {
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
                let causes = causes(&losses);
                writeln!(
                    out,
                    "\nevents lost {}{causes}, sockets not tracked for lack of room {}",
                    losses.lines(),
                    losses.untracked
                )?;
                self.table.show_limits(out)
            }
        }
    }

    fn show_events(&mut self, events: &[Event], out: &mut dyn Write) -> io::Result<()> {
        let process = |event: &Event| match (&event.closed_by, event.hook) {
            (Some(closer), Hook::TimeWait) => (closer.pid, Some(closer.comm.clone())),
            _ => (event.pid, event.comm.clone()),
        };
        let line = |event: &Event| Line {
            time: self.clock.show(event),
            head: head(
                event.from.name(),
                event.to.name(),
                &event.duration.map_or_else(|| UNKNOWN.into(), span),
                &process(event).0.map_or_else(|| UNKNOWN.into(), |pid| pid.to_string()),
            ),
            comm: process(event).1.map_or_else(|| UNKNOWN.into(), escaped),
            more: String::new(),
            local: endpoint(event.local, event.local_port),
            remote: endpoint(event.remote, event.remote_port),
            note: note(event),
            place: event.cgroup.as_ref().and_then(|cgroup| place(cgroup)),
        };
        let lines: Vec<Line> = events.iter().map(line).collect();
        if self.layout.fit(&lines) {
            self.write_heading(out)?;
        }
        lines.iter().try_for_each(|line| self.layout.write(line, out))
    }
}

/// Returns the causes of lost events, or an empty text if no event is lost.
fn causes(losses: &Losses) -> String {
    match losses.lines() {
        0 => String::new(),
        _ => format!(" (buffer full {}, missed {})", losses.dropped_lines(), losses.missed),
    }
}

/// Returns an address and a port, for example `192.0.2.1:443` or `[2001:db8::1]:443`. An unknown
/// part is `-`.
pub(in crate::view) fn endpoint(address: Option<IpAddr>, port: Option<u16>) -> String {
    match (address, port) {
        (Some(address), Some(port)) => SocketAddr::from((address, port)).to_string(),
        (Some(IpAddr::V6(address)), None) => format!("[{address}]:{UNKNOWN}"),
        (Some(address), None) => format!("{address}:{UNKNOWN}"),
        (None, Some(port)) => format!("{UNKNOWN}:{port}"),
        (None, None) => UNKNOWN.into(),
    }
}

/// Returns the note of an event: the close reason if the connection closed, and `(mini)` or
/// `(request)` for a mini socket.
fn note(event: &Event) -> String {
    let kind = match event.hook {
        Hook::Transitions => None,
        Hook::TimeWait => Some("(mini)"),
        Hook::SynRecv => Some("(request)"),
    };
    let words = [event.ended_by.map(CloseReason::name), kind];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Returns the container of a cgroup, or the unit if the cgroup belongs to no container.
pub(in crate::view) fn place(cgroup: &Cgroup) -> Option<String> {
    let container = cgroup.container.as_ref().map(|container| short_id(&container.id));
    container.or(cgroup.unit.as_deref()).map(escaped)
}

/// Returns a duration as text, for example `48 us`, `12.345 ms` or `4.321 s`.
fn span(duration: Duration) -> String {
    match duration.as_micros() {
        micros @ 0..1000 => format!("{micros} us"),
        1000..1_000_000 => format!("{:.3} ms", duration.as_secs_f64() * 1e3),
        _ => format!("{:.3} s", duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_a_dash_for_each_unknown_part() {
        let v4 = "192.0.2.1".parse().ok();
        let v6 = "2001:db8::1".parse().ok();
        for (address, port, shown) in [
            (v4, Some(443), "192.0.2.1:443"),
            (v4, None, "192.0.2.1:-"),
            (v6, Some(443), "[2001:db8::1]:443"),
            (v6, None, "[2001:db8::1]:-"),
            (None, Some(443), "-:443"),
            (None, None, "-"),
        ] {
            assert_eq!(endpoint(address, port), shown);
        }
    }

    #[test]
    fn the_place_of_an_event_is_the_container_or_the_unit() {
        let id = "4b825dc642cb6eb9a060e54bf8d69288fbee4904b825dc642cb6eb9a060e54bf";
        for (path, expected) in [
            (format!("/system.slice/docker-{id}.scope"), Some("4b825dc642cb")),
            ("/system.slice/nginx.service".to_owned(), Some("nginx.service")),
            ("/system.slice/a\u{1b}.service".to_owned(), Some("a\\u{1b}.service")),
            ("/".to_owned(), None),
        ] {
            assert_eq!(place(&Cgroup::from(path)).as_deref(), expected);
        }
    }

    #[test]
    fn lost_events_have_causes() {
        assert_eq!(causes(&Losses { untracked: 9, ..Losses::default() }), "");
        let losses = Losses {
            dropped: 3,
            missed: 2,
            untracked: 9,
            time_wait: 4,
            syn_recv: 5,
            ..Losses::default()
        };
        assert_eq!(causes(&losses), " (buffer full 12, missed 2)");
    }

    #[test]
    fn a_span_has_a_suitable_unit() {
        for (micros, shown) in
            [(0, "0 us"), (999, "999 us"), (12_345, "12.345 ms"), (4_321_000, "4.321 s")]
        {
            assert_eq!(span(Duration::from_micros(micros)), shown);
        }
    }
}

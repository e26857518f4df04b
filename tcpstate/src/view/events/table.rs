//! Events for people: a line for each event, in aligned columns.

use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use jiff::{Timestamp, tz::TimeZone};
use unicode_width::UnicodeWidthStr as _;

use super::close_reason;
use crate::{
    report::{Cgroup, CloseReason, Event, Hook, Losses, Report, container::short_id},
    text::escaped,
    view::{GroupOrder, Size, Table, View, line::shortened, number::UNKNOWN},
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
    fn show(&self, event: &Event) -> String {
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
    /// The size of the terminal; `None` in a pipe, where lines have any length.
    size: Option<fn() -> Size>,
    /// The widths of the columns of times, local addresses and remote addresses. These widths only
    /// grow, so that later lines stay aligned.
    times: usize,
    locals: usize,
    remotes: usize,
    /// The layout of the last heading.
    form: Form,
}

/// The layout of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// An event is on one line.
    Wide,
    /// Addresses and notes are on separate lines, which have at most this width.
    Narrow(usize),
}

/// The length of the longest note, `remote_rst (mini)`.
const NOTE: usize = 17;
/// The minimum length of the container or unit in a line. A shorter text would say little.
const PLACE: usize = 12;
/// The text before the container or the unit.
const IN: &str = " in ";
/// The maximum length of a process name (`TASK_COMM_LEN` without the final zero).
const COMM: usize = 15;

impl EventTable {
    /// Creates a table that shows the times of this clock.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        // The longest IPv4 address with the longest port sets the width.
        let locals = "255.255.255.255:65535".len();
        let times = "00:00:00.000".len();
        let form = Form::Wide;
        Self { table: Table::default(), clock, size: None, times, locals, remotes: locals, form }
    }

    /// Shows the groups of snapshots in this order.
    #[must_use]
    pub fn with_order(self, order: GroupOrder) -> Self {
        Self { table: Table::new(order), ..self }
    }

    /// Makes the lines fit into a terminal. `size` returns the size of the terminal.
    #[must_use]
    pub fn on_terminal(self, size: fn() -> Size) -> Self {
        Self { size: Some(size), ..self }
    }

    /// Returns the layout for the current width of the terminal.
    fn form(&self) -> Form {
        let columns = self.size.map_or(usize::MAX, |size| usize::from(size().columns));
        let head = self.times + " ESTABLISHED -> ESTABLISHED 1234567 us 1234567 ".len() + COMM;
        let needed = head + self.locals + self.remotes + NOTE + 3;
        if needed <= columns { Form::Wide } else { Form::Narrow(columns) }
    }

    fn write_heading(&self, out: &mut dyn Write) -> io::Result<()> {
        let cells = Cells {
            time: "TIME".into(),
            from: "FROM",
            to: "TO",
            duration: "AFTER".into(),
            pid: "PID".into(),
            comm: "COMM".into(),
            local: "LOCAL".into(),
            remote: "REMOTE".into(),
            note: "ENDED BY".into(),
            place: None,
        };
        self.line(&cells, out)
    }

    fn line(&self, cells: &Cells, out: &mut dyn Write) -> io::Result<()> {
        let Cells { time, from, to, duration, pid, comm, local, remote, note, place } = cells;
        let times = self.times;
        let comm = match self.form {
            Form::Wide => comm.clone(),
            Form::Narrow(_) => shortened(comm, COMM),
        };
        let head = format!("{time:<times$} {from:>11} -> {to:<11} {duration:>10} {pid:>7} {comm}");
        let width = match self.form {
            Form::Wide => {
                let comm_fill = COMM.saturating_sub(comm.width());
                let locals = self.locals;
                let is_last = note.is_empty() && place.is_none();
                let remotes = if is_last { 0 } else { self.remotes };
                let gap = if is_last { "" } else { " " };
                let line = format!(
                    "{head}{:comm_fill$} {local:<locals$} {remote:<remotes$}{gap}{note}",
                    ""
                );
                let columns = self.size.map_or(usize::MAX, |size| usize::from(size().columns));
                return writeln!(out, "{}", with_place(&line, place.as_deref(), columns));
            }
            Form::Narrow(width) => width,
        };
        writeln!(out, "{head}")?;
        // Columns with IPv4 addresses are aligned. A longer address uses the width that it needs.
        let v4 = "255.255.255.255:65535".len();
        let addresses = format!("{local:<v4$} {remote:<v4$} {note}");
        let indent = times + 1;
        if indent + addresses.trim_end().len() <= width {
            let addresses = with_place(&addresses, place.as_deref(), width - indent);
            return writeln!(out, "{:indent$}{addresses}", "");
        }
        let addresses = format!("{local} {remote} {note}");
        let least = 2;
        if least + addresses.trim_end().len() <= width {
            return writeln!(out, "{:least$}{}", "", addresses.trim_end());
        }
        let rest = format!("{remote} {note}");
        writeln!(out, "{:least$}{local}\n{:least$}{}", "", "", rest.trim_end())
    }
}

/// Appends the container or the unit to a line, if it fits into `columns`.
fn with_place(line: &str, place: Option<&str>, columns: usize) -> String {
    let line = line.trim_end();
    let room = columns.saturating_sub(line.width() + IN.len());
    match place {
        Some(place) if room >= PLACE.min(place.width()) => {
            format!("{line}{IN}{}", shortened(place, room))
        }
        _ => line.to_owned(),
    }
}

/// The texts of the columns of one event line.
struct Cells {
    time: String,
    from: &'static str,
    to: &'static str,
    duration: String,
    pid: String,
    comm: String,
    local: String,
    remote: String,
    note: String,
    /// The container, or the systemd unit of a socket outside containers.
    place: Option<String>,
}

impl View for EventTable {
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        self.table.show_block(report, out)?;
        match report {
            Report::Start(_) => {
                self.form = self.form();
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
        let cells = |event: &Event| Cells {
            time: self.clock.show(event),
            from: event.from.name(),
            to: event.to.name(),
            duration: event.duration.map_or_else(|| UNKNOWN.into(), span),
            pid: process(event).0.map_or_else(|| UNKNOWN.into(), |pid| pid.to_string()),
            comm: process(event).1.map_or_else(|| UNKNOWN.into(), escaped),
            local: endpoint(event.local, event.local_port),
            remote: endpoint(event.remote, event.remote_port),
            note: note(event),
            place: event.cgroup.as_ref().and_then(|cgroup| place(cgroup)),
        };
        let lines: Vec<Cells> = events.iter().map(cells).collect();
        for line in &lines {
            self.times = self.times.max(line.time.len());
            self.locals = self.locals.max(line.local.len());
            self.remotes = self.remotes.max(line.remote.len());
        }
        let form = self.form();
        if std::mem::discriminant(&form) != std::mem::discriminant(&self.form) {
            self.form = form;
            self.write_heading(out)?;
        }
        self.form = form;
        lines.iter().try_for_each(|line| self.line(line, out))
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
fn endpoint(address: Option<IpAddr>, port: Option<u16>) -> String {
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
fn place(cgroup: &Cgroup) -> Option<String> {
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
    fn a_line_names_the_container_or_the_unit_if_it_fits() {
        let id = "4b825dc642cb6eb9a060e54bf8d69288fbee4904b825dc642cb6eb9a060e54bf";
        for (path, expected) in [
            (format!("/system.slice/docker-{id}.scope"), Some("4b825dc642cb")),
            ("/system.slice/nginx.service".to_owned(), Some("nginx.service")),
            ("/system.slice/a\u{1b}.service".to_owned(), Some("a\\u{1b}.service")),
            ("/".to_owned(), None),
        ] {
            assert_eq!(place(&Cgroup::from(path)).as_deref(), expected);
        }
        let unit = Some("systemd-resolved.service");
        for (columns, expected) in [
            (80, "1.2.3.4:5  6.7.8.9:1 in systemd-resolved.service"),
            (36, "1.2.3.4:5  6.7.8.9:1 in systemd-res~"),
            (35, "1.2.3.4:5  6.7.8.9:1"),
        ] {
            assert_eq!(with_place("1.2.3.4:5  6.7.8.9:1  ", unit, columns), expected);
        }
        assert_eq!(with_place("1.2.3.4:5", Some("a.scope"), 20), "1.2.3.4:5 in a.scope");
        assert_eq!(with_place("1.2.3.4:5", None, 20), "1.2.3.4:5");
    }

    #[test]
    fn lost_events_have_causes() {
        assert_eq!(causes(&Losses { untracked: 9, ..Losses::default() }), "");
        let losses = Losses { dropped: 3, missed: 2, untracked: 9, time_wait: 4, syn_recv: 5 };
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

//! For people: a line an event, its columns below each other whatever the addresses.

use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use jiff::{Timestamp, tz::TimeZone};
use unicode_width::UnicodeWidthStr as _;

use super::close_reason;
use crate::{
    report::{CloseReason, Event, Hook, Report},
    text::escaped,
    view::{Table, View, number::UNKNOWN},
};

/// By which clock the times are.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The time of day in this zone, where people sit.
    Zone(TimeZone),
    /// Seconds since the machine started, time asleep not counted.
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

/// Writes plain lines, between them the blocks of a [`Table`] if snapshots are asked for.
#[derive(Clone, Debug)]
pub struct EventTable {
    table: Table,
    clock: Clock,
    /// How wide the columns of times and of addresses have become.
    times: usize,
    locals: usize,
    remotes: usize,
}

impl EventTable {
    /// Times by this clock.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        // What an IPv4 address takes at most.
        let locals = "255.255.255.255:65535".len();
        let times = "00:00:00.000".len();
        Self { table: Table::default(), clock, times, locals, remotes: locals }
    }

    fn line(&self, cells: &Cells, out: &mut dyn Write) -> io::Result<()> {
        let Cells { time, from, to, duration, pid, comm, local, remote, note } = cells;
        let (times, locals) = (self.times, self.locals);
        let remotes = if note.is_empty() { 0 } else { self.remotes };
        let gap = if note.is_empty() { "" } else { " " };
        let comm_fill = 15_usize.saturating_sub(comm.width());
        writeln!(
            out,
            "{time:<times$} {from:>11} -> {to:<11} {duration:>10} {pid:>7} {comm}{:comm_fill$} {local:<locals$} {remote:<remotes$}{gap}{note}",
            ""
        )
    }
}

/// What a line says, as text.
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
}

impl View for EventTable {
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        self.table.show(report, out)?;
        match report {
            Report::Start(_) => self.line(
                &Cells {
                    time: "TIME".into(),
                    from: "FROM",
                    to: "TO",
                    duration: "AFTER".into(),
                    pid: "PID".into(),
                    comm: "COMM".into(),
                    local: "LOCAL".into(),
                    remote: "REMOTE".into(),
                    note: "ENDED BY".into(),
                },
                out,
            ),
            Report::Snapshot(_) => writeln!(out),
            Report::End(end) => {
                if let Some(close_reasons) = &end.close_reasons {
                    close_reason::write(close_reasons, out)?;
                }
                let losses = end.losses.unwrap_or_default();
                writeln!(
                    out,
                    "\nevents lost {}, without room to remember their socket {}",
                    losses.lines(),
                    losses.untracked
                )
            }
        }
    }

    fn show_events(&mut self, events: &[Event], out: &mut dyn Write) -> io::Result<()> {
        let cells = |event: &Event| Cells {
            time: self.clock.show(event),
            from: event.from.name(),
            to: event.to.name(),
            duration: event.duration.map_or_else(|| UNKNOWN.into(), span),
            pid: event.pid.map_or_else(|| UNKNOWN.into(), |pid| pid.to_string()),
            comm: event.comm.as_ref().map_or_else(|| UNKNOWN.into(), escaped),
            local: endpoint(event.local, event.local_port),
            remote: endpoint(event.remote, event.remote_port),
            note: note(event),
        };
        let lines: Vec<Cells> = events.iter().map(cells).collect();
        // Columns only ever grow, so that what comes later stands below what was shown.
        for line in &lines {
            self.times = self.times.max(line.time.len());
            self.locals = self.locals.max(line.local.len());
            self.remotes = self.remotes.max(line.remote.len());
        }
        lines.iter().try_for_each(|line| self.line(line, out))
    }
}

/// `192.0.2.1:443`, `[2001:db8::1]:443`; what is not known of it is a dash.
fn endpoint(address: Option<IpAddr>, port: Option<u16>) -> String {
    match (address, port) {
        (Some(address), Some(port)) => SocketAddr::from((address, port)).to_string(),
        (Some(IpAddr::V6(address)), None) => format!("[{address}]:{UNKNOWN}"),
        (Some(address), None) => format!("{address}:{UNKNOWN}"),
        (None, Some(port)) => format!("{UNKNOWN}:{port}"),
        (None, None) => UNKNOWN.into(),
    }
}

/// Who ended the connection, where it ends; and that it is a mini socket's line.
fn note(event: &Event) -> String {
    let kind = match event.hook {
        Hook::Transitions => None,
        Hook::TimeWait => Some("(mini)"),
        Hook::SynRecv => Some("(request)"),
    };
    let words = [event.ended_by.map(CloseReason::name), kind];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// `48 us`, `12.345 ms`, `4.321 s`.
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
    fn an_endpoint_says_what_is_known_of_it() {
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
    fn a_span_has_the_unit_that_suits_it() {
        for (micros, shown) in
            [(0, "0 us"), (999, "999 us"), (12_345, "12.345 ms"), (4_321_000, "4.321 s")]
        {
            assert_eq!(span(Duration::from_micros(micros)), shown);
        }
    }
}

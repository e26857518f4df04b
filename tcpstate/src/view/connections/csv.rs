//! Connections for spreadsheets and scripts: one row for each connection. An empty field means that
//! the value is unknown, or that the connection was not in the state.

use std::{
    io::{self, Write},
    time::Duration,
};

use tcpstate_common::State;

use crate::{
    report::{Caller, CloseReason, Connection, Event, Family, Report, Role},
    text::{cell, readable},
    view::{View, number::rfc3339},
};

/// Writes connections as comma-separated values. Other reports have no rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectionCsv;

/// The names of the columns before the states.
const BEFORE: [&str; 20] = [
    "opened",
    "ended",
    "role",
    "family",
    "local",
    "local_port",
    "remote",
    "remote_port",
    "netns",
    "cookie",
    "opened_by_pid",
    "opened_by_comm",
    "closed_by_pid",
    "closed_by_comm",
    "uid",
    "cgroup",
    "container",
    "unit",
    "duration_seconds",
    "handshake_seconds",
];

/// The states of full sockets that have a connection. Each has a column.
const STATES: [State; 8] = [
    State::SynSent,
    State::SynRecv,
    State::Established,
    State::FinWait1,
    State::FinWait2,
    State::CloseWait,
    State::Closing,
    State::LastAck,
];

/// The names of the columns after the states.
const AFTER: [&str; 7] = [
    "ended_by",
    "time_wait",
    "bytes_sent",
    "bytes_received",
    "retransmits",
    "srtt_seconds",
    "mptcp",
];

impl View for ConnectionCsv {
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        if let Report::Start(_) = report {
            let states = STATES.iter().map(|state| format!("{}_seconds", state.label()));
            let names = BEFORE.iter().map(|&name| name.to_owned());
            let mut writer = csv::Writer::from_writer(out);
            writer.write_record(names.chain(states).chain(AFTER.map(str::to_owned)))?;
            writer.flush()?;
        }
        Ok(())
    }

    fn show_events(&mut self, events: &[Event], out: &mut dyn Write) -> io::Result<()> {
        let mut writer = csv::Writer::from_writer(out);
        for event in events {
            if let Some(connection) = &event.connection {
                writer.write_record(cells(event, connection))?;
            }
        }
        writer.flush()
    }
}

fn cells(event: &Event, connection: &Connection) -> Vec<String> {
    let seconds = |time: Option<Duration>| shown(time.map(|time| time.as_secs_f64()));
    let pid = |caller: &Option<Caller>| shown(caller.as_ref().and_then(|caller| caller.pid));
    let comm = |caller: &Option<Caller>| text(caller.as_ref().map(|it| readable(&it.comm)));
    let cgroup = event.cgroup.as_deref();
    let container = cgroup.and_then(|cgroup| cgroup.container.as_ref());
    let mut cells = vec![
        connection.opened.map(rfc3339).unwrap_or_default(),
        Some(event.time).filter(|_| event.to == State::Close).map(rfc3339).unwrap_or_default(),
        shown(connection.role.map(Role::name)),
        match event.family {
            Family::V4 => "ipv4".to_owned(),
            Family::V6 => "ipv6".to_owned(),
        },
        shown(event.local),
        shown(event.local_port),
        shown(event.remote),
        shown(event.remote_port),
        event.netns.to_string(),
        shown(event.cookie),
        pid(&event.opened_by),
        comm(&event.opened_by),
        pid(&event.closed_by),
        comm(&event.closed_by),
        shown(event.uid),
        text(cgroup.map(|cgroup| &cgroup.path)),
        text(container.map(|container| &container.id)),
        text(cgroup.and_then(|cgroup| cgroup.unit.as_deref())),
        seconds(connection.duration),
        seconds(connection.handshake),
    ];
    cells.extend(STATES.map(|state| {
        let found = connection.states.iter().find(|(it, _)| *it == state);
        seconds(found.and_then(|&(_, time)| time))
    }));
    cells.extend([
        shown(event.ended_by.map(CloseReason::name)),
        shown(connection.time_wait),
        shown(connection.bytes_sent),
        shown(connection.bytes_received),
        shown(connection.retransmits),
        seconds(connection.srtt),
        connection.is_mptcp.to_string(),
    ]);
    cells
}

/// Returns a text from outside as a cell that no spreadsheet takes for a formula.
fn text(text: Option<impl AsRef<str>>) -> String {
    text.map(|text| cell(text.as_ref())).unwrap_or_default()
}

fn shown(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

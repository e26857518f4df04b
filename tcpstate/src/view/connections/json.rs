//! Connections for programs: JSON lines. The keys of a line have the order of the fields of the
//! structs in this file.

use std::{
    borrow::Cow,
    time::{Duration, UNIX_EPOCH},
};

use serde::{Serialize, Serializer};
use tcpstate_common::State;

use crate::{
    report::{CloseReason, Connection, Event, Family, Role},
    view::{
        events::{self, Person},
        json_lines::VERSION,
        number::Rfc3339,
    },
};

/// A connection as one JSON line. The names of the fields are the keys.
#[derive(Serialize)]
struct Line<'a> {
    r#type: &'static str,
    version: u32,
    opened: Option<&'a str>,
    /// The time of the last event; null if the connection is still open.
    ended: Option<&'a str>,
    ended_unix: Option<f64>,
    role: Option<&'static str>,
    family: &'static str,
    local: Option<String>,
    local_port: Option<u16>,
    remote: Option<String>,
    remote_port: Option<u16>,
    netns: &'a str,
    /// The cookie is a text, because it has 64 bits and many programs store numbers as floats.
    cookie: Option<String>,
    opened_by: Option<Person<'a>>,
    closed_by: Option<Person<'a>>,
    uid: Option<u32>,
    cgroup: Option<&'a str>,
    container: Option<&'a str>,
    /// The container runtime.
    runtime: Option<&'static str>,
    /// The systemd unit.
    unit: Option<Cow<'a, str>>,
    duration_seconds: Option<f64>,
    handshake_seconds: Option<f64>,
    states: States<'a>,
    ended_by: Option<&'static str>,
    time_wait: Option<bool>,
    bytes_sent: Option<u64>,
    bytes_received: Option<u64>,
    retransmits: Option<u64>,
    srtt_seconds: Option<f64>,
    mptcp: bool,
}

/// The time in each state.
struct States<'a>(&'a [(State, Option<Duration>)]);

impl Serialize for States<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let states = self.0.iter();
        serializer.collect_map(states.map(|&(state, time)| (state.label(), seconds(time))))
    }
}

fn seconds(time: Option<Duration>) -> Option<f64> {
    time.map(|time| time.as_secs_f64())
}

/// Formatted texts of the last connection, which are reused.
#[derive(Debug, Default)]
pub(in crate::view) struct Texts {
    opened: Rfc3339,
    ended: events::Texts,
}

/// Returns the JSON line of a connection that ends with an event.
pub(in crate::view) fn line<'a>(
    event: &'a Event,
    connection: &'a Connection,
    texts: &'a mut Texts,
) -> impl Serialize {
    let (ended, netns) = texts.ended.of(event.time, event.netns);
    let has_ended = event.to == State::Close;
    let since_1970 = event.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let cgroup = event.cgroup.as_deref();
    let container = cgroup.and_then(|cgroup| cgroup.container.as_ref());
    Line {
        r#type: "connection",
        version: VERSION,
        opened: connection.opened.map(|opened| texts.opened.of(opened)),
        ended: has_ended.then_some(ended),
        ended_unix: has_ended.then_some(since_1970.as_secs_f64()),
        role: connection.role.map(Role::name),
        family: match event.family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        },
        local: event.local.map(|address| address.to_string()),
        local_port: event.local_port,
        remote: event.remote.map(|address| address.to_string()),
        remote_port: event.remote_port,
        netns,
        cookie: event.cookie.map(|cookie| cookie.to_string()),
        opened_by: event.opened_by.as_ref().map(Person::from),
        closed_by: event.closed_by.as_ref().map(Person::from),
        uid: event.uid,
        cgroup: cgroup.map(|cgroup| cgroup.path.as_str()),
        container: container.map(|container| container.id.as_str()),
        runtime: container.and_then(|container| container.runtime),
        unit: cgroup.and_then(|cgroup| cgroup.unit.as_deref().map(Cow::from)),
        duration_seconds: seconds(connection.duration),
        handshake_seconds: seconds(connection.handshake),
        states: States(&connection.states),
        ended_by: event.ended_by.map(CloseReason::name),
        time_wait: connection.time_wait,
        bytes_sent: connection.bytes_sent,
        bytes_received: connection.bytes_received,
        retransmits: connection.retransmits,
        srtt_seconds: seconds(connection.srtt),
        mptcp: connection.is_mptcp,
    }
}

//! The values of an event in CSV. The columns have the order of the fields of [`Values`].

use std::{
    borrow::Cow,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

use crate::{
    report::{Caller, CloseReason, Event, Family},
    text::readable,
    view::number::Rfc3339,
};

/// The process that opened or closed a connection.
#[derive(Serialize)]
pub(in crate::view) struct Person<'a> {
    pid: Option<u32>,
    comm: Cow<'a, str>,
}

impl<'a> From<&'a Caller> for Person<'a> {
    fn from(caller: &'a Caller) -> Self {
        Self { pid: caller.pid, comm: readable(&caller.comm) }
    }
}

/// The time and the inode number of the network namespace of the last event, as formatted texts.
/// The texts are reused, because many consecutive events have equal values.
#[derive(Debug, Default)]
pub(in crate::view) struct Texts {
    time: Rfc3339,
    netns: Option<(u32, String)>,
}

impl Texts {
    pub(in crate::view) fn of(&mut self, time: SystemTime, netns: u32) -> (&str, &str) {
        if self.netns.as_ref().is_none_or(|(known, _)| *known != netns) {
            self.netns = Some((netns, netns.to_string()));
        }
        let netns = self.netns.as_ref().map(|(_, text)| text.as_str()).unwrap_or_default();
        (self.time.of(time), netns)
    }
}

/// The values of an event.
#[derive(Serialize)]
pub(super) struct Values<'a> {
    time: &'a str,
    time_unix: f64,
    time_monotonic: f64,
    hook: &'static str,
    from: &'static str,
    to: &'static str,
    family: &'static str,
    local: Option<String>,
    local_port: Option<u16>,
    remote: Option<String>,
    remote_port: Option<u16>,
    netns: &'a str,
    /// The cookie is a text, because it has 64 bits and many programs store numbers as floats.
    cookie: Option<String>,
    pid: Option<u32>,
    pub(super) comm: Option<Cow<'a, str>>,
    uid: Option<u32>,
    pub(super) cgroup: Option<Cow<'a, str>>,
    pub(super) container: Option<Cow<'a, str>>,
    /// The container runtime.
    runtime: Option<&'static str>,
    /// The systemd unit.
    pub(super) unit: Option<Cow<'a, str>>,
    duration_seconds: Option<f64>,
    ended_by: Option<&'static str>,
}

impl<'a> Values<'a> {
    pub(super) fn of(event: &'a Event, texts: &'a mut Texts) -> Self {
        let (time, netns) = texts.of(event.time, event.netns);
        let cgroup = event.cgroup.as_deref();
        let container = cgroup.and_then(|cgroup| cgroup.container.as_ref());
        Self {
            time,
            time_unix: event.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            time_monotonic: event.monotonic.as_secs_f64(),
            hook: event.hook.name(),
            from: event.from.label(),
            to: event.to.label(),
            family: family(event.family),
            local: event.local.map(|address| address.to_string()),
            local_port: event.local_port,
            remote: event.remote.map(|address| address.to_string()),
            remote_port: event.remote_port,
            netns,
            cookie: event.cookie.map(|cookie| cookie.to_string()),
            pid: event.pid,
            comm: event.comm.as_deref().map(readable),
            uid: event.uid,
            cgroup: cgroup.map(|cgroup| cgroup.path.as_str().into()),
            container: container.map(|container| container.id.as_str().into()),
            runtime: container.and_then(|container| container.runtime),
            unit: cgroup.and_then(|cgroup| cgroup.unit.as_deref().map(Cow::from)),
            duration_seconds: event.duration.map(|duration| duration.as_secs_f64()),
            ended_by: event.ended_by.map(CloseReason::name),
        }
    }
}

/// Returns the name of an address family used in output.
pub(super) fn family(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

//! For programs: the keys of one event, in the order in which they stand.

use serde::Serialize;

use super::HOOK;
use crate::{
    family::Family,
    source::Event,
    text::readable,
    view::json::{VERSION, times},
};

/// A line; its fields name the keys.
#[derive(Serialize)]
struct Line {
    r#type: &'static str,
    version: u32,
    #[serde(flatten)]
    values: Values,
}

/// What JSON and CSV say of an event.
#[derive(Serialize)]
pub(super) struct Values {
    time: String,
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
    netns: String,
    /// Text, for it may be larger than what programs keep as a number.
    cookie: Option<String>,
    pid: Option<u32>,
    pub(super) comm: Option<String>,
    uid: Option<u32>,
    pub(super) cgroup: Option<String>,
    pub(super) container: Option<String>,
    /// Who made the container.
    runtime: Option<&'static str>,
    /// Of systemd.
    pub(super) unit: Option<String>,
    duration_seconds: Option<f64>,
    ended_by: Option<&'static str>,
}

impl From<&Event> for Values {
    fn from(event: &Event) -> Self {
        let (time, time_unix) = times(event.time);
        let cgroup = event.cgroup.as_deref();
        let container = cgroup.and_then(|cgroup| cgroup.container.as_ref());
        Self {
            time,
            time_unix,
            time_monotonic: event.monotonic.as_secs_f64(),
            hook: HOOK,
            from: event.from.label(),
            to: event.to.label(),
            family: match event.family {
                Family::V4 => "ipv4",
                Family::V6 => "ipv6",
            },
            local: event.local.map(|address| address.to_string()),
            local_port: event.local_port,
            remote: event.remote.map(|address| address.to_string()),
            remote_port: event.remote_port,
            netns: event.netns.to_string(),
            cookie: event.cookie.map(|cookie| cookie.to_string()),
            pid: event.pid,
            comm: event.comm.as_deref().map(readable),
            uid: event.uid,
            cgroup: cgroup.map(|cgroup| cgroup.path.clone()),
            container: container.map(|container| container.id.clone()),
            runtime: container.and_then(|container| container.runtime),
            unit: cgroup.and_then(|cgroup| cgroup.unit.clone()),
            duration_seconds: event.duration.map(|duration| duration.as_secs_f64()),
            ended_by: None,
        }
    }
}

/// The line of an event.
pub(in crate::view) fn line(event: &Event) -> impl Serialize {
    Line { r#type: "transition", version: VERSION, values: event.into() }
}

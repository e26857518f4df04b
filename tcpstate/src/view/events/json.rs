//! Events for programs: JSON lines.

use std::{
    ffi::OsStr,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::values::family;
use crate::{
    report::{Caller, Cgroup, CloseReason, Event, Family},
    view::{
        json_fields::{Fields, key},
        json_lines::VERSION,
        number::Rfc3339,
    },
};

/// The texts of earlier events. Many consecutive events have equal values.
#[derive(Debug, Default)]
pub(in crate::view) struct Memo {
    time: Rfc3339,
    /// The hook, the states and the family of an event, and the fields with their names.
    moves: Vec<Vec<u8>>,
    addresses: Vec<Option<(IpAddr, Vec<u8>)>>,
    netns: Option<(u32, Vec<u8>)>,
    cgroups: Vec<Option<(Arc<Cgroup>, Vec<u8>)>>,
}

/// Appends the line of an event.
pub(in crate::view) fn append(event: &Event, memo: &mut Memo, fields: &mut Fields<'_>) {
    append_times(event.time, event.monotonic, memo, fields);
    append_move(event, memo, fields);
    append_address(key!("local"), event.local, memo, fields);
    fields.number(key!("local_port"), event.local_port);
    append_address(key!("remote"), event.remote, memo, fields);
    fields.number(key!("remote_port"), event.remote_port);
    append_netns(event.netns, memo, fields);
    fields.number_text(key!("cookie"), event.cookie);
    fields.number(key!("pid"), event.pid);
    fields.text(key!("comm"), event.comm.as_deref());
    fields.number(key!("uid"), event.uid);
    append_cgroup(event.cgroup.as_ref(), memo, fields);
    fields.seconds(key!("duration_seconds"), event.duration);
    fields.name(key!("ended_by"), event.ended_by.map(CloseReason::name));
    append_caller(key!("closed_by"), event.closed_by.as_ref(), fields);
    append_caller(key!("opened_by"), event.opened_by.as_ref(), fields);
    fields.json(b"}\n");
}

/// Appends the start of a line and the times of an event.
fn append_times(time: SystemTime, monotonic: Duration, memo: &mut Memo, fields: &mut Fields<'_>) {
    let since_1970 = time.duration_since(UNIX_EPOCH).ok();
    fields.json(b"{\"type\":\"transition\"");
    const { assert!(VERSION == 1) };
    fields.json(b",\"version\":1,\"time\":\"");
    fields.json(memo.time.bytes(time, since_1970));
    fields.json(b"\"");
    fields.float(key!("time_unix"), since_1970.unwrap_or_default().as_secs_f64());
    fields.seconds(key!("time_monotonic"), Some(monotonic));
}

/// Appends the hook, the states and the family of an event.
fn append_move(event: &Event, memo: &mut Memo, fields: &mut Fields<'_>) {
    let Event { hook, from, to, .. } = *event;
    let is_v6 = event.family == Family::V6;
    let at = (hook as usize) << 9 | usize::from(is_v6) << 8 | (from as usize) << 4 | to as usize;
    if at >= memo.moves.len() {
        memo.moves.resize(at + 1, Vec::new());
    }
    let known = &mut memo.moves[at];
    if known.is_empty() {
        let mut fields = Fields { line: known, max_text: None };
        fields.name(key!("hook"), Some(hook.name()));
        fields.name(key!("from"), Some(from.label()));
        fields.name(key!("to"), Some(to.label()));
        fields.name(key!("family"), Some(family(event.family)));
    }
    fields.json(known);
}

fn append_address(key: &str, address: Option<IpAddr>, memo: &mut Memo, fields: &mut Fields<'_>) {
    /// The number of addresses whose texts are kept.
    const KEPT: usize = 256;
    fields.json(key.as_bytes());
    let Some(address) = address else { return fields.json(b"null") };
    let at = place(address) % KEPT;
    if memo.addresses.is_empty() {
        memo.addresses.resize(KEPT, None);
    }
    let kept = &mut memo.addresses[at];
    match kept {
        Some((known, text)) if *known == address => fields.json(text),
        _ => {
            let text = format!("\"{address}\"").into_bytes();
            fields.json(&text);
            *kept = Some((address, text));
        }
    }
}

/// Returns a number that depends on all bits of an address.
fn place(address: IpAddr) -> usize {
    let number = match address {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => {
            let segments = address.segments().into_iter();
            segments.fold(0, |number: u64, part| number.rotate_left(17) ^ u64::from(part))
        }
    };
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize
}

fn append_netns(netns: u32, memo: &mut Memo, fields: &mut Fields<'_>) {
    match &memo.netns {
        Some((known, text)) if *known == netns => fields.json(text),
        _ => {
            let text = format!("{}\"{netns}\"", key!("netns")).into_bytes();
            fields.json(&text);
            memo.netns = Some((netns, text));
        }
    }
}

/// Appends the path of a cgroup, and the container and the unit of the cgroup.
fn append_cgroup(cgroup: Option<&Arc<Cgroup>>, memo: &mut Memo, fields: &mut Fields<'_>) {
    /// The number of cgroups whose texts are kept.
    const KEPT: usize = 16;
    let (Some(cgroup), None) = (cgroup, fields.max_text) else {
        return append_cgroup_fields(cgroup.map(|cgroup| &**cgroup), fields);
    };
    if memo.cgroups.is_empty() {
        memo.cgroups.resize(KEPT, None);
    }
    let kept = &mut memo.cgroups[(Arc::as_ptr(cgroup) as usize >> 6) % KEPT];
    match kept {
        Some((known, text)) if Arc::ptr_eq(known, cgroup) => fields.json(text),
        _ => {
            let mut text = Vec::new();
            append_cgroup_fields(Some(cgroup), &mut Fields { line: &mut text, max_text: None });
            fields.json(&text);
            *kept = Some((Arc::clone(cgroup), text));
        }
    }
}

fn append_cgroup_fields(cgroup: Option<&Cgroup>, fields: &mut Fields<'_>) {
    let container = cgroup.and_then(|cgroup| cgroup.container.as_ref());
    let unit = cgroup.and_then(|cgroup| cgroup.unit.as_ref());
    fields.text(key!("cgroup"), cgroup.map(|cgroup| OsStr::new(&cgroup.path)));
    fields.text(key!("container"), container.map(|container| OsStr::new(&container.id)));
    fields.name(key!("runtime"), container.and_then(|container| container.runtime));
    fields.text(key!("unit"), unit.map(OsStr::new));
}

/// Appends the process that opened or closed a connection.
fn append_caller(key: &str, caller: Option<&Caller>, fields: &mut Fields<'_>) {
    fields.json(key.as_bytes());
    let Some(Caller { pid, comm }) = caller else { return fields.json(b"null") };
    fields.number("{\"pid\":", *pid);
    fields.text(key!("comm"), Some(comm));
    fields.json(b"}");
}

#[cfg(test)]
mod tests;

//! Tests that JSON lines stay short with texts of any length and with any characters.

use std::{net::IpAddr, sync::Arc};

use serde_json::Value;
use tcpstate::{
    report::{Cgroup, Group, Hook, Report},
    view::{HistJson, Json, Section, View},
};
use tcpstate_common::histogram::By;

use super::{
    hist::grouped_by,
    made_up::{at, shown, start},
    narrow::event,
};

const MAX_LINE: usize = 16 << 10;

/// A path of the maximum size in the kernel. Each character has six bytes in JSON.
fn hostile_text() -> String {
    "\u{1}".repeat(4095)
}

fn assert_short(text: &str) -> Vec<Value> {
    let lines = text.split_inclusive('\n').map(|line| {
        assert!(line.len() <= MAX_LINE, "{} bytes", line.len());
        serde_json::from_str(line).expect("an object a line")
    });
    lines.collect()
}

#[test]
fn json_lines_of_events_stay_short_with_long_names() {
    let address = "2001:db8:1234:5678:9abc:def0:1234:5678".parse::<IpAddr>().expect("an address");
    let mut long = event(&address.to_string(), &hostile_text(), Hook::Transitions);
    long.cgroup = Some(Arc::new(Cgroup {
        path: hostile_text(),
        container: None,
        unit: Some(hostile_text()),
    }));
    let mut text = Vec::new();
    Json::default()
        .show_events(&[long.clone(), long], &mut text)
        .expect("a vector accepts every write");
    let lines = assert_short(&String::from_utf8(text).expect("JSON is UTF-8"));
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert_eq!((&line["type"], &line["remote_port"]), (&"transition".into(), &65_534.into()));
        for key in ["comm", "cgroup", "unit"] {
            let kept = line[key].as_str().and_then(|text| text.strip_suffix('…')).expect("cut");
            assert!(hostile_text().starts_with(kept) && !kept.is_empty(), "{key}: {kept:?}");
        }
    }
}

#[test]
fn json_lines_of_histograms_stay_short_and_keep_buckets_with_long_names() {
    let text = shown(
        &mut HistJson::new(vec![Section::Lifetime]),
        grouped_by(By::Cgroup, &[Group::Cgroup(1, Some(hostile_text()))]),
    );
    let lines = assert_short(&text);
    let line = lines.iter().find(|line| line["type"] == "histogram").expect("a histogram");
    assert!(line["by"]["cgroup"].as_str().is_some_and(|name| name.ends_with('…')), "{line}");
    assert!(line["buckets"].as_array().is_some_and(|buckets| buckets.len() > 1), "{line}");
}

#[test]
fn json_lines_of_trace_stay_short_with_long_names() {
    let mut long = start();
    long.kernel = hostile_text();
    assert_short(&shown(&mut Json::default(), [Report::Start(long), Report::End(at(10, 0))]));
}

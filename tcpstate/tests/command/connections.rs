//! Tests `trace --connections` and `--record --full`: the lines in each format, filters, programs,
//! and recordings.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use serde_json::Value;
use tcpstate_tests::{
    command::{Finished, run},
    netns::Namespace,
    traffic::{Family, Listener},
};

const TCPSTATE: &str = env!("CARGO_BIN_EXE_tcpstate");

/// The keys of a connection's JSON line.
const KEYS: [&str; 30] = [
    "type",
    "version",
    "opened",
    "ended",
    "ended_unix",
    "role",
    "family",
    "local",
    "local_port",
    "remote",
    "remote_port",
    "netns",
    "cookie",
    "opened_by",
    "closed_by",
    "uid",
    "cgroup",
    "container",
    "runtime",
    "unit",
    "duration_seconds",
    "handshake_seconds",
    "states",
    "ended_by",
    "time_wait",
    "bytes_sent",
    "bytes_received",
    "retransmits",
    "srtt_seconds",
    "mptcp",
];

/// Opens and closes a connection that sends `hello`, and calls connect() for a port without a
/// listener.
fn script(listener: &Listener) -> String {
    let port = listener.port();
    format!(
        "exec 3<>/dev/tcp/127.0.0.1/{port}; echo hello >&3; exec 3>&-; : < /dev/tcp/127.0.0.1/1"
    )
}

/// Runs a script under `tcpstate trace`.
fn traced(arguments: &[&str], script: &str) -> Finished {
    let mut command = Command::new(TCPSTATE);
    command.arg("trace").args(arguments).args(["--", "bash", "-c", script]);
    run(&mut command)
}

fn tcpstate(arguments: &[&str]) -> String {
    let finished = run(Command::new(TCPSTATE).args(arguments));
    assert_eq!((finished.status, finished.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    finished.stdout
}

fn json(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect()
}

/// Returns the lines of one type.
fn of<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

/// Returns the number of lines of each type.
fn kinds(lines: &[Value]) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for line in lines {
        *kinds
            .entry(line["type"].as_str().expect("each line has a type").to_owned())
            .or_default() += 1;
    }
    kinds
}

fn path(file: &Path) -> &str {
    file.to_str().expect("it is text")
}

#[test]
fn connections_of_a_program_have_lines_with_all_keys() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let finished = traced(&["--connections", "-o", "json"], &script(&listener));
    assert_eq!(finished.status, Some(1), "bash failed to connect: {finished:?}");
    let lines = json(&finished.stdout);
    let connections = of(&lines, "connection");
    let by = |reason: &str| -> Vec<&&Value> {
        connections.iter().filter(|line| line["ended_by"] == reason).collect()
    };
    for line in &connections {
        let keys: BTreeSet<&str> =
            line.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(keys, BTreeSet::from(KEYS));
    }
    let [refused] = by("refused")[..] else { panic!("{connections:#?}") };
    assert_eq!(refused["opened_by"]["comm"], "bash");
    assert_eq!(
        (&refused["remote_port"], &refused["bytes_sent"]),
        (&Value::from(1), &Value::from(0))
    );
    let end = &lines[lines.len() - 1];
    assert_eq!((&end["type"], &end["lost_connections"]), (&Value::from("end"), &Value::from(0)));
    drop(listener);
}

#[test]
fn connections_that_match_filters_have_lines() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let shown = |filters: &[&str]| {
        let arguments = [&["--connections", "--pending", "-o", "json"], filters].concat();
        let finished = traced(&arguments, &script(&listener));
        let lines = json(&finished.stdout);
        let ports = of(&lines, "connection").into_iter();
        let mut ports: Vec<u64> = ports.filter_map(|line| line["remote_port"].as_u64()).collect();
        ports.sort_unstable();
        ports
    };
    let port: u64 = listener.port().into();
    let refused = [1];
    assert_eq!(shown(&["--failed"]), refused);
    assert_eq!(shown(&["--ended-by", "refused,timeout"]), refused);
    assert_eq!(shown(&["--remote-port", "1"]), refused);
    assert_eq!(shown(&["--min-duration", "1h"]), [0; 0]);
    // The client is open at the end: it is in FIN_WAIT2, because no process accepts its peer.
    assert_eq!(shown(&["--remote-port", &port.to_string()]), [port]);
}

#[test]
fn connections_of_a_recording_are_the_same_lines() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("run.tcps");
    let record = ["--connections", "--pending", "-o", "json", "--record", path(&file)];
    let live = traced(&record, &script(&listener)).stdout;
    let replayed = tcpstate(&["trace", "--replay", path(&file), "--connections", "-o", "json"]);
    assert_eq!(replayed, live);
    let all = tcpstate(&["replay", path(&file), "-o", "json"]);
    let (header, rest) = all.split_once('\n').expect("a header");
    assert!(header.contains("\"has_connections\":true") && rest == live, "{all}");
    let csv = tcpstate(&["replay", path(&file), "-o", "csv", "--connections"]);
    assert_eq!(csv.lines().count(), 1 + of(&json(&live), "connection").len(), "{csv}");
    let table = tcpstate(&["trace", "--replay", path(&file), "--connections"]);
    assert!(table.contains("refused") && table.contains("connections lost 0"), "{table}");
    let only = ["trace", "--replay", path(&file), "--connections", "--failed", "-o", "json"];
    assert_eq!(of(&json(&tcpstate(&only)), "connection").len(), 1);
    let gauges = folder.path().join("gauges.tcps");
    tcpstate(&["trace", "-n", "1", "-i", "50ms", "-o", "json", "--record", path(&gauges)]);
    let refused =
        run(Command::new(TCPSTATE).args(["trace", "--replay", path(&gauges), "--connections"]));
    assert_eq!(refused.status, Some(2));
    assert!(refused.stderr.contains("has none\nhelp: record with --connections"), "{refused:?}");
}

#[test]
fn connections_of_a_full_recording_are_beside_everything_else() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("run.tcps");
    let record = ["--record", path(&file), "--full", "-i", "50ms", "-o", "json"];
    // The run lasts long enough for a snapshot.
    let long = format!("{}; sleep 1", script(&listener));
    let live = json(&traced(&record, &long).stdout);
    assert!(!kinds(&live).contains_key("connection"), "only the recording has everything");
    let all = json(&tcpstate(&["replay", path(&file), "-o", "json"]));
    let found = kinds(&all);
    for kind in ["recording", "start", "transition", "connection", "snapshot", "group", "end"] {
        assert!(found.contains_key(kind), "{kind}: {found:?}");
    }
    let header = &all[0];
    let has = |key: &str, text: &str| {
        let list = header[key].as_array().expect("a list");
        list.iter().any(|it| it.as_str().is_some_and(|it| it.contains(text)))
    };
    assert!(has("addresses", "lo 127.0.0.1"), "{header}");
    assert!(has("listeners", &format!(":{}", listener.port())), "{header}");
    for (command, expected) in [
        (&["trace", "--connections", "-o", "json"][..], "connection"),
        (&["trace", "--events", "-o", "json"], "transition"),
        (&["trace", "--by", "process", "-o", "json"], "group"),
        (&["hist", "-o", "json"], "histogram"),
        (&["doctor", "-o", "json"], "verdict"),
    ] {
        let arguments = [command, &["--replay", path(&file)]].concat();
        let finished = run(Command::new(TCPSTATE).args(&arguments));
        assert!(finished.status.is_some_and(|status| status < 2), "{arguments:?}: {finished:?}");
        assert!(kinds(&json(&finished.stdout)).contains_key(expected), "{arguments:?}");
    }
    // The end of the recording has the same counts as the last line of the run.
    let end = |lines: &[Value]| {
        let end = of(lines, "end")[0];
        (end["totals"].clone(), end["transitions"].clone(), end["states"].clone())
    };
    assert_eq!(end(&all), end(&live));
}

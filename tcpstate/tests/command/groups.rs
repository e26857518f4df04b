//! Tests how the program shows the groups of a recording. The recording is one of the source tree,
//! with made-up groups in each snapshot.

use std::{io::Read as _, process::Command};

use serde_json::Value;
use tcpstate::{
    recording::Record,
    report::{
        Key, OwnerCounts, OwnerGroup, OwnerKind, Owners, Process, Report, key::Value as KeyValue,
    },
};
use tcpstate_tests::{
    actor::{Actor, Costume},
    command::run,
    errors::Row,
    netns::Namespace,
    recordings::{read, written},
    traffic::{Family, Listener},
};

use super::RECORDING;

/// Returns groups by process. The process with the number N opened N connections.
fn owners() -> Owners {
    let group = |number: u32| {
        let process = Process { pid: 100 + number, name: format!("client-{number}") };
        let opened = OwnerCounts { opened: number.into(), ..OwnerCounts::default() };
        let time_wait_entries = u64::from(30 - number);
        OwnerGroup {
            kind: OwnerKind::Group(vec![KeyValue::Process(process)]),
            states: Some([0; 10]),
            total: OwnerCounts { time_wait_entries, ..opened },
            interval: OwnerCounts { time_wait_entries, ..opened },
            likely_owner: None,
        }
    };
    Owners {
        by: vec![Key::Process],
        groups: (1..=25).map(group).collect(),
        accepted: 0,
        not_accepted: 0,
        without_room: 0,
        missed: 0,
    }
}

/// Writes a recording with groups, and returns the folder and the path of the recording.
fn recording() -> (tempfile::TempDir, String) {
    let mut records = read(&std::fs::read(RECORDING).expect("the tree has recordings"));
    for record in &mut records {
        if let Record::Report(report) = record
            && let Report::Snapshot(snapshot) | Report::End(snapshot) = report.as_mut()
        {
            snapshot.owners = Some(owners());
        }
    }
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("groups.tcps");
    std::fs::write(&file, written(&records)).expect("the test owns the folder");
    let file = file.to_str().expect("the path is text").to_owned();
    (folder, file)
}

#[test]
fn groups_of_a_live_run_match_the_filter() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let mut clients = ["one", "two"].map(|name| {
        let wait_for_end = || {
            let _ = listener.connect().read(&mut [0]);
        };
        Actor::start(Costume::named(name), wait_for_end)
    });
    clients.iter_mut().for_each(Actor::cue);
    let servers = [listener.accept(), listener.accept()];
    let by = ["trace", "--by", "comm,remote-port", "-i", "100ms", "-n", "1", "-o", "json"];
    let printed =
        run(Command::new(env!("CARGO_BIN_EXE_tcpstate")).args(by).args(["--comm", "one"]));
    drop(servers);
    assert_eq!(printed.status, Some(0), "{printed:?}");
    let groups = groups(&printed.stdout);
    let shown: Vec<_> = groups.iter().filter(|group| group["kind"] == "group").collect();
    let is_of_one = |group: &&Value| group["key"]["comm"] == "one";
    assert!(!shown.is_empty() && shown.iter().all(is_of_one), "{groups:#?}");
    assert!(shown.iter().any(|group| group["states"]["established"] == 1), "{groups:#?}");
}

fn shown(arguments: &[&str]) -> String {
    let printed = run(Command::new(env!("CARGO_BIN_EXE_tcpstate")).args(arguments));
    assert_eq!((printed.status, printed.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    printed.stdout
}

fn groups(text: &str) -> Vec<Value> {
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("an object a line"));
    let last: Vec<Value> = lines.filter(|line: &Value| line["type"] == "group").collect();
    // Each snapshot and the end have the same groups.
    let per_snapshot = last.iter().take_while(|line| line["time"] == last[0]["time"]).count();
    last.into_iter().take(per_snapshot).collect()
}

#[test]
fn groups_of_a_recording_are_shown_in_every_format() {
    let (_folder, file) = recording();
    let json = shown(&["trace", "--replay", &file, "-o", "json"]);
    let exported = shown(&["replay", &file, "-o", "json"]);
    let (part, _) = exported.split_once('\n').expect("the description is the first line");
    let part: Value = serde_json::from_str(part).expect("an object");
    assert_eq!(part["by"], serde_json::json!(["process"]));
    for text in [&json, &exported] {
        let groups = groups(text);
        assert_eq!(groups.len(), 21, "20 groups and other");
        assert_eq!(groups[0]["key"], serde_json::json!({ "pid": 101, "comm": "client-1" }));
        assert_eq!((&groups[20]["kind"], &groups[20]["groups"]), (&"other".into(), &5.into()));
        let opened = groups.iter().filter_map(|group| group["opened"].as_u64());
        assert_eq!(opened.sum::<u64>(), (1..=25).sum::<u64>());
    }
    let table = shown(&["trace", "--replay", &file]);
    assert!(table.contains("\nPROCESS ") && table.contains("\nclient-1 "), "{table}");
    assert!(table.contains("\nother (5 groups) "), "{table}");
    assert_eq!(table, shown(&["trace", "--replay", &file, "--by", "process"]));
    let csv = shown(&["replay", &file, "-o", "csv"]);
    assert!(csv.starts_with("time,elapsed_seconds,kind,pid,comm,listen,"), "{csv}");
    assert!(csv.contains(",group,101,client-1,"), "{csv}");
    assert_eq!(csv, shown(&["trace", "--replay", &file, "-o", "csv"]));
}

#[test]
fn groups_of_a_recording_are_sorted_and_limited_by_flags() {
    let (_folder, file) = recording();
    for command in [&["trace", "--replay", &file][..], &["replay", &file]] {
        let flags = ["-o", "json", "--sort", "opened", "--top", "2"];
        let groups = groups(&shown(&[command, &flags].concat()));
        let opened: Vec<_> = groups.iter().map(|group| group["opened"].as_u64()).collect();
        assert_eq!(opened, [Some(25), Some(24), Some((1..=23).sum::<u64>())]);
    }
    let all = groups(&shown(&["replay", &file, "-o", "json", "--top", "0"]));
    assert_eq!(all.len(), 25);
}

#[test]
fn error_replay_by_other_keys() {
    let (_folder, file) = recording();
    let row = Row::of("error_replay_by_other_keys");
    let by = ["trace", "--replay", &file, "--by", "comm,netns"];
    row.assert(&run(Command::new(env!("CARGO_BIN_EXE_tcpstate")).args(by)));
}

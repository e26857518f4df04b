//! Tests `--only-it` of `trace` and `hist`: only the process tree of the program has lines,
//! durations and groups.

use std::fs;

use serde_json::Value;
use tcpstate_tests::{
    netns::Namespace,
    traffic::{Family, Listener},
};

use super::program::{Running, connect, events};

/// The main process of a tree, its children and a daemon connect, and so does a stranger.
#[test]
fn program_only_it_shows_the_sockets_of_its_tree() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let [file, go] = ["pid", "go"].map(|name| folder.path().join(name));
    let connect = connect(&listener);
    // The daemon is no child of the program when it connects.
    let daemon = format!(
        "until [ -e {go} ]; do sleep 0.01; done; {connect}; echo $$ > {file}.new; mv {file}.new {file}",
        go = go.display(),
        file = file.display()
    );
    let script = format!(
        "{connect}; ({connect}); bash -c '{connect}; exec bash -c \"{connect}\"'; \
         (setsid bash -c '{daemon}' <&- >&- 2>&- &); touch {go}; \
         until [ -e {file} ]; do sleep 0.01; done; echo pids $$ $(cat {file}) >&2",
        go = go.display(),
        file = file.display()
    );
    let running = Running::start(&["trace", "--events", "-o", "json", "--only-it"], &script);
    let mut stranger_connects = 0;
    while !file.exists() {
        // Another connection may be the first in the queue.
        drop((listener.connect(), listener.accept()));
        stranger_connects += 1;
    }
    assert!(stranger_connects > 0, "the stranger has connected");
    let (run, stderr) = running.finished();
    assert_eq!(run.status, Some(0), "{run:?}");
    let events = events(&run);
    let opens: Vec<&Value> =
        events.iter().filter(|it| it["from"] == "close" && it["to"] == "syn_sent").collect();
    assert_eq!(opens.len(), 5, "{run:?}");
    assert!(opens.iter().all(|it| it["comm"] == "bash"), "{run:?}");
    let pids = stderr.split_once("pids ").expect("the program has printed them").1;
    let pids: Vec<u64> = pids.split_whitespace().map_while(|pid| pid.parse().ok()).collect();
    assert_eq!(opens.first().map(|it| &it["pid"]), Some(&pids[0].into()), "{stderr}");
    assert_eq!(opens.last().map(|it| &it["pid"]), Some(&pids[1].into()), "{stderr}");
    // Each line is of the tree: by its owner, or by the process that closed the connection.
    let is_bash = |it: &Value| it["comm"] == "bash" || it["closed_by"]["comm"] == "bash";
    assert!(events.iter().all(is_bash), "{run:?}");
    let births = events.iter().filter(|it| it["hook"] == "time_wait" && it["from"] == "close");
    assert_eq!(births.count(), 5, "{run:?}");
    assert!(!stderr.contains("not followed"), "{stderr}");
}

/// Runs a program of which three processes connect, after another process has connected seven
/// times. Returns the lines of the run, and their text.
fn lines_beside_a_stranger(arguments: &[&str]) -> (Vec<Value>, String) {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let go = folder.path().join("go");
    let connect = connect(&listener);
    let script = format!(
        "echo ready; until [ -e {} ]; do sleep 0.01; done; {connect}; ({connect}); bash -c '{connect}'",
        go.display()
    );
    let mut running = Running::start(arguments, &script);
    running.read_until("ready");
    for _ in 0..7 {
        drop(listener.connect());
    }
    fs::write(go, "").expect("the folder is writable");
    let (status, text) = running.end();
    assert_eq!(status, Some(0), "{text}");
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("it is JSON"));
    (lines.collect(), text)
}

#[test]
fn program_only_it_of_hist_counts_its_durations() {
    let arguments = ["hist", "--of", "connect,lifetime", "-o", "json", "--only-it"];
    let (lines, text) = lines_beside_a_stranger(&arguments);
    let count = |of: &str| {
        let line = lines.iter().find(|line| line["of"] == of && line["side"] != "server");
        line.unwrap_or_else(|| panic!("no {of}: {text}"))["count"].clone()
    };
    assert_eq!(count("connect_latency"), 3, "{text}");
}

#[test]
fn program_only_it_has_groups_of_its_tree() {
    let arguments =
        ["trace", "-i", "1h", "--by", "process", "--top", "0", "-o", "json", "--only-it"];
    let (lines, text) = lines_beside_a_stranger(&arguments);
    let groups: Vec<&Value> = lines.iter().filter(|line| line["type"] == "group").collect();
    let opened = |kind: &str| {
        let of_kind = groups.iter().filter(|group| group["kind"] == kind);
        of_kind.map(|group| group["opened"].as_u64().expect("a count")).sum::<u64>()
    };
    assert_eq!(opened("group") + opened("gone"), 3, "{text}");
    assert_eq!(opened("other"), 7, "{text}");
    let is_bash = |group: &&Value| group["kind"] != "group" || group["key"]["comm"] == "bash";
    assert!(groups.iter().all(is_bash), "{text}");
}

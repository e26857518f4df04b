//! Tests the process `tcpstate trace --events`: the lines in each format, a reader that stalls, and
//! refused options.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStdout, Command},
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tcpstate_tests::{
    command::{piped, run, signal},
    netns::{Namespace, spread_loopback},
    traffic::{Family, Listener, Load, Neighbours, Style, reset},
    wait,
};

fn trace(arguments: &[&str]) -> Command {
    let mut command = piped(env!("CARGO_BIN_EXE_tcpstate"), &["trace", "--events"]);
    command.args(arguments);
    command
}

/// Opens and closes one connection of each address family. A connection has five events until it is
/// established, and three more until it is closed.
fn connections() {
    for family in Family::BOTH {
        let listener = Listener::open(family);
        let client = listener.connect();
        let server = listener.accept();
        drop(listener);
        reset(client);
        drop(server);
    }
}

const EVENTS: usize = 16;

/// The keys of an event's JSON line, in order.
const KEYS: [&str; 26] = [
    "type",
    "version",
    "time",
    "time_unix",
    "time_monotonic",
    "hook",
    "from",
    "to",
    "family",
    "local",
    "local_port",
    "remote",
    "remote_port",
    "netns",
    "cookie",
    "pid",
    "comm",
    "uid",
    "cgroup",
    "container",
    "runtime",
    "unit",
    "duration_seconds",
    "ended_by",
    "closed_by",
    "opened_by",
];

#[test]
fn events_in_json_have_all_keys_between_start_and_end() {
    let namespace = Namespace::enter();
    let mut child = trace(&["-o", "json", "-d", "2s"]).spawn().expect("it starts");
    let mut reader = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    reader.read_line(&mut line).expect("the pipe is open");
    assert!(line.starts_with(r#"{"type":"start""#), "{line}");
    let start: Value = serde_json::from_str(&line).expect("an object");
    connections();
    let object = |line: Result<String, _>| -> Value {
        serde_json::from_str(&line.expect("the pipe is open")).expect("each line is an object")
    };
    let mut lines: Vec<Value> = reader.lines().map(object).collect();
    assert!(child.wait().expect("it ends").success());
    let end = lines.pop().expect("there is an end line");
    assert_eq!(end["type"], "end");
    assert_eq!((&end["lost_events"], &end["untracked_events"]), (&0.into(), &0.into()));
    let counts = end["transitions"].as_array().expect("a list").iter();
    let counted: u64 = counts.map(|pair| pair["count"].as_u64().expect("a count")).sum();
    let (ended, lines): (Vec<Value>, Vec<Value>) =
        lines.into_iter().partition(|line| line["type"] == "ended");
    assert_eq!(end["ended_lines"], ended.len());
    let (lines, minis): (Vec<Value>, Vec<Value>) =
        lines.into_iter().partition(|line| line["hook"] == "transitions");
    assert_eq!(counted, lines.len() as u64);
    // Each connection has a request socket before the handshake ends. If the hook observes each
    // request socket, one event line reports the birth of a request socket, and one event line
    // reports when the request socket closes.
    let is_seen = |hook: &str| !["none", "polled"].iter().any(|by| start["hooks"][hook] == *by);
    assert_eq!(minis.len(), if is_seen("syn_recv") { 4 } else { 0 }, "{minis:?}");
    for line in lines.iter().chain(&minis) {
        let keys: Vec<&str> =
            line.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(keys, KEYS);
        assert_eq!(line["type"], "transition");
        assert_eq!(line["netns"], namespace.inode().to_string());
        assert!(line["time"].as_str().is_some_and(|time| time.len() == 24 && time.ends_with('Z')));
    }
    let client = lines.iter().find(|line| line["from"] == "syn_sent").expect("it connected");
    assert_eq!(
        (&client["local"], &client["pid"]),
        (&"127.0.0.1".into(), &std::process::id().into())
    );
    let v6 = lines.iter().find(|line| line["family"] == "ipv6").expect("it listened");
    assert_eq!((&v6["local"], &v6["remote"]), (&"::1".into(), &Value::Null));
}

#[test]
fn events_lost_to_a_stalled_reader_are_counted() {
    let _namespace = Namespace::enter();
    let (child, reader) = started(&["--max-event-buffer", "4096"]);
    let load = Load::start(2, Style::Rst);
    // The test does not read while the traffic runs. The traffic causes far more events than the
    // pipe, the writer and the event buffer can hold together.
    wait::until("connections", || load.completed() >= 5000);
    let _ = load.stop();
    signal(&child, Signal::SIGINT);
    let (lines, stderr) = rest(child, reader);
    assert!(stderr.contains("events were lost; the counts are not affected\nhelp: "), "{stderr}");
    let end = assert_all_told(&lines);
    assert!(end["lost_events_by_cause"]["ring"].as_u64() > Some(10_000), "{end}");
}

/// Asserts that each event of a full socket has a line or is counted as lost. Returns the end line.
fn assert_all_told(lines: &[Value]) -> &Value {
    let (end, lines) = lines.split_last().expect("there is an end line");
    let number = |value: &Value| value.as_u64().expect("a count");
    let counts = end["transitions"].as_array().expect("a list").iter();
    let counted: u64 = counts.map(|pair| number(&pair["count"])).sum();
    let lines = lines.iter().filter(|line| line["hook"] == "transitions").count() as u64;
    let lost = number(&end["lost_events"]);
    let by_cause = &end["lost_events_by_cause"];
    assert_eq!(number(&by_cause["ring"]) + number(&by_cause["missed"]), lost, "{end}");
    println!("{lines} lines, {counted} counted, {lost} lost, missed {}", end["missed"]);
    // If only the counting program missed an event, the event has a line and is not counted.
    let uncounted = number(&end["missed"]);
    let reported = lines + lost;
    assert!(reported >= counted && reported - counted <= uncounted, "{reported}, {counted}: {end}");
    end
}

/// Reads the lines of a program until its end. Returns the lines and the text of stderr.
fn rest(mut child: Child, reader: BufReader<ChildStdout>) -> (Vec<Value>, String) {
    let parse = |line: Result<String, _>| {
        serde_json::from_str(&line.expect("the pipe is open")).expect("an object")
    };
    let lines = reader.lines().map(parse).collect();
    assert!(child.wait().expect("it ends").success());
    let mut stderr = String::new();
    child.stderr.take().expect("it is piped").read_to_string(&mut stderr).expect("it is text");
    (lines, stderr)
}

/// Starts `trace --events -o json`, and waits for the start line.
fn started(arguments: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut child = trace(&["-o", "json"]).args(arguments).spawn().expect("it starts");
    let mut reader = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    reader.read_line(&mut line).expect("the pipe is open");
    assert!(line.starts_with(r#"{"type":"start""#), "{line}");
    (child, reader)
}

/// The number of connections after which the kernel has usually skipped some runs of the programs.
const MANY: u64 = 20_000;

#[test]
fn events_missed_under_interrupts_are_counted_and_have_their_own_help() {
    let _namespace = Namespace::enter();
    let is_spread = spread_loopback();
    let (child, reader) = started(&["--max-event-buffer", "268435456"]);
    let (lines, stderr) = thread::scope(|scope| {
        let load = Load::start(4, Style::Rst);
        let id = Pid::from_raw(child.id().cast_signed());
        let reading = scope.spawn(|| rest(child, reader));
        wait::until("connections", || load.completed() >= MANY);
        kill(id, Signal::SIGINT).expect("it runs");
        let _ = load.stop();
        reading.join().expect("it reads to the end")
    });
    let end = assert_all_told(&lines);
    let cause = |name: &str| end["lost_events_by_cause"][name] != 0;
    if !cause("missed") {
        println!("skipped: the kernel skipped no run; packets on all CPUs: {is_spread}");
        return;
    }
    let expected = "events have no line, because the kernel skipped a program; the counts are not \
                    affected\nhelp: select fewer events";
    assert!(stderr.contains(expected), "{stderr}");
    assert_eq!(cause("ring"), stderr.contains("read stdout faster"), "{stderr}: {end}");
}

#[test]
fn events_of_a_quiet_namespace_are_not_lost_beside_busy_namespaces() {
    let _namespace = Namespace::enter();
    let (child, reader) = started(&[]);
    let neighbours = Neighbours::start();
    // Each of the five rounds makes two connections.
    for round in 1..=5 {
        neighbours.await_connections(round * MANY / 5);
        connections();
    }
    signal(&child, Signal::SIGINT);
    let (lines, stderr) = rest(child, reader);
    drop(neighbours);
    let end = assert_all_told(&lines);
    assert_eq!(end["lost_events_by_cause"]["ring"], 0, "{end}");
    assert!(!stderr.contains("stdout"), "{stderr}");
    assert_eq!(stderr.contains("have no line"), end["lost_events"] != 0, "{stderr}: {end}");
}

#[test]
fn events_have_aligned_columns_in_the_table_and_in_csv() {
    let _namespace = Namespace::enter();
    let lines = |arguments: &[&str]| -> Vec<String> {
        let mut child = trace(arguments).spawn().expect("it starts");
        let mut reader = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| {
            line.contains("REMOTE") || line.ends_with("opened_by_comm")
        }) {
            let mut line = String::new();
            assert!(reader.read_line(&mut line).expect("the pipe is open") > 0, "{lines:?}");
            lines.push(line.trim_end().to_owned());
        }
        connections();
        let mut events = vec![lines.pop().expect("the heading")];
        events.extend(reader.lines().map(|line| line.expect("text")));
        assert!(child.wait().expect("it ends").success());
        events
    };
    let table = lines(&["--utc", "-d", "2s"]);
    let column =
        |line: &str, word: &str| line.find(word).unwrap_or_else(|| panic!("{word}: {line}"));
    let arrow = column(&table[1], "->");
    let local = column(&table[0], "LOCAL");
    for line in &table[1..=EVENTS] {
        assert_eq!(column(line, "->"), arrow, "{table:#?}");
        assert!(
            line[local..].starts_with("127.0.0.1:") || line[local..].starts_with("[::1]:"),
            "{line}"
        );
        assert_eq!(line.as_bytes()[local - 1], b' ', "{line}");
    }
    let csv = lines(&["-o", "csv", "-d", "2s"]);
    // JSON also has `type` and `version`. CSV has two columns for each of the two processes.
    let callers = ["closed_by_pid", "closed_by_comm", "opened_by_pid", "opened_by_comm"];
    let columns = [&KEYS[2..KEYS.len() - 2], &callers].concat();
    assert!(csv.iter().all(|row| row.split(',').count() == columns.len()), "{csv:#?}");
    assert_eq!(csv[0], columns.join(","));
}

#[test]
fn events_refuse_unavailable_options_with_help() {
    for (arguments, cause) in [
        (&["-o", "csv", "-i", "1s"][..], "cannot mix event rows"),
        (&["-n", "1"], "--count limits snapshots"),
        (&["--max-event-buffer", "5000"], "power of two"),
        (&["--max-event-sockets", "0"], "--max-event-sockets"),
        (&["--utc", "--monotonic"], "they exclude each other"),
        (&["--local-port", "80,http"], "at character 4: 'http' is not a port"),
        (&["--transition", "listen:,open:"], "at character 9: 'open:' has no state"),
        (&["--comm", "curl,"], "at character 6: an item is missing"),
        (&["--cgroup", "nginx"], "at character 1: 'nginx' is not a cgroup"),
        (&["--cgroup", "/no/such"], "cannot find the cgroup /no/such"),
        (&["-i", "1s", "--uid", "0"], "cannot use --uid with snapshots"),
    ] {
        let finished = run(&mut trace(arguments));
        assert_eq!(finished.status, Some(2), "{arguments:?}: {finished:?}");
        assert!(finished.stderr.contains(cause), "{arguments:?}: {}", finished.stderr);
        assert!(finished.stderr.contains("\nhelp: "), "{arguments:?}: {}", finished.stderr);
        assert_eq!(finished.stdout, "");
    }
}

#[test]
fn snapshots_can_be_filtered_by_family_only() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpstate"));
    let finished = run(command.args(["trace", "-n", "1", "--family", "4", "--local-port", "443"]));
    assert_eq!(finished.status, Some(2), "{finished:?}");
    assert!(
        finished.stderr.contains("cannot use --local-port with snapshots"),
        "{}",
        finished.stderr
    );
    assert!(finished.stderr.contains("\nhelp: use --events"), "{}", finished.stderr);
}

#[test]
fn events_rejected_by_a_filter_are_not_losses() {
    let _namespace = Namespace::enter();
    let mut child = trace(&["-o", "json", "-d", "2s", "--family", "6", "--state", "listen"])
        .spawn()
        .expect("it starts");
    let mut reader = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    reader.read_line(&mut line).expect("the pipe is open");
    connections();
    let lines: Vec<Value> = reader
        .lines()
        .map(|line| serde_json::from_str(&line.expect("the pipe is open")).expect("an object"))
        .collect();
    assert!(child.wait().expect("it ends").success());
    let (end, lines) = lines.split_last().expect("there is an end line");
    assert_eq!(end["lost_events"], 0);
    // The three lines are two events of the listener, and the event for the birth of the accepted
    // socket.
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines.iter().all(|line| line["family"] == "ipv6"), "{lines:#?}");
}

#[test]
fn events_with_an_interval_have_snapshots_between_them() {
    let _namespace = Namespace::enter();
    let finished = run(&mut trace(&["-o", "json", "-i", "100ms", "-n", "2"]));
    assert_eq!(finished.status, Some(0), "{}", finished.stderr);
    let kinds: Vec<String> = finished
        .stdout
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("an object");
            line["type"].as_str().expect("a word").to_owned()
        })
        .collect();
    assert_eq!(kinds, ["start", "snapshot", "snapshot", "end"]);
}

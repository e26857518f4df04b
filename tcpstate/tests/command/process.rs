//! Tests the process `tcpstate trace`: output lines, exit status, signals, pipes, and that a killed
//! process leaves nothing in the kernel.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    os::fd::AsRawFd as _,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tcpstate::tracer::Tracer;
use tcpstate_tests::{
    bpf::KernelObjects,
    command::{Finished, piped, run, signal},
    netns::Namespace,
    traced,
    traffic::{Family, Listener},
    wait,
};

fn tcpstate(arguments: &[&str]) -> Command {
    piped(env!("CARGO_BIN_EXE_tcpstate"), arguments)
}

fn next_line(reader: &mut impl std::io::BufRead) -> Value {
    let mut line = String::new();
    reader.read_line(&mut line).expect("the pipe is open");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

const STATES: [&str; 10] = [
    "listen",
    "syn_sent",
    "syn_recv",
    "established",
    "fin_wait1",
    "fin_wait2",
    "close_wait",
    "closing",
    "last_ack",
    "time_wait",
];

#[test]
fn process_prints_start_snapshots_and_end() {
    let namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let _before = listener.pairs(3);
    let mut child =
        tcpstate(&["trace", "-o", "json", "-i", "200ms", "-n", "3"]).spawn().expect("it starts");
    let mut reader = BufReader::new(child.stdout.take().expect("it is piped"));
    let start = next_line(&mut reader);
    assert_eq!(start["type"], "start");
    assert_eq!(start["version"], 1);
    assert_eq!(start["netns"], namespace.inode().to_string());
    assert_eq!(start["hooks"]["transitions"], "tp_btf");
    assert_eq!(start["states"]["established"]["current"], 6);
    assert!(start["time"].as_str().is_some_and(|time| time.len() == 24 && time.ends_with('Z')));
    let _during = listener.pairs(5);
    let reports: Vec<Value> = (0..4).map(|_| next_line(&mut reader)).collect();
    assert!(child.wait().expect("it ends").success());
    let types: Vec<&str> = reports.iter().filter_map(|line| line["type"].as_str()).collect();
    assert_eq!(types, ["snapshot", "snapshot", "snapshot", "end"]);
    for report in &reports {
        assert_snapshot(&start, report);
    }
    let end = &reports[3];
    assert_eq!(end["states"]["established"]["current"], 16);
    assert_eq!(end["states"]["established"]["entered"], 10);
    let is_birth = |pair: &&Value| pair["from"] == "listen" && pair["to"] == "syn_recv";
    let births = end["transitions"].as_array().and_then(|pairs| pairs.iter().find(is_birth));
    assert_eq!(births.map(|pair| &pair["count"]), Some(&5.into()), "{end}");
}

#[test]
fn process_verifies_its_gauges() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V6);
    let _pairs = listener.pairs(7);
    let arguments = ["trace", "--verify", "-o", "json", "-i", "200ms", "-n", "3"];
    let Finished { status, stdout, stderr } = run(&mut tcpstate(&arguments));
    assert_eq!(status, Some(0), "{stderr}");
    let reports: Vec<Value> = stdout
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str(line).expect("each line is an object"))
        .collect();
    assert_eq!(reports.len(), 4);
    for report in reports {
        assert_eq!(report["verify"], serde_json::json!({ "result": "equal", "differences": [] }));
    }
}

fn assert_snapshot(start: &Value, report: &Value) {
    for key in [
        "time",
        "time_unix",
        "elapsed_seconds",
        "interval_seconds",
        "exact",
        "unreconciled",
        "transitions",
        "time_wait",
        "missed",
        "missed_by_hook",
        "reconciles",
        "map_full",
        "map_errors",
        "lost_events",
    ] {
        assert!(!report[key].is_null(), "{key} is missing: {report}");
    }
    let names: Vec<&String> =
        report["states"].as_object().expect("states are an object").keys().collect();
    assert_eq!(names, STATES);
    for state in STATES {
        let (opening, now) = (&start["states"][state]["current"], &report["states"][state]);
        let Some(opening) = opening.as_i64() else { continue };
        let number = |key: &str| {
            now[key].as_i64().unwrap_or_else(|| panic!("{state}.{key} is no number: {now}"))
        };
        assert_eq!(
            number("current"),
            opening + number("entered") - number("left") + number("corrected"),
            "{state}"
        );
    }
}

#[test]
fn process_ends_cleanly_on_sigint_and_sigterm() {
    let _namespace = Namespace::enter();
    for end_signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut child = tcpstate(&["trace", "-o", "json", "-i", "1h"]).spawn().expect("it starts");
        let mut reader = BufReader::new(child.stdout.take().expect("it is piped"));
        assert_eq!(next_line(&mut reader)["type"], "start");
        signal(&child, end_signal);
        assert_eq!(next_line(&mut reader)["type"], "end", "{end_signal}");
        assert!(child.wait().expect("it ends").success(), "{end_signal}");
    }
}

#[test]
fn process_ends_on_a_closed_pipe() {
    let _namespace = Namespace::enter();
    let mut child = tcpstate(&["trace", "-o", "json", "-i", "50ms"]).spawn().expect("it starts");
    let mut reader = BufReader::new(child.stdout.take().expect("it is piped"));
    assert_eq!(next_line(&mut reader)["type"], "start");
    drop(reader);
    assert!(child.wait().expect("it ends").success());
    let mut stderr = String::new();
    child.stderr.take().expect("it is piped").read_to_string(&mut stderr).expect("it is text");
    assert_eq!(stderr, "");
}

#[test]
fn process_keeps_counting_while_its_reader_stalls() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let mut child = tcpstate(&["trace", "-o", "json", "-i", "50ms"]).spawn().expect("it starts");
    let mut reader = BufReader::new(child.stdout.take().expect("it is piped"));
    assert_eq!(next_line(&mut reader)["type"], "start");
    // Wait until the pipe is full. A pipe holds 64 KiB, which is about forty snapshots.
    let mut waiting = bytes_in(reader.get_ref());
    wait::until_within(Duration::from_secs(60), "the pipe to be full", || {
        std::thread::sleep(Duration::from_millis(500));
        let before = std::mem::replace(&mut waiting, bytes_in(reader.get_ref()));
        before == waiting
    });
    let _during = listener.pairs(7);
    let before = resident_kib(&child);
    std::thread::sleep(Duration::from_secs(2));
    // In two seconds, `trace` takes forty snapshots. A queue of forty snapshots would use at least
    // 64 KiB.
    let grown = resident_kib(&child).saturating_sub(before);
    assert!(grown < 64, "{grown} KiB");
    let after_gap = (0..100)
        .map(|_| next_line(&mut reader))
        .find(|line| line["interval_seconds"].as_f64() > Some(2.0));
    let after_gap = after_gap.expect("the interval of a snapshot shows the gap");
    assert_eq!(after_gap["states"]["established"]["entered"], 14, "{after_gap}");
    signal(&child, Signal::SIGTERM);
    assert!(
        reader
            .lines()
            .map_while(Result::ok)
            .last()
            .is_some_and(|line| line.contains(r#""type":"end""#))
    );
    assert!(child.wait().expect("it ends").success());
}

/// Returns the number of unread bytes in a pipe.
fn bytes_in(pipe: &ChildStdout) -> libc::c_int {
    let mut bytes = 0;
    // SAFETY: FIONREAD writes one int to the address, and `bytes` is an int that outlives the call.
    let result = unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    bytes
}

/// Returns the private memory of the process in KiB.
fn resident_kib(child: &Child) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("the child runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).expect("the kernel reports the size")
}

#[test]
fn process_writes_rows_that_a_csv_reader_accepts() {
    let namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let _before = listener.pairs(3);
    let Finished { status, stdout, stderr } =
        run(&mut tcpstate(&["trace", "-o", "csv", "-i", "50ms", "-n", "3"]));
    assert_eq!(status, Some(0), "{stderr}");
    let mut reader = csv::Reader::from_reader(stdout.as_bytes());
    let header = "time elapsed_seconds netns state current entered left corrected";
    assert_eq!(reader.headers().expect("there is one"), header.split(' ').collect::<Vec<_>>());
    let rows: Vec<csv::StringRecord> =
        reader.records().collect::<Result<_, _>>().expect("all rows have as many fields");
    assert_eq!(rows.len(), 3 * STATES.len());
    for (row, state) in rows.iter().zip(STATES.iter().cycle()) {
        assert_eq!((&row[2], &row[3]), (namespace.inode().to_string().as_str(), *state));
    }
    assert_eq!(&rows[3][4], "6", "{stdout}");
}

/// Reads the sysctl that makes the kernel measure the runs of all BPF programs. The sysctl must
/// have the same value before and after a run with `--cost`.
fn statistics_sysctl() -> String {
    std::fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled").expect("the kernel provides it")
}

#[test]
fn process_measures_its_cost_only_while_it_runs() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let sysctl = statistics_sysctl();
    // Start another tracer. The run count of this tracer's program shows whether the kernel
    // measures program runs.
    let tracer = Tracer::start(&traced::options()).unwrap_or_else(|error| panic!("{error}"));
    let measured = || tracer.probe().transitions_info().expect("it is loaded").run_count();
    let mut child =
        tcpstate(&["trace", "-o", "json", "-i", "200ms", "--cost"]).spawn().expect("it starts");
    let mut reader = BufReader::new(child.stdout.take().expect("it is piped"));
    assert_eq!(next_line(&mut reader)["type"], "start");
    let before = measured();
    let _during = listener.pairs(7);
    assert!(measured() > before, "statistics are on");
    let of_transitions = |line: &Value| {
        let programs = line["cost"].as_array().expect("a list").iter();
        let found = programs.clone().find(|cost| cost["program"] == "inet_sock_set_state");
        found.unwrap_or_else(|| panic!("it is among {line}")).clone()
    };
    let cost = loop {
        let cost = of_transitions(&next_line(&mut reader));
        if cost["runs"] != 0 {
            break cost;
        }
    };
    // A connection has four transitions: CLOSE -> SYN_SENT -> ESTABLISHED on the client, and LISTEN
    // -> SYN_RECV -> ESTABLISHED on the server.
    assert!(cost["runs"].as_u64() >= Some(4 * 7), "{cost}");
    for key in ["run_seconds", "ns_per_run", "cpu_share"] {
        assert!(cost[key].as_f64() > Some(0.0), "{key}: {cost}");
    }
    assert_eq!(statistics_sysctl(), sysctl);
    // The kernel must stop measuring even if `trace` is killed.
    signal(&child, Signal::SIGKILL);
    child.wait().expect("it has been killed");
    let after = measured();
    let _after = listener.pairs(7);
    assert_eq!(measured(), after, "statistics are off");
    assert_eq!(statistics_sysctl(), sysctl);
}

#[test]
fn process_killed_at_any_moment_leaves_nothing_in_the_kernel() {
    let _namespace = Namespace::enter();
    // Wait until the kernel has freed the BPF objects of earlier tests, so that the test does not
    // count them.
    let before = KernelObjects::at_rest();
    for round in 0..20_u64 {
        let mut child =
            tcpstate(&["trace", "-i", "50ms"]).stdout(Stdio::null()).spawn().expect("it starts");
        // Kill the process at a different time in each round, from its first system call to 361 ms
        // after its start.
        std::thread::sleep(Duration::from_millis(round * round));
        signal(&child, Signal::SIGKILL);
        child.wait().expect("it has been killed");
    }
    wait::until_equal("the kernel to be as before", &before, KernelObjects::now);
}

//! Tests `tcpstate check`. The report must agree with the behaviour of `trace` for root, for the
//! user `nobody`, and for users with some capabilities.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tcpstate_common::State;
use tcpstate_tests::{
    bpf::KernelObjects,
    command::{Finished, as_nobody, run, signal},
    netns::Namespace,
    traffic::{Family, Listener, shutdown},
    truth, wait,
};

const TCPSTATE: &str = env!("CARGO_BIN_EXE_tcpstate");

fn tcpstate(arguments: &[&str]) -> Command {
    let mut command = Command::new(TCPSTATE);
    command.args(arguments);
    command
}

fn nobody(capabilities: &[&str], arguments: &[&str]) -> Command {
    let mut command = as_nobody(capabilities, TCPSTATE);
    command.args(arguments);
    command
}

/// Returns the reported features by ID, and the last feature of the report.
fn features(checked: &Finished) -> (BTreeMap<String, Value>, Value) {
    let lines: Vec<Value> = checked
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is a JSON object"))
        .collect();
    let last = lines.last().expect("the output has lines").clone();
    for line in &lines {
        assert_eq!((&line["type"], &line["version"]), (&"check".into(), &1.into()), "{line}");
        let statuses = ["ok", "missing", "degraded", "untested"];
        assert!(line["status"].as_str().is_some_and(|status| statuses.contains(&status)), "{line}");
        assert!(line["detail"].is_string(), "{line}");
        assert!(line["remedy"].is_string() || line["remedy"].is_null(), "{line}");
        assert!(
            line["status"] != "missing"
                || id(line).starts_with("live_")
                || line["remedy"].is_string(),
            "{line}"
        );
    }
    let count = lines.len();
    let by_id: BTreeMap<String, Value> = lines.into_iter().map(|line| (id(&line), line)).collect();
    assert_eq!(by_id.len(), count, "each id once");
    (by_id, last)
}

fn id(line: &Value) -> String {
    line["id"].as_str().expect("an id is text").to_owned()
}

/// Returns the capabilities that the user `nobody` needs for exact counts on this kernel.
fn least() -> Vec<&'static str> {
    let (features, _) = features(&run(&mut tcpstate(&["check", "-o", "json"])));
    let functions = ["time_wait_fentry", "syn_recv_fentry"];
    if functions.iter().all(|id| features[*id]["status"] == "ok") {
        vec!["bpf", "perfmon"]
    } else {
        vec!["bpf", "perfmon", "syslog"]
    }
}

#[test]
fn check_says_which_hooks_trace_will_use() {
    let _namespace = Namespace::enter();
    let before = KernelObjects::at_rest();
    let checked = run(&mut tcpstate(&["check", "-o", "json"]));
    assert_eq!(checked.status, Some(0), "{checked:?}");
    wait::until_equal("the kernel to be as before", &before, KernelObjects::now);
    let (features, last) = features(&checked);
    let traced = run(&mut tcpstate(&["trace", "-o", "json", "-n", "1", "-i", "50ms"]));
    let start: Value = traced.stdout.lines().next().expect("it starts").parse().expect("JSON");
    let hook = |what: &str| start["hooks"][what].as_str().expect("it is named").to_owned();
    let expected = format!(
        "exact: transitions by {}, TIME_WAIT by {}, SYN_RECV by {}",
        hook("transitions"),
        hook("time_wait"),
        hook("syn_recv")
    );
    assert_eq!((&last["id"], &last["detail"]), (&"trace".into(), &expected.into()));
    for id in [
        hook("transitions"),
        format!("time_wait_{}", hook("time_wait")),
        format!("syn_recv_{}", hook("syn_recv")),
    ] {
        assert_eq!(features[&id]["status"], "ok", "{}", features[&id]);
    }
}

#[test]
fn check_live_proves_hooks_and_gauges() {
    let checked = run(&mut tcpstate(&["check", "--live", "-o", "json"]));
    assert_eq!(checked.status, Some(0), "{checked:?}");
    let (features, _) = features(&checked);
    for id in ["live_transitions", "live_time_wait", "live_syn_recv"] {
        assert_eq!(features[id]["status"], "ok", "{}", features[id]);
    }
    // On some kernels, BPF programs miss a few events. In this case, `check` reports that a scan
    // was needed.
    let gauges = &features["live_gauges"];
    assert!(gauges["status"] == "ok" || gauges["status"] == "degraded", "{gauges}");
    assert!(
        gauges["detail"].as_str().is_some_and(|text| text.contains("14 checkpoints")),
        "{gauges}"
    );
}

#[test]
fn check_without_privilege_says_what_is_needed() {
    let checked = run(&mut nobody(&[], &["check", "--live", "-o", "json"]));
    assert_eq!(checked.status, Some(1), "{checked:?}");
    let (features, last) = features(&checked);
    let with = |status: &str| -> BTreeSet<&str> {
        features
            .iter()
            .filter(|(_, line)| line["status"] == status)
            .map(|(id, _)| id.as_str())
            .collect()
    };
    let untested = with("untested");
    for id in ["tp_btf", "raw_tp", "iter_tcp", "time_wait_timer", "syn_recv_timer", "live_gauges"] {
        assert!(untested.contains(id), "{id}: {untested:?}");
    }
    let (missing, ok) = (with("missing"), with("ok"));
    assert!(missing.contains("cap_bpf") && missing.contains("cap_perfmon"), "{missing:?}");
    assert!(ok.contains("kernel") && ok.contains("btf"), "{ok:?}");
    assert!(last["remedy"].as_str().is_some_and(|help| help.contains("cap_bpf,cap_perfmon")));
}

#[test]
fn check_fits_80_columns_and_writes_csv() {
    let table = run(&mut nobody(&[], &["check"]));
    assert_eq!(table.status, Some(1), "{table:?}");
    let longest = table.stdout.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(80), "{}", table.stdout);
    assert!(table.stdout.contains("\n                               help: "), "{}", table.stdout);
    let sheet = run(&mut nobody(&[], &["check", "-o", "csv"]));
    let mut reader = csv::Reader::from_reader(sheet.stdout.as_bytes());
    assert_eq!(reader.headers().expect("there is one"), vec!["id", "status", "detail", "remedy"]);
    assert!(reader.records().all(|row| row.is_ok()));
}

#[test]
fn check_ends_on_a_closed_pipe() {
    let mut command = Command::new("bash");
    // The reader of the pipe exits before it reads the first byte.
    let line = format!("{TCPSTATE} check | true; exit ${{PIPESTATUS[0]}}");
    let closed = run(command.args(["-c", &line]));
    assert_eq!((closed.status, closed.stderr.as_str()), (Some(0), ""), "{closed:?}");
}

#[test]
fn check_with_least_privilege_predicts_that_trace_is_exact() {
    let _namespace = Namespace::enter();
    let least = least();
    let checked = run(&mut nobody(&least, &["check", "-o", "json"]));
    assert_eq!(checked.status, Some(0), "{checked:?}");

    let listener = Listener::open(Family::V4);
    let (clients, servers) = listener.pairs(23);
    let mut trace = nobody(&least, &["trace", "-o", "json", "-i", "100ms", "--reconcile", "1s"]);
    let mut child = trace.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut lines = stdout.lines().map(|line| -> Value {
        serde_json::from_str(&line.expect("the pipe is open")).expect("a line is a JSON object")
    });
    assert_eq!(lines.next().expect("it starts")["type"], "start");
    // Change the states of the sockets that `trace` found when it started. Open new connections,
    // and half-close, close or orphan existing connections.
    let v6 = Listener::open(Family::V6);
    let _more = v6.pairs(13);
    shutdown(&clients[..7]);
    let mut pairs = clients.into_iter().zip(servers);
    let _open: Vec<_> = pairs.by_ref().take(10).collect();
    let (closed, left) = pairs.unzip::<_, _, Vec<_>, Vec<_>>();
    drop(closed);
    drop(left.into_iter().skip(5).collect::<Vec<_>>());
    wait::until("sockets to come to rest", || {
        truth::sockets().all()[State::LastAck] + truth::sockets().all()[State::FinWait1] == 0
    });
    let gauges = |line: &Value| -> Vec<Option<u64>> {
        State::GAUGES
            .iter()
            .map(|state| line["states"][state.label()]["current"].as_u64())
            .collect()
    };
    let sockets = truth::sockets().all();
    let expected: Vec<Option<u64>> =
        State::GAUGES.iter().map(|&state| Some(sockets[state])).collect();
    let mut seen = Vec::new();
    let equal = lines.by_ref().take(100).find(|line| {
        seen = gauges(line);
        line["exact"] == true && seen == expected
    });
    assert!(equal.is_some(), "{expected:?}, still {seen:?}");
    signal(&child, Signal::SIGTERM);
    let end = lines.last().expect("it ends without an error");
    assert_eq!((&end["type"], &end["exact"]), (&"end".into(), &true.into()), "{end}");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

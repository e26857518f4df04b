//! Tests the process `tcpstate hist`: known traffic in each output format, refused options, and
//! recordings.
//!
//! The file is long because it compares every output format with the same known traffic.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tcpstate::recording::Record;
use tcpstate_tests::{
    audit::ATTEMPTS,
    command::{Finished, piped, run, signal},
    errors::Row,
    netns::Namespace,
    recordings::{in_tree, read},
    traced::Traced,
    traffic::{Family, Listener, reset},
    truth,
};

/// The number of connections in each address family.
const CONNECTIONS: u64 = 7;
/// The number of connections in both address families together.
const ALL: u64 = 2 * CONNECTIONS;
/// The time for which each connection stays open.
const HELD: Duration = Duration::from_millis(20);

fn tcpstate(arguments: &[&str]) -> Command {
    piped(env!("CARGO_BIN_EXE_tcpstate"), arguments)
}

/// In each address family, makes seven connections to one listener, keeps them open for [`HELD`],
/// and resets them. Returns the ports of the listeners.
fn traffic() -> [u16; 2] {
    Family::BOTH.map(|family| {
        let listener = Listener::open(family);
        let (clients, servers) = listener.pairs(usize::try_from(CONNECTIONS).expect("it is small"));
        thread::sleep(HELD);
        clients.into_iter().for_each(reset);
        drop(servers);
        listener.port()
    })
}

/// Starts `hist`, makes the traffic, ends `hist` with SIGINT, and checks its output. The function
/// waits for the duration `after` before it sends the signal, so that a test can wait for the end
/// of an interval. The closure `check` receives the output of `hist` and the ports of the
/// listeners.
///
/// The test runs in a separate network namespace. If the test fails and BPF programs missed events
/// meanwhile, the test is repeated.
fn check_traffic(arguments: &[&str], after: Duration, check: impl Fn(&Finished, [u16; 2])) {
    for attempt in 1..=ATTEMPTS {
        let _namespace = Namespace::enter();
        let mut audit = Traced::start();
        let mut child = tcpstate(&[&["hist"], arguments].concat()).spawn().expect("it starts");
        let mut reader = BufReader::new(child.stdout.take().expect("it is piped"));
        // Wait until `hist` has loaded its BPF programs. In every output format, `hist` then prints
        // its first line.
        let mut stdout = String::new();
        reader.read_line(&mut stdout).expect("the pipe is open");
        let ports = traffic();
        truth::await_end_of_sockets();
        thread::sleep(after);
        signal(&child, Signal::SIGINT);
        reader.read_to_string(&mut stdout).expect("it is text");
        let mut stderr = String::new();
        child.stderr.take().expect("it is piped").read_to_string(&mut stderr).expect("it is text");
        let status = child.wait().expect("it ends").code();
        let missed = audit.snapshot().missed.events() + audit.uncounted();
        let finished = Finished { status, stdout, stderr };
        match catch_unwind(AssertUnwindSafe(|| check(&finished, ports))) {
            Ok(()) => return,
            Err(panic) if missed == 0 || attempt == ATTEMPTS => resume_unwind(panic),
            Err(_) => println!("attempt {attempt}: {missed} events were kept from the programs"),
        }
    }
}

/// Calls [`check_traffic`], and asserts that `hist` succeeds and that stderr contains only notes on
/// exactness. `check` gets stdout.
fn check_shown(arguments: &[&str], after: Duration, check: impl Fn(&str, [u16; 2])) {
    check_traffic(arguments, after, |Finished { status, stdout, stderr }, ports| {
        let mut said = stderr.lines().filter(|line| !line.contains("tcpstate: limit: "));
        assert!(said.all(|line| line.starts_with("help: ")), "{stderr}");
        assert_eq!(*status, Some(0), "{stderr}");
        check(stdout, ports);
    });
}

fn number(line: &Value, key: &str) -> u64 {
    line[key].as_u64().unwrap_or_else(|| panic!("{key} of {line}"))
}

fn seconds(line: &Value, key: &str) -> f64 {
    line[key].as_f64().unwrap_or_else(|| panic!("{key} of {line}"))
}

/// Returns what a JSON histogram measures, as one string: the name of the state, transition or
/// handshake.
fn of(line: &Value) -> String {
    let labels = ["of", "from", "to", "state", "sockets", "side"];
    let words = labels.into_iter().filter_map(|label| line[label].as_str());
    words.collect::<Vec<_>>().join(" ")
}

/// The expected number of durations in each histogram. The last two entries need a hook that
/// observes each request socket.
const EXPECTED: [(&str, u64); 12] = [
    ("connect_latency client", ALL),
    ("lifetime", 2 * ALL),
    ("state_duration established full", 2 * ALL),
    ("state_duration listen full", 2),
    ("state_duration syn_recv full", ALL),
    ("state_duration syn_sent full", ALL),
    ("transition_duration established close", 2 * ALL),
    ("transition_duration listen close", 2),
    ("transition_duration syn_recv established", ALL),
    ("transition_duration syn_sent established", ALL),
    ("connect_latency server", ALL),
    ("state_duration syn_recv mini", ALL),
];

#[test]
fn hist_in_json_has_a_line_for_each_histogram() {
    check_shown(&["-o", "json"], Duration::ZERO, |stdout, _| assert_json(stdout));
}

fn assert_json(stdout: &str) {
    let mut lines: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is an object"))
        .collect();
    let end = lines.pop().expect("there is an end line");
    let start = lines.remove(0);
    assert_eq!((&start["type"], &end["type"]), (&"start".into(), &"end".into()));
    let untimed = &end["untimed"];
    for key in ["missed", "untracked", "untracked_mini_sockets", "group_errors"] {
        assert_eq!(number(untimed, key), 0, "{key}");
    }
    let counts: BTreeMap<String, u64> =
        lines.iter().map(|line| (of(line), number(line, "count"))).collect();
    // Without a hook for request sockets, tcpstate does not observe the durations of request
    // sockets.
    let are_seen = !["none", "polled"].iter().any(|by| start["hooks"]["syn_recv"] == *by);
    let expected = EXPECTED.iter().filter(|(of, _)| {
        are_seen || !["connect_latency server", "state_duration syn_recv mini"].contains(of)
    });
    let expected: BTreeMap<String, u64> =
        expected.map(|&(of, count)| (of.to_owned(), count)).collect();
    if are_seen {
        assert_eq!(counts, expected);
    }
    for (of, count) in &expected {
        assert_eq!(counts.get(of), Some(count), "{of}");
    }
    for line in &lines {
        assert_histogram(line);
        let held = HELD.as_secs_f64();
        let lasted = of(line).contains("established") && !of(line).contains("syn");
        assert!(!lasted || seconds(line, "min") >= held, "{line}");
    }
    // The transition counts of this run must be equal to the numbers of durations.
    for pair in end["transitions"].as_array().expect("a list") {
        let name = format!(
            "transition_duration {} {}",
            pair["from"].as_str().expect("a state"),
            pair["to"].as_str().expect("a state")
        );
        let is_birth = pair["from"] == "close" || pair["to"] == "syn_recv";
        let timed = (!is_birth).then(|| number(pair, "count"));
        assert_eq!(counts.get(&name).copied(), timed, "{name}");
    }
}

/// Asserts the properties that every histogram must have.
fn assert_histogram(line: &Value) {
    assert_eq!((&line["type"], &line["version"]), (&"histogram".into(), &1.into()));
    assert_eq!((&line["window"], &line["unit"]), (&"total".into(), &"seconds".into()));
    assert_eq!(number(line, "unknown"), 0, "{line}");
    let times = ["min", "p50", "p90", "p99", "max"].map(|key| seconds(line, key));
    assert!(times.is_sorted(), "{line}");
    let (sum, count) = (seconds(line, "sum"), number(line, "count"));
    assert!((seconds(line, "mean") - sum / count as f64).abs() < 1e-9, "{line}");
    assert!(times[0] * count as f64 <= sum + 1e-9 && sum <= times[4] * count as f64 + 1e-9);
    let buckets = line["buckets"].as_array().expect("a list");
    let (last, buckets) = buckets.split_last().expect("the last bucket is for all");
    assert_eq!((&last["le"], number(last, "count")), (&"+Inf".into(), count));
    assert!(buckets.is_sorted_by(|one, next| {
        seconds(one, "le") < seconds(next, "le") && number(one, "count") < number(next, "count")
    }));
    let highest = buckets.last().expect("some bucket is not empty");
    assert!(seconds(highest, "le") >= times[4] && number(highest, "count") == count, "{line}");
}

#[test]
fn hist_in_csv_has_interval_rows_that_add_up_to_the_total() {
    let after = Duration::from_millis(300);
    check_shown(&["-o", "csv", "-i", "100ms"], after, |stdout, _| assert_intervals(stdout));
}

fn assert_intervals(stdout: &str) {
    let mut reader = csv::Reader::from_reader(stdout.as_bytes());
    let rows: Vec<BTreeMap<String, String>> =
        reader.deserialize().map(|row| row.expect("each row has all columns")).collect();
    assert!(stdout.starts_with("time,elapsed_seconds,interval_seconds,window,of,state,from,to,"));
    let mut counts: BTreeMap<&str, BTreeMap<String, u64>> = BTreeMap::new();
    for row in &rows {
        let labels = ["of", "from", "to", "state", "sockets", "side"].map(|label| &row[label]);
        let words: Vec<&str> =
            labels.into_iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
        let count: u64 = row["count"].parse().expect("a number");
        assert_eq!(row["unknown"], "0", "{row:?}");
        *counts.entry(&row["window"]).or_default().entry(words.join(" ")).or_default() += count;
    }
    assert_eq!(counts["interval"], counts["total"]);
    for (of, count) in EXPECTED.iter().take(10) {
        assert_eq!(counts["total"].get(*of), Some(count), "{of}");
    }
}

#[test]
fn hist_as_a_table_has_bars_that_add_up_in_80_columns() {
    check_shown(&[], Duration::ZERO, |stdout, _| assert_table(stdout));
}

fn assert_table(stdout: &str) {
    let widest = stdout.lines().max_by_key(|line| line.chars().count()).expect("there are lines");
    assert!(widest.chars().count() <= 80, "{widest}");
    let row = |label: &str| {
        let line = stdout.lines().find(|line| line.starts_with(label));
        let words = line.unwrap_or_else(|| panic!("{label}: {stdout}"))[label.len()..].split(' ');
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("connect, client")[..2], [ALL.to_string(), "0".to_owned()]);
    assert_eq!(row("lifetime")[..2], [(2 * ALL).to_string(), "0".to_owned()]);
    assert_eq!(row("ESTABLISHED>CLOSE")[..2], [(2 * ALL).to_string(), "0".to_owned()]);
    assert!(stdout.contains("% OF ALL"), "the matrix: {stdout}");
    let end = stdout.lines().rfind(|line| !line.starts_with("limit: ") && !line.starts_with("  "));
    assert_eq!(end, Some("missed 0"), "{stdout}");
    for (heading, count) in [
        ("connect() to ESTABLISHED, as client", ALL),
        ("life of connections", 2 * ALL),
        ("time in LISTEN", 2),
    ] {
        let heading = format!("{heading}: {count}, unknown 0");
        let bars = stdout.lines().skip_while(|line| *line != heading).skip(2);
        let bars = bars.take_while(|line| line.starts_with('('));
        let counts = bars.map(|bar| {
            let count = bar.split([']', '|']).nth(1).expect("between its ends and the bar");
            count.trim().parse::<u64>().expect("a number")
        });
        assert_eq!(counts.sum::<u64>(), count, "{heading}: {stdout}");
    }
    assert!(!stdout.contains("time in ESTABLISHED before CLOSE"), "bars of states are enough");
}

#[test]
fn hist_by_port_has_a_row_for_each_port() {
    let arguments = ["-o", "csv", "--of", "connect,lifetime", "--by", "local-port"];
    check_shown(&arguments, Duration::ZERO, assert_groups);
}

fn assert_groups(stdout: &str, ports: [u16; 2]) {
    let mut reader = csv::Reader::from_reader(stdout.as_bytes());
    let rows: Vec<BTreeMap<String, String>> =
        reader.deserialize().map(|row| row.expect("each row has all columns")).collect();
    assert!(rows.iter().all(|row| row["by"] == "local_port"), "{stdout}");
    assert!(rows.iter().all(|row| ["connect_latency", "lifetime"].contains(&&*row["of"])));
    let of = |what: &str, port: &str| {
        let rows = rows.iter().filter(|row| row["of"] == what && row["group"] == port);
        rows.map(|row| row["count"].parse::<u64>().expect("a number")).sum::<u64>()
    };
    for port in ports {
        assert_eq!(of("lifetime", &port.to_string()), CONNECTIONS, "{stdout}");
    }
    // connect() chose the ports of the clients, so all clients are one group.
    assert_eq!(of("lifetime", "client"), ALL, "{stdout}");
    let lifetimes = rows.iter().filter(|row| row["of"] == "lifetime").count();
    assert_eq!(lifetimes, 3, "{stdout}");
}

#[test]
fn hist_with_a_filter_says_so_and_has_no_matrix() {
    let json = ["-o", "json", "--family", "6", "--transition", "established:close"];
    check_shown(&json, Duration::ZERO, |stdout, _| {
        let lines = stdout.lines().map(|line| serde_json::from_str(line).expect("an object"));
        let lines: Vec<Value> = lines.filter(|line: &Value| line["type"] == "histogram").collect();
        let counts: BTreeMap<String, u64> =
            lines.iter().map(|line| (of(line), number(line, "count"))).collect();
        let expected = [
            "lifetime",
            "state_duration established full",
            "transition_duration established close",
        ];
        assert_eq!(counts, expected.map(|of| (of.to_owned(), 2 * CONNECTIONS)).into());
        assert!(lines.iter().all(|line| line["filtered"] == true), "{stdout}");
    });
    check_shown(&["--uid", "4294967294"], Duration::ZERO, |table, _| {
        assert!(table.contains("\nnothing ended\n") && !table.contains("% OF ALL"), "{table}");
    });
}

#[test]
fn hist_recording_replays_identically_and_in_other_formats() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = |name: &str| folder.path().join(name).to_str().expect("it is text").to_owned();
    let replayed = |arguments: &[&str]| {
        let finished = run(&mut tcpstate(arguments));
        assert_eq!((finished.status, finished.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        finished.stdout
    };
    let recorded = |name: &str, form: &[&str]| {
        let _namespace = Namespace::enter();
        let file = path(name);
        let arguments = [&["hist", "-i", "100ms", "--record", &file], form].concat();
        let mut child = tcpstate(&arguments).spawn().expect("it starts");
        let mut reader = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut stdout = String::new();
        reader.read_line(&mut stdout).expect("the pipe is open");
        traffic();
        truth::await_end_of_sockets();
        signal(&child, Signal::SIGINT);
        reader.read_to_string(&mut stdout).expect("it is text");
        assert!(child.wait().expect("it ends").success());
        (file, stdout)
    };
    for (name, form) in [
        ("table", &[][..]),
        ("json", &["-o", "json"]),
        ("csv", &["-o", "csv", "--of", "state,time-wait"]),
    ] {
        let (file, live) = recorded(name, form);
        assert!(live.len() > 300, "{live}");
        assert_eq!(replayed(&[&["hist", "--replay", &file], form].concat()), live, "{name}");
    }
    // Replay the recording from a pipe, which can be read only once.
    let piped = Command::new("sh")
        .args(["-c", r#"cat "$1" | "$0" hist --replay /dev/stdin"#])
        .args([env!("CARGO_BIN_EXE_tcpstate"), &path("table")])
        .output()
        .expect("there is a shell");
    assert_eq!(piped.stdout, replayed(&["hist", "--replay", &path("table")]).into_bytes());
    // A replay of a recording that has a filter must refuse `--of matrix`, as a live run does.
    let (filtered, _) = recorded("filtered", &["--uid", "0"]);
    let Finished { status, stdout, stderr } =
        run(&mut tcpstate(&["hist", "--replay", &filtered, "--of", "matrix"]));
    assert_eq!((status, stdout.as_str()), (Some(2), ""), "{stderr}");
    let expected = "tcpstate: cannot use the recording's filter with the matrix: the \
                    matrix counts the transitions of all sockets\nhelp: leave out the filter, or \
                    remove matrix from --of\n";
    assert_eq!(stderr, expected);
    // `hist` must show a recording in any format, and `trace` must show the matrix of the
    // recording.
    let file = path("table");
    assert!(replayed(&["hist", "--replay", &file, "-o", "csv"]).contains(",connect_latency,"));
    assert!(replayed(&["trace", "--replay", &file, "--matrix"]).contains("% OF ALL"));
    assert!(replayed(&["replay", &file, "-o", "json"]).contains(r#""type":"end""#));
}

#[test]
fn hist_refuses_unavailable_options_with_help() {
    for (arguments, cause) in [
        (&["--of", "connects"][..], "cannot use --of connects: unknown value"),
        (&["--of", ""], "cannot use --of: the value is missing"),
        (&["--by", "uid"], "cannot use --by uid: unknown value"),
        (&["--max-groups", "9"], "--by <KEY> is missing"),
        (&["--by", "comm", "--max-groups", "16385"], "16385: expected a number from 1 to 16384"),
        (&["--max-sockets", "16777217"], "16777217: expected a number from 1 to 16777216"),
        (&["-n", "2"], "--interval <TIME> is missing"),
        (&["-o", "screen"], "cannot use --output screen: unknown value"),
        (&["--replay", "a", "--by", "comm"], "with --by: they exclude each other"),
        (&["--replay", "a", "--netns", "all"], "with --netns: they exclude each other"),
        (&["--replay", "a", "--uid", "0"], "with --uid: they exclude each other"),
        (&["--of", "matrix", "--state", "listen"], "cannot use --state with the matrix"),
        (&["--pid", "1"], "cannot use --pid with hist"),
        (&["--comm", "nginx"], "cannot use --comm with hist"),
        (&["--min-duration", "1s"], "cannot use --min-duration with hist"),
        (&["--transition", "listen"], "'listen' is not a transition"),
        (&["--cgroup", "/no/such"], "cannot find the cgroup /no/such"),
        (&["--netns", "nosuch"], "cannot find the network namespace nosuch"),
    ] {
        let finished = run(&mut tcpstate(&[&["hist"], arguments].concat()));
        assert_eq!(finished.status, Some(2), "{arguments:?}: {finished:?}");
        assert!(finished.stderr.contains(cause), "{arguments:?}: {}", finished.stderr);
        assert!(finished.stderr.contains("\nhelp: "), "{arguments:?}: {}", finished.stderr);
        assert_eq!(finished.stdout, "");
    }
}

#[test]
fn error_hist_without_room() {
    let row = Row::of("error_hist_without_room");
    check_traffic(&["--max-sockets", "3", "--of", "lifetime"], Duration::ZERO, |finished, _| {
        row.assert(finished);
        let Finished { stdout, .. } = finished;
        assert!(stdout.contains("untracked sockets "), "{stdout}");
        assert!(!stdout.contains(&format!("{}, unknown 0", 2 * ALL)), "{stdout}");
    });
}

#[test]
fn error_hist_of_a_recording_without_durations() {
    let row = Row::of("error_hist_of_a_recording_without_durations");
    let file = in_tree().into_iter().next().expect("there are recordings");
    row.assert(&run(&mut tcpstate(&["hist", "--replay", text(&file)])));
    // Check a recording of a run that was killed before its first snapshot. The replay must show
    // every record of the recording.
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let killed = folder.path().join("killed.tcps");
    let records = read(&fs::read(&file).expect("it can be read"));
    let start = records.iter().position(|record| matches!(record, Record::Report(_)));
    let start = start.expect("it has a start");
    let bytes = tcpstate_tests::recordings::written(&records[..=start]);
    fs::write(&killed, bytes).expect("the test owns the folder");
    let finished = run(&mut tcpstate(&["hist", "--replay", text(&killed)]));
    assert_eq!(finished.status, Some(0), "{finished:?}");
    assert!(finished.stdout.contains("timing states"), "{finished:?}");
    assert!(finished.stderr.contains("has no end"), "{finished:?}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

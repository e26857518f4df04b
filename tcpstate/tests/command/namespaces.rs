//! Tests the options for network namespaces and address families: the output, and the two lines of
//! each error.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    os::unix::ffi::OsStrExt as _,
    process::Command,
};

use serde_json::Value;
use tcpstate_tests::{
    command::{Finished, as_nobody, piped, run},
    netns::{Namespace, Place},
    traffic::{Family, Listener},
};

fn tcpstate(arguments: &[&str]) -> Command {
    piped(env!("CARGO_BIN_EXE_tcpstate"), arguments)
}

/// Asserts that the command fails and prints two lines: the cause and the help.
pub(crate) fn assert_refused(command: &mut Command, cause: &str, help: &str) {
    let Finished { status, stdout, stderr } = run(command);
    assert_eq!((status, stdout.as_str()), (Some(2), ""), "{stderr}");
    assert_eq!(stderr.lines().count(), 2, "{stderr}");
    assert_eq!(stderr.lines().next(), Some(format!("tcpstate: {cause}").as_str()));
    let second = stderr.lines().nth(1).unwrap_or_default();
    assert!(second.starts_with("help: ") && second.contains(help), "{second}");
}

/// Asserts for each state that current = current at the start + entered - left + corrected. If
/// `start` is `None`, the namespace had no sockets at the start.
fn assert_adds_up(start: Option<&Value>, now: &Value) {
    for (state, gauge) in now["states"].as_object().expect("states are an object") {
        let Some(current) = gauge["current"].as_i64() else { continue };
        let number = |key: &str| gauge[key].as_i64().expect("it is a number");
        let opening = start.map_or(Some(0), |start| start["states"][state]["current"].as_i64());
        let sum = opening.expect("it was seen at the start") + number("entered") - number("left");
        assert_eq!(current, sum + number("corrected"), "{state}: {now}");
    }
}

/// A line of a run, and the rows of its namespaces.
struct Report {
    line: Value,
    rows: Vec<Value>,
}

impl Report {
    /// Reads the next start line or snapshot and the lines of its namespaces, or the end line and
    /// the lines before it. Each line must be short enough for log drivers.
    fn read(lines: &mut impl Iterator<Item = String>) -> Self {
        let mut next = || -> Value {
            let line = lines.next().expect("a line comes");
            assert!(line.len() < 16 << 10, "{line}");
            serde_json::from_str(&line).expect("a line is a JSON object")
        };
        let mut rows = Vec::new();
        let line = loop {
            let line = next();
            if line["type"] != "namespace" {
                break line;
            }
            rows.push(line);
        };
        let count = line["namespace_lines"].as_u64().expect("a number");
        let count = usize::try_from(count).expect("there are few namespaces");
        while line["type"] != "end" && rows.len() < count {
            rows.push(next());
        }
        assert_eq!(rows.len(), count);
        // The list in the line itself has equal rows. The start line has rows of its own only if
        // the list does not fit.
        match line["namespaces"].as_array() {
            Some(list) if line["type"] == "start" => rows.clone_from(list),
            Some(list) => assert!(list.iter().zip(&rows).all(|(row, line)| {
                row.as_object()
                    .is_some_and(|row| row.iter().all(|(key, value)| line[key] == *value))
            })),
            None => assert!(rows.len() > 10, "{line}"),
        }
        Self { line, rows }
    }

    fn row(&self, place: &Place) -> Option<&Value> {
        let inode = place.inode().to_string();
        self.rows.iter().find(|row| row["netns"].as_str() == Some(&inode))
    }
}

#[test]
fn process_prints_a_row_for_each_namespace() {
    let _namespace = Namespace::enter();
    let [old, young] = [Place::new(), Place::new()];
    let _name = old.name(OsStr::from_bytes(b"tcpstate-\x1b[2J\xfe"));
    // With so many namespaces, the list does not fit into a line.
    let many: Vec<Place> = (0..30).map(|_| Place::new()).collect();
    let _many: Vec<_> =
        many.iter().map(|place| place.inside(|| Listener::open(Family::V4))).collect();
    let open = |place: &Place, connections| {
        place.inside(|| {
            let listener = Listener::open(Family::V4);
            let pairs = listener.pairs(connections);
            (listener, pairs)
        })
    };
    let _before = open(&old, 3);
    let arguments = ["trace", "--netns", "all", "-o", "json", "-i", "300ms", "-n", "3"];
    let mut child = tcpstate(&arguments).spawn().expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut lines = lines.map(|line| line.expect("the pipe is open"));
    let start = Report::read(&mut lines);
    assert_eq!(start.line["netns"], "all");
    let opening = start.row(&old).expect("it has sockets");
    assert_eq!(opening["name"], "tcpstate-\u{1b}[2J\\xfe");
    assert_eq!(opening["states"]["established"]["current"], 6);
    assert!(start.row(&young).is_none(), "no socket was ever in it: {}", start.line);
    let _during = open(&young, 5);
    let reports: Vec<Report> = (0..4).map(|_| Report::read(&mut lines)).collect();
    assert!(child.wait().expect("it ends").success());
    let end = reports.last().expect("there are four");
    assert_eq!(end.line["type"], "end");
    for Report { line, rows } in &reports {
        assert_adds_up(Some(&start.line), line);
        assert!(line["namespaces"].is_null(), "thirty rows do not fit: {line}");
        for row in rows {
            assert_eq!(row["time"], line["time"]);
            let opened = start.rows.iter().find(|opened| opened["netns"] == row["netns"]);
            assert_adds_up(opened, row);
            assert!(row["time_wait"]["sockets"].is_u64(), "{row}");
            assert!(row["time_wait"]["overflows"].is_null(), "{row}");
        }
        let inodes =
            rows.iter().map(|row| row["netns"].as_str().and_then(|text| text.parse().ok()));
        let inodes: Vec<u64> = inodes.map(|inode| inode.expect("it is a number")).collect();
        assert!(inodes.is_sorted(), "{inodes:?}");
        assert_eq!(line["namespaces_unlisted"], 0);
        assert!(line["time_wait"]["overflows"].is_null(), "{line}");
    }
    let young = end.row(&young).expect("it has sockets now");
    assert_eq!(young["states"]["established"]["current"], 10, "{young}");
    assert!(young["name"].is_null(), "{young}");
}

#[test]
fn process_shows_a_line_for_each_namespace_and_escapes_names() {
    let _namespace = Namespace::enter();
    let place = Place::new();
    let _name = place.name(OsStr::from_bytes(b"ts\x1b[2J\n\xfe"));
    let _listener = place.inside(|| Listener::open(Family::V6));
    let Finished { status, stdout, stderr } =
        run(&mut tcpstate(&["trace", "--netns", "all", "-n", "1", "-i", "50ms"]));
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stdout.starts_with("all network namespaces, kernel "), "{stdout}");
    let begin = "ts\\u{1b}[2J\\n\\xfe ";
    let line = stdout.lines().find(|line| line.starts_with(begin));
    assert!(line.is_some_and(|line| line.len() <= 80), "{begin:?} begins no line of {stdout}");
    assert!(!stdout.contains('\u{1b}'), "{stdout:?}");
}

#[test]
fn process_names_the_namespace_that_it_cannot_count() {
    let _namespace = Namespace::enter();
    let place = Place::new();
    let _name = place.name(OsStr::new("tcpstate-blue"));
    let trace = |netns: &str| tcpstate(&["trace", "-n", "1", "--netns", netns]);
    for form in ["tcpstate-bleu", "name:tcpstate-bleu"] {
        let cause = "cannot find the network namespace tcpstate-bleu: it is not in /run/netns";
        assert_refused(&mut trace(form), cause, "did you mean tcpstate-blue?");
    }
    assert_refused(
        &mut trace("path:/nowhere/net"),
        "cannot open the network namespace /nowhere/net: No such file or directory (os error 2)",
        "/proc/PID/ns/net",
    );
    for other in ["/etc/passwd", "/proc/self/ns/mnt", "/dev/null", "/"] {
        let cause = format!(
            "cannot open the network namespace {other}: the file is not a network namespace"
        );
        assert_refused(
            &mut trace(&format!("path:{other}")),
            &cause,
            "choose a file such as /run/netns/NAME",
        );
    }
    let mut dead = Command::new("true").spawn().expect("it starts");
    dead.wait().expect("it ends");
    let dead = dead.id();
    let cause =
        format!("cannot find the network namespace of process {dead}: the process does not exist");
    assert_refused(&mut trace(&format!("pid:{dead}")), &cause, "lsns -t net");
    assert_refused(
        &mut trace("path:/no\u{1b}[31m"),
        "cannot open the network namespace /no\\u{1b}[31m: No such file or directory (os error 2)",
        "choose a file",
    );
}

#[test]
fn process_that_may_not_enter_a_namespace_names_the_capability() {
    let _namespace = Namespace::enter();
    let place = Place::new();
    let _name = place.name(OsStr::new("tcpstate-red"));
    let trace = |netns| {
        let mut command = as_nobody(&["bpf", "perfmon"], env!("CARGO_BIN_EXE_tcpstate"));
        command.args(["trace", "-n", "1", "--netns", netns]);
        command
    };
    assert_refused(
        &mut trace("tcpstate-red"),
        "cannot enter the network namespace name:tcpstate-red: this process lacks CAP_SYS_ADMIN",
        "run tcpstate as root",
    );
    assert_refused(
        &mut trace("all"),
        "cannot count all network namespaces: this process lacks CAP_SYS_ADMIN",
        "run tcpstate as root",
    );
}

#[test]
fn process_refuses_invalid_namespaces_and_families() {
    for (arguments, reason) in [
        (["--netns", "a/b"], "expected self, all, NAME, name:NAME, path:FILE or pid:N"),
        (["--netns", ""], "is not a name"),
        (["--netns", "pid:0"], "is not a process id"),
        (["--netns", "path:"], "needs a file"),
        (["--family", "5"], "expected 4, 6 or all"),
        (["--max-namespaces", "0"], "0: expected a number from 1 to "),
    ] {
        let arguments = [&["trace"], arguments.as_slice()].concat();
        let Finished { status, stdout, stderr } = run(&mut tcpstate(&arguments));
        assert_eq!((status, stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(stderr.contains(reason), "{arguments:?}: {stderr}");
    }
}

#[test]
fn process_counts_one_family() {
    let _namespace = Namespace::enter();
    let [v4, v6] = Family::BOTH.map(Listener::open);
    let _open = (v4.pairs(3), v6.pairs(5));
    for (family, expected) in [("4", 6), ("6", 10), ("all", 16)] {
        let arguments = ["trace", "-n", "1", "-i", "50ms", "-o", "json", "--family", family];
        let Finished { status, stdout, stderr } = run(&mut tcpstate(&arguments));
        assert_eq!(status, Some(0), "{stderr}");
        for line in stdout.lines() {
            let line: Value = serde_json::from_str(line).expect("a line is a JSON object");
            assert_eq!(line["states"]["established"]["current"], expected, "family {family}");
        }
    }
}

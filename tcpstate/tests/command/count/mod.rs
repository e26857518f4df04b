//! Tests the process `tcpstate count`: as an unprivileged user, in network namespaces, in pipes,
//! and with wrong flags.

mod groups;
mod proc;

use std::{
    fs,
    io::{self, BufRead as _, BufReader},
    os::{
        fd::AsRawFd as _,
        unix::{fs::PermissionsExt as _, process::CommandExt as _},
    },
    path::PathBuf,
    process::{Command, Stdio},
    thread,
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::signal::Signal,
};
use serde_json::Value;
use tcpstate_common::State;
use tcpstate_tests::{
    command::signal,
    netns::Namespace,
    traffic::{Family, Listener, Mixed, leave_time_wait},
    truth::{Counts, ss, ss_filtered},
    wait,
};

const NOBODY: u32 = 65534;

/// A copy of the program that every user can run. Other users cannot run programs below root's home
/// directory.
struct Public(PathBuf);

impl Public {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tcpstate-{name}-{}", std::process::id()));
        fs::copy(env!("CARGO_BIN_EXE_tcpstate"), &path).expect("there is room");
        let everybody = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&path, everybody).expect("the test owns the copy");
        Self(path)
    }

    /// Returns a command that runs `count` as user and group 65534, without capabilities.
    fn count(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.0);
        command.uid(NOBODY).gid(NOBODY).arg("count").args(arguments).stdin(Stdio::null());
        command
    }
}

impl Drop for Public {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn count(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpstate"));
    command.arg("count").args(arguments).stdin(Stdio::null());
    command
}

/// Runs a command that must succeed. Returns the stdout and the stderr of the command.
fn output(command: &mut Command) -> (String, String) {
    let output = command.output().expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{command:?}: {stderr}");
    (stdout, stderr)
}

/// Runs a command that must succeed without output on stderr. Returns its stdout.
fn stdout(command: &mut Command) -> String {
    let (stdout, stderr) = output(command);
    assert_eq!(stderr, "", "{command:?}");
    stdout
}

/// Parses the line of a count and the lines of its groups. If the line of the count has the list of
/// groups too, asserts that both are equal.
fn json_groups(text: &str) -> (Value, Vec<Value>) {
    let parse = |line| serde_json::from_str::<Value>(line).expect("a line is a JSON object");
    assert!(text.lines().all(|line| line.len() < 16 << 10), "a line is too long");
    let mut lines = text.lines().map(parse);
    let count = lines.next().expect("the line of the count");
    let groups: Vec<Value> = lines.collect();
    assert!(groups.iter().all(|group| group["type"] == "count_group"), "{text}");
    if let Some(list) = count["groups"].as_array() {
        let named = groups.iter().filter(|group| group["kind"] == "group");
        let sums = |group: &Value| (group["total"].clone(), group["states"].clone());
        let named: Vec<_> = named.map(sums).collect();
        // After the groups, the list has the sockets without a group.
        assert!(list.iter().map(sums).take(named.len()).eq(named), "{text}");
    }
    let kinds = ["group", "other", "unknown"];
    assert!(groups.iter().all(|group| kinds.iter().any(|kind| group["kind"] == *kind)), "{text}");
    (count, groups)
}

fn json(text: &str) -> Value {
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(text).expect("a line is a JSON object")
}

/// Parses rows `STATE<TAB>count`. Asserts that the rows are all ten states in order.
fn counts(rows: &str) -> Counts {
    let mut counts = Counts::default();
    let names = rows.lines().map(|row| row.split_once('\t').expect("two columns").0);
    assert!(names.eq(State::GAUGES.map(State::name)), "{rows}");
    for (state, row) in State::GAUGES.into_iter().zip(rows.lines()) {
        counts[state] = row[state.name().len() + 1..].parse().expect("a number");
    }
    counts
}

fn counts_of(states: &Value) -> Counts {
    let states = State::GAUGES.map(|state| {
        let count = states[state.label()].as_u64();
        (state, count.unwrap_or_else(|| panic!("no {state}: {states}")))
    });
    Counts::from(states.as_slice())
}

#[test]
fn count_as_nobody_equals_ss_over_20_000_sockets_in_each_of_three_namespaces() {
    let program = Public::new("three");
    // Each namespace has a different number of sockets, so that the test detects counts of a wrong
    // namespace.
    let mixed_in = |sockets: usize| {
        Namespace::fresh(|namespace| {
            let _mixed = Mixed::open(sockets);
            let expected = ss();
            assert!(expected.total() > 20_000, "{expected:?}");
            assert_eq!(counts(&stdout(&mut program.count(&[]))), expected);
            let line = json(&stdout(&mut program.count(&["-o", "json"])));
            assert_eq!(counts_of(&line["states"]), expected);
            assert_eq!(line["netns"], namespace.inode().to_string());
            assert_eq!(line["total"], expected.total());
            for (flag, option) in [("4", "-4"), ("6", "-6")] {
                let family = counts(&stdout(&mut program.count(&["--family", flag])));
                assert_eq!(family, ss_filtered(&[option]), "{option}");
            }
        });
    };
    thread::scope(|scope| {
        for sockets in [21_000, 22_000, 23_000] {
            let mixed_in = &mixed_in;
            scope.spawn(move || mixed_in(sockets));
        }
    });
}

/// Compares each filter of `count` with the equivalent filter of `ss`. The function is long because
/// it is a table of filters.
#[test]
fn count_filters_give_what_ss_gives_with_the_same_filter() {
    let program = Public::new("filters");
    let _namespace = Namespace::enter();
    let _mixed = Mixed::open(2000);
    let listener = Listener::open(Family::V4);
    let pairs = listener.pairs(13);
    let port = listener.port().to_string();
    let client = pairs.0[0].local_addr().expect("it is connected").as_socket().expect("IPv4");
    let client = client.port().to_string();
    let (of_port, ports) = (format!(":{port}"), format!("{port},{client},1-99"));
    let of_client = format!(":{client}");
    // If only one state is selected, `ss` prints no state column. Therefore the filters also select
    // CLOSE, a state in which no socket is.
    let cases: &[(&[&str], &[&str])] = &[
        (&["--port", &port], &["(", "sport", "=", &of_port, "or", "dport", "=", &of_port, ")"]),
        (&["--local-port", &port], &["sport", "=", &of_port]),
        (&["--remote-port", &port], &["dport", "=", &of_port]),
        (
            &["--local-port", &ports],
            &[
                "( sport =",
                &of_port,
                "or sport =",
                &of_client,
                "or ( sport >= :1 and sport <= :99 ) )",
            ],
        ),
        (
            &["--local-port", "32768-45000"],
            &["sport", ">=", ":32768", "and", "sport", "<=", ":45000"],
        ),
        (&["--remote-port", "40000-65535"], &["dport", ">=", ":40000"]),
        (&["--local", "127.0.0.0/8"], &["src", "127.0.0.0/8"]),
        (&["--local", "::1"], &["src", "[::1]"]),
        (&["--remote", "127.0.0.1"], &["dst", "127.0.0.1"]),
        (&["--remote", "127.0.0.1,::1"], &["( dst 127.0.0.1 or dst [::1] )"]),
        (&["--remote", "96.0.0.0/3"], &["dst", "96.0.0.0/3"]),
        (
            &["--address", "::ffff:0.0.0.0/96"],
            &["( src [::ffff:0.0.0.0/96] or dst [::ffff:0.0.0.0/96] )"],
        ),
        (&["--state", "established"], &["state", "established", "state", "closed"]),
        (&["--state", "SYN-RECEIVED"], &["state", "syn-recv", "state", "closed"]),
        (&["--state", "TIME_WAIT"], &["state", "time-wait", "state", "closed"]),
        (&["--state", "FIN-WAIT-2"], &["state", "fin-wait-2", "state", "closed"]),
        (&["--state", "listen"], &["state", "listening", "state", "closed"]),
        (&["--state", "close_wait,last_ack"], &["state", "close-wait", "state", "last-ack"]),
        (&["--family", "4"], &["-4"]),
        (&["--family", "6"], &["-6"]),
        (&["--family", "6", "--remote", "127.0.0.0/8"], &["-6", "dst", "[::ffff:127.0.0.0/104]"]),
        (
            &["--state", "estab", "--local-port", &port, "--remote", "127.0.0.0/8"],
            &[
                "state",
                "established",
                "state",
                "closed",
                "sport",
                "=",
                &of_port,
                "and",
                "dst",
                "127.0.0.0/8",
            ],
        ),
    ];
    for (flags, filter) in cases {
        let counted = counts(&stdout(&mut program.count(flags)));
        assert_eq!(counted, ss_filtered(filter), "{flags:?}: {filter:?}");
        assert!(counted.total() > 0, "{flags:?} choose nothing");
    }
    // Check the count of one filter, because both programs could ignore all filters and print equal
    // counts.
    let of_ours = counts(&stdout(&mut program.count(&["--port", &port])));
    assert_eq!(of_ours, Counts::from([(State::Listen, 1), (State::Established, 26)].as_slice()));
}

#[test]
fn count_memory_does_not_grow_with_the_number_of_sockets() {
    let _namespace = Namespace::enter();
    let peak = || {
        let mut child = count(&[]).stdout(Stdio::null()).spawn().expect("it starts");
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        let id = child.id().cast_signed();
        // SAFETY: the kernel writes one rusage to `usage`, which has this type. All-zero bytes are
        // a valid rusage, so `usage` is initialised even if the call fails.
        let (waited, usage) = unsafe {
            (libc::wait4(id, std::ptr::null_mut(), 0, usage.as_mut_ptr()), usage.assume_init())
        };
        assert_eq!(waited, id, "{}", io::Error::last_os_error());
        // `wait4` has already reaped the process. Call `try_wait`, so that the standard library
        // notices that the process has ended.
        let _ = child.try_wait();
        usage.ru_maxrss
    };
    let before = peak();
    leave_time_wait(30_000, &Family::BOTH);
    let after = peak();
    // The numbers `before` and `after` are in KiB. A program that keeps all sockets in memory would
    // need about 3 MiB for 30,000 sockets.
    assert!(after < before + 1024, "{before} KiB with no socket, {after} KiB with 30,000");
}

#[test]
fn count_in_a_pipe_is_ten_rows_and_a_table_has_a_total() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let _pairs = listener.pairs(2);
    let ten = "LISTEN\t1\nSYN_SENT\t0\nSYN_RECV\t0\nESTABLISHED\t4\nFIN_WAIT1\t0\nFIN_WAIT2\t0\n\
               CLOSE_WAIT\t0\nCLOSING\t0\nLAST_ACK\t0\nTIME_WAIT\t0\n";
    assert_eq!(stdout(&mut count(&[])), ten);
    let table = stdout(&mut count(&["-o", "table"]));
    assert!(table.starts_with("STATE ") && table.contains("\ntotal "), "{table}");
    let csv = stdout(&mut count(&["-o", "csv"]));
    assert_eq!(csv.lines().count(), 11, "{csv}");
    assert!(csv.starts_with("time,netns,state,count\n"), "{csv}");
}

#[test]
fn count_watches_until_a_signal_with_empty_lines_between_blocks() {
    let _namespace = Namespace::enter();
    for end_signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut child = count(&["-i", "50ms"]).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut block = || {
            let lines = lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty());
            lines.map(|line| line + "\n").collect::<String>()
        };
        assert_eq!(counts(&block()), Counts::default());
        let listener = Listener::open(Family::V4);
        let there = Counts::from([(State::Listen, 1)].as_slice());
        assert!((0..100).any(|_| counts(&block()) == there), "the listener never shows");
        drop(listener);
        signal(&child, end_signal);
        while !block().is_empty() {}
        assert!(child.wait().expect("it ends").success(), "{end_signal}");
    }
    let mut lines =
        count(&["-w", "50ms", "-o", "json"]).stdout(Stdio::piped()).spawn().expect("it starts");
    let reader = BufReader::new(lines.stdout.take().expect("it is piped"));
    for line in reader.lines().map_while(Result::ok).take(3) {
        let line: Value = serde_json::from_str(&line).expect("a line is a JSON object");
        assert_eq!(line["type"], "count");
    }
    // The reading end of the pipe is closed now.
    assert!(lines.wait().expect("it ends").success());
}

#[test]
fn count_ends_on_a_signal_while_its_reader_stalls() {
    const ROOM: i32 = 4096;
    const BLOCK: i32 = 130;
    let _namespace = Namespace::enter();
    let (reader, writer) = io::pipe().expect("there are file descriptors");
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(ROOM)).expect("a pipe can hold one page");
    let mut child = count(&["-w", "50ms"]).stdout(writer).spawn().expect("it starts");
    let is_full = || {
        let mut unread = 0;
        // SAFETY: FIONREAD writes one int to the address, and `unread` is an int that outlives the
        // call.
        let result = unsafe { libc::ioctl(reader.as_raw_fd(), libc::FIONREAD, &raw mut unread) };
        result == 0 && unread > ROOM - BLOCK
    };
    wait::until("the pipe to be full", is_full);
    signal(&child, Signal::SIGTERM);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn count_ends_on_a_closed_pipe_and_fails_on_a_full_disk() {
    for arguments in [&[] as &[&str], &["-o", "json"], &["-i", "50ms"]] {
        let (reader, writer) = io::pipe().expect("there are file descriptors");
        drop(reader);
        let output = count(arguments).stdout(writer).stderr(Stdio::piped()).output();
        let output = output.expect("it starts");
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
    let full = fs::File::options().write(true).open("/dev/full").expect("Linux provides it");
    let output = count(&[]).stdout(full).stderr(Stdio::piped()).output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.starts_with("tcpstate: cannot write to stdout: No space left on device"),
        "{stderr}"
    );
}

#[test]
fn count_refuses_wrong_flags_and_names_the_position() {
    for (arguments, reason) in [
        (vec!["--port", "80,44x,443"], "cannot use --port 80,44x,443: at character 4: '44x' is"),
        (vec!["--local-port", "80,"], "at character 4: an item is missing"),
        (vec!["--remote-port", "9-8"], "at character 1: '9-8' ends before it begins"),
        (vec!["--port", "65536"], "at character 1: '65536' is above 65535"),
        (vec!["--local", "10.0.0.0/8,10.0.0"], "at character 12: '10.0.0' is not an IP address"),
        (vec!["--remote", "::1/129"], "has too long a prefix: expected a number from 0 to 128"),
        (vec!["--address", "example.com"], "at character 1: 'example.com' is not an IP address"),
        (vec!["--state", "estab,opened"], "at character 7: 'opened' is not a state"),
        (vec!["--state", "closed"], "is not counted"),
        (vec!["--family", "5"], "expected 4, 6 or all"),
        (vec!["--by", "port"], "local-port"),
        (vec!["--by", "process,local-prot"], "did you mean local-port?"),
        (vec!["--by", "process,user,process"], "process occurs twice"),
        (vec!["--netns", "pid:0"], "is not a process id"),
        (vec!["--top", "3"], "--by"),
        (vec!["--by", "uid", "--top", "0"], "expected a number from 1 to 65536"),
        (vec!["-i", "10ms"], "at least 50ms"),
        (vec!["-o", "yaml"], "csv"),
        (vec!["extra"], "extra"),
    ] {
        let output = count(&arguments).output().expect("it starts");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(reason), "{arguments:?}: {stderr}");
    }
}

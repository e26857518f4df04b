//! Tests `-- PROGRAM ARGS` of `trace` and `hist`: the lines of the program, its exit status, its
//! privileges, and signals.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tcpstate_tests::{
    command::{Finished, as_nobody, piped, run, signal},
    errors::Row,
    netns::Namespace,
    privileges::Privileges,
    traffic::{Family, Listener},
    wait,
};

const TCPSTATE: &str = env!("CARGO_BIN_EXE_tcpstate");

/// Returns a command that runs `bash -c SCRIPT` under tcpstate.
fn under(arguments: &[&str], script: &str) -> Command {
    let mut command = Command::new(TCPSTATE);
    command.args(arguments).args(["--", "bash", "-c", script]);
    command
}

/// Returns a script that opens and closes a connection.
pub(super) fn connect(listener: &Listener) -> String {
    format!("exec 3<>/dev/tcp/127.0.0.1/{}; exec 3>&-", listener.port())
}

pub(super) fn events(run: &Finished) -> Vec<Value> {
    let lines = run.stdout.lines().map(|line| {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    let lines: Vec<Value> = lines.collect();
    assert_eq!(lines.first().expect("there are lines")["type"], "start");
    assert_eq!(lines.last().expect("there are lines")["type"], "end");
    lines.into_iter().filter(|line| line["type"] == "transition").collect()
}

/// Returns the transitions of the full sockets that processes with this name opened.
fn moves(events: &[Value], comm: &str) -> Vec<String> {
    let of_client = events.iter().filter(|it| it["hook"] == "transitions" && it["comm"] == comm);
    let text = |value: &Value| value.as_str().expect("it is a state").to_owned();
    of_client.map(|it| format!("{}:{}", text(&it["from"]), text(&it["to"]))).collect()
}

/// A program that a test reads lines from, under tcpstate.
pub(super) struct Running {
    child: Child,
    reader: BufReader<ChildStdout>,
}

impl Running {
    pub(super) fn start(arguments: &[&str], script: &str) -> Self {
        let mut command = under(arguments, script);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let reader = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, reader }
    }

    /// Reads lines until one contains the text.
    pub(super) fn read_until(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            let bytes = self.reader.read_line(&mut line).expect("the pipe is readable");
            assert_ne!(bytes, 0, "stdout ends before {text}");
        }
    }

    /// Reads the rest of both outputs and waits for the end.
    pub(super) fn finished(mut self) -> (Finished, String) {
        let mut stdout = String::new();
        self.reader.read_to_string(&mut stdout).expect("the output is text");
        let mut stderr = String::new();
        let mut errors = self.child.stderr.take().expect("it is piped");
        errors.read_to_string(&mut stderr).expect("the output is text");
        let status = self.child.wait().expect("it ends").code();
        (Finished { status, stdout, stderr: stderr.clone() }, stderr)
    }

    /// Reads the rest of the output and waits for the end.
    pub(super) fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.reader.read_to_string(&mut rest).expect("the output is text");
        (self.child.wait().expect("it ends").code(), rest)
    }
}

#[test]
fn program_has_lines_for_its_connection_and_sets_the_status() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let script = format!("{}; exit 3", connect(&listener));
    let run = run(&mut under(&["trace", "--events", "-o", "json"], &script));
    assert_eq!(run.status, Some(3), "{run:?}");
    let expected =
        ["close:syn_sent", "syn_sent:established", "established:fin_wait1", "fin_wait1:fin_wait2"];
    let moves = moves(&events(&run), "bash");
    assert_eq!(moves[..4], expected, "{run:?}");
}

#[test]
fn program_of_hist_has_its_durations() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let run = run(&mut under(&["hist", "--of", "connect", "-o", "json"], &connect(&listener)));
    assert_eq!(run.status, Some(0), "{run:?}");
    let lines = run.stdout.lines().map(|line| serde_json::from_str(line).expect("it is JSON"));
    let lines: Vec<Value> = lines.collect();
    let is_client = |line: &&Value| line["of"] == "connect_latency" && line["side"] == "client";
    let client = lines.iter().find(is_client).expect("connects of clients");
    assert_eq!(client["count"], 1, "{client}");
}

#[test]
fn program_that_forks_and_daemonises_ends_the_run_with_its_first_process() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("pid");
    let script = format!(
        "(exec 3<>/dev/tcp/127.0.0.1/{0}; exec 3>&-); bash -c 'exec 3<>/dev/tcp/127.0.0.1/{0}'; \
         setsid sleep 600 <&- >&- 2>&- & echo $! > {1}",
        listener.port(),
        file.display()
    );
    let run = run(&mut under(&["trace", "--events", "-o", "json"], &script));
    assert_eq!(run.status, Some(0), "{run:?}");
    let events = events(&run);
    let opens = events.iter().filter(|line| line["from"] == "close" && line["to"] == "syn_sent");
    let pids: Vec<&Value> = opens.map(|line| &line["pid"]).collect();
    assert_eq!(pids.len(), 2, "{run:?}");
    assert_ne!(pids[0], pids[1], "two processes connected");
    let daemon = fs::read_to_string(file).expect("the program has written the file");
    let daemon = Pid::from_raw(daemon.trim().parse().expect("it is a number"));
    kill(daemon, Signal::SIGKILL).expect("the daemon goes on after the run");
}

#[test]
fn program_that_a_signal_ends_has_the_status_of_a_shell() {
    let _namespace = Namespace::enter();
    for (name, status) in [("KILL", 137), ("SEGV", 139), ("RTMIN", 162)] {
        let script = format!("ulimit -c 0; kill -{name} $$");
        let run = run(&mut under(&["trace", "-o", "json"], &script));
        assert_eq!(run.status, Some(status), "{name}: {run:?}");
        assert!(run.stdout.contains(r#"{"type":"end""#), "{run:?}");
    }
}

/// The sections of docs/ERRORS.md contain this test.
#[test]
fn error_program_does_not_start() {
    let _namespace = Namespace::enter();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let recording = folder.path().join("run.tcps");
    let recording = recording.to_str().expect("the path is text");
    for row in Row::all().into_iter().filter(|row| row.test == "error_program_does_not_start") {
        let (options, words) = row.trigger.split_once(" -- ").expect("the row has a program");
        let mut command = Command::new(TCPSTATE);
        command.args(options.split(' ').skip(1)).args(["--record", recording, "--"]);
        command.args(words.split(' '));
        row.assert(&run(&mut command));
        assert!(!Path::new(recording).exists(), "the recording is left");
    }
}

#[test]
fn error_program_of_another_user() {
    let row = Row::of("error_program_of_another_user");
    let mut command = as_nobody(&["bpf", "perfmon", "syslog"], TCPSTATE);
    command.args(["trace", "-o", "json", "--user", "root", "--", "true"]);
    row.assert(&run(&mut command));
}

#[test]
fn error_only_it_with_snapshots() {
    for row in Row::all().into_iter().filter(|row| row.test == "error_only_it_with_snapshots") {
        let mut command = Command::new(TCPSTATE);
        row.assert(&run(command.args(row.trigger.split(' ').skip(1))));
    }
}

/// Prints the properties that a program inherits.
const PROPERTIES: &str = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|SigBlk|SigIgn)' \
     /proc/self/status; ls /proc/self/fd | xargs; cat /proc/self/limits /proc/self/oom_score_adj; \
     echo $HOME $USER $LOGNAME; nice; umask; pwd";

/// Returns the lines that a script writes to a file under tcpstate or without tcpstate. The output
/// of tcpstate would mix with the lines.
fn properties(command: &mut Command, file: &Path) -> Vec<String> {
    let run = run(command);
    assert_eq!(run.status, Some(0), "{run:?}");
    let text = fs::read_to_string(file).expect("the script has written the file");
    fs::write(file, "").expect("the file is writable");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn program_inherits_what_the_caller_has() {
    let _namespace = Namespace::enter();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("properties");
    let script = format!("ulimit -S -s 1024; exec \"$0\" \"$@\" > {}", file.display());
    // The first shell sets a small limit of the stack, which tcpstate raises for itself.
    let with = |program: &[&str]| {
        let mut command = Command::new("bash");
        command.args(["-c", &script]).args(program).args(["bash", "-c", PROPERTIES]);
        command.env_remove("SUDO_UID").env_remove("SUDO_GID");
        properties(&mut command, &file)
    };
    let plain = with(&["env"]);
    let json = folder.path().join("lines");
    let redirect = format!("exec 4>&1 > {}; exec \"$0\" \"$@\"", json.display());
    let traced = with(&[
        "bash",
        "-c",
        &redirect,
        TCPSTATE,
        "trace",
        "-o",
        "json",
        "--",
        "bash",
        "-c",
        "exec >&4 4>&-; exec \"$0\" \"$@\"",
    ]);
    assert_eq!(traced, plain);
}

#[test]
fn program_runs_as_the_caller_of_sudo_without_a_privilege() {
    let _namespace = Namespace::enter();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("status");
    fs::write(&file, "").expect("the folder is writable");
    let script = "cat /proc/self/status >&4; echo $HOME $USER >&4";
    for (user, variables) in [
        (&[][..], &[("SUDO_UID", "65534"), ("SUDO_GID", "65534")][..]),
        (&["--user", "nobody"], &[("SUDO_UID", "1"), ("SUDO_GID", "1")]),
        (&["--user", "65534"], &[]),
    ] {
        let mut command = Command::new("bash");
        let redirect = format!("exec 4> {}; exec \"$0\" \"$@\"", file.display());
        command.args(["-c", &redirect, TCPSTATE, "trace", "-o", "json"]).args(user);
        command.args(["--", "bash", "-c", script]);
        command.env_remove("SUDO_UID").env_remove("SUDO_GID").envs(variables.iter().copied());
        let status = properties(&mut command, &file).join("\n");
        let own = fs::read_to_string("/proc/self/status").expect("procfs");
        let bounding = own.lines().find(|line| line.starts_with("CapBnd")).expect("a field");
        assert!(status.contains(bounding), "the bounding set is that of the caller: {status}");
        assert!(status.contains("NoNewPrivs:\t0"), "{status}");
        let none =
            status.replace(bounding, "CapBnd:\t0").replace("NoNewPrivs:\t0", "NoNewPrivs:\t1");
        // The list of groups of a user with a name has the main group too.
        let none = none.replace("Groups:\t65534", "Groups:\t");
        assert_eq!(Privileges::parse(&none), Privileges::of_nobody(0), "{user:?}");
        assert!(status.ends_with(" nobody"), "{status}");
    }
}

#[test]
fn program_of_a_user_with_capabilities_has_the_ambient_ones_only() {
    let _namespace = Namespace::enter();
    let mut command = as_nobody(&["bpf", "perfmon", "syslog"], TCPSTATE);
    command.args(["trace", "-o", "json", "--", "grep", "Cap", "/proc/self/status"]);
    let run = run(&mut command);
    assert_eq!(run.status, Some(0), "{run:?}");
    let plain = tcpstate_tests::command::run(
        as_nobody(&["bpf", "perfmon", "syslog"], "grep").args(["Cap", "/proc/self/status"]),
    );
    assert!(run.stdout.contains(&plain.stdout), "{run:?}: {plain:?}");
}

#[test]
fn program_gets_sigterm_and_sigint_leaves_the_run() {
    let _namespace = Namespace::enter();
    let script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done";
    let mut running = Running::start(&["trace", "-i", "50ms", "-o", "json"], script);
    running.read_until("ready");
    signal(&running.child, Signal::SIGINT);
    // A run that SIGINT has ended would print the end line instead of the third snapshot.
    for _ in 0..3 {
        running.read_until(r#"{"type":"snapshot""#);
    }
    signal(&running.child, Signal::SIGTERM);
    let (status, rest) = running.end();
    assert_eq!(status, Some(5), "{rest}");
    assert!(rest.contains(r#"{"type":"end""#), "{rest}");
}

#[test]
fn program_gets_sigterm_after_the_duration_and_the_count() {
    let _namespace = Namespace::enter();
    for limit in [&["-d", "100ms"][..], &["-n", "2"]] {
        let arguments = [&["trace", "-i", "50ms", "-o", "json"], limit].concat();
        let (status, rest) = Running::start(&arguments, "exec sleep 600").end();
        assert_eq!(status, Some(143), "{limit:?}: {rest}");
        assert!(rest.contains(r#"{"type":"end""#), "{limit:?}: {rest}");
    }
}

#[test]
fn program_goes_on_when_the_reader_of_stdout_has_gone() {
    let _namespace = Namespace::enter();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("go");
    let script = format!("until [ -e {} ]; do sleep 0.01; done; exit 7", file.display());
    let mut running = Running::start(&["trace", "-i", "50ms", "-o", "json"], &script);
    running.read_until(r#"{"type":"snapshot""#);
    let Running { mut child, reader } = running;
    drop(reader);
    // The run ends its programs in the kernel when a write fails, and then waits.
    wait::until("the run has no programs", || {
        let files = fs::read_dir(format!("/proc/{}/fd", child.id())).expect("it runs");
        let links = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        !links.into_iter().any(|link| link.to_string_lossy().contains("bpf"))
    });
    assert!(child.try_wait().expect("it is our child").is_none(), "the program has not ended");
    fs::write(file, "").expect("the folder is writable");
    assert_eq!(child.wait().expect("it ends").code(), Some(7));
}

#[test]
fn program_goes_on_when_tcpstate_is_killed_and_waits_for_hooks_before() {
    let _namespace = Namespace::enter();
    let mut running = Running::start(&["trace", "-o", "json"], "echo $$; exec sleep 600");
    let mut pid = String::new();
    while pid.trim().parse::<i32>().is_err() {
        pid.clear();
        assert_ne!(running.reader.read_line(&mut pid).expect("it is readable"), 0);
    }
    running.child.kill().expect("it is our child");
    running.child.wait().expect("it ends");
    let pid = Pid::from_raw(pid.trim().parse().expect("a number"));
    kill(pid, Signal::SIGKILL).expect("the program goes on");
}

#[test]
fn program_does_not_run_if_the_run_does_not_start() {
    let _namespace = Namespace::enter();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("started");
    let path = file.to_str().expect("the path is text");
    for arguments in [&["trace", "--netns", "no-such"][..], &["trace", "--top", "3"]] {
        let mut command = piped(TCPSTATE, arguments);
        let run = run(command.args(["--", "touch", path]));
        assert_eq!(run.status, Some(2), "{run:?}");
        assert!(!file.exists(), "{arguments:?}");
    }
}

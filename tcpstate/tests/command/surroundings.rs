//! Tests `tcpstate` in a PID namespace, in a time namespace and in a user namespace, and on hosts
//! with cgroup version 1.

use std::{
    fs,
    io::{BufRead as _, BufReader, Lines, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tcpstate_tests::{
    command::{as_nobody, bound_to_us, piped, run, with_mounts},
    errors::Row,
    netns::Namespace,
    traffic::{Family, Listener},
};

use crate::namespaces::assert_refused;

const TCPSTATE: &str = env!("CARGO_BIN_EXE_tcpstate");

/// Returns `unshare FLAGS -- PROGRAM ARGUMENTS`.
fn unshared(flags: &[&str], program: &[&str]) -> Command {
    piped("unshare", &[flags, &["--"], program].concat())
}

/// The JSON lines of a process that runs.
struct Run {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// The event lines that were read so far.
    events: Vec<Value>,
}

impl Run {
    /// Starts a command, and waits for the start line of `tcpstate trace`.
    fn start(command: &mut Command) -> Self {
        let mut child = bound_to_us(command).spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut run = Self { child, lines, events: Vec::new() };
        let start = run.next_of_type("start");
        assert_eq!(start["type"], "start");
        run
    }

    fn next(&mut self) -> Option<Value> {
        let line = self.lines.next()?.expect("the pipe is open");
        let line: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        if line["type"] == "transition" {
            self.events.push(line.clone());
        }
        Some(line)
    }

    fn next_of_type(&mut self, kind: &str) -> Value {
        loop {
            let line = self.next().unwrap_or_else(|| panic!("no line of type {kind}"));
            if line["type"] == kind {
                return line;
            }
        }
    }

    fn cue(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        stdin.write_all(b"\n").expect("the shell reads");
    }

    /// Waits for the end of the run, and returns all event lines.
    fn rest(mut self) -> Vec<Value> {
        while self.next().is_some() {}
        self.child.wait().expect("it is our child");
        self.events
    }
}

/// The first process of a PID namespace: it traces, connects to `$1`, counts, and closes. The
/// further arguments are flags of `trace`.
const FIRST_PROCESS: &str = "\
port=$1; shift
$TCPSTATE trace --events -o json \"$@\" & trace=$!
read -r go
exec 3<>/dev/tcp/127.0.0.1/$port
read -r line <&3
$TCPSTATE count --by process -o json --state established --remote-port $port
exec 3>&- 3<&-
read -r go
kill $trace
wait $trace";

/// Returns the process of the group in the count, and the event lines. A process of the PID
/// namespace makes one connection, and this process, which is outside, makes another connection.
fn in_pid_namespace(unshare: &[&str], flags: &[&str]) -> (Value, Vec<Value>) {
    let listener = Listener::open(Family::V4);
    let port = listener.port().to_string();
    let shell = [&["bash", "-c", FIRST_PROCESS, "first", &port], flags].concat();
    let mut command = unshared(unshare, &shell);
    let mut run = Run::start(command.env("TCPSTATE", TCPSTATE).stdin(Stdio::piped()));
    run.cue();
    let mut server = listener.accept();
    server.write_all(b"hello\n").expect("the client is connected");
    let group = run.next_of_type("count_group")["key"].clone();
    // The shell closes its connection now. This process closes both ends of its own connection.
    let client = listener.connect();
    drop((client, listener.accept(), server, listener));
    run.cue();
    (group, run.rest())
}

/// Returns the pid and the name of a line's process. The process of a time-wait socket is the one
/// that closed the connection. If the shell closes first, it leaves a time-wait socket.
fn owner(event: &Value) -> (Option<u64>, Option<&str>) {
    let process = if event["hook"] == "time_wait" { &event["closed_by"] } else { event };
    (process["pid"].as_u64(), process["comm"].as_str())
}

#[test]
fn processes_of_a_pid_namespace_have_the_pids_of_this_namespace() {
    let _namespace = Namespace::enter();
    let inside = ["--pid", "--mount", "--fork", "--mount-proc"];
    let (counted, events) = in_pid_namespace(&inside, &[]);
    assert_eq!((&counted["pid"], &counted["comm"]), (&1.into(), &"bash".into()));
    let shell: Vec<_> = events.iter().filter(|event| event["comm"] == "bash").collect();
    assert!(shell.len() >= 4, "{events:#?}");
    assert!(shell.iter().all(|event| event["pid"] == 1), "{shell:#?}");
    // This process is outside, and has no pid in the namespace.
    let ours = std::process::id();
    assert!(events.iter().all(|event| event["pid"] != ours), "{events:#?}");
    let outside = events.iter().map(owner).filter(|(_, comm)| comm.is_some_and(|it| it != "bash"));
    let outside: Vec<_> = outside.collect();
    assert!(outside.len() >= 4, "{events:#?}");
    assert!(outside.iter().all(|(pid, _)| pid.is_none()), "{outside:?}");
}

#[test]
fn pid_filter_uses_the_pids_of_the_pid_namespace() {
    let _namespace = Namespace::enter();
    let inside = ["--pid", "--mount", "--fork", "--mount-proc"];
    let (_, events) = in_pid_namespace(&inside, &["--pid", "1"]);
    assert!(events.len() >= 4, "{events:#?}");
    assert!(events.iter().all(|event| owner(event) == (Some(1), Some("bash"))), "{events:#?}");
}

#[test]
fn pids_are_those_of_proc_if_proc_shows_an_outer_namespace() {
    let _namespace = Namespace::enter();
    // /proc is still that of the test, so ps and count show the pids outside.
    let (counted, events) = in_pid_namespace(&["--pid", "--fork"], &[]);
    let shell: Vec<_> = events.iter().filter(|event| event["comm"] == "bash").collect();
    assert!(shell.len() >= 4, "{events:#?}");
    assert!(shell.iter().all(|event| event["pid"] == counted["pid"]), "{counted} {shell:#?}");
    let ours = std::process::id();
    assert!(events.iter().any(|event| event["pid"] == ours), "{events:#?}");
}

#[test]
fn error_unknown_pid_namespace() {
    let _namespace = Namespace::enter();
    // /proc is still that of the test, and this user may not inspect the first process.
    let trace = |flags: &[&str]| {
        let mut nobody = as_nobody(&["bpf", "perfmon"], TCPSTATE);
        nobody.args(["trace", "--events", "-o", "json"]).args(flags);
        let mut command = piped("unshare", &["--pid", "--fork", "--"]);
        command.arg(nobody.get_program()).args(nobody.get_args());
        command
    };
    Row::of("error_unknown_pid_namespace").assert(&run(&mut trace(&["--pid", "1"])));
    let mut traced = Run::start(&mut trace(&["-d", "60s"]));
    let listener = Listener::open(Family::V4);
    let event = traced.next_of_type("transition");
    assert!(event["pid"].is_null() && event["comm"].is_string(), "{event}");
    drop(listener);
    kill_child_of(&traced.child);
    assert!(traced.rest().iter().all(|event| event["pid"].is_null()));
}

#[test]
fn error_no_proc() {
    for arguments in [&["trace"][..], &["trace", "--netns", "pid:1"], &["hist"], &["serve"]] {
        let mut tcpstate = Command::new(TCPSTATE);
        tcpstate.args(arguments);
        let mut command = with_mounts("mount -t tmpfs tmpfs /proc", &tcpstate);
        Row::of("error_no_proc").assert(&run(&mut command));
    }
}

#[test]
fn times_in_a_time_namespace_are_right_and_lines_are_not_held_back() {
    let _namespace = Namespace::enter();
    for offset in ["86400", "-10"] {
        let clocks = ["--time", "--monotonic", offset, "--boottime", offset, "--fork"];
        let trace = [TCPSTATE, "trace", "--events", "-o", "json", "-d", "60s"];
        let mut run = Run::start(&mut unshared(&clocks, &trace));
        let before = SystemTime::now();
        let listener = Listener::open(Family::V4);
        let pair = (listener.connect(), listener.accept());
        let begin = Instant::now();
        let line = run.next_of_type("transition");
        let since_1970 = before.duration_since(UNIX_EPOCH).expect("the clock is set");
        let error = line["time_unix"].as_f64().expect("a number") - since_1970.as_secs_f64();
        assert!((-1.0..30.0).contains(&error), "offset {offset}: {error} s: {line}");
        assert!(begin.elapsed() < Duration::from_secs(30), "offset {offset}: {line}");
        drop((pair, listener));
        // unshare does not pass signals on, so its child is asked to end.
        kill_child_of(&run.child);
        run.rest();
    }
}

/// Ends the child of `unshare --fork`.
fn kill_child_of(unshare: &Child) {
    let children = format!("/proc/{0}/task/{0}/children", unshare.id());
    let children = fs::read_to_string(children).expect("it runs");
    for child in children.split_whitespace() {
        kill(Pid::from_raw(child.parse().expect("a pid")), Signal::SIGTERM).expect("it runs");
    }
}

#[test]
fn user_namespaces_count_and_refuse_to_trace() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let _open = (listener.connect(), listener.accept());
    let root = ["--user", "--map-root-user"];
    let count = run(&mut unshared(&root, &[TCPSTATE, "count", "--state", "established"]));
    assert_eq!(count.status, Some(0), "{}", count.stderr);
    assert!(count.stdout.contains("ESTABLISHED\t2\n"), "{}", count.stdout);
    assert_refused(
        &mut unshared(&root, &[TCPSTATE, "trace", "-n", "1"]),
        "cannot trace TCP sockets: CAP_BPF and CAP_PERFMON have no effect in a user namespace",
        "run tcpstate outside the container",
    );
    let users = |flags: &[&str]| {
        let arguments = [TCPSTATE, "count", "--by", "uid", "--state", "established"];
        let users = run(&mut unshared(flags, &arguments));
        assert_eq!(users.status, Some(0), "{}", users.stderr);
        users.stdout
    };
    // The kernel shows a user without an id in the namespace as 65534, which is another user.
    assert_eq!(users(&root), "0\t2\n");
    assert_eq!(users(&["--user"]), "unknown\t2\n");
}

/// A cgroup of version 1 that looks like the cgroup of a container.
struct Container {
    folder: PathBuf,
    id: String,
}

impl Container {
    /// Creates the cgroup. Returns `None` on hosts that have only version 2.
    fn create(id: &str) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").expect("it is readable");
        let own = own.lines().find_map(|line| line.split_once(":memory:"))?.1;
        let parent = Path::new("/sys/fs/cgroup/memory").join(own.trim_start_matches('/'));
        let folder = parent.join(id);
        fs::create_dir(&folder).ok()?;
        Some(Self { folder, id: id.to_owned() })
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        _ = fs::remove_dir(&self.folder);
    }
}

#[test]
fn error_cgroup_of_version_1() {
    let id = "1b825dc642cb6eb9a060e54bf8d69288fbee4904b825dc642cb6eb9a060e54bf";
    let Some(container) = Container::create(id) else {
        println!("skipped: this host has no memory controller of cgroup version 1");
        return;
    };
    let _namespace = Namespace::enter();
    let arguments = ["trace", "--events", "--cgroup", &container.id[..12]];
    Row::of("error_cgroup_of_version_1").assert(&run(&mut piped(TCPSTATE, &arguments)));
}

#[test]
fn containers_of_cgroup_version_1_are_in_lines_and_groups() {
    let id = "2b825dc642cb6eb9a060e54bf8d69288fbee4904b825dc642cb6eb9a060e54bf";
    let Some(container) = Container::create(id) else {
        println!("skipped: this host has no memory controller of cgroup version 1");
        return;
    };
    let _namespace = Namespace::enter();
    let trace = [TCPSTATE, "trace", "--events", "-o", "json", "-d", "60s"];
    let mut traced = Run::start(&mut piped(trace[0], &trace[1..]));
    let listener = Listener::open(Family::V4);
    let script = "echo $$ > $1/cgroup.procs; exec 3<>/dev/tcp/127.0.0.1/$2; read -r line <&3";
    let (port, folder) = (listener.port().to_string(), &container.folder);
    let mut client = Command::new("bash");
    client.args(["-c", script, "client"]).arg(folder).arg(&port);
    let mut client = bound_to_us(&mut client).spawn().expect("bash starts");
    let server = listener.accept();
    // The client runs until its connection closes, so the process of its lines can be read.
    loop {
        let line = traced.next_of_type("transition");
        if line["pid"] == client.id() && line["to"] == "established" {
            assert_eq!(line["container"], id, "{line}");
            break;
        }
    }
    drop(server);
    client.wait().expect("it is our child");
    kill(Pid::from_raw(traced.child.id().cast_signed()), Signal::SIGTERM).expect("it runs");
    let events = traced.rest();
    let own = events.iter().filter(|line| line["pid"] == std::process::id());
    assert!(own.clone().count() > 0 && own.clone().all(|line| line["container"].is_null()));
    // The lines after the end of the process have the container that the socket had before.
    let last = events.iter().rfind(|line| line["pid"] == client.id()).expect("it has lines");
    assert_eq!((&last["to"], &last["container"]), (&"close".into(), &id.into()), "{last}");
}

//! Tests each command with each fault of its surroundings, and compares the exit status and the
//! error line with the matrix at the end of docs/ERRORS.md.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read},
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use tcpstate_tests::{
    command::{as_nobody, piped, signal, with_mounts},
    errors::matches,
    netns::Namespace,
    wait,
};

use super::RECORDING;

const TCPSTATE: &str = env!("CARGO_BIN_EXE_tcpstate");
const DOCUMENT: &str = include_str!("../../../docs/ERRORS.md");

/// Short runs of the commands. `serve` gets a signal when it serves.
const SHORT: [(&str, &[&str]); 6] = [
    ("trace", &["trace", "-n", "1", "-i", "50ms", "-o", "json"]),
    ("hist", &["hist", "-n", "1", "-i", "50ms"]),
    ("serve", &["serve", "--listen", "127.0.0.1:0"]),
    ("count", &["count", "--by", "process", "-o", "json"]),
    ("doctor", &["doctor", "-i", "50ms"]),
    ("replay", &["replay", RECORDING, "-o", "csv"]),
];

/// Runs of the commands that do not end before a signal.
const LONG: [(&str, &[&str]); 6] = [
    ("trace", &["trace", "-i", "50ms", "-o", "json"]),
    ("hist", &["hist", "-i", "50ms", "-o", "json"]),
    ("serve", &["serve", "--listen", "127.0.0.1:0"]),
    ("count", &["count", "-i", "50ms", "-o", "json"]),
    ("doctor", &["doctor", "-i", "60s"]),
    ("replay", &["replay", RECORDING, "--speed", "0.001", "-o", "json"]),
];

const SIGNALS: [Signal; 6] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGPIPE,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGXCPU,
];

/// A run that has not ended this long after a signal goes on. A run needs far less time to end.
const GOES_ON: Duration = Duration::from_secs(15);

/// A fault: its name in the document, and the way to run a command with it.
struct Fault {
    name: String,
    way: Box<Way>,
}

/// Returns a command that runs tcpstate with the arguments.
type Way = dyn Fn(&[&str]) -> Command;

fn fault(name: &str, way: impl Fn(&[&str]) -> Command + 'static) -> Fault {
    Fault { name: name.to_owned(), way: Box::new(way) }
}

fn under(program: &'static str, limit: &'static str) -> impl Fn(&[&str]) -> Command {
    move |arguments| {
        let mut command = Command::new(program);
        command.arg(limit).arg(TCPSTATE).args(arguments);
        command
    }
}

fn mounted(mounts: &'static str) -> impl Fn(&[&str]) -> Command {
    move |arguments| {
        let mut tcpstate = Command::new(TCPSTATE);
        tcpstate.args(arguments);
        with_mounts(mounts, &tcpstate)
    }
}

fn redirected(redirection: &'static str) -> impl Fn(&[&str]) -> Command {
    move |arguments| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec \"$0\" \"$@\" {redirection}"), TCPSTATE]);
        command.args(arguments);
        command
    }
}

/// The capabilities that trace the sockets of one network namespace.
const NEEDED: [&str; 3] = ["bpf", "perfmon", "syslog"];
/// The capabilities that find all network namespaces and the processes of other users.
const OF_OTHERS: [&str; 3] = ["sys_admin", "sys_ptrace", "dac_read_search"];
/// The end of the name of a fault with which `trace`, `hist` and `serve` count all namespaces.
const EVERYWHERE: &str = ", with --netns all";

fn faults() -> Vec<Fault> {
    let mut faults = vec![
        fault("no memory: ulimit -v 32768", under("prlimit", "--as=33554432")),
        fault("no files: ulimit -n 5", under("prlimit", "--nofile=5")),
        fault("no threads: ulimit -u 1, as another user than root", |arguments| {
            let mut command = as_nobody(&NEEDED, "prlimit");
            command.args(["--nproc=1", TCPSTATE]).args(arguments);
            command
        }),
        fault("no disk: stdout is full", redirected(">/dev/full")),
        fault("no /proc", mounted("mount -t tmpfs tmpfs /proc")),
        fault("no /sys", mounted("mount -t tmpfs tmpfs /sys")),
        fault(
            "no tracefs",
            mounted(
                "mount -t tmpfs tmpfs /sys/kernel/tracing; mount -t tmpfs tmpfs /sys/kernel/debug",
            ),
        ),
        fault("no BTF", mounted("mount -t tmpfs tmpfs /sys/kernel/btf")),
        fault("stdin is closed", redirected("<&-")),
        fault("stdout is closed", redirected(">&-")),
        fault("stderr is closed", redirected("2>&-")),
        fault("stdin, stdout and stderr are closed", redirected("<&- >&- 2>&-")),
        fault("no capability, as another user than root", |arguments| {
            let mut command = as_nobody(&[], TCPSTATE);
            command.args(arguments);
            command
        }),
    ];
    faults.extend(NEEDED.map(|missing| without(missing, &NEEDED, "")));
    // These capabilities are for other users' processes and for all network namespaces.
    let all = [&NEEDED[..], &OF_OTHERS].concat();
    faults.extend(OF_OTHERS.map(|missing| without(missing, &all, "")));
    faults.extend(OF_OTHERS.map(|missing| without(missing, &all, EVERYWHERE)));
    faults
}

/// The fault that tcpstate lacks one capability of `all`. `with` is empty or [`EVERYWHERE`].
fn without(missing: &str, all: &[&'static str], with: &'static str) -> Fault {
    let name = format!("no CAP_{}, as another user than root{with}", missing.to_uppercase());
    let kept: Vec<_> = all.iter().copied().filter(|name| *name != missing).collect();
    fault(&name, move |arguments| {
        let mut command = as_nobody(&kept, TCPSTATE);
        command.args(arguments);
        if !with.is_empty() && ["trace", "hist", "serve"].contains(&arguments[0]) {
            command.args(["--netns", "all"]);
        }
        command
    })
}

/// Runs a command until it ends. `serve` gets SIGTERM when it serves.
fn run(command: &mut Command) -> Output {
    if command.get_args().any(|argument| argument == "serve") {
        return run_until_served(command);
    }
    command.stdin(Stdio::null()).output().expect("it starts")
}

/// Runs `serve` until it ends with an error, or serves metrics and gets SIGTERM.
pub(crate) fn run_until_served(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let mut stderr = Vec::new();
    while let Some(Ok(line)) = lines.next() {
        if line.starts_with("tcpstate: serving") {
            signal(&child, Signal::SIGTERM);
        }
        stderr.extend(format!("{line}\n").into_bytes());
    }
    // If stderr is closed, nothing says that the command serves.
    let closed = Instant::now();
    while child.try_wait().expect("it is a child").is_none() {
        if closed.elapsed() > Duration::from_secs(2) {
            signal(&child, Signal::SIGTERM);
        }
        thread::sleep(Duration::from_millis(10));
    }
    Output { stderr, ..child.wait_with_output().expect("it has ended") }
}

/// Returns the text of one cell: the exit status, and the first error line.
fn cell(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    // A fault of the surroundings is no fault of tcpstate.
    assert!(!stderr.contains("help: report this error"), "{stderr}");
    let status = match (output.status.code(), output.status.signal()) {
        (Some(code), _) => code.to_string(),
        (None, Some(number)) => {
            Signal::try_from(number).map_or_else(|_| number.to_string(), |it| it.to_string())
        }
        (None, None) => unreachable!("a process ends by itself or by a signal"),
    };
    let said = stderr.lines().find_map(|line| line.strip_prefix("tcpstate: cannot "));
    said.map_or(status.clone(), |said| format!("{status}  cannot {said}"))
}

/// Sends a signal to a run of a command, and returns the text of the cell. `moment` is the time of
/// the signal.
fn signalled(arguments: &[&str], sent: Signal, moment: &str) -> String {
    let mut command = piped(TCPSTATE, arguments);
    let mut child = command.spawn().expect("it starts");
    match moment {
        "at the start" => await_exec(&child),
        _ => await_output(&mut child, arguments[0]),
    }
    if moment == "after SIGTERM" {
        signal(&child, Signal::SIGTERM);
    }
    // The command may have ended already, but it is still a child.
    signal(&child, sent);
    let asked = Instant::now();
    while child.try_wait().expect("it is a child").is_none() {
        if asked.elapsed() > GOES_ON {
            signal(&child, Signal::SIGTERM);
            let output = child.wait_with_output().expect("it ends");
            return format!("goes on; SIGTERM: {}", cell(&output));
        }
        thread::sleep(Duration::from_millis(10));
    }
    cell(&child.wait_with_output().expect("it has ended"))
}

fn await_exec(child: &Child) {
    let comm = || fs::read_to_string(format!("/proc/{}/comm", child.id())).unwrap_or_default();
    wait::until("the program", || comm().trim_end() == "tcpstate");
}

/// Waits until a run has begun.
fn await_output(child: &mut Child, command: &str) {
    match command {
        "doctor" => {
            let wchan = format!("/proc/{}/wchan", child.id());
            let is_waiting = |it: String| it.contains("poll") || it.contains("sleep");
            wait::until("doctor to wait", || fs::read_to_string(&wchan).is_ok_and(is_waiting));
        }
        "serve" => await_line(child.stderr.take().expect("it is piped")),
        _ => await_line(child.stdout.take().expect("it is piped")),
    }
}

/// Waits for the first line of an output. A thread reads the rest, so that the run goes on.
fn await_line(output: impl Read + Send + 'static) {
    let mut lines = BufReader::new(output).lines();
    lines.next();
    thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
}

/// Returns the documented cells: the name of the fault, the command, and the pattern of the cell. A
/// line of the document has one or more commands, two spaces, and the pattern.
fn documented() -> Vec<(String, String, String)> {
    let blocks = DOCUMENT.split("```console\n").skip(1).filter_map(|it| it.split("```").next());
    let mut cells = Vec::new();
    for entry in blocks.flat_map(|block| block.split("\n\n")) {
        let joined = entry.trim().replace("\n  ", " ");
        let mut lines = joined.lines();
        let name = lines.next().and_then(|line| line.strip_prefix("# ")).expect("the fault's name");
        for line in lines {
            let (commands, pattern) = line.split_once("  ").expect("commands and their cell");
            let of = |command: &str| (name.to_owned(), command.to_owned(), pattern.to_owned());
            cells.extend(commands.split(", ").map(of));
        }
    }
    cells
}

/// Returns the cells of one fault in the form of the document.
fn written(name: &str, cells: &[(String, String, String)]) -> String {
    let mut lines: Vec<(Vec<&str>, &str)> = Vec::new();
    for (_, command, text) in cells.iter().filter(|(of, ..)| of == name) {
        match lines.iter_mut().find(|(_, other)| other == text) {
            Some((commands, _)) => commands.push(command),
            None => lines.push((vec![command], text)),
        }
    }
    let lines = lines.iter().map(|(commands, text)| format!("{}  {text}", commands.join(", ")));
    format!("# {name}\n{}\n", lines.collect::<Vec<_>>().join("\n"))
}

/// Returns whether a cell is as documented. A pattern may have several results: `0 or SIGTERM`.
fn is_documented(
    documented: &[(String, String, String)],
    (name, command, text): &(String, String, String),
) -> bool {
    documented.iter().any(|(of, documented_command, pattern)| {
        of == name
            && documented_command == command
            && (matches(pattern, text) || pattern.split(" or ").any(|result| result == text))
    })
}

/// The test of a signal at the start or at the end is a race: the signal arrives before the command
/// handles signals, or after the command has ended. The document has both results.
#[test]
fn fault_matrix_is_as_documented() {
    let _namespace = Namespace::enter();
    let mut seen: Vec<(String, String, String)> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for Fault { name, way } in faults() {
        for (command, arguments) in SHORT {
            let output = run(&mut way(arguments));
            assert!(output.status.signal().is_none(), "{name}, {command}: {output:?}");
            seen.push((name.clone(), command.to_owned(), cell(&output)));
        }
        names.push(name);
    }
    for sent in SIGNALS {
        for moment in ["at the start", "in the run", "after SIGTERM"] {
            let name = format!("{sent} {moment}");
            // The runs are parallel, because a run that ignores a signal takes long.
            let texts = thread::scope(|scope| {
                LONG.map(|(_, arguments)| scope.spawn(move || signalled(arguments, sent, moment)))
                    .map(|run| run.join().expect("a run does not panic"))
            });
            for ((command, _), text) in LONG.into_iter().zip(texts) {
                seen.push((name.clone(), command.to_owned(), text));
            }
            names.push(name);
        }
    }
    for name in &names {
        println!("{}", written(name, &seen));
    }
    let documented = documented();
    let different: Vec<_> = seen.iter().filter(|cell| !is_documented(&documented, cell)).collect();
    assert!(different.is_empty(), "{different:#?}");
    assert_eq!(documented.len(), seen.len(), "the document has other cells");
}

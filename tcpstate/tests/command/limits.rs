//! Tests tcpstate under each limit of the kernel (`ulimit`) and in unusual environments. The result
//! is the usual output, or an error with help, but never a panic or a signal.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{BufRead as _, BufReader},
    os::unix::ffi::OsStringExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tcpstate_tests::{
    command::{Finished, as_nobody, run, signal},
    errors::Row,
    netns::Namespace,
    traffic::{Load, Style},
    wait,
};

use super::{RECORDING, errors::Cgroup, fault_matrix::run_until_served};

const TCPSTATE: &str = env!("CARGO_BIN_EXE_tcpstate");

/// Short runs of all commands. `serve` ends because its textfile is a folder, or by SIGTERM.
const RUNS: [&[&str]; 9] = [
    &["trace", "-n", "1", "-i", "50ms", "-o", "json"],
    &["trace", "-d", "50ms", "--events"],
    &["hist", "-n", "1", "-i", "50ms"],
    &["count", "-n", "1", "-i", "50ms"],
    &["count", "--by", "process"],
    &["doctor", "-i", "50ms"],
    &["replay", RECORDING, "-o", "csv"],
    &["explain", "TIME_WAIT"],
    &["check"],
];

/// Returns a command that runs tcpstate under a limit, for example `--nofile=8`. The limit cannot
/// be raised, except by root.
fn limited(limit: &str) -> Command {
    let mut command = Command::new("prlimit");
    command.arg(limit).arg(TCPSTATE);
    command
}

/// Asserts that a command has succeeded, or that it has printed an error with help.
fn assert_sound(what: &str, finished: &Finished) {
    let Finished { status, stderr, .. } = finished;
    assert!(matches!(status, Some(0..=2)), "{what}: {finished:?}");
    assert!(!stderr.contains("panicked"), "{what}: {finished:?}");
    if *status == Some(2) {
        let lines: Vec<_> = stderr.lines().collect();
        let is_error = lines
            .windows(2)
            .any(|pair| pair[0].starts_with("tcpstate: cannot ") && pair[1].starts_with("help: "));
        assert!(is_error, "{what}: {stderr}");
        assert!(!stderr.contains("report this"), "{what}: the cause is a limit: {stderr}");
    }
}

/// Runs `serve` until it ends with an error, or serves metrics and gets SIGTERM.
fn run_serve(command: &mut Command) -> Finished {
    run_until_served(command.args(["serve", "--listen", "127.0.0.1:0"])).into()
}

fn assert_all_sound(limit: &str) {
    for arguments in RUNS {
        let finished = run(limited(limit).args(arguments));
        assert_sound(&format!("{limit} {arguments:?}"), &finished);
    }
    assert_sound(&format!("{limit} serve"), &run_serve(&mut limited(limit)));
}

#[test]
fn limits_of_open_files_give_errors_with_help() {
    let _namespace = Namespace::enter();
    for files in [5, 6, 7, 8, 10, 12, 13, 14, 15, 16, 24, 40, 48, 56, 64] {
        assert_all_sound(&format!("--nofile={files}"));
    }
}

#[test]
fn limits_of_memory_give_errors_with_help() {
    let _namespace = Namespace::enter();
    for mib in [32, 40, 64, 128, 192] {
        assert_all_sound(&format!("--as={}", mib << 20));
        assert_all_sound(&format!("--data={}", mib << 20));
    }
}

#[test]
fn limits_of_memory_near_the_size_of_the_program_give_errors_with_help() {
    let _namespace = Namespace::enter();
    let row = Row::of("limits_of_memory_near_the_size_of_the_program_give_errors_with_help");
    let with_limit =
        |kib: u64, arguments: &[&str]| run(limited(&format!("--as={}", kib << 10)).args(arguments));
    // With less memory, the kernel or the loader cannot start a program of this size.
    let mut limits = (4 << 10..256 << 10).step_by(250);
    let least = limits
        .find(|&kib| matches!(with_limit(kib, &["explain", "TIME_WAIT"]).status, Some(0..=2)));
    let least = least.expect("256 MiB are enough");
    let mut has_stack_error = false;
    for kib in (least..least + (6 << 10)).step_by(250) {
        for arguments in [RUNS[0], RUNS[2], RUNS[4]] {
            let finished = with_limit(kib, arguments);
            assert_sound(&format!("{kib} KiB {arguments:?}"), &finished);
            if finished.stderr.contains("the stack") && !has_stack_error {
                row.assert(&finished);
                has_stack_error = true;
            }
        }
    }
    assert!(has_stack_error, "no limit was too small for the stack");
}

#[test]
fn limits_of_the_stack_are_raised_or_give_errors_with_help() {
    let _namespace = Namespace::enter();
    for kib in [32, 64, 256] {
        let bytes = kib << 10;
        // Only root may raise the hard limit.
        assert_all_sound(&format!("--stack={bytes}:{bytes}"));
        let soft = format!("--stack={bytes}:");
        assert_all_sound(&soft);
        let trace = run(limited(&soft).args(RUNS[0]));
        assert_eq!(trace.status, Some(0), "{soft}: {trace:?}");
    }
}

#[test]
fn limits_of_cpu_time_end_a_run_with_its_end_line() {
    let _namespace = Namespace::enter();
    let load = Load::start(1, Style::Rst);
    // The kernel sends SIGXCPU after each further second of CPU time, and SIGKILL after 60 s.
    let trace = run(limited("--cpu=1:60").args(["trace", "--events", "-o", "json"]));
    let _ = load.stop();
    assert_eq!(trace.status, Some(0), "{}", trace.stderr);
    assert!(trace.stderr.contains("the limit of CPU time is reached"), "{}", trace.stderr);
    let last = trace.stdout.lines().last().unwrap_or_default();
    let end: Value = serde_json::from_str(last).expect("an object a line");
    assert_eq!((&end["type"], &end["exact"]), (&"end".into(), &true.into()), "{end}");
}

#[test]
fn error_small_stack() {
    let row = Row::of("error_small_stack");
    let mut command = as_nobody(&[], "prlimit");
    command.args(["--stack=65536", TCPSTATE, "count"]);
    row.assert(&run(&mut command));
}

/// A command that runs tcpstate as a user who may not start another process.
fn without_threads() -> Command {
    let mut command = as_nobody(&["bpf", "perfmon", "syslog"], "prlimit");
    command.args(["--nproc=1", TCPSTATE]);
    command
}

#[test]
fn error_no_thread() {
    let _namespace = Namespace::enter();
    let row = Row::of("error_no_thread");
    for arguments in [RUNS[0], RUNS[1], RUNS[2], RUNS[3]] {
        row.assert(&run(without_threads().args(arguments)));
    }
}

#[test]
fn error_serve_without_thread() {
    let _namespace = Namespace::enter();
    Row::of("error_serve_without_thread").assert(&run_serve(&mut without_threads()));
}

#[test]
fn error_few_files() {
    let _namespace = Namespace::enter();
    Row::of("error_few_files").assert(&run(limited("--nofile=24").args(RUNS[0])));
}

#[test]
fn error_no_memory() {
    let _namespace = Namespace::enter();
    let row = Row::of("error_no_memory");
    let with_limit = |mib: u64| run(limited(&format!("--as={}", mib << 20)).args(RUNS[0]));
    let found = (16..200)
        .step_by(4)
        .map(with_limit)
        .find(|finished| finished.stderr.contains("no memory is left"));
    row.assert(&found.expect("one of the limits is too small"));
}

#[test]
fn limits_of_file_sizes_give_errors_with_help() {
    let _namespace = Namespace::enter();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("run.tcps");
    let mut trace = limited("--fsize=0");
    trace.args(RUNS[0]).arg("--record").arg(&file);
    assert_sound("--fsize=0, --record", &run(&mut trace));
    let text = folder.path().join("stdout");
    let full = fs::File::create(&text).expect("the folder can be written to");
    let count = limited("--fsize=0").arg("count").stdout(full).stderr(Stdio::piped()).spawn();
    let output = count.and_then(Child::wait_with_output).expect("it runs");
    Row::of("limits_of_file_sizes_give_errors_with_help").assert(&output.into());
}

#[test]
fn scans_without_memory_leave_the_run_inexact_and_not_over() {
    let row = Row::of("scans_without_memory_leave_the_run_inexact_and_not_over");
    let Some(cgroup) = Cgroup::with_limit(64) else {
        println!("skipped: no memory cgroup can be made here");
        return;
    };
    let _namespace = Namespace::enter();
    let mut command = Command::new(TCPSTATE);
    // The map of a scan needs more than 64 MiB. Few scans are due, because the kernel may kill a
    // process whose other memory grows while the limit is reached.
    command.args(["trace", "-o", "json", "-i", "50ms", "--reconcile", "500ms"]);
    command.args(["--max-scan-sockets", "2000000"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut next = || -> Value {
        let line = lines.next().expect("it goes on").expect("the pipe is open");
        serde_json::from_str(&line).expect("a line is an object")
    };
    let mut scans = || next()["reconciles"].as_u64();
    wait::until("a scan", || scans() > Some(0));
    let pid = child.id().to_string();
    let join = |folder: &Path| fs::write(folder.join("cgroup.procs"), &pid).expect("it moves");
    join(&cgroup.0);
    let mut stderr = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let mut said: Vec<String> = stderr.by_ref().take(2).map_while(Result::ok).collect();
    join(cgroup.0.parent().expect("it is below the hierarchy"));
    let before = scans();
    wait::until("a later scan", || scans() > before);
    signal(&child, Signal::SIGTERM);
    let end = std::iter::repeat_with(&mut next).find(|line| line["type"] == "end");
    assert_eq!(end.expect("it ends")["exact"], true);
    said.extend(stderr.map_while(Result::ok));
    row.assert(&Finished {
        status: child.wait().expect("it ends").code(),
        stdout: String::new(),
        stderr: said.join("\n"),
    });
}

/// Values that a variable of the environment may have by accident.
fn values() -> Vec<OsString> {
    let plain =
        ["", "0", "-1", "1", "x", "18446744073709551615", "99999999999999999999", "/dev/null", "@"];
    let mut all: Vec<OsString> = plain.into_iter().map(OsString::from).collect();
    all.push(OsString::from_vec(vec![0xff, 0xfe]));
    all.push(OsString::from("a".repeat(100_000)));
    all
}

#[test]
fn environments_do_not_disturb_commands() {
    let _namespace = Namespace::enter();
    let names = [
        "TERM",
        "COLUMNS",
        "LINES",
        "TZ",
        "LANG",
        "LC_ALL",
        "NO_COLOR",
        "HOME",
        "RUST_MIN_STACK",
        "RUST_LOG",
    ];
    for value in values() {
        // Variables do not depend on each other.
        let with = |command: &mut Command| {
            for name in names {
                command.env(name, &value);
            }
        };
        for arguments in [
            &["trace", "-n", "1", "-i", "50ms", "--events"][..],
            RUNS[3],
            RUNS[5],
            RUNS[6],
            RUNS[7],
        ] {
            let mut command = Command::new(TCPSTATE);
            command.args(arguments);
            with(&mut command);
            let finished = run(&mut command);
            assert!(
                matches!(finished.status, Some(0 | 1)),
                "{value:?} {arguments:?}: {finished:?}"
            );
            assert_sound(&format!("{value:?} {arguments:?}"), &finished);
        }
    }
}

#[test]
fn environments_of_service_managers_do_not_disturb_serve() {
    let _namespace = Namespace::enter();
    let names = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID"];
    let with = |values: &[(&str, &OsStr)]| {
        let mut command = Command::new(TCPSTATE);
        command.envs(values.iter().copied());
        let finished = run_serve(&mut command);
        assert_eq!(finished.status, Some(0), "{values:?}: {finished:?}");
        assert_sound(&format!("{values:?}"), &finished);
    };
    for value in values() {
        // A watchdog needs a manager, and no PID of another process.
        with(&[("WATCHDOG_USEC", &value), ("NOTIFY_SOCKET", OsStr::new("/no/such/socket"))]);
        with(&names.map(|name| (name, &*value)));
    }
}

#[test]
fn environments_with_bad_settings_give_errors_with_help() {
    for name in ["TCPSTATE_LISTEN", "TCPSTATE_NETNS", "TCPSTATE_USER", "TCPSTATE_ALLOW_HOST"] {
        for value in ["a b", "\u{7f}", ":"] {
            let mut serve = Command::new(TCPSTATE);
            serve.args(["serve", "--listen", "127.0.0.1:0"]).env(name, value);
            if name == "TCPSTATE_LISTEN" {
                serve = Command::new(TCPSTATE);
                serve.arg("serve").env(name, value);
            }
            let finished = run(&mut serve);
            assert_eq!(finished.status, Some(2), "{name}={value}: {finished:?}");
            assert_sound(&format!("{name}={value}"), &finished);
        }
    }
}

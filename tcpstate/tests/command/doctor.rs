//! Tests the process `tcpstate doctor`: output lines, exit status, thresholds, pipes, and the
//! report without privileges.

use std::{
    io::Read as _,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    panic::{catch_unwind, resume_unwind},
    process::{Child, Command, Stdio},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tcpstate::{recording::Record, report::Report};
use tcpstate_tests::{
    audit::ATTEMPTS,
    command::{Finished, piped, run, signal},
    errors::Row,
    netns::{Namespace, sysctl},
    recordings::{in_tree, read, written},
    traced::Traced,
    traffic::{Family, Listener, reset},
};

const NOBODY: u32 = 65534;

fn doctor(arguments: &[&str]) -> Command {
    let mut command = piped(env!("CARGO_BIN_EXE_tcpstate"), &["doctor", "--sysctl-root", "/sys"]);
    command.args(arguments);
    command
}

/// Exhausts the local ports: limits the port range to two ports, and uses both ports until the
/// returned sockets are dropped.
fn exhausted() -> (Listener, Vec<socket2::Socket>) {
    let listener = Listener::open(Family::V4);
    sysctl("net.ipv4.ip_local_port_range", "40000 40001");
    let clients = vec![listener.connect(), listener.connect()];
    (listener, clients)
}

#[test]
fn doctor_process_prints_findings_and_a_verdict() {
    let _namespace = Namespace::enter();
    let _held = exhausted();
    let Finished { status, stdout, stderr } = run(&mut doctor(&["-o", "json", "-i", "50ms"]));
    assert_eq!((status, stderr.as_str()), (Some(1), ""));
    let lines: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is a JSON object"))
        .collect();
    let (verdict, findings) = lines.split_last().expect("there are lines");
    let mut counts = [("ok", 0), ("info", 0), ("warn", 0), ("crit", 0), ("unknown", 0)];
    for finding in findings {
        assert_eq!((&finding["type"], &finding["version"]), (&"finding".into(), &1.into()));
        for key in ["id", "level", "summary", "advice", "source"] {
            assert!(finding[key].is_string(), "{key}: {finding}");
        }
        assert!(finding["numbers"].is_object(), "{finding}");
        let level = finding["level"].as_str().expect("it is text");
        counts.iter_mut().find(|(name, _)| *name == level).expect("one of five").1 += 1;
    }
    assert_eq!(verdict["type"], "verdict");
    for (name, count) in counts {
        assert_eq!(verdict[name], count, "{name}");
    }
    let p1 =
        findings.iter().find(|finding| finding["id"] == "P1").expect("each rule has a finding");
    assert_eq!((&p1["level"], &p1["numbers"]["taken"]), (&"crit".into(), &2.into()));
}

#[test]
fn doctor_process_fails_at_or_above_the_requested_level() {
    let _namespace = Namespace::enter();
    // A listener in the local port range causes one finding of level info.
    let _listener = Listener::open(Family::V4);
    let code = |level: &str| {
        let Finished { status, .. } = run(&mut doctor(&["-i", "50ms", "--fail-on", level]));
        status
    };
    assert_eq!(["info", "warn", "crit"].map(code), [Some(1), Some(0), Some(0)]);
    sysctl("net.ipv4.tcp_syncookies", "0");
    assert_eq!(["info", "warn", "crit"].map(code), [Some(1), Some(1), Some(0)]);
    let _held = exhausted();
    assert_eq!(["info", "warn", "crit"].map(code), [Some(1), Some(1), Some(1)]);
}

#[test]
fn doctor_process_shows_people_what_to_do() {
    let _namespace = Namespace::enter();
    let _held = exhausted();
    let Finished { stdout, .. } = run(&mut doctor(&["-i", "50ms"]));
    assert!(stdout.starts_with("CRIT     P1  127.0.0.1 -> 127.0.0.1:"), "{stdout}");
    assert!(
        stdout.contains("\n             $ sysctl -w net.ipv4.ip_local_port_range='1024 65535'\n"),
        "{stdout}"
    );
    assert!(stdout.lines().last().is_some_and(|line| line.starts_with("1 crit, ")), "{stdout}");
    assert!(!stdout.contains("\nOK "), "{stdout}");
    let Finished { stdout, .. } = run(&mut doctor(&["-i", "50ms", "--all"]));
    assert!(stdout.contains("\nOK       T1  no connection closed"), "{stdout}");
    let Finished { stdout, .. } = run(&mut doctor(&["-i", "50ms", "-o", "csv"]));
    assert!(
        stdout.starts_with("id,level,summary,numbers,advice,command,source\nP1,crit,"),
        "{stdout}"
    );
}

#[test]
fn doctor_process_without_privilege_reports_unknown_owners() {
    let _namespace = Namespace::enter();
    let _held = exhausted();
    // Copy the program, because the user `nobody` cannot run programs below root's home directory.
    let public = tempfile::tempdir().expect("a temporary folder can be made");
    let program = public.path().join("tcpstate");
    std::fs::copy(env!("CARGO_BIN_EXE_tcpstate"), &program).expect("the test owns it");
    std::fs::set_permissions(public.path(), std::fs::Permissions::from_mode(0o755))
        .expect("the test owns it");
    let mut command = Command::new(program);
    command.args(["doctor", "-i", "50ms", "-o", "json", "--sysctl-root", "/sys"]);
    let Finished { status, stdout, stderr } = run(command.uid(NOBODY).gid(NOBODY));
    assert_eq!((status, stderr.as_str()), (Some(1), ""));
    let p1 =
        stdout.lines().find(|line| line.contains(r#""id":"P1""#)).expect("each rule has a finding");
    let p1: Value = serde_json::from_str(p1).expect("a line is a JSON object");
    assert_eq!((&p1["level"], &p1["numbers"]["owner"]), (&"crit".into(), &Value::Null));
}

#[test]
fn doctor_process_reads_thresholds_and_names_their_errors() {
    let _namespace = Namespace::enter();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("my.toml");
    let name = file.to_str().expect("temporary names are text");
    let with = |text: &str| {
        std::fs::write(&file, text).expect("the test owns it");
        run(&mut doctor(&["-i", "50ms", "--thresholds", name]))
    };
    let _held = exhausted();
    let Finished { status, stdout, .. } = with("[ports]\nused_crit = 1\nused_warn = 1\n");
    assert_eq!((status, stdout.contains("CRIT")), (Some(1), true));

    for (text, place) in [
        ("[ports]\nused_warm = 0.5\n", ": line 2, column 1: unknown field `used_warm`"),
        ("[ports]\nused_warn = 50\n", ": line 2, column 13: 50 is not a share"),
        ("[ports\n", ": line 1, column "),
    ] {
        let Finished { status, stdout, stderr } = with(text);
        assert_eq!((status, stdout.as_str()), (Some(2), ""), "{text}");
        assert!(stderr.starts_with(&format!("tcpstate: cannot parse {name}{place}")), "{stderr}");
        assert!(
            stderr.ends_with(
                "\nhelp: compare the file with the output of tcpstate doctor --print-thresholds\n"
            ),
            "{stderr}"
        );
        assert_eq!(stderr.lines().count(), 2, "{stderr}");
    }
    let Finished { status, stderr, .. } = run(&mut doctor(&["--thresholds", "/nonexistent.toml"]));
    assert_eq!(status, Some(2));
    assert!(
        stderr.starts_with("tcpstate: cannot read /nonexistent.toml: No such file"),
        "{stderr}"
    );

    let Finished { status, stdout: printed, .. } = run(&mut doctor(&["--print-thresholds"]));
    assert_eq!(status, Some(0));
    // `doctor` must accept the printed thresholds as its configuration, and the result must not
    // change.
    let Finished { status, stdout, stderr } = with(&printed);
    assert_eq!((status, stderr.as_str()), (Some(1), ""));
    assert!(stdout.starts_with("CRIT     P1"), "{stdout}");
}

#[test]
fn doctor_process_refuses_bad_usage_with_status_2() {
    for (arguments, reason) in [
        (vec!["--interval", "0"], "longer than zero"),
        (vec!["--interval", "49ms"], "at least 50ms"),
        (vec!["--fail-on", "ok"], "info"),
        (vec!["-o", "xml"], "table"),
    ] {
        let Finished { status, stdout, stderr } = run(&mut doctor(&arguments));
        assert_eq!((status, stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(stderr.contains(reason), "{arguments:?}: {stderr}");
    }
}

fn ended(mut child: Child) -> (Option<i32>, String) {
    let status = child.wait().expect("this process started the child");
    let mut stderr = String::new();
    child.stderr.take().expect("it is piped").read_to_string(&mut stderr).expect("it is text");
    (status.code(), stderr)
}

#[test]
fn doctor_process_ends_on_a_closed_pipe() {
    let _namespace = Namespace::enter();
    let _held = exhausted();
    let mut child = doctor(&["-i", "500ms", "-o", "json"]).spawn().expect("it starts");
    drop(child.stdout.take());
    assert_eq!(ended(child), (Some(0), String::new()));
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full exists");
    let Finished { status, stderr, .. } = run(doctor(&["-i", "50ms"]).stdout(full));
    assert_eq!(status, Some(2));
    assert!(
        stderr.starts_with("tcpstate: cannot write to stdout: No space left on device"),
        "{stderr}"
    );
}

#[test]
fn doctor_process_ends_its_wait_on_a_signal() {
    let _namespace = Namespace::enter();
    let _held = exhausted();
    for number in [Signal::SIGINT, Signal::SIGTERM] {
        let mut child = doctor(&["-i", "1h", "-o", "json"]).spawn().expect("it starts");
        // Wait until `doctor` has a handler for the signal. Without a handler, the signal would
        // kill the process.
        let pid = child.id();
        tcpstate_tests::wait::until("it to catch the signal", || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t"));
            let caught =
                u64::from_str_radix(caught.expect("the kernel reports it"), 16).expect("a mask");
            caught & 1 << (number as u32 - 1) != 0
        });
        signal(&child, number);
        let mut stdout = String::new();
        child.stdout.take().expect("it is piped").read_to_string(&mut stdout).expect("it is text");
        assert!(stdout.contains(r#""type":"verdict""#), "{stdout}");
        assert_eq!(ended(child), (Some(1), String::new()));
    }
}

/// Runs `doctor` without /proc/sys, like a container without the host's /proc.
#[test]
fn doctor_process_without_proc_reports_unknown_and_does_not_fail() {
    let _namespace = Namespace::enter();
    let mut command = Command::new("unshare");
    let hidden =
        "mount -t tmpfs none /proc/sys && exec \"$0\" doctor -i 50ms -o json --sysctl-root /sys";
    let Finished { status, stdout, stderr } =
        run(command.args(["--mount", "sh", "-c", hidden, env!("CARGO_BIN_EXE_tcpstate")]));
    assert_eq!((status, stderr.as_str()), (Some(0), ""), "{stdout}");
    let t2 =
        stdout.lines().find(|line| line.contains(r#""id":"T2""#)).expect("each rule has a finding");
    assert!(t2.contains(r#""level":"unknown""#) && t2.contains("Mount /proc here"), "{t2}");
}

/// Runs `doctor --replay` on a recording.
fn of_recording(file: &str, arguments: &[&str]) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpstate"));
    run(command.args(["doctor", "--replay", file]).args(arguments))
}

/// Returns the path of the checked-in recording whose name contains `part`.
fn recording(part: &str) -> String {
    let file = in_tree().into_iter().find(|file| file.to_string_lossy().contains(part));
    file.and_then(|file| file.to_str().map(str::to_owned)).expect("there is one")
}

/// Runs in a separate network namespace. If the test fails and BPF programs missed events
/// meanwhile, the test is repeated.
#[test]
fn doctor_of_a_recording_agrees_with_the_kernel_and_reports_the_rest_as_unknown() {
    for attempt in 1..=ATTEMPTS {
        let _namespace = Namespace::enter();
        let mut audit = Traced::start();
        let checked = catch_unwind(check_counts);
        let missed = audit.snapshot().missed.events() + audit.uncounted();
        match checked {
            Ok(()) => return,
            Err(panic) if missed == 0 || attempt == ATTEMPTS => resume_unwind(panic),
            Err(_) => println!("attempt {attempt}: {missed} events were kept from the programs"),
        }
    }
}

fn check_counts() {
    const CONNECTIONS: u64 = 30;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("run.tcps");
    let file = file.to_str().expect("it is text");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpstate"));
    command.args(["trace", "-o", "json", "-i", "50ms", "--record", file]);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut stdout = child.stdout.take().expect("it is piped");
    assert_eq!(stdout.read(&mut [0]).expect("the pipe is open"), 1);
    let counted = |name: &str| {
        let snmp = std::fs::read_to_string("/proc/thread-self/net/snmp").expect("it is there");
        let mut rows = snmp.lines().filter_map(|row| row.strip_prefix("Tcp: "));
        let (names, numbers) = (rows.next().expect("names"), rows.next().expect("numbers"));
        let mut pairs = names.split(' ').zip(numbers.split(' '));
        let number = pairs.find(|pair| pair.0 == name).expect("the kernel counts it").1;
        number.parse::<u64>().expect("a number")
    };
    let names = ["ActiveOpens", "PassiveOpens", "EstabResets"];
    let before = names.map(counted);
    let listener = Listener::open(Family::V4);
    for _ in 0..CONNECTIONS {
        let (client, server) = (listener.connect(), listener.accept());
        reset(client);
        drop(server);
    }
    let after = names.map(counted);
    signal(&child, Signal::SIGINT);
    stdout.read_to_end(&mut Vec::new()).expect("the pipe is open");
    let _ = child.wait().expect("it ends");
    let Finished { status, stdout, stderr } = of_recording(file, &["-o", "json"]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""), "{stdout}");
    let finding = |id: &str| -> Value {
        let lines = stdout.lines().map(|line| serde_json::from_str(line).expect("an object"));
        let mut lines = lines.filter(|line: &Value| line["id"] == id);
        lines.next().expect("each rule has a finding")
    };
    let r1 = finding("R1");
    if r1["level"] == "unknown" {
        // On some kernels, BPF programs miss events, so the counts in the recording are too low.
        println!("skipped: {}", r1["summary"]);
    } else {
        let [active, passive, resets] = [0, 1, 2].map(|at| after[at] - before[at]);
        assert_eq!((&r1["level"], &r1["numbers"]["resets"]), (&"info".into(), &resets.into()));
        assert_eq!(r1["numbers"]["opened"], active + passive, "{r1}");
        let source = r1["source"].as_str().expect("it is text");
        assert!(source.starts_with("run.tcps, instead of /proc/net/snmp Tcp"), "{source}");
    }
    // A recording contains the sysctls, so the findings about sysctls are known. In a replay,
    // findings have the result unknown if they need sockets or files of the recorded system.
    assert_eq!(finding("T5")["level"], "ok", "{}", finding("T5"));
    for id in ["P1", "C1", "S1", "F2", "A1", "A6"] {
        let finding = finding(id);
        assert_eq!(finding["level"], "unknown", "{finding}");
        let advice = finding["advice"].as_str().expect("it is text");
        assert!(advice.starts_with("Run tcpstate doctor on that system"), "{finding}");
    }
}

#[test]
fn doctor_of_a_cut_recording_uses_the_part_before_the_cut() {
    let mut bytes = std::fs::read(recording("6.12-connections")).expect("it can be read");
    // Append the first bytes of an incomplete frame.
    bytes.extend([1, 0, 0]);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let cut = folder.path().join("cut.tcps");
    std::fs::write(&cut, bytes).expect("the test owns the folder");
    let Finished { status, stdout, stderr } =
        of_recording(cut.to_str().expect("it is text"), &["--all"]);
    assert_eq!(status, Some(2), "{stderr}");
    assert!(stdout.contains("\nOK       T1  no connection closed"), "{stdout}");
    assert!(stderr.contains("it ends within the frame at byte "), "{stderr}");
}

#[test]
fn doctor_of_a_killed_recording_says_that_it_has_no_end() {
    let bytes = std::fs::read(recording("6.12-connections")).expect("it can be read");
    let mut records = read(&bytes);
    records.retain(|record| match record {
        Record::Report(report) => !matches!(**report, Report::End(_)),
        Record::Events(_) => true,
    });
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let killed = folder.path().join("killed.tcps");
    std::fs::write(&killed, written(&records)).expect("the test owns the folder");
    let killed = killed.to_str().expect("it is text");
    let Finished { status, stderr, .. } = of_recording(killed, &[]);
    let said = format!(
        "tcpstate: the recording {killed} has no end: its tcpstate was killed, or still writes it\n"
    );
    assert_eq!((status, stderr), (Some(0), said));
}

#[test]
fn error_doctor_of_a_recording_without_snapshot() {
    let row = Row::of("error_doctor_of_a_recording_without_snapshot");
    row.assert(&of_recording(&recording("6.12-connections"), &["--from", "1h"]));
}

#[test]
fn error_doctor_of_a_recording_of_all_namespaces() {
    let row = Row::of("error_doctor_of_a_recording_of_all_namespaces");
    row.assert(&of_recording(&recording("6.12-namespaces"), &[]));
}

//! `doctor` as a process: lines and exit status, thresholds, pipes, and what it sees without privilege.

use std::{
    io::Read as _,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tcpstate_tests::{
    command::{Finished, run},
    netns::{Namespace, sysctl},
    traffic::{Family, Listener},
};

const NOBODY: u32 = 65534;

fn doctor(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpstate"));
    command
        .args(["doctor", "--sysctl-root", "/sys"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A range of two ports with both in use, while this lives.
fn exhausted() -> (Listener, Vec<socket2::Socket>) {
    let listener = Listener::open(Family::V4);
    sysctl("net.ipv4.ip_local_port_range", "40000 40001");
    let clients = vec![listener.connect(), listener.connect()];
    (listener, clients)
}

#[test]
fn doctor_process_prints_findings_and_a_verdict_as_promised() {
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
        findings.iter().find(|finding| finding["id"] == "P1").expect("each rule says something");
    assert_eq!((&p1["level"], &p1["numbers"]["taken"]), (&"crit".into(), &2.into()));
}

#[test]
fn doctor_process_fails_from_the_level_that_was_asked_for_on() {
    let _namespace = Namespace::enter();
    // One finding of level info: a listener in the range.
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
fn doctor_process_works_without_privilege_and_says_what_it_can_not_see() {
    let _namespace = Namespace::enter();
    let _held = exhausted();
    // Nobody can't run what lies below root's home.
    let public = tempfile::tempdir().expect("there is a place for temporary files");
    let program = public.path().join("tcpstate");
    std::fs::copy(env!("CARGO_BIN_EXE_tcpstate"), &program).expect("it is ours");
    std::fs::set_permissions(public.path(), std::fs::Permissions::from_mode(0o755))
        .expect("it is ours");
    let mut command = Command::new(program);
    command.args(["doctor", "-i", "50ms", "-o", "json", "--sysctl-root", "/sys"]);
    let Finished { status, stdout, stderr } = run(command.uid(NOBODY).gid(NOBODY));
    assert_eq!((status, stderr.as_str()), (Some(1), ""));
    let p1 = stdout
        .lines()
        .find(|line| line.contains(r#""id":"P1""#))
        .expect("each rule says something");
    let p1: Value = serde_json::from_str(p1).expect("a line is a JSON object");
    assert_eq!((&p1["level"], &p1["numbers"]["owner"]), (&"crit".into(), &Value::Null));
}

#[test]
fn doctor_process_takes_thresholds_and_names_what_is_wrong_with_them() {
    let _namespace = Namespace::enter();
    let folder = tempfile::tempdir().expect("there is a place for temporary files");
    let file = folder.path().join("my.toml");
    let name = file.to_str().expect("temporary names are text");
    let with = |text: &str| {
        std::fs::write(&file, text).expect("it is ours");
        run(&mut doctor(&["-i", "50ms", "--thresholds", name]))
    };
    let _held = exhausted();
    let Finished { status, stdout, .. } = with("[ports]\nused_crit = 1\nused_warn = 1\n");
    assert_eq!((status, stdout.contains("CRIT")), (Some(1), true));

    for (text, place) in [
        ("[ports]\nused_warm = 0.5\n", ", line 2, column 1: unknown field `used_warm`"),
        ("[ports]\nused_warn = 50\n", ", line 2, column 13: 50 is no share"),
        ("[ports\n", ", line 1, column "),
    ] {
        let Finished { status, stdout, stderr } = with(text);
        assert_eq!((status, stdout.as_str()), (Some(2), ""), "{text}");
        assert!(stderr.starts_with(&format!("tcpstate: {name}{place}")), "{stderr}");
        assert!(
            stderr.ends_with("\nremedy: compare it with: tcpstate doctor --print-thresholds\n"),
            "{stderr}"
        );
        assert_eq!(stderr.lines().count(), 2, "{stderr}");
    }
    let Finished { status, stderr, .. } = run(&mut doctor(&["--thresholds", "/nonexistent.toml"]));
    assert_eq!(status, Some(2));
    assert!(stderr.starts_with("tcpstate: read /nonexistent.toml: No such file"), "{stderr}");

    let Finished { status, stdout: printed, .. } = run(&mut doctor(&["--print-thresholds"]));
    assert_eq!(status, Some(0));
    // What is printed can be given back, and changes nothing.
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
    let status = child.wait().expect("the child is ours");
    let mut stderr = String::new();
    child.stderr.take().expect("it is piped").read_to_string(&mut stderr).expect("it is text");
    (status.code(), stderr)
}

#[test]
fn doctor_process_takes_a_closed_pipe_for_the_end() {
    let _namespace = Namespace::enter();
    let _held = exhausted();
    let mut child = doctor(&["-i", "500ms", "-o", "json"]).spawn().expect("it starts");
    drop(child.stdout.take());
    assert_eq!(ended(child), (Some(0), String::new()));
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full exists");
    let Finished { status, stderr, .. } = run(doctor(&["-i", "50ms"]).stdout(full));
    assert_eq!(status, Some(2));
    assert!(stderr.starts_with("tcpstate: write to stdout: No space left on device"), "{stderr}");
}

#[test]
fn doctor_process_makes_the_wait_short_on_either_signal() {
    let _namespace = Namespace::enter();
    let _held = exhausted();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut child = doctor(&["-i", "1h", "-o", "json"]).spawn().expect("it starts");
        // It listens for signals once it has opened its runtime; before, the signal would end it.
        let pid = Pid::from_raw(child.id().cast_signed());
        tcpstate_tests::wait::until("it to catch the signal", || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t"));
            let caught = u64::from_str_radix(caught.expect("the kernel says"), 16).expect("a mask");
            caught & 1 << (signal as u32 - 1) != 0
        });
        kill(pid, signal).expect("the child is ours");
        let mut stdout = String::new();
        child.stdout.take().expect("it is piped").read_to_string(&mut stdout).expect("it is text");
        assert!(stdout.contains(r#""type":"verdict""#), "{stdout}");
        assert_eq!(ended(child), (Some(1), String::new()));
    }
}

/// What a container without the host's /proc has to go by.
#[test]
fn doctor_process_without_proc_says_so_and_does_not_fail() {
    let _namespace = Namespace::enter();
    let mut command = Command::new("unshare");
    let hidden =
        "mount -t tmpfs none /proc/sys && exec \"$0\" doctor -i 50ms -o json --sysctl-root /sys";
    let Finished { status, stdout, stderr } =
        run(command.args(["--mount", "sh", "-c", hidden, env!("CARGO_BIN_EXE_tcpstate")]));
    assert_eq!((status, stderr.as_str()), (Some(0), ""), "{stdout}");
    let t2 = stdout
        .lines()
        .find(|line| line.contains(r#""id":"T2""#))
        .expect("each rule says something");
    assert!(t2.contains(r#""level":"unknown""#) && t2.contains("mount /proc here"), "{t2}");
}

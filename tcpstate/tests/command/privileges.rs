//! Tests which privileges each subcommand keeps in its run, as `/proc/PID/status` shows them.
#![allow(clippy::float_cmp, reason = "counts are whole numbers, which floats hold exactly")]

use std::{
    os::unix::fs::chown,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use tcpstate::probe::relinquish;
use tcpstate_common::State;
use tcpstate_tests::{
    command::{as_nobody, run},
    errors::Row,
    netns::{Namespace, Place},
    privileges::{
        BPF, DAC_OVERRIDE, DAC_READ_SEARCH, PERFMON, Privileges, SYS_ADMIN, SYS_PTRACE,
        assert_serve_as_another_user, of_threads, with_map_reads,
    },
    served::sockets,
    traffic::{Family, Listener},
    wait,
};

use super::{
    RECORDING,
    served::{PATIENCE, Server, serve},
};

const TCPSTATE: &str = env!("CARGO_BIN_EXE_tcpstate");

/// A child process. Dropping the value kills the process.
struct Running(Child);

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(TCPSTATE);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("it starts"))
    }

    /// Waits until all threads have exactly these capabilities, and no way to get more.
    fn assert_keeps(&mut self, what: &str, capabilities: u64) {
        let expected = [Privileges::of_root(capabilities)];
        wait::until_within(PATIENCE, what, || of_threads(self.0.id()) == expected);
        assert!(self.0.try_wait().expect("it is our child").is_none(), "{what} has ended");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ignore errors, because the process may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn privileges_of_serve_are_none_in_its_run() {
    let _namespace = Namespace::enter();
    let server = Server::start(&mut serve(&["--hist"]));
    let all = of_threads(server.pid());
    // The main thread has no capability on any kernel.
    let mut expected = vec![Privileges::of_root(0), Privileges::of_root(with_map_reads(0))];
    expected.dedup();
    assert_eq!(all, expected);
    let listener = Listener::open(Family::V6);
    let pairs = listener.pairs(3);
    server.scan();
    // Each connection has two sockets. The connection of the scraper also has two sockets.
    assert_eq!(sockets(&server, State::Established), 8.0);
    assert!(server.end().success());
    drop(pairs);
}

#[test]
fn privileges_do_not_come_back_after_execve() {
    // The state of a thread is the state of `serve` in its run. `cat` starts with this state.
    let cat = thread::spawn(|| {
        relinquish::confine().expect("a process may drop privileges");
        relinquish::keep_only(&[]).expect("a process may drop privileges");
        run(Command::new("cat").arg("/proc/self/status"))
    });
    let cat = cat.join().expect("it does not panic");
    assert_eq!(Privileges::parse(&cat.stdout), Privileges::of_root(0));
}

#[test]
fn privileges_of_serve_as_another_user_are_none_and_scans_work() {
    assert_serve_as_another_user(TCPSTATE);
}

#[test]
fn privileges_of_serve_by_netns_reach_namespaces_made_after_the_start() {
    let _namespace = Namespace::enter();
    let scans = ["--by", "netns", "--user", "65534", "--max-series", "10000"];
    let no_scans = [&scans[..], &["--reconcile", "off", "--max-audit-cpu", "0"]].concat();
    for (arguments, kept) in
        [(&scans[..], SYS_ADMIN | SYS_PTRACE | DAC_READ_SEARCH), (&no_scans, with_map_reads(0))]
    {
        let server = Server::start(&mut serve(arguments));
        let mut expected = vec![Privileges::of_nobody(0), Privileges::of_nobody(kept)];
        expected.dedup();
        assert_eq!(of_threads(server.pid()), expected, "{arguments:?}");
        let place = Place::new();
        let held = place.inside(|| {
            let listener = Listener::open(Family::V4);
            let pairs = listener.pairs(11);
            (listener, pairs)
        });
        if kept & SYS_ADMIN != 0 {
            server.scan();
        }
        let series = format!(
            "tcpstate_netns_connections{{netns=\"{}\",name=\"\",state=\"established\"}}",
            place.inode()
        );
        let found = server.metrics();
        assert_eq!(found.get(&series), Some(&22.0), "{arguments:?}: {found:?}");
        assert!(server.end().success());
        drop(held);
    }
}

#[test]
fn privileges_of_trace_and_hist_are_those_of_scans_and_hooks() {
    let _namespace = Namespace::enter();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("run.tcps");
    let file = file.to_str().expect("the path is text");
    let every_namespace = SYS_ADMIN | SYS_PTRACE | DAC_READ_SEARCH;
    for (arguments, kept) in [
        (&["trace", "-i", "1h"][..], 0),
        (&["trace", "--events"], DAC_READ_SEARCH),
        (&["trace", "-i", "1h", "--netns", "all"], every_namespace),
        (&["trace", "-i", "1h", "--record", file], DAC_OVERRIDE),
        (&["hist", "-i", "1h"], DAC_READ_SEARCH),
    ] {
        let mut run = Running::start(arguments);
        run.assert_keeps(&format!("{arguments:?}"), BPF | PERFMON | kept);
    }
}

#[test]
fn privileges_of_count_and_doctor_are_those_that_read_processes() {
    for (arguments, kept) in [
        (&["count", "-i", "1h"][..], 0),
        (&["count", "-i", "1h", "--by", "process"], SYS_PTRACE | DAC_READ_SEARCH),
        (&["doctor", "-i", "1h"], SYS_PTRACE | DAC_READ_SEARCH),
    ] {
        Running::start(arguments).assert_keeps(&format!("{arguments:?}"), kept);
    }
}

#[test]
fn privileges_of_readers_of_recordings_are_none() {
    for arguments in [
        &["replay", RECORDING, "-o", "json", "--speed", "0.001"][..],
        &["trace", "--replay", RECORDING, "--speed", "0.001"],
    ] {
        Running::start(arguments).assert_keeps(&format!("{arguments:?}"), 0);
    }
}

/// A folder of another user, which only this user may enter.
fn folder_of_nobody() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    chown(folder.path(), Some(65534), Some(65534)).expect("root may give files away");
    folder
}

#[test]
fn privileges_suffice_for_recordings_in_folders_of_other_users() {
    let _namespace = Namespace::enter();
    let folder = folder_of_nobody();
    let file = folder.path().join("run.tcps");
    let path = |file: &Path| file.to_str().expect("the path is text").to_owned();
    let trace = ["trace", "-n", "2", "-i", "50ms", "--record", &path(&file)];
    let trace = run(Command::new(TCPSTATE).args(trace));
    assert_eq!(trace.status, Some(0), "{trace:?}");
    for arguments in [
        &["replay", &path(&file), "-o", "json"][..],
        &["trace", "--replay", &path(&file)],
        &["doctor", "--replay", &path(&file)],
    ] {
        let read = run(Command::new(TCPSTATE).args(arguments));
        assert!(read.stderr.is_empty() && !read.stdout.is_empty(), "{arguments:?}: {read:?}");
    }
}

#[test]
fn error_other_user() {
    let mut serve = as_nobody(&["bpf", "perfmon"], TCPSTATE);
    serve.args(["serve", "--listen", "127.0.0.1:0", "--user", "1234"]);
    Row::of("error_other_user").assert(&run(&mut serve));
}

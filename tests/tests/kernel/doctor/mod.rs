//! Tests each rule of `doctor` on a real kernel, in a namespace with one network problem. The rule
//! for the problem must report the problem, and no other rule may report anything.
//!
//! A test cannot create some problems in a namespace. Unit tests of the rules cover these remaining
//! problems: tcp_tw_recycle (removed from Linux), the host's orphans, and the host's connection
//! tracking.

mod in_flight;
mod ports;

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use socket2::Socket;
use tcpstate::doctor::{Finding, Level, Opening, Paths, Thresholds, diagnose};
use tcpstate_common::State;
use tcpstate_tests::{
    emulated::scaled,
    netns::{Namespace, sysctl},
    traffic::{Family, Idle, Listener, Load, Style, bound, connecting, deafen, shutdown, socket},
    truth, wait,
};

/// Returns the paths that `doctor` reads. The folder `root` contains no sysctl files, so the sysctl
/// files of this machine are not read.
fn paths() -> Paths {
    Paths { root: "/sys".into(), ..Paths::default() }
}

/// Runs `during` between the two readings of `doctor`, and returns the findings.
fn found_with(thresholds: &Thresholds, during: impl FnOnce()) -> Vec<Finding> {
    let opening = Opening::read(paths());
    during();
    diagnose(&opening.close().expect("the kernel has a version"), thresholds)
}

fn found(during: impl FnOnce()) -> Vec<Finding> {
    found_with(&Thresholds::default(), during)
}

/// Parses thresholds in the format of the user's file.
fn thresholds(text: &str) -> Thresholds {
    Thresholds::parse(text).expect("the thresholds are right")
}

/// Returns the findings of one rule.
fn of<'a>(findings: &'a [Finding], id: &str) -> Vec<&'a Finding> {
    findings.iter().filter(|finding| finding.id == id).collect()
}

/// Asserts that this rule has exactly one finding, and that the finding has this level. Returns the
/// finding.
#[track_caller]
fn only<'a>(findings: &'a [Finding], id: &str, level: Level) -> &'a Finding {
    let [finding] = of(findings, id)[..] else { panic!("{id}: {findings:#?}") };
    assert_eq!(finding.level, level, "{finding:#?}");
    finding
}

/// Asserts that exactly these rules have findings above `info`.
#[track_caller]
fn assert_alarms(findings: &[Finding], expected: &[&str]) {
    let above = |finding: &&Finding| finding.level > Level::Info;
    let mut alarms: Vec<&str> = findings.iter().filter(above).map(|finding| finding.id).collect();
    alarms.dedup();
    assert_eq!(alarms, expected, "{findings:#?}");
}

/// Asserts that no fact is unknown. In a namespace, root can read all facts except the host's limit
/// of orphans.
#[track_caller]
fn assert_all_seen(findings: &[Finding]) {
    let unknown = findings.iter().filter(|finding| finding.level == Level::Unknown);
    assert_eq!(unknown.map(|finding| finding.id).collect::<Vec<_>>(), ["F2"], "{findings:#?}");
}

#[test]
fn doctor_reports_nothing_in_a_healthy_namespace() {
    let _namespace = Namespace::enter();
    let _idle = Idle::open(2002, &Family::BOTH);
    let load = Load::start(1, Style::Mixed);
    wait::until("23 connections", || load.completed() >= 23);
    let findings = found(|| {
        let before = load.completed();
        wait::until("23 more", || load.completed() >= before + 23);
    });
    let _ = load.stop();
    assert_alarms(&findings, &[]);
    assert_all_seen(&findings);
}

/// A program that opens connections and never closes them. The program is killed when this value is
/// dropped.
struct Leaky(Child);

impl Leaky {
    /// Starts the program with this limit of open files. Returns `None` if no shell can start the
    /// program.
    fn start(listener: &Listener, connections: usize, max_files: usize) -> Option<Self> {
        let script = format!(
            "ulimit -n {max_files} || exit 1; for i in {{1..{connections}}}; do exec {{fd}}<>/dev/tcp/127.0.0.1/{}; done; read -r",
            listener.port()
        );
        let mut command = Command::new("bash");
        command.args(["-c", &script]).stdin(Stdio::piped());
        command.spawn().ok().map(Self)
    }
}

impl Drop for Leaky {
    fn drop(&mut self) {
        let _ = self.0.kill();
        self.0.wait().expect("the child is ours");
    }
}

#[test]
fn doctor_names_the_program_that_leaks_connections() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    for (max_files, level) in [(1000, Level::Warn), (200, Level::Crit)] {
        let Some(leaky) = Leaky::start(&listener, 107, max_files) else {
            println!("skipped: there is no bash");
            return;
        };
        // The server closes all connections, and the client program keeps its sockets open.
        for _ in 0..107 {
            drop(listener.accept());
        }
        let close_wait = || truth::sockets().full[State::CloseWait];
        wait::until("107 in CLOSE_WAIT", || close_wait() == 107);
        // Sockets in CLOSE_WAIT are reported only when they are five seconds old.
        assert_alarms(&found(|| ()), &[]);
        let mut findings = Vec::new();
        wait::until("them to be five seconds old", || {
            findings = found(|| ());
            of(&findings, "C1").iter().any(|finding| finding.level > Level::Info)
        });
        assert_alarms(&findings, &["C1"]);
        let leak = only(&findings, "C1", level);
        assert_eq!(leak.numbers["pid"], leaky.0.id());
        assert_eq!(leak.numbers["comm"], "bash");
        assert_eq!(
            (&leak.numbers["close_wait"], &leak.numbers["settled"]),
            (&107.into(), &107.into())
        );
        assert_eq!(leak.numbers["max_files"], max_files);
        drop(leaky);
        wait::until("all closed", || close_wait() == 0);
    }
}

#[test]
fn doctor_reports_accept_queues_that_are_not_emptied() {
    let _namespace = Namespace::enter();
    // The queue has space for one connection more than its length.
    let listener = Listener::on(Family::V4, bound(Family::V4), 9);
    let mut clients: Vec<Socket> = (0..7).map(|_| listener.connect()).collect();
    assert_alarms(&found(|| ()), &[]);
    clients.push(listener.connect());
    let findings = found(|| ());
    assert_alarms(&findings, &["S2"]);
    assert_eq!(only(&findings, "S2", Level::Warn).numbers["backlog"], 9);
    // The clients close, and their connections stay in the queue.
    drop(clients);
    let now = thresholds("[close_wait]\nsettled_seconds = 0");
    let close_wait = || truth::sockets().full[State::CloseWait];
    wait::until("8 in CLOSE_WAIT", || close_wait() == 8);
    let findings = found_with(&now, || ());
    assert_alarms(&findings, &["C2", "S2"]);
    let left = only(&findings, "C2", Level::Warn);
    assert_eq!((&left.numbers["never_accepted"], &left.numbers["waiting"]), (&8.into(), &8.into()));
    let own = format!("[{}]", std::process::id());
    assert!(left.summary.contains(&own), "{}", left.summary);
}

#[test]
fn doctor_sees_a_backlog_of_one_flooded() {
    let _namespace = Namespace::enter();
    let listener = Listener::on(Family::V4, bound(Family::V4), 1);
    let _one = listener.connect();
    assert_alarms(&found(|| ()), &[]);
    let mut held = Vec::new();
    let findings = found(|| {
        held.push(listener.connect());
        let before = truth::tcp_ext("ListenOverflows");
        held.extend((0..5).map(|_| connecting(Family::V4, listener.address())));
        wait::until("an overflow", || truth::tcp_ext("ListenOverflows") > before);
    });
    assert_alarms(&findings, &["S1"]);
    let full = only(&findings, "S1", Level::Crit);
    assert_eq!((&full.numbers["waiting"], &full.numbers["backlog"]), (&2.into(), &1.into()));
    assert!(full.numbers["overflows"].as_u64() >= Some(1), "{full:#?}");
    // After the connections are accepted, only the kernel's counter shows the overflow.
    let mut accepted = Vec::new();
    let findings = found(|| {
        let before = truth::tcp_ext("ListenOverflows");
        held.extend((0..9).map(|_| connecting(Family::V4, listener.address())));
        wait::until("an overflow", || truth::tcp_ext("ListenOverflows") > before);
        accepted.extend((0..2).map(|_| listener.accept()));
    });
    only(&findings, "S1", Level::Crit);
}

/// Creates clients that send a SYN and do not receive the SYN-ACK.
fn half_open(listener: &Listener, number: usize) -> Vec<Socket> {
    let client = |_| {
        let client = socket(Family::V4);
        deafen([&client]);
        client.set_nonblocking(true).expect("sockets can be non-blocking");
        client.connect(listener.address()).expect_err("the answer is not heard");
        client
    };
    (0..number).map(client).collect()
}

#[test]
fn doctor_sees_full_syn_queues_with_and_without_cookies() {
    let _namespace = Namespace::enter();
    for (cookies, counter, id, level) in [
        ("1", "TCPReqQFullDoCookies", "S3", Level::Warn),
        ("0", "TCPReqQFullDrop", "S4", Level::Crit),
    ] {
        sysctl("net.ipv4.tcp_syncookies", cookies);
        let listener = Listener::on(Family::V4, bound(Family::V4), 5);
        let mut clients = Vec::new();
        let findings = found(|| {
            let before = truth::tcp_ext(counter);
            clients = half_open(&listener, 23);
            wait::until("a full queue", || truth::tcp_ext(counter) > before);
        });
        assert_alarms(&findings, &[id]);
        only(&findings, id, level);
    }
}

#[test]
fn doctor_reports_destinations_that_do_not_answer() {
    let _namespace = Namespace::enter();
    // This listener is deaf, so it never answers.
    let dead = Listener::open(Family::V4);
    deafen([dead.socket()]);
    let _clients: Vec<Socket> = (0..53).map(|_| connecting(Family::V4, dead.address())).collect();
    assert_alarms(&found(|| ()), &[]);
    let mut findings = Vec::new();
    wait::until_within(Duration::from_secs(30), "each SYN to be sent three times", || {
        findings = found(|| ());
        of(&findings, "S6").iter().any(|finding| finding.level > Level::Info)
            && only(&findings, "S6", Level::Warn).numbers["unanswered"] == 53
    });
    assert_alarms(&findings, &["S6"]);
    let silent = only(&findings, "S6", Level::Warn);
    assert_eq!(silent.numbers["destination"], format!("127.0.0.1:{}", dead.port()));
}

#[test]
fn doctor_reports_half_closed_connections() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let (clients, _servers) = listener.pairs(101);
    shutdown(&clients);
    wait::until("101 in FIN_WAIT2", || truth::sockets().full[State::FinWait2] == 101);
    assert_alarms(&found(|| ()), &[]);
    let now = thresholds("[orphans]\nfin_wait2_seconds = 0\n[close_wait]\nsettled_seconds = 60");
    let findings = found_with(&now, || ());
    assert_alarms(&findings, &["F1"]);
    let held = only(&findings, "F1", Level::Warn);
    assert_eq!(
        (&held.numbers["fin_wait2"], &held.numbers["pid"]),
        (&101.into(), &std::process::id().into())
    );
    // Orphans belong to no process, and the kernel removes orphans after a timeout, so no rule
    // reports orphans.
    drop(clients);
    assert_alarms(&found_with(&now, || ()), &[]);
}

#[test]
fn doctor_reports_unacknowledged_fins() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let (clients, servers) = listener.pairs(101);
    shutdown(&clients);
    wait::until("101 in CLOSE_WAIT", || truth::sockets().full[State::CloseWait] == 101);
    deafen(&servers);
    drop(servers);
    wait::until("101 in LAST_ACK", || truth::sockets().full[State::LastAck] == 101);
    assert_alarms(&found(|| ()), &[]);
    let findings = found_with(&thresholds("[orphans]\nlast_ack_seconds = 0"), || ());
    assert_alarms(&findings, &["F3"]);
    assert_eq!(only(&findings, "F3", Level::Warn).numbers["last_ack"], 101);
}

#[test]
fn doctor_reports_how_connections_end() {
    let _namespace = Namespace::enter();
    let wanted = scaled(1009);
    for (style, id) in [(Style::Rst, "R1"), (Style::Close, "T9")] {
        let load = Load::start(1, style);
        // Both sides of each connection are sockets of this namespace, so at most half of the
        // sockets can be the side that the rule counts.
        let quick = thresholds("[time_wait]\nshort_per_second = 10\nshort_share = 0.3");
        let findings = found_with(&quick, || {
            let before = load.completed();
            wait::until("connections", || load.completed() >= before + wanted);
        });
        let _ = load.stop();
        assert_alarms(&findings, &[]);
        only(&findings, id, Level::Info);
    }
}

//! The sections `asking-time-wait`, `asking-established` and `minute` of `cargo xtask bench`
//! measure the cost of counting sockets by state. The benchmark compares tcpstate with common
//! tools.
//!
//! All tools run alternately in one network namespace, in which a known number of sockets is in one
//! state. The cost of a tool is the user and system time of all processes of the tool, including
//! the start and the exit of the processes. The benchmark checks that each tool prints the right
//! number.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use tcpstate::tracer::Tracer;
use tcpstate_common::State;
use tcpstate_tests::{
    measure::Cost,
    netns::{Namespace, Sysctl},
    own::Own,
    peers::{SS, ss},
    rows::{Turns, is_full},
    traced::options,
    traffic::{Family, Idle, leave_time_wait},
};

/// The number of sockets: a well-known article describes a host with 46,807 TIME_WAIT sockets.
const SOCKETS: usize = 46_807;
/// The maximum time for creating the time-wait sockets. If the creation takes longer, the first
/// sockets expire before all tools have run.
const PATIENCE: Duration = Duration::from_secs(30);
const SNAPSHOT: &str = "a snapshot of trace";
/// The number of snapshots in one measurement. A single snapshot is too short to measure.
const SNAPSHOTS: u32 = 20;

fn main() {
    // The number of turns is small, so that all turns end before the first time-wait socket
    // expires.
    let sizes: &[(usize, usize)] =
        if is_full() { &[(1_000, 9), (SOCKETS, 7), (250_000, 3)] } else { &[(5_000, 1)] };
    for &(sockets, turns) in sizes {
        let _namespace = Namespace::enter();
        // Raise the limit of time-wait sockets, because the default limit is too low on small
        // machines.
        let _room = Sysctl::held("net.ipv4.tcp_max_tw_buckets", "300000");
        let began = Instant::now();
        leave_time_wait(sockets, &[Family::V4]);
        if began.elapsed() < PATIENCE {
            ask("asking-time-wait", State::TimeWait, sockets, turns);
        } else {
            let mut rows = Turns::new("asking-time-wait", Some(sockets as u64));
            let why = format!("took {:.0?} to make, and the first end after 60 s", began.elapsed());
            rows.absent("all of these", why);
            rows.print("");
        }
    }
    if !is_full() {
        return;
    }
    for &(sockets, turns) in sizes {
        // The number of sockets must be even, because each connection has two sockets.
        let sockets = sockets.next_multiple_of(2);
        let _namespace = Namespace::enter();
        let _idle = Idle::open(sockets, &[Family::V4]);
        ask("asking-established", State::Established, sockets, turns);
        if sockets == SOCKETS.next_multiple_of(2) {
            a_minute(sockets);
        }
    }
}

fn ask(section: &'static str, state: State, sockets: usize, turns: usize) {
    let mut rows = Turns::new(section, Some(sockets as u64));
    let mut tracer = Tracer::start(&options()).expect("the kernel loads the programs");
    for _ in 0..turns {
        for query in queries(state, sockets) {
            let Query { what, mut command, line } = query;
            match Cost::of_command(&mut command, &line) {
                Ok(cost) => rows.add_cost(what, cost),
                Err(why) => rows.absent(what, why),
            }
        }
        let cost = Cost::of_each(SNAPSHOTS, || {
            let snapshot = tracer.snapshot().expect("a snapshot can be taken");
            let gauge = snapshot.gauge(state).and_then(|gauge| gauge.current);
            assert_eq!(gauge, i64::try_from(sockets).ok(), "{state}");
        });
        rows.add_cost(SNAPSHOT, cost);
    }
    rows.print(SS);
}

/// A command that counts sockets, and the line that the command prints if the number is right.
struct Query {
    what: &'static str,
    command: Command,
    line: String,
}

fn queries(state: State, sockets: usize) -> Vec<Query> {
    let of_shell = |what, script: &str, line| {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Query { what, command, line }
    };
    let count = {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tcpstate"));
        command.arg("count");
        Query { what: "tcpstate count", command, line: format!("{state}\t{sockets}") }
    };
    let is_time_wait = state == State::TimeWait;
    let of_ss = if is_time_wait { "TIME-WAIT" } else { "ESTAB" };
    // The expected number of full sockets, and the expected number of time-wait sockets.
    let (full, minis) = if is_time_wait { (0, sockets) } else { (sockets, 0) };
    vec![
        of_shell(
            "netstat -tan | awk",
            "netstat -tan | awk '/^tcp/ {++s[$NF]} END {for (state in s) print state, s[state]}'",
            format!("{state} {sockets}"),
        ),
        Query { what: SS, command: ss(), line: format!("{of_ss} {sockets}") },
        of_shell(
            "ss -s",
            // Ignore the number of closed sockets, because `ss -s` counts closed sockets in all
            // network namespaces of the machine.
            "ss -s | sed -n 's/^TCP:.*(estab \\([0-9]*\\),.*timewait \\([0-9]*\\)).*/\\1 \\2/p'",
            format!("{full} {minis}"),
        ),
        of_shell(
            "/proc/net/sockstat",
            "sed -n 's/^TCP: inuse \\([0-9]*\\) .* tw \\([0-9]*\\) .*/\\1 \\2/p' /proc/net/sockstat",
            format!("{full} {minis}"),
        ),
        count,
    ]
}

/// Measures the CPU time that each tool uses to count once per second for a minute.
fn a_minute(sockets: usize) {
    const SECONDS: u32 = 60;
    let mut rows = Turns::new("minute", Some(sockets as u64));
    let trace = Own::start(env!("CARGO_BIN_EXE_tcpstate"), &["trace", "-i", "1s", "-o", "json"]);
    let (began, before) = (Instant::now(), trace.processor_time());
    let mut sums: Vec<(&str, Duration)> = Vec::new();
    for second in 1..=SECONDS {
        for (number, query) in queries(State::Established, sockets).into_iter().enumerate() {
            let Query { what, mut command, line } = query;
            match Cost::of_command(&mut command, &line) {
                Ok(cost) if number < sums.len() => sums[number].1 += cost.processor,
                Ok(cost) => sums.push((what, cost.processor)),
                Err(why) => rows.absent(what, why),
            }
        }
        let due = Duration::from_secs(second.into());
        thread::sleep(due.saturating_sub(began.elapsed()));
    }
    let of_trace = trace.processor_time().saturating_sub(before);
    let lines = trace.stop();
    let snapshots = lines.filter(|line| line.contains(r#""type":"snapshot""#)).count();
    assert!(snapshots >= SECONDS as usize - 1, "{snapshots} snapshots");
    sums.push(("tcpstate trace -i 1s", of_trace));
    for (what, time) in sums {
        rows.add(what, "CPU ms", 1e3 * time.as_secs_f64());
    }
    rows.print(SS);
}

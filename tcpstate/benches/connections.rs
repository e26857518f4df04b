//! The sections `connections`, `processors` and `share` of `cargo xtask bench` measure how much a
//! tracer slows an application. The benchmark measures connections per second and CPU time per
//! connection. The benchmark makes the same traffic alternately without a tracer and with each
//! tracer.
//!
//! For a loopback connection, all kernel work counts as CPU time of the sending process. The BPF
//! programs are part of this kernel work, so the CPU time of the sending process includes the BPF
//! programs. The benchmark adds the CPU time of the tracer's process to the CPU time of the sending
//! process.

use std::{process, thread, time::Duration};

use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use tcpstate_tests::{
    measure::{Empty, RunTime, during, processor_time},
    netns::Namespace,
    own::Own,
    peers::{Peer, Running},
    rows::{Turns, is_full},
    traffic::{Load, Style},
};

const TCPSTATE: &str = env!("CARGO_BIN_EXE_tcpstate");
const UNTRACED: &str = "untraced";

/// The number of turns, the duration of each turn, the numbers of threads that make traffic, and
/// the tools that are compared.
struct Size {
    /// The number of turns. With an odd number of turns, the median is one of the measurements.
    turns: usize,
    time: Duration,
    threads: &'static [usize],
    peers: &'static [Peer],
}

const QUICK: Size = Size { turns: 1, time: Duration::from_millis(500), threads: &[1], peers: &[] };
const FULL: Size =
    Size { turns: 5, time: Duration::from_millis(700), threads: &[1, 4], peers: &Peer::ALL };

fn main() {
    let size = if is_full() { FULL } else { QUICK };
    let tracers: Vec<Tracer> =
        Tracer::OURS.into_iter().chain(size.peers.iter().copied().map(Tracer::Peer)).collect();
    for &threads in size.threads {
        by_turns("connections", threads, &tracers, &size);
    }
    let all = sched_getaffinity(Pid::from_raw(0)).expect("every process can read its affinity");
    let available: Vec<usize> =
        (0..CpuSet::count()).filter(|&cpu| all.is_set(cpu).unwrap_or(false)).collect();
    for processors in [1, 2, 4, 8].into_iter().filter(|&few| few <= available.len()) {
        let mut some = CpuSet::new();
        for &cpu in &available[..processors] {
            some.set(cpu).expect("the processor exists");
        }
        // Set the affinity of this process. Processes that the benchmark starts later inherit the
        // affinity.
        sched_setaffinity(Pid::from_raw(0), &some).expect("the process may use these CPUs");
        by_turns("processors", processors, &Tracer::OURS[..2], &size);
    }
    sched_setaffinity(Pid::from_raw(0), &all).expect("the old affinity can be restored");
    share(&size);
}

/// In each turn, makes connections with `threads` threads, once with each tracer.
fn by_turns(section: &'static str, threads: usize, tracers: &[Tracer], size: &Size) {
    let mut rows = Turns::new(section, Some(threads as u64));
    for _ in 0..size.turns {
        // Use a new network namespace for each turn. When the kernel deletes this namespace, the
        // kernel also frees the time-wait sockets of the turn.
        let _namespace = Namespace::enter();
        for tracer in tracers {
            let name = tracer.name();
            if rows.is_absent(name) {
                continue;
            }
            match tracer.start() {
                Ok(started) => turn(&mut rows, name, threads, size.time, &started),
                Err(why) => rows.absent(name, why),
            }
        }
    }
    rows.print(UNTRACED);
}

fn turn(rows: &mut Turns, name: &str, threads: usize, time: Duration, started: &Started) {
    let load = Load::start(threads, Style::Mixed);
    thread::sleep(Duration::from_millis(100));
    let of_tracer = || started.processor_time();
    let before = (load.completed(), processor_time(process::id()), of_tracer());
    thread::sleep(time);
    let connections = load.completed() - before.0;
    let of_load = processor_time(process::id()).saturating_sub(before.1);
    let of_tracer = of_tracer().saturating_sub(before.2);
    let _ = load.stop();
    let microseconds = |time: Duration| 1e6 * time.as_secs_f64() / connections as f64;
    rows.add(name, "connections/s", connections as f64 / time.as_secs_f64());
    rows.add(name, "CPU us of load", microseconds(of_load));
    rows.add(name, "CPU us of tracer", microseconds(of_tracer));
    rows.add(name, "CPU us of both", microseconds(of_load + of_tracer));
}

/// Measures how much CPU time tcpstate's BPF programs use per connection (from the kernel's
/// statistics), and how much CPU time a connection uses without tracing.
fn share(size: &Size) {
    const PROGRAMS: &str = "our programs, net";
    let mut rows = Turns::new("share", None);
    // Measure many short turns. The result of one turn is inexact, because the result is a small
    // difference of two large numbers.
    for _ in 0..3 * size.turns {
        let _namespace = Namespace::enter();
        let load = Load::start(1, Style::Close);
        thread::sleep(Duration::from_millis(100));
        let before = (load.completed(), processor_time(process::id()));
        thread::sleep(size.time);
        let connections = load.completed() - before.0;
        let of_load = processor_time(process::id()).saturating_sub(before.1);
        let _ = load.stop();
        rows.add(UNTRACED, "ns a connection", of_load.as_nanos() as f64 / connections as f64);

        let _stats = enable_stats(Stats::RunTime).expect("root can enable the run-time statistics");
        let empty = Empty::at("inet_sock_set_state");
        let ns_of_empty = measure(|| empty.run_time()).0.ns_per_run();
        drop(empty);
        let others: Vec<u32> = ids().collect();
        let _own = Own::start(TCPSTATE, &["trace", "-o", "json"]);
        let ours: Vec<u32> = ids().filter(|id| !others.contains(id)).collect();
        let (run_time, connections) = measure(|| {
            let programs = loaded_programs().filter_map(Result::ok);
            RunTime::of(programs.filter(|program| ours.contains(&program.id())))
        });
        let measuring = ns_of_empty * run_time.runs as f64;
        let net = (run_time.time.as_nanos() as f64 - measuring) / connections as f64;
        rows.add(PROGRAMS, "ns a connection", net);
        rows.add(PROGRAMS, "runs a connection", run_time.runs as f64 / connections as f64);
    }
    rows.print(UNTRACED);
}

/// Measures the run time of BPF programs while connections are made and closed. Returns this run
/// time, and the number of connections.
fn measure(programs: impl FnMut() -> RunTime) -> (RunTime, u64) {
    const CONNECTIONS: u64 = 5_000;
    let load = Load::start(1, Style::Close);
    let run_time = during(&load, CONNECTIONS, programs);
    let _ = load.stop();
    (run_time, CONNECTIONS)
}

/// Returns the IDs of all BPF programs in the kernel.
fn ids() -> impl Iterator<Item = u32> {
    loaded_programs().filter_map(Result::ok).map(|program| program.id())
}

/// The tracer that runs during a measurement.
#[derive(Clone, Copy)]
enum Tracer {
    Untraced,
    /// tcpstate. The fields are the name of the row and the arguments of the command.
    Own(&'static str, &'static [&'static str]),
    Peer(Peer),
}

/// A running tracer, which stops when this value is dropped.
enum Started {
    Untraced,
    Own(Own),
    Peer(Running),
}

impl Tracer {
    const OURS: [Self; 5] = [
        Self::Untraced,
        Self::Own("tcpstate trace", &["trace", "-o", "json"]),
        Self::Own("tcpstate trace --netns all", &["trace", "--netns", "all", "-o", "json"]),
        Self::Own("tcpstate trace --events", &["trace", "--events", "-o", "json"]),
        Self::Own("tcpstate hist", &["hist", "-o", "json"]),
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Untraced => UNTRACED,
            Self::Own(name, _) => name,
            Self::Peer(peer) => peer.name(),
        }
    }

    fn start(self) -> Result<Started, String> {
        Ok(match self {
            Self::Untraced => Started::Untraced,
            Self::Own(_, arguments) => Started::Own(Own::start(TCPSTATE, arguments)),
            Self::Peer(peer) => Started::Peer(peer.start()?),
        })
    }
}

impl Started {
    fn processor_time(&self) -> Duration {
        match self {
            Self::Untraced => Duration::ZERO,
            Self::Own(own) => own.processor_time(),
            Self::Peer(running) => running.processor_time(),
        }
    }
}

//! `cargo xtask soak --minutes N` checks tcpstate during N minutes of heavy traffic.
//!
//! Three processes trace the whole host, audits included: `serve` with series of each namespace,
//! histograms and a textfile; `trace` with events, snapshots and a recording in several files; and
//! `hist` with groups and a recording.
//!
//! The test makes as many transitions as possible, creates and deletes network namespaces, and
//! scrapes without a pause. Memory may grow by [`MAX_GROWTH`] at most. The number of open
//! descriptors must not change, and no counter may fall. When the test ends, each gauge must be
//! equal to the number of sockets in the kernel. Leaks show only after minutes, so this check is
//! not part of the tests.
//!
//! The environment variable `TCPSTATE_SOAK_MINUTES` sets the duration in minutes.
#![allow(clippy::float_cmp, reason = "counts are whole numbers, which floats hold exactly")]

mod follower;

use std::{
    env, fs, iter,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use tcpstate_common::State;
use tcpstate_tests::{
    measure::resident_bytes,
    netns::{Namespace, Place},
    served::{Metrics, Server, metrics, serve},
    traffic::{Family, Listener, Load, Mixed, Style},
    truth::{self, Counts},
    wait,
};

use self::follower::Follower;

/// The part of the test's duration in which memory may grow without a limit. If the test takes ten
/// minutes, 0.2 means that growth is measured after the second minute.
const SETTLED: f64 = 0.2;
/// The allowed growth of the memory of a process in KiB. The heap of each process has 13 MiB from
/// the start on, because the kernel's types are read there. Later allocations use more and more of
/// these pages, so the resident memory grows in steps. In a run of 20 minutes, `hist` grew by 2,288
/// KiB from minute 4 on, and the size of its heap did not change.
const MAX_GROWTH: u64 = 4096;
/// The maximum wait for sockets in `TIME_WAIT` to end, and for gauges to become exact.
const PATIENCE: Duration = Duration::from_secs(180);
const SCRAPERS: usize = 4;
/// The `Accept` headers that request the two formats.
const ACCEPT: [&str; 2] = ["", "Accept: application/openmetrics-text;version=1.0.0\r\n"];

fn main() {
    let minutes = env::var("TCPSTATE_SOAK_MINUTES").ok();
    let minutes = minutes.and_then(|text| text.parse::<f64>().ok());
    let Some(minutes) = minutes.filter(|minutes| *minutes > 0.0) else {
        println!("nothing to do: TCPSTATE_SOAK_MINUTES says how long");
        return;
    };
    let whole = Duration::from_secs_f64(60.0 * minutes);
    let _namespace = Namespace::enter();
    let place = Place::new();
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let soak = Soak::start(&place, folder.path());
    let descriptors = soak.descriptors();
    let load = place.inside(|| Load::start(1, Style::Mixed));
    thread::scope(|scope| {
        for number in 0..SCRAPERS {
            let soak = &soak;
            scope.spawn(move || soak.scrape(ACCEPT[number % ACCEPT.len()]));
        }
        scope.spawn(|| soak.come_and_go());
        // Catch the panic of a failed check, and end the other threads before the panic continues.
        let watched = catch_unwind(AssertUnwindSafe(|| soak.watch(&load, whole)));
        soak.is_over.store(true, Relaxed);
        watched.unwrap_or_else(|fault| resume_unwind(fault));
    });
    let connections = load.stop();
    let last = soak.server.exact_metrics();
    report(&last, &soak, connections, whole);
    let (mixed, truth) = soak.assert_exact(&place);
    assert_eq!(soak.descriptors(), descriptors, "descriptors");
    for follower in soak.followers {
        follower.end(&truth);
    }
    assert!(soak.server.end().success());
    drop(mixed);
    println!("descriptors: {descriptors:?} before and after; counters never fell; gauges exact");
}

/// The processes of the soak test, and the work that was done until now.
struct Soak {
    server: Server,
    followers: Vec<Follower>,
    is_over: AtomicBool,
    scrapes: AtomicU64,
    namespaces: AtomicU64,
}

impl Soak {
    /// Starts the processes. Their files are in `folder`. `place` is the namespace with the
    /// traffic.
    fn start(place: &Place, folder: &Path) -> Self {
        let program = env!("CARGO_BIN_EXE_tcpstate");
        let file = |name: &str| folder.join(name).to_str().expect("ASCII").to_owned();
        let textfile = file("tcpstate.prom");
        let arguments = ["--by", "netns", "--hist", "--cost"];
        let textfile = ["--textfile", &textfile, "--textfile-interval", "1s"];
        let server = Server::start(&mut serve(program, &[&arguments[..], &textfile].concat()));
        let (trace, hist) = (file("trace.tcps"), file("hist.tcps"));
        let common = ["--netns", "all", "-o", "json", "--record"];
        let trace = [&trace, "--max-record-size", "16M", "--max-record-files", "3"];
        let of_trace = ["--events", "-i", "1s", "--cost"];
        let trace = [&common[..], &trace, &of_trace].concat();
        let hist = [&common[..], &[&hist], &["--by", "local-port", "-i", "10s"]].concat();
        let followers =
            vec![Follower::start("trace", &trace, place), Follower::start("hist", &hist, place)];
        // Scrape once before the measurement, because the first scrape allocates memory that later
        // scrapes reuse.
        let _ = server.metrics();
        Self {
            server,
            followers,
            is_over: AtomicBool::new(false),
            scrapes: AtomicU64::new(0),
            namespaces: AtomicU64::new(0),
        }
    }

    /// The name and the process ID of each process.
    fn processes(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let followers = self.followers.iter().map(|follower| (follower.name, follower.pid()));
        iter::once(("serve", self.server.pid())).chain(followers)
    }

    /// Scrapes until the soak test ends. Asserts that no counter is lower than in the previous
    /// scrape.
    fn scrape(&self, accept: &str) {
        let mut earlier = Metrics::new();
        while !self.is_over.load(Relaxed) {
            let response = self.server.get("/metrics", accept);
            assert_eq!(response.status, 200, "{response:?}");
            let now = metrics(&response.body);
            for (series, count) in earlier.iter().filter(|(series, _)| is_counter(series)) {
                assert!(now[series] >= *count, "{series} fell from {count} to {}", now[series]);
            }
            earlier = now;
            self.scrapes.fetch_add(1, Relaxed);
        }
    }

    /// Repeatedly creates a network namespace with some sockets, and deletes the namespace.
    fn come_and_go(&self) {
        while !self.is_over.load(Relaxed) {
            let place = Place::new();
            let held = place.inside(|| {
                let listener = Listener::open(Family::V6);
                (listener.pairs(3), listener)
            });
            thread::sleep(Duration::from_millis(50));
            drop(held);
            self.namespaces.fetch_add(1, Relaxed);
        }
    }

    /// Measures the memory until the soak test ends, and asserts that the memory grew by at most
    /// [`MAX_GROWTH`].
    fn watch(&self, load: &Load, whole: Duration) {
        let begin = Instant::now();
        let mut settled = None;
        println!("VmRSS of each process in KiB:");
        for name in ["seconds"].into_iter().chain(self.processes().map(|(name, _)| name)) {
            print!("{name:>9}");
        }
        println!(" connections  scrapes  namespaces      events");
        let mut next = Duration::ZERO;
        loop {
            let passed = begin.elapsed();
            let memory = self.resident();
            if passed >= next || passed >= whole {
                let count = |it: &AtomicU64| it.load(Relaxed);
                let (scrapes, namespaces) = (count(&self.scrapes), count(&self.namespaces));
                let connections = load.completed();
                print!("{:>9}", passed.as_secs());
                for memory in &memory {
                    print!("{memory:>9}");
                }
                let events = self.followers[0].lines().0;
                println!(" {connections:>11} {scrapes:>8} {namespaces:>11} {events:>11}");
                next = passed + whole / 20;
            }
            if settled.is_none() && passed >= whole.mul_f64(SETTLED) {
                settled = Some(memory.clone());
            }
            if passed >= whole {
                let settled = settled.expect("memory was measured before");
                let growth: Vec<_> = settled.iter().zip(&memory).collect();
                for ((name, _), (settled, memory)) in self.processes().zip(&growth) {
                    println!("{name}: VmRSS {settled} KiB when settled, {memory} at the end");
                }
                let is_flat = growth.iter().all(|(settled, end)| **end <= **settled + MAX_GROWTH);
                assert!(is_flat, "the memory of a process grew by more than {MAX_GROWTH} KiB");
                return;
            }
            thread::sleep(Duration::from_secs(1).min(whole / 40));
        }
    }

    /// Returns the resident memory of each process in KiB.
    fn resident(&self) -> Vec<u64> {
        self.processes().map(|(_, process)| resident_bytes(process) / 1024).collect()
    }

    /// Returns the number of open file descriptors of each process while no client is connected.
    fn descriptors(&self) -> Vec<usize> {
        let open = |process| {
            let count = || fs::read_dir(format!("/proc/{process}/fd")).expect("it runs").count();
            // Count the descriptors several times and use the lowest count, because the server may
            // not have closed the last connections yet.
            let mut least = count();
            for _ in 0..20 {
                thread::sleep(Duration::from_millis(100));
                least = least.min(count());
            }
            least
        };
        self.processes().map(|(_, process)| open(process)).collect()
    }

    /// In the network namespace `place`, opens sockets whose state does not change. Asserts that
    /// the gauges of the namespace are equal to the counts of `ss`. Returns the sockets and their
    /// counts.
    fn assert_exact(&self, place: &Place) -> (Mixed, Counts) {
        let mixed = place.inside(|| {
            wait::until_within(PATIENCE, "TIME_WAIT to end", || {
                truth::sockets().all().total() == 0
            });
            Mixed::open(1000)
        });
        let off = || {
            let truth = place.inside(|| truth::ss_filtered(&[]));
            let found = self.server.exact_metrics();
            let of = |state: State| {
                let (netns, state_label) = (place.inode(), state.label());
                let labels = format!("{{netns=\"{netns}\",name=\"\",state=\"{state_label}\"}}");
                (found[&format!("tcpstate_netns_connections{labels}")] - truth[state] as f64).abs()
            };
            State::GAUGES.map(of).iter().sum::<f64>()
        };
        let first = off();
        if first > 0.0 {
            // On some kernels, BPF programs silently miss events.
            println!("gauges were off by {first} and no missed events were reported: scanning");
            self.server.scan();
        }
        assert!(off() == 0.0, "still different after a scan");
        let truth = place.inside(|| truth::ss_filtered(&[]));
        for follower in &self.followers {
            follower.await_exact(&truth);
        }
        (mixed, truth)
    }
}

fn is_counter(series: &str) -> bool {
    series.split('{').next().is_some_and(|name| name.ends_with("_total"))
}

fn report(last: &Metrics, soak: &Soak, connections: u64, whole: Duration) {
    let sum = |name: &str| -> f64 {
        let of = last.iter().filter(|(series, _)| series.split('{').next() == Some(name));
        of.map(|(_, count)| count).sum()
    };
    let seconds = whole.as_secs_f64();
    let transitions = sum("tcpstate_transitions_total");
    println!("connections: {connections}, {:.0}/s", connections as f64 / seconds);
    println!("transitions: {transitions}, {:.0}/s", transitions / seconds);
    let scrapes = soak.scrapes.load(Relaxed);
    println!("scrapes: {scrapes}, {:.0}/s", scrapes as f64 / seconds);
    println!("namespaces made and deleted: {}", soak.namespaces.load(Relaxed));
    println!("scans: {}", sum("tcpstate_reconciles_total"));
    println!("missed events: {}", sum("tcpstate_missed_events_total"));
    let [in_kernel, runs] =
        ["run_seconds", "runs"].map(|it| sum(&format!("tcpstate_bpf_{it}_total")));
    let (of_run, of_connection) = (1e9 * in_kernel / runs, 1e6 * in_kernel / connections as f64);
    println!(
        "in the kernel, the kernel's measuring included: {in_kernel:.1} s, {of_run:.0} ns a run, {of_connection:.2} us a connection, both ends"
    );
    println!("processor time of the process: {:.1} s", sum("tcpstate_process_cpu_seconds_total"));
}

//! `cargo xtask soak --minutes N` checks `tcpstate serve` during N minutes of heavy traffic.
//!
//! The test makes as many transitions as possible, creates and deletes network namespaces, and
//! scrapes without a pause. Memory and open descriptors must not grow, and no counter may fall.
//! When the test ends, each gauge must be equal to the number of sockets in the kernel. Leaks show
//! only after minutes, so this check is not part of the tests.
//!
//! The environment variable `TCPSTATE_SOAK_MINUTES` sets the duration in minutes.
#![allow(clippy::float_cmp, reason = "counts are whole numbers, which floats hold exactly")]

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
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
    truth, wait,
};

/// The part of the test's duration in which memory may grow. If the test takes ten minutes, 0.2
/// means that memory must not grow after the second minute.
const SETTLED: f64 = 0.2;
/// The allowed growth of memory in KiB.
const MAX_GROWTH: u64 = 1024;
const SCRAPERS: usize = 4;
/// The `Accept` headers that request the two formats.
const ACCEPT: [&str; 2] = ["", "Accept: application/openmetrics-text;version=1.0.0\r\n"];

#[derive(Default)]
struct Work {
    is_over: AtomicBool,
    scrapes: AtomicU64,
    namespaces: AtomicU64,
}

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
    let program = env!("CARGO_BIN_EXE_tcpstate");
    let arguments = ["--by", "netns", "--max-series", "1000", "--cost"];
    let server = Server::start(&mut serve(program, &arguments));
    // Scrape once before the measurement, because the first scrape allocates memory that later
    // scrapes reuse.
    let _ = server.metrics();
    let descriptors = descriptors(&server);
    let load = place.inside(|| Load::start(1, Style::Mixed));
    let work = Work::default();
    thread::scope(|scope| {
        for number in 0..SCRAPERS {
            let (server, work) = (&server, &work);
            scope.spawn(move || scrape(server, work, ACCEPT[number % ACCEPT.len()]));
        }
        scope.spawn(|| come_and_go(&work));
        // Catch the panic of a failed check, and end the other threads before the panic continues.
        let watched = catch_unwind(AssertUnwindSafe(|| watch(&server, &work, &load, whole)));
        work.is_over.store(true, Relaxed);
        watched.unwrap_or_else(|fault| resume_unwind(fault));
    });
    let connections = load.stop();
    let last = server.exact_metrics();
    report(&last, &work, connections, whole);
    assert_exact(&server, &place);
    assert_eq!(self::descriptors(&server), descriptors, "descriptors");
    assert!(server.end().success());
    println!("descriptors: {descriptors} before and after; counters never fell; gauges exact");
}

/// Scrapes until the soak test ends. Asserts that no counter is lower than in the previous scrape.
fn scrape(server: &Server, work: &Work, accept: &str) {
    let mut earlier = Metrics::new();
    while !work.is_over.load(Relaxed) {
        let response = server.get("/metrics", accept);
        assert_eq!(response.status, 200, "{response:?}");
        let now = metrics(&response.body);
        for (series, count) in earlier.iter().filter(|(series, _)| is_counter(series)) {
            assert!(now[series] >= *count, "{series} fell from {count} to {}", now[series]);
        }
        earlier = now;
        work.scrapes.fetch_add(1, Relaxed);
    }
}

fn is_counter(series: &str) -> bool {
    series.split('{').next().is_some_and(|name| name.ends_with("_total"))
}

/// Repeatedly creates a network namespace with some sockets, and deletes the namespace.
fn come_and_go(work: &Work) {
    while !work.is_over.load(Relaxed) {
        let place = Place::new();
        let held = place.inside(|| {
            let listener = Listener::open(Family::V6);
            (listener.pairs(3), listener)
        });
        thread::sleep(Duration::from_millis(50));
        drop(held);
        work.namespaces.fetch_add(1, Relaxed);
    }
}

/// Measures the memory until the soak test ends, and asserts that the memory did not grow.
fn watch(server: &Server, work: &Work, load: &Load, whole: Duration) {
    let begin = Instant::now();
    let mut settled = None;
    println!(
        "{:>8} {:>10} {:>12} {:>10} {:>11}",
        "seconds", "VmRSS KiB", "connections", "scrapes", "namespaces"
    );
    let mut next = Duration::ZERO;
    loop {
        let passed = begin.elapsed();
        let memory = resident(server);
        if passed >= next || passed >= whole {
            let count = |it: &AtomicU64| it.load(Relaxed);
            let (scrapes, namespaces) = (count(&work.scrapes), count(&work.namespaces));
            let connections = load.completed();
            println!(
                "{:>8} {memory:>10} {connections:>12} {scrapes:>10} {namespaces:>11}",
                passed.as_secs()
            );
            next = passed + whole / 20;
        }
        if settled.is_none() && passed >= whole.mul_f64(SETTLED) {
            settled = Some(memory);
        }
        if passed >= whole {
            let settled = settled.expect("memory was measured before");
            println!("VmRSS: {settled} KiB when settled, {memory} at the end");
            assert!(memory <= settled + MAX_GROWTH, "it grew by {} KiB", memory - settled);
            return;
        }
        thread::sleep(Duration::from_secs(1).min(whole / 40));
    }
}

/// Returns the resident memory of the server in KiB.
fn resident(server: &Server) -> u64 {
    resident_bytes(server.pid()) / 1024
}

/// Returns the number of open file descriptors of the server while no client is connected.
fn descriptors(server: &Server) -> usize {
    let count = || fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("it runs").count();
    // Count the descriptors several times and use the lowest count, because the server may not have
    // closed the last connections yet.
    let mut least = count();
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(100));
        least = least.min(count());
    }
    least
}

fn report(last: &Metrics, work: &Work, connections: u64, whole: Duration) {
    let sum = |name: &str| -> f64 {
        let of = last.iter().filter(|(series, _)| series.split('{').next() == Some(name));
        of.map(|(_, count)| count).sum()
    };
    let seconds = whole.as_secs_f64();
    let transitions = sum("tcpstate_transitions_total");
    println!("connections: {connections}, {:.0}/s", connections as f64 / seconds);
    println!("transitions: {transitions}, {:.0}/s", transitions / seconds);
    let scrapes = work.scrapes.load(Relaxed);
    println!("scrapes: {scrapes}, {:.0}/s", scrapes as f64 / seconds);
    println!("namespaces made and deleted: {}", work.namespaces.load(Relaxed));
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

/// In the network namespace `place`, opens sockets whose state does not change. Asserts that the
/// gauges of the namespace are equal to the counts of `ss`.
fn assert_exact(server: &Server, place: &Place) {
    let mixed = place.inside(|| {
        wait::until_within(Duration::from_secs(180), "TIME_WAIT to end", || {
            truth::sockets().all().total() == 0
        });
        Mixed::open(1000)
    });
    let off = || {
        let truth = place.inside(|| truth::ss_filtered(&[]));
        let found = server.exact_metrics();
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
        server.scan();
    }
    assert!(off() == 0.0, "still different after a scan");
    drop(mixed);
}

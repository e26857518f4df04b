//! `cargo xtask bench --quick`: what counting a transition costs, by the kernel's own BPF statistics.
//!
//! The statistics cost more than the program, so an empty program on the same tracepoint is measured by turns with it,
//! in one run on one machine, and medians are compared.

use aya::sys::{Stats, enable_stats};
use tcpstate::{
    filter::{End, EventFilter},
    probe::{EventOptions, HistogramOptions, Netns, Options, kernel::Kernel},
    tracer::Tracer,
};
use tcpstate_tests::{
    measure::{Empty, RunTime, during, median, processor, spread},
    netns::Namespace,
    traced::options,
    traffic::{Family, Idle, Load, Style},
};

/// Odd, so that there is a median among them.
const TURNS: usize = 9;
/// Of a turn; six transitions each.
const CONNECTIONS: u64 = 20_000;
const IDLE_SOCKETS: [usize; 2] = [0, 100_000];
/// Sockets that a histogram's program remembers, besides those of the load.
const TIMED_SOCKETS: [usize; 2] = [1_000, 260_000];
/// Of that, for so many sockets take long to open.
const TIMED_TURNS: usize = 3;

fn main() {
    let _namespace = Namespace::enter();
    let _stats = enable_stats(Stats::RunTime).expect("root may have the kernel count run time");
    let kernel = Kernel::running().expect("it runs");
    println!("kernel {}, {}", kernel.release, processor());
    println!("medians of {TURNS} alternating turns of {} transitions each\n", 6 * CONNECTIONS);
    println!(
        "{:<24} {:>12} {:>9} {:>9} {:>9} {:>9}",
        "program", "idle sockets", "ns", "spread", "net ns", "ratio"
    );
    for idle_sockets in IDLE_SOCKETS {
        let idle = (idle_sockets > 0).then(|| Idle::open(idle_sockets, &Family::BOTH));
        let (mut empty, mut counters, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        let (mut rejected, mut written) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            rejected.push(measure_events(rejecting()));
            written.push(measure_events(EventFilter::default()));
            empty.push(measure_empty());
            counters.push(measure_counters(&options()));
            rows.push(measure_counters(&Options { netns: Netns::All, ..options() }));
        }
        let base = median(&mut empty);
        for (name, turns) in [
            ("empty", &mut empty),
            ("counters (tp_btf)", &mut counters),
            ("with --netns all", &mut rows),
            ("events, filtered out", &mut rejected),
            ("events, all", &mut written),
        ] {
            let ns = median(turns);
            println!(
                "{name:<24} {idle_sockets:>12} {ns:>9.1} {:>9.1} {:>9.1} {:>9.2}",
                spread(turns),
                ns - base,
                ns / base
            );
        }
        drop(idle);
    }
    println!(
        "\n{:<24} {:>12} {:>9} {:>9}, {TIMED_TURNS} turns",
        "program", "timed", "ns", "net ns"
    );
    for sockets in TIMED_SOCKETS {
        let (mut empty, mut timed) = (Vec::new(), Vec::new());
        for _ in 0..TIMED_TURNS {
            empty.push(measure_empty());
            timed.push(measure_histograms(sockets));
        }
        let (base, ns) = (median(&mut empty), median(&mut timed));
        println!("{:<24} {sockets:>12} {ns:>9.1} {:>9.1}", "hist", ns - base);
    }
    println!();
}

fn measure_empty() -> f64 {
    let empty = Empty::at("inet_sock_set_state");
    ns_per_run(|| empty.run_time())
}

fn measure_counters(options: &Options) -> f64 {
    let tracer =
        Tracer::start(options).unwrap_or_else(|error| panic!("{error}; {}", error.remedy()));
    ns_per_run(|| RunTime::of([tracer.probe().transitions_info().expect("our own program")]))
}

/// By what stays as it is for a socket's life.
fn rejecting() -> EventFilter {
    let nobodys = "1".parse().expect("a port");
    EventFilter { ports: vec![(End::Local, nobodys)], ..EventFilter::default() }
}

/// The program that writes events down, whoever reads them.
fn measure_events(event_filter: EventFilter) -> f64 {
    let events = Some(EventOptions::default());
    let options = Options { events, event_filter, ..options() };
    let tracer =
        Tracer::start(&options).unwrap_or_else(|error| panic!("{error}; {}", error.remedy()));
    ns_per_run(|| RunTime::of(tracer.probe().events_info().expect("our own program")))
}

/// The program that times states, with so many sockets to remember.
fn measure_histograms(sockets: usize) -> f64 {
    let histograms = HistogramOptions { most_sockets: 1 << 19, ..HistogramOptions::default() };
    let options = Options { histograms: Some(histograms), ..options() };
    let tracer =
        Tracer::start(&options).unwrap_or_else(|error| panic!("{error}; {}", error.remedy()));
    // It remembers those that it saw begin.
    let _timed = Idle::open(sockets, &Family::BOTH);
    ns_per_run(|| RunTime::of(tracer.probe().histograms_info().expect("our own program")))
}

fn ns_per_run(program: impl FnMut() -> RunTime) -> f64 {
    let load = Load::start(1, Style::Rst);
    let run_time = during(&load, CONNECTIONS, program);
    let _ = load.stop();
    run_time.ns_per_run()
}

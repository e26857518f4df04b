//! `cargo xtask bench --quick`: what counting a transition costs, by the kernel's own BPF statistics.
//!
//! The statistics cost more than the program, so an empty program on the same tracepoint is measured by turns with it,
//! in one run on one machine, and medians are compared.

use aya::sys::{Stats, enable_stats};
use tcpstate::{probe::kernel::Kernel, tracer::Tracer};
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
        let (mut empty, mut counters) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            empty.push(measure_empty());
            counters.push(measure_counters());
        }
        let base = median(&mut empty);
        for (name, turns) in [("empty", &mut empty), ("counters (tp_btf)", &mut counters)] {
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
    println!();
}

fn measure_empty() -> f64 {
    let empty = Empty::at("inet_sock_set_state");
    ns_per_run(|| empty.run_time())
}

fn measure_counters() -> f64 {
    let tracer =
        Tracer::start(&options()).unwrap_or_else(|error| panic!("{error}; {}", error.remedy()));
    ns_per_run(|| RunTime::of([tracer.probe().transitions_info().expect("our own program")]))
}

fn ns_per_run(program: impl FnMut() -> RunTime) -> f64 {
    let load = Load::start(1, Style::Rst);
    let run_time = during(&load, CONNECTIONS, program);
    let _ = load.stop();
    run_time.ns_per_run()
}

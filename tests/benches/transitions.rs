//! `cargo xtask bench --quick`: what counting a transition costs, by the kernel's own BPF statistics.
//!
//! The statistics cost more than the program, so an empty program on the same tracepoint is measured by turns with it,
//! in one run on one machine, and medians are compared. Times are printed, never asserted.

use std::fs;

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, ProgramInfo},
    sys::{Stats, enable_stats},
};
use tcpstate::{
    probe::{Netns, Options, kernel::Kernel},
    tracer::Tracer,
};
use tcpstate_tests::{
    netns::Namespace,
    traced::options,
    traffic::{Family, Idle, Load, Style},
    wait,
};

static EMPTY: &[u8] = aya::include_bytes_aligned!("../bpf/empty.bpf.o");

const TRACEPOINT: &str = "inet_sock_set_state";
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
        let (mut empty, mut counters, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..TURNS {
            empty.push(measure_empty());
            counters.push(measure_counters(&options()));
            rows.push(measure_counters(&Options { netns: Netns::All, ..options() }));
        }
        let base = median(&mut empty);
        for (name, turns) in [
            ("empty", &mut empty),
            ("counters (tp_btf)", &mut counters),
            ("with --netns all", &mut rows),
        ] {
            let ns = median(turns);
            let spread = turns[TURNS - 1] - turns[0];
            println!(
                "{name:<24} {idle_sockets:>12} {ns:>9.1} {spread:>9.1} {:>9.1} {:>9.2}",
                ns - base,
                ns / base
            );
        }
        drop(idle);
    }
}

fn measure_empty() -> f64 {
    let btf = Btf::from_sys_fs().expect("the kernel has BTF");
    let mut ebpf = Ebpf::load(EMPTY).expect("the object is valid");
    let program: &mut BtfTracePoint = ebpf
        .program_mut("empty")
        .and_then(|program| program.try_into().ok())
        .expect("it holds the program");
    program.load(TRACEPOINT, &btf).expect("the kernel takes it");
    program.attach().expect("the tracepoint exists");
    ns_per_run(|| program.info().expect("our own program"))
}

fn measure_counters(options: &Options) -> f64 {
    let tracer =
        Tracer::start(options).unwrap_or_else(|error| panic!("{error}; {}", error.remedy()));
    ns_per_run(|| tracer.probe().transitions_info().expect("our own program"))
}

/// Makes connections, and says what a run took on average meanwhile.
fn ns_per_run(info: impl Fn() -> ProgramInfo) -> f64 {
    let load = Load::start(1, Style::Rst);
    // Caches and branch predictors know the program before the turn counts.
    wait::until("the load", || load.completed() >= 500);
    let before = info();
    let goal = load.completed() + CONNECTIONS;
    wait::until("the turn's connections", || load.completed() >= goal);
    let after = info();
    let _ = load.stop();
    let runs = after.run_count() - before.run_count();
    after.run_time().saturating_sub(before.run_time()).as_nanos() as f64 / runs as f64
}

/// Sorts, and takes the one in the middle.
fn median(turns: &mut [f64]) -> f64 {
    turns.sort_by(f64::total_cmp);
    turns[turns.len() / 2]
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("unknown processor");
    name.trim_start_matches([' ', '\t', ':']).to_owned()
}

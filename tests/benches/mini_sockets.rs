//! `cargo xtask bench`, section `mini-sockets`: the cost of counting mini sockets, with each
//! provider that this kernel accepts.
//!
//! The programs that observe timers run for every timer of the machine. The benchmark therefore
//! reports two costs: the cost of an unrelated timer event, and the cost of a mini socket.

use aya::sys::{Stats, enable_stats};
use tcpstate::{
    probe::Options,
    report::{Minis, Provider},
    tracer::Tracer,
};
use tcpstate_tests::{
    measure::{Empty, RunTime, during},
    netns::Namespace,
    rows::{Turns, is_full},
    traced::options,
    traffic::{Family, Idle, Load, Style},
};

const EMPTY: &str = "a timer event, by an empty program";
/// The number of connections per turn. Nine turns leave fewer time-wait sockets than a namespace
/// may have.
const CONNECTIONS: u64 = 5_000;

fn main() {
    // Each pair is a number of idle sockets and a number of turns. The number of turns is odd, so
    // the median is the value of one turn.
    let sizes: &[(usize, usize)] =
        if is_full() { &[(0, 9), (100_000, 5), (262_144, 5)] } else { &[(0, 1), (20_000, 1)] };
    let _stats = enable_stats(Stats::RunTime).expect("root may have the kernel count run time");
    for &(idle_sockets, turns) in sizes {
        // Each size uses a new namespace, so that the time-wait sockets end with the namespace.
        let _namespace = Namespace::enter();
        let _idle = (idle_sockets > 0).then(|| Idle::open(idle_sockets, &Family::BOTH));
        let mut rows = Turns::new("mini-sockets", Some(idle_sockets as u64));
        for _ in 0..turns {
            turn_of_all(&mut rows);
        }
        rows.print(EMPTY);
    }
}

fn turn_of_all(rows: &mut Turns) {
    let base = empty_timer();
    rows.add(EMPTY, "ns", base);
    unrelated_timer(rows, base);
    for minis in Minis::BOTH {
        for provider in [Provider::Fentry, Provider::Timer] {
            lifecycle(rows, minis, provider, base);
        }
    }
}

/// Connections that end by RST start and stop timers, but they make no time-wait sockets.
fn empty_timer() -> f64 {
    let program = Empty::at("timer_start");
    turn(Style::Rst, || program.run_time()).ns_per_run()
}

fn unrelated_timer(rows: &mut Turns, base: f64) {
    let what = "an unrelated timer event, by timer";
    match start(Minis::TimeWait, Provider::Timer) {
        Ok(tracer) => {
            let run_time = turn(Style::Rst, || run_time(&tracer, Minis::TimeWait));
            rows.add(what, "ns", run_time.ns_per_run());
            rows.add(what, "net ns", run_time.ns_per_run() - base);
        }
        Err(why) => rows.absent(what, why),
    }
}

/// Measures the cost of a provider's programs per mini socket. The benchmark measures the events
/// during a turn: the birth of a time-wait socket, or the birth and the end of a request socket.
/// The net cost excludes the cost of the same number of runs of an empty program.
fn lifecycle(rows: &mut Turns, minis: Minis, provider: Provider, base: f64) {
    let what = match minis {
        Minis::TimeWait => format!("a TIME_WAIT entry, by {}", provider.name()),
        Minis::SynRecv => format!("birth and end of a request socket, by {}", provider.name()),
    };
    let tracer = match start(minis, provider) {
        Ok(tracer) => tracer,
        Err(why) => return rows.absent(&what, why),
    };
    // Each connection creates one request socket. A connection that is closed without a RST also
    // creates one time-wait socket.
    let (with, without) = match minis {
        Minis::TimeWait => (Style::Close, Some(Style::Rst)),
        Minis::SynRecv => (Style::Rst, None),
    };
    // The cost of a connection that creates no mini socket of the measured kind.
    let others = without.map(|style| turn(style, || run_time(&tracer, minis))).unwrap_or_default();
    let all = turn(with, || run_time(&tracer, minis));
    let per_connection = |run_time: RunTime| run_time.ns_per(CONNECTIONS);
    let runs = |run_time: RunTime| run_time.runs as f64 / CONNECTIONS as f64;
    let ns = per_connection(all) - per_connection(others);
    rows.add(&what, "ns", ns);
    rows.add(&what, "net ns", ns - base * (runs(all) - runs(others)));
}

fn start(minis: Minis, provider: Provider) -> Result<Tracer, String> {
    let (time_wait, syn_recv) = match minis {
        Minis::TimeWait => (provider, Provider::None),
        Minis::SynRecv => (Provider::None, provider),
    };
    let options = Options { time_wait: Some(time_wait), syn_recv: Some(syn_recv), ..options() };
    Tracer::start(&options).map_err(|error| error.to_string())
}

fn run_time(tracer: &Tracer, minis: Minis) -> RunTime {
    let programs = tracer.probe().minis_info(minis).expect("our own programs");
    RunTime::of(programs.into_iter().map(|(_, info)| info))
}

fn turn(style: Style, programs: impl FnMut() -> RunTime) -> RunTime {
    let load = Load::start(1, style);
    let run_time = during(&load, CONNECTIONS, programs);
    let _ = load.stop();
    run_time
}

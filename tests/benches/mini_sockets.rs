//! `cargo xtask bench --quick`: what it costs to count mini sockets, by each provider that this kernel takes.
//!
//! Programs on timers are run for every timer of the machine, so there are two prices: of a timer event that is none
//! of theirs, and of a mini socket.

use aya::sys::{Stats, enable_stats};
use tcpstate::{
    probe::{Minis, Options, Provider},
    tracer::Tracer,
};
use tcpstate_tests::{
    measure::{Empty, RunTime, during, median, spread},
    netns::Namespace,
    traced::options,
    traffic::{Load, Style},
};

/// Odd, so that there is a median among them.
const TURNS: usize = 9;
/// Of a turn. Nine turns leave fewer time-wait sockets than a namespace may have.
const CONNECTIONS: u64 = 5_000;

fn main() {
    let _stats = enable_stats(Stats::RunTime).expect("root may have the kernel count run time");
    println!("medians of {TURNS} alternating turns of {CONNECTIONS} connections each\n");
    println!("{:<44} {:>9} {:>9} {:>9}", "what", "ns", "spread", "net ns");
    unrelated_timers();
    for minis in Minis::BOTH {
        for provider in [Provider::Fentry, Provider::Timer] {
            lives(minis, provider);
        }
    }
    println!();
}

/// Connections that end by RST start and stop timers, and none of a time-wait socket.
fn unrelated_timers() {
    let _namespace = Namespace::enter();
    let (mut empty, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let program = Empty::at("timer_start");
        empty.push(turn(Style::Rst, || program.run_time()).ns_per_run());
        drop(program);
        match start(Minis::TimeWait, Provider::Timer) {
            Ok(tracer) => {
                let run_time = turn(Style::Rst, || run_time(&tracer, Minis::TimeWait));
                ours.push(run_time.ns_per_run());
            }
            Err(cause) => return println!("timers: {cause}"),
        }
    }
    let base = median(&mut empty);
    row("a timer event, by an empty program", &mut empty, base);
    row("a timer event that is nobody's, by timer", &mut ours, base);
}

/// What the programs of a provider take for each mini socket, all events of its life that come during the turn: for time-wait
/// sockets the birth, for requests the end too.
fn lives(minis: Minis, provider: Provider) {
    let name = format!("{} {}", minis.name(), provider.name());
    let _namespace = Namespace::enter();
    let mut turns = Vec::new();
    for _ in 0..TURNS {
        let tracer = match start(minis, provider) {
            Ok(tracer) => tracer,
            Err(cause) => return println!("{name}: not on this kernel: {cause}"),
        };
        // Each connection makes one request; one that is closed makes one time-wait socket too.
        let (with, without) = match minis {
            Minis::TimeWait => (Style::Close, Some(Style::Rst)),
            Minis::SynRecv => (Style::Rst, None),
        };
        let others = without.map(|style| turn(style, || run_time(&tracer, minis)).time);
        let all = turn(with, || run_time(&tracer, minis));
        // What a connection costs that makes no such socket.
        let net = RunTime { time: all.time.saturating_sub(others.unwrap_or_default()), ..all };
        turns.push(net.ns_per(CONNECTIONS));
    }
    let what = match minis {
        Minis::TimeWait => "a TIME_WAIT entry, by",
        Minis::SynRecv => "a request's birth and end, by",
    };
    row(&format!("{what} {}", provider.name()), &mut turns, 0.0);
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

fn row(what: &str, turns: &mut [f64], base: f64) {
    let ns = median(turns);
    println!("{what:<44} {ns:>9.1} {:>9.1} {:>9.1}", spread(turns), ns - base);
}

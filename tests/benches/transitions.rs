//! `cargo xtask bench`, sections `transitions` and `spread`: what counting a transition costs, by the kernel's own BPF statistics.
//!
//! The statistics cost more than the program, so an empty program on the same tracepoint is measured by turns with it,
//! in one run on one machine, and medians are compared. With `--full` so are the programs that people use today.

use aya::sys::{Stats, enable_stats};
use tcpstate::{
    filter::{End, EventFilter},
    probe::{EventOptions, HistogramOptions, Netns, Options},
    tracer::Tracer,
};
use tcpstate_tests::{
    measure::{Empty, RunTime, during},
    netns::Namespace,
    peers::Peer,
    rows::{Turns, is_full},
    traced::options,
    traffic::{Family, Idle, Load, Style},
};

/// How much to measure.
struct Size {
    /// Odd, so that there is a median among them.
    turns: usize,
    /// Of a turn; six transitions each.
    connections: u64,
    idle_sockets: &'static [usize],
    /// Turns with each socket opened and closed, which takes long.
    spread_turns: usize,
    /// The sockets of those.
    spread_sockets: usize,
    peers: &'static [Peer],
}

const QUICK: Size = Size {
    turns: 1,
    connections: 5_000,
    idle_sockets: &[0, 20_000],
    spread_turns: 1,
    spread_sockets: 2_000,
    peers: &[],
};
const FULL: Size = Size {
    turns: 5,
    connections: 10_000,
    idle_sockets: &[0, 100_000, 262_144],
    spread_turns: 3,
    spread_sockets: 100_000,
    peers: &Peer::ALL,
};

fn main() {
    let size = if is_full() { FULL } else { QUICK };
    let _namespace = Namespace::enter();
    let _stats = enable_stats(Stats::RunTime).expect("root may have the kernel count run time");
    let programs: Vec<Program> =
        Program::OURS.into_iter().chain(size.peers.iter().copied().map(Program::Peer)).collect();
    for &idle_sockets in size.idle_sockets {
        let idle = (idle_sockets > 0).then(|| Idle::open(idle_sockets, &Family::BOTH));
        by_turns("transitions", idle_sockets, size.turns, &programs, |program| {
            let load = Load::start(1, Style::Rst);
            let run_time = during(&load, size.connections, program);
            let _ = load.stop();
            run_time
        });
        drop(idle);
    }
    // Each event is of another socket, so that nothing of it is in a cache.
    by_turns("spread", size.spread_sockets, size.spread_turns, &programs, |program| {
        let before = program();
        drop(Idle::open(size.spread_sockets, &Family::BOTH));
        program() - before
    });
}

/// Measures all programs in each turn, with the same traffic.
fn by_turns(
    section: &'static str,
    at: usize,
    turns: usize,
    programs: &[Program],
    mut traffic: impl FnMut(&mut dyn FnMut() -> RunTime) -> RunTime,
) {
    let mut rows = Turns::new(section, Some(at as u64));
    for _ in 0..turns {
        let mut base = None;
        for &program in programs {
            let name = program.name();
            if rows.is_absent(name) {
                continue;
            }
            let mut run_time = match program.start() {
                Ok(run_time) => run_time,
                Err(why) => {
                    rows.absent(name, why);
                    continue;
                }
            };
            let ns = traffic(&mut run_time).ns_per_run();
            rows.add(name, "ns", ns);
            if let Some(base) = base {
                rows.add(name, "net ns", ns - base);
            }
            // The empty one comes first.
            base.get_or_insert(ns);
        }
    }
    rows.print(Program::Empty.name());
}

/// What runs for each transition.
#[derive(Clone, Copy)]
enum Program {
    Empty,
    Counters,
    /// Counters with a row for each namespace.
    Rows,
    /// Events of which none is meant, by what stays as it is for a socket's life.
    Rejected,
    /// Events, whoever reads them.
    Written,
    Histograms,
    Peer(Peer),
}

impl Program {
    const OURS: [Self; 6] =
        [Self::Empty, Self::Counters, Self::Rows, Self::Rejected, Self::Written, Self::Histograms];

    const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty program",
            Self::Counters => "counters",
            Self::Rows => "counters, --netns all",
            Self::Rejected => "events, all filtered out",
            Self::Written => "events",
            Self::Histograms => "hist",
            Self::Peer(peer) => peer.name(),
        }
    }

    /// Attaches it; the closure asks for its run time, and holds it.
    fn start(self) -> Result<Box<dyn FnMut() -> RunTime>, String> {
        Ok(match self {
            Self::Empty => {
                let empty = Empty::at("inet_sock_set_state");
                Box::new(move || empty.run_time())
            }
            Self::Counters => counters(&options()),
            Self::Rows => counters(&Options { netns: Netns::All, ..options() }),
            Self::Rejected => {
                let nobodys = "1".parse().expect("a port");
                let ports = vec![(End::Local, nobodys)];
                events(EventFilter { ports, ..EventFilter::default() })
            }
            Self::Written => events(EventFilter::default()),
            Self::Histograms => {
                let histograms = HistogramOptions { most_sockets: 1 << 19, ..Default::default() };
                let tracer = start(&Options { histograms: Some(histograms), ..options() });
                Box::new(move || {
                    RunTime::of(tracer.probe().histograms_info().expect("our own program"))
                })
            }
            Self::Peer(peer) => {
                let running = peer.start()?;
                Box::new(move || running.run_time())
            }
        })
    }
}

fn counters(options: &Options) -> Box<dyn FnMut() -> RunTime> {
    let tracer = start(options);
    Box::new(move || RunTime::of([tracer.probe().transitions_info().expect("our own program")]))
}

fn events(event_filter: EventFilter) -> Box<dyn FnMut() -> RunTime> {
    let events = Some(EventOptions::default());
    let tracer = start(&Options { events, event_filter, ..options() });
    Box::new(move || RunTime::of(tracer.probe().events_info().expect("our own program")))
}

fn start(options: &Options) -> Tracer {
    Tracer::start(options).unwrap_or_else(|error| panic!("{error}; {}", error.remedy()))
}

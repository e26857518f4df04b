//! `cargo xtask bench`, sections `transitions`, `sides` and `spread`: the cost of counting a
//! transition, from the kernel's BPF statistics, and the cost of all transitions of one side of a
//! connection.
//!
//! The kernel's statistics cost more than the program. An empty program on the same tracepoint is
//! therefore measured alternately with the program, in one run on one machine, and the medians are
//! compared. With `--full`, other tracing programs are measured too.

use std::{
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use aya::sys::{Stats, enable_stats};
use tcpstate::{
    error::Help as _,
    filter::{End, EventFilter},
    probe::{EventOptions, HistogramOptions, Netns, Options, OwnerOptions},
    report::Key,
    source::Events,
    tracer::Tracer,
};
use tcpstate_tests::{
    measure::{Empty, RunTime, during},
    netns::Namespace,
    peers::Peer,
    rows::{Turns, is_full},
    traced::options,
    traffic::{Family, Idle, Load, Sides, Style, vanish},
};

/// The numbers of turns, connections and sockets in a measurement.
struct Size {
    /// The number of turns, which is odd, so that the median is the value of one turn.
    turns: usize,
    /// The number of connections per turn, with six transitions per connection.
    connections: u64,
    idle_sockets: &'static [usize],
    /// The number of longer turns, which are the turns of the section `sides` and the turns that
    /// open and close each socket.
    long_turns: usize,
    /// The number of rounds per turn of the section `sides`.
    rounds: u32,
    /// The numbers of sockets that are opened and closed.
    spread_sockets: &'static [usize],
    peers: &'static [Peer],
}

const QUICK: Size = Size {
    turns: 1,
    connections: 5_000,
    idle_sockets: &[0, 20_000],
    long_turns: 1,
    rounds: 2,
    spread_sockets: &[2_000],
    peers: &[],
};
const FULL: Size = Size {
    turns: 9,
    connections: 10_000,
    idle_sockets: &[0, 100_000, 262_144],
    long_turns: 3,
    rounds: 20,
    spread_sockets: &[100_000, 262_144],
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
        by_turns("transitions", Some(idle_sockets), size.turns, &programs, |program| {
            let load = Load::start(1, Style::Rst);
            let run_time = during(&load, size.connections, program);
            let _ = load.stop();
            vec![(["ns", "net ns"], run_time.ns_per_run())]
        });
        drop(idle);
    }
    let sides = Sides::new();
    by_turns("sides", None, size.long_turns, &programs, |program| {
        of_sides(&sides, size.rounds, program)
    });
    // Each event belongs to another socket, so no CPU cache holds the data of the event's socket.
    for &sockets in size.spread_sockets {
        by_turns("spread", Some(sockets), size.long_turns, &programs, |program| {
            let before = program();
            drop(Idle::open(sockets, &Family::BOTH));
            vec![(["ns", "net ns"], (program() - before).ns_per_run())]
        });
    }
}

/// The measured times, in nanoseconds. Each time has two names: the name of the gross time, and the
/// name of the net time. The net time excludes the cost of the empty program.
type Figures = Vec<([&'static str; 2], f64)>;

/// The cost of all transitions of a connection: three transitions of the client and three of the
/// server.
fn of_sides(sides: &Sides, rounds: u32, program: &mut dyn FnMut() -> RunTime) -> Figures {
    /// The number of connections per round. Each connection needs two descriptors, and the caches
    /// can hold the data of all connections.
    const CONNECTIONS: usize = 250;
    let (mut of_clients, mut of_servers) = (Duration::ZERO, Duration::ZERO);
    for round in 0..=rounds {
        let (clients, connected) = timed(program, || sides.clients(CONNECTIONS));
        let (servers, accepted) = timed(program, || sides.servers(&clients));
        let ((), clients_closed) = timed(program, || vanish(clients));
        let ((), servers_closed) = timed(program, || vanish(servers));
        // The first round only warms up caches and branch predictors.
        if round > 0 {
            of_clients += connected + clients_closed;
            of_servers += accepted + servers_closed;
        }
    }
    let per_connection =
        |time: Duration| time.as_nanos() as f64 / (f64::from(rounds) * CONNECTIONS as f64);
    vec![
        (["client ns", "client net ns"], per_connection(of_clients)),
        (["server ns", "server net ns"], per_connection(of_servers)),
    ]
}

/// Runs `work`. Returns the result of `work` and the run time of the program during `work`.
fn timed<T>(program: &mut dyn FnMut() -> RunTime, work: impl FnOnce() -> T) -> (T, Duration) {
    let before = program();
    let result = work();
    (result, (program() - before).time)
}

/// Measures all programs in each turn, with the same traffic.
fn by_turns(
    section: &'static str,
    at: Option<usize>,
    turns: usize,
    programs: &[Program],
    mut traffic: impl FnMut(&mut dyn FnMut() -> RunTime) -> Figures,
) {
    let mut rows = Turns::new(section, at.map(|at| at as u64));
    for _ in 0..turns {
        let mut bases = None;
        for &program in programs {
            let name = program.name();
            if rows.is_absent(name) {
                continue;
            }
            let mut run_time = match program.start(at.unwrap_or_default()) {
                Ok(run_time) => run_time,
                Err(why) => {
                    rows.absent(name, why);
                    continue;
                }
            };
            let figures = traffic(&mut run_time);
            // The empty program is the first program.
            let bases = bases.get_or_insert_with(|| figures.clone());
            for (&([gross, net], ns), &(_, base)) in figures.iter().zip(bases.iter()) {
                rows.add(name, gross, ns);
                if name != Program::Empty.name() {
                    rows.add(name, net, ns - base);
                }
            }
        }
    }
    rows.print(Program::Empty.name());
}

/// The program that the benchmark measures, which runs for each transition.
#[derive(Clone, Copy)]
enum Program {
    Empty,
    Counters,
    /// The counting program with separate counters for each namespace.
    Rows,
    /// The program that sends events, with a filter that rejects every event. The filter compares a
    /// value that never changes for a socket.
    Rejected,
    /// The program that sends events. A thread reads the events at the interval that `trace` uses.
    Written,
    /// The program that sums up connections, and sends each at its end.
    Connections,
    Histograms,
    /// The program that counts by owner. The owners are distinguished by one key, or by the peer's
    /// address and port.
    ByProcess,
    ByRemote,
    Peer(Peer),
}

impl Program {
    const OURS: [Self; 9] = [
        Self::Empty,
        Self::Counters,
        Self::Rows,
        Self::Rejected,
        Self::Written,
        Self::Connections,
        Self::Histograms,
        Self::ByProcess,
        Self::ByRemote,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty program",
            Self::Counters => "counters",
            Self::Rows => "counters, --netns all",
            Self::Rejected => "events, all filtered out",
            Self::Written => "events",
            Self::Connections => "connections",
            Self::Histograms => "hist",
            Self::ByProcess => "trace --by process",
            Self::ByRemote => "trace --by remote,remote-port",
            Self::Peer(peer) => peer.name(),
        }
    }

    /// Attaches the program. The program's tables have space for twice the number `sockets`, or for
    /// the default number of sockets. The returned closure holds the program and returns its run
    /// time.
    fn start(self, sockets: usize) -> Result<Box<dyn FnMut() -> RunTime>, String> {
        // The tables also need space for listeners and for the benchmark's own sockets.
        let room = u32::try_from(2 * sockets).expect("so many fit into memory");
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
                events(
                    EventFilter { ports, ..EventFilter::default() },
                    room,
                    EventOptions::default(),
                )
            }
            Self::Written => events(EventFilter::default(), room, EventOptions::default()),
            Self::Connections => {
                let connections =
                    EventOptions { lines: false, connections: true, ..EventOptions::default() };
                events(EventFilter::default(), room, connections)
            }
            Self::Histograms => {
                let default = HistogramOptions::default();
                let max_sockets = default.max_sockets.max(room);
                let histograms = Some(HistogramOptions { max_sockets, ..default });
                let tracer = start(&Options { histograms, ..options() });
                Box::new(move || {
                    RunTime::of(tracer.probe().histograms_info().expect("our own program"))
                })
            }
            Self::ByProcess => owners(&[Key::Process], room),
            Self::ByRemote => owners(&[Key::Remote, Key::RemotePort], room),
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

fn owners(by: &[Key], room: u32) -> Box<dyn FnMut() -> RunTime> {
    let default = OwnerOptions::by(by.to_vec());
    let max_sockets = default.max_sockets.max(room);
    let tracer =
        start(&Options { owners: Some(OwnerOptions { max_sockets, ..default }), ..options() });
    Box::new(move || RunTime::of(tracer.probe().owners_info().expect("our own program")))
}

fn events(
    event_filter: EventFilter,
    room: u32,
    default: EventOptions,
) -> Box<dyn FnMut() -> RunTime> {
    let max_sockets = default.max_sockets.max(room);
    let events = Some(EventOptions { max_sockets, ..default });
    let mut tracer = start(&Options { events, event_filter, ..options() });
    let reader = Reader::of(tracer.take_events().expect("they are asked for"));
    Box::new(move || {
        // The closure must own the reader and the tracer.
        let _ = &reader;
        RunTime::of(tracer.probe().events_info().expect("our own program"))
    })
}

/// A thread that reads events, so that the ring always has space. Dropping the value ends the
/// thread.
struct Reader {
    release: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn of(mut events: Events) -> Self {
        /// The interval at which `trace` reads events.
        const PACE: Duration = Duration::from_millis(20);
        const AT_ONCE: usize = 1024;
        let (release, released) = mpsc::channel();
        let read = move || {
            while released.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                while events.take_settled(AT_ONCE).len() == AT_ONCE {}
            }
        };
        Self { release: Some(release), thread: Some(thread::spawn(read)) }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // The channel never carries a value. `recv` returns an error when the sender is dropped,
        // and the thread ends.
        self.release = None;
        let result = self.thread.take().map(JoinHandle::join);
        // A second panic would hide the first panic.
        assert!(!matches!(result, Some(Err(_))) || thread::panicking(), "events can be read");
    }
}

fn start(options: &Options) -> Tracer {
    Tracer::start(options).unwrap_or_else(|error| panic!("{error}; {}", error.help()))
}

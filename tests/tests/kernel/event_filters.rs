//! Tests filters of events and of histograms. A filtered run must print exactly the lines of an
//! unfiltered run that match the filter. The histograms of a filtered run must contain exactly the
//! durations of the matching events.
//!
//! The file is long because both parts, lines and durations, use one table of filters.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use tcpstate::{
    filter::{End, EventFilter},
    probe::{EventOptions, HistogramOptions, Options},
    report::{Event, Histograms, Of, Provider},
    source::{Events, cgroups::Cgroups},
    tracer::Tracer,
};
use tcpstate_common::{
    State::{self, Close, CloseWait, Established, FinWait1, Listen, SynRecv, SynSent},
    abi::is_birth,
};
use tcpstate_tests::{
    actor::{Actor, Cgroup, Costume},
    audit::ATTEMPTS,
    netns::Namespace,
    traced::{Traced, options},
    truth, wait,
};

/// How long the test holds a state. All other states last for a far shorter time.
const HOLD: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_millis(200);

/// The destinations of the test's connections, which are all on this machine. The connection to the
/// last destination uses an IPv6 socket with an IPv4 address.
const PLACES: [&str; 4] =
    ["127.0.0.1:8080", "127.9.8.7:8443", "[::1]:8080", "[::ffff:127.0.0.1]:9000"];

/// A filter, and an equivalent condition in the test.
struct Case {
    name: &'static str,
    filter: EventFilter,
    matches: Box<dyn Fn(&Event) -> bool>,
}

fn case(
    name: &'static str,
    filter: EventFilter,
    matches: impl Fn(&Event) -> bool + 'static,
) -> Case {
    Case { name, filter, matches: Box::new(matches) }
}

fn ports(end: End, list: &str) -> EventFilter {
    EventFilter { ports: vec![(end, list.parse().expect("ports"))], ..EventFilter::default() }
}

fn addresses(end: End, list: &str) -> EventFilter {
    let list = list.parse().expect("addresses");
    EventFilter { addresses: vec![(end, list)], ..EventFilter::default() }
}

fn moves(list: &str) -> EventFilter {
    EventFilter { moves: Some(list.parse().expect("transitions")), ..EventFilter::default() }
}

/// Returns whether the address has this first byte and is an IPv4 address or an IPv4-mapped IPv6
/// address.
fn is_v4_below(first: u8, address: Option<IpAddr>) -> bool {
    match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V4(address)) => address.octets()[0] == first,
        _ => false,
    }
}

/// The function is long because it is a table: each filter, and the condition for the lines that
/// the filter keeps.
fn cases(pids: [u32; 2], cgroup: Option<&Cgroup>) -> Vec<Case> {
    let any = EventFilter::default;
    let list = |pid: u32| Some(format!("1,{pid}").parse().expect("numbers"));
    let loopback: IpAddr = "::1".parse().expect("an address");
    let is_of = move |pid| move |event: &Event| event.pid == Some(pid);
    let mut cases = vec![
        case("all", any(), |_| true),
        case("local port", ports(End::Local, "8443,8000-8099"), |event| {
            matches!(event.local_port, Some(8443 | 8000..=8099))
        }),
        case("remote port", ports(End::Remote, "8080"), |event| event.remote_port == Some(8080)),
        case("a client's port", ports(End::Local, "20000"), |event| {
            event.local_port == Some(20000)
        }),
        case("either port", ports(End::Either, "9000,20000"), |event| {
            let is_in = |port| matches!(port, Some(9000 | 20000));
            is_in(event.local_port) || is_in(event.remote_port)
        }),
        case("local network", addresses(End::Local, "127.9.0.0/16"), |event| {
            event.local == Some("127.9.8.7".parse().expect("an address"))
        }),
        case("remote networks", addresses(End::Remote, "127.0.0.0/8"), |event| {
            is_v4_below(127, event.remote)
        }),
        case("IPv6 network", addresses(End::Either, "::/0"), |event| {
            [event.local, event.remote].into_iter().flatten().any(|address| address.is_ipv6())
        }),
        case("IPv6 address", addresses(End::Remote, "10.0.0.1,::1"), move |event| {
            event.remote == Some(loopback)
        }),
        case("no such network", addresses(End::Either, "10.0.0.0/8"), |_| false),
        case("transitions", moves("syn_sent:established,:close_wait"), |event| {
            (event.from, event.to) == (SynSent, Established) || event.to == CloseWait
        }),
        case(
            "states",
            EventFilter {
                moves: Some(tcpstate::filter::Moves::touching(
                    "fin_wait1,listen".parse().expect("states"),
                )),
                ..any()
            },
            |event| {
                let is_in = |state: State| state == FinWait1 || state == Listen;
                is_in(event.from) || is_in(event.to)
            },
        ),
        case("client's pid", EventFilter { pids: list(pids[0]), ..any() }, is_of(pids[0])),
        case("server's pid", EventFilter { pids: list(pids[1]), ..any() }, is_of(pids[1])),
        case(
            "name",
            EventFilter { comms: Some("nobody,serves".parse().expect("names")), ..any() },
            |event| event.comm.as_deref() == Some("serves".as_ref()),
        ),
        case(
            "user",
            EventFilter { uids: Some("7,1002".parse().expect("numbers")), ..any() },
            |event| event.uid == Some(1002),
        ),
        case("duration", EventFilter { min_duration: Some(LONG), ..any() }, |event| {
            event.duration.is_some_and(|duration| duration >= LONG)
        }),
        case(
            "several at once",
            EventFilter {
                moves: Some("established:".parse().expect("transitions")),
                comms: Some("asks".parse().expect("names")),
                ..ports(End::Remote, "8080,8443")
            },
            |event| {
                event.from == Established
                    && event.comm.as_deref() == Some("asks".as_ref())
                    && matches!(event.remote_port, Some(8080 | 8443))
            },
        ),
    ];
    if let Some(cgroup) = cgroup {
        let slice = cgroup.slice();
        let numbers = |path: &str| {
            let numbers = Cgroups::now().matching(path);
            assert_eq!(numbers.len(), 1, "{path}");
            Some(numbers)
        };
        let around = EventFilter { cgroups: numbers(&slice), ..any() };
        cases.push(case("around a cgroup", around, move |event| {
            event.cgroup.as_ref().is_some_and(|place| place.path.starts_with(&slice))
        }));
        let path = cgroup.path();
        let id = EventFilter { cgroups: numbers("0123456789ab"), ..any() };
        cases.push(case("a container", id, move |event| {
            event.cgroup.as_ref().is_some_and(|place| place.path == path)
        }));
    } else {
        println!("skipped: cgroups: this machine has no version 2");
    }
    cases
}

fn connect(to: &str) -> TcpStream {
    let to: SocketAddr = to.parse().expect("an address");
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("descriptors");
    if to.port() == 8443 {
        // This client calls bind(), so its port is known before it connects.
        let from = SocketAddr::from(([127, 0, 0, 1], 20000));
        socket.bind(&from.into()).expect("nobody else has it");
    }
    socket.connect(&to.into()).expect("somebody listens");
    socket.into()
}

/// Sends a byte on each connection, holds the connections, and closes them.
fn ask() {
    let mut streams = PLACES.map(connect);
    for stream in &mut streams {
        stream.write_all(&[1]).expect("the server stands");
        stream.read_exact(&mut [0]).expect("the server answers");
    }
    thread::sleep(HOLD);
}

fn serve() {
    let listeners = PLACES.map(|place| TcpListener::bind(place).expect("nobody else has it"));
    let accept = |listener: &TcpListener| listener.accept().expect("a connection comes").0;
    let mut streams: Vec<TcpStream> = listeners.iter().map(accept).collect();
    for stream in &mut streams {
        stream.read_exact(&mut [0]).expect("the client sends");
        stream.write_all(&[1]).expect("the client stands");
    }
    for stream in &mut streams {
        assert_eq!(stream.read(&mut [0]).expect("the client closes"), 0);
    }
}

/// Returns the fields of an event that must be equal in the filtered and in the unfiltered run.
/// Times may differ, because each run's BPF program reads the clock itself.
fn known(event: &Event) -> String {
    let Event { from, to, family, local, local_port, remote, remote_port, pid, comm, uid, .. } =
        event;
    format!(
        "{from} -> {to} {family:?} {local:?}:{local_port:?} {remote:?}:{remote_port:?} {pid:?} {comm:?} {uid:?}"
    )
}

/// Starts the server process and the client process. Each process begins its work when the test
/// calls `cue`.
fn actors(cgroup: Option<&Cgroup>) -> [Actor; 2] {
    [
        Actor::start(Costume { name: "serves", uid: 1002, cgroup: None }, serve),
        Actor::start(Costume { name: "asks", uid: 1001, cgroup }, ask),
    ]
}

/// Runs both processes until all their sockets have closed.
fn perform(mut serves: Actor, mut asks: Actor) {
    serves.cue();
    wait::until("four listeners", || truth::sockets().full[Listen] == 4);
    asks.cue();
    asks.join();
    serves.join();
    truth::await_end_of_sockets();
    wait::grace_period();
}

#[test]
fn events_filter_keeps_exactly_the_matching_lines() {
    let cgroup = Cgroup::new(&format!("docker-{}.scope", "0123456789abcdef".repeat(4)));
    for attempt in 1..=ATTEMPTS {
        let _namespace = Namespace::enter();
        let [serves, asks] = actors(cgroup.as_ref());
        let cases = cases([asks.pid(), serves.pid()], cgroup.as_ref());
        let mut whole = Traced::with(&watched(EventFilter::default()));
        let mut whole_events = whole.tracer.take_events().expect("events are asked for");
        let mut filtered: Vec<(Tracer, Events)> = cases
            .iter()
            .map(|case| {
                let mut tracer = Tracer::start(&watched(case.filter.clone()))
                    .unwrap_or_else(|error| panic!("{}: {error}", case.name));
                let events = tracer.take_events().expect("events are asked for");
                (tracer, events)
            })
            .collect();
        let uncounted = whole.uncounted();
        perform(serves, asks);
        let lost = |tracer: &mut Tracer| {
            let snapshot = tracer.snapshot().expect("a snapshot can be taken");
            let losses = snapshot.losses.expect("events are asked for");
            losses.events() + snapshot.missed.transitions
        };
        let losses = lost(&mut whole.tracer)
            + filtered.iter_mut().map(|(tracer, _)| lost(tracer)).sum::<u64>();
        if losses > 0 || whole.uncounted() != uncounted {
            println!("attempt {attempt}: the kernel kept events from the programs");
            continue;
        }
        let lines = whole_events.take(usize::MAX);
        // Each connection has five event lines of the client and five event lines of the server.
        // Each listener has two event lines.
        assert_eq!(lines.len(), PLACES.len() * 12, "{lines:#?}");
        for (case, (_, events)) in cases.iter().zip(&mut filtered) {
            let matching: Vec<String> = lines
                .iter()
                .filter(|event| !is_completed(event) && (case.matches)(event))
                .map(known)
                .collect();
            let mut passed = events.take(usize::MAX);
            passed.retain(|event| !is_completed(event));
            let passed: Vec<String> = passed.iter().map(known).collect();
            assert_eq!(passed, matching, "{}", case.name);
            let is_selective = matching.len() < lines.len() && !matching.is_empty();
            assert!(
                is_selective || matches!(case.name, "all" | "no such network"),
                "{}: {} of {}",
                case.name,
                matching.len(),
                lines.len()
            );
        }
        return;
    }
    panic!("the kernel kept events from the programs each time");
}

/// Returns whether tcpstate completed the line with data from the connection's second event. The
/// filter checked the first event before tcpstate completed the line.
fn is_completed(event: &Event) -> bool {
    matches!(event.to, State::SynSent | State::SynRecv)
}

/// Returns options for recording events without mini sockets, which would make the
/// test slower.
fn watched(event_filter: EventFilter) -> Options {
    let events =
        Some(EventOptions { ring_bytes: 65_536, max_sockets: 1024, ..EventOptions::default() });
    let none = Some(Provider::None);
    Options { events, event_filter, time_wait: none, syn_recv: none, ..options() }
}

/// Returns options for measuring durations without mini sockets.
fn timed(event_filter: EventFilter) -> Options {
    let histograms = Some(HistogramOptions { max_sockets: 1024, ..HistogramOptions::default() });
    let none = Some(Provider::None);
    Options { histograms, event_filter, time_wait: none, syn_recv: none, ..options() }
}

/// The known durations of each transition, of connects and of lifetimes, in ascending order.
type Durations = BTreeMap<Of, Vec<Duration>>;

/// Returns the durations of the matching events, as histograms store them: separately for each
/// transition out of a state, for connects and for lifetimes. All sockets are observed from their
/// births, so no duration is unknown.
fn durations(lines: &[Event], matches: &dyn Fn(&Event) -> bool) -> Durations {
    let mut durations = Durations::new();
    for event in lines.iter().filter(|event| matches(event)) {
        let (from, to) = (event.from, event.to);
        if is_birth(from.number(), to.number()) {
            continue;
        }
        let duration = event.duration.expect("its begin was seen");
        let mut add = |of| durations.entry(of).or_default().push(duration);
        add(Of::Transition(from, to));
        if (from, to) == (SynSent, Established) {
            add(Of::ConnectClient);
        }
        if to == Close && ![Listen, SynSent, SynRecv].contains(&from) {
            add(Of::Lifetime);
        }
    }
    for durations in durations.values_mut() {
        durations.sort();
    }
    durations
}

/// Asserts that the histograms of a filtered run contain the expected number of durations of each
/// kind. Returns whether the durations equal the expected durations, within a tolerance.
fn has_durations(name: &str, histograms: &Histograms, expected: &Durations) -> bool {
    /// Two programs read the clock one after the other, and may be interrupted between the two
    /// reads.
    const TOLERANCE: Duration = Duration::from_millis(20);
    assert!(histograms.is_filtered || name == "all", "{name}");
    // Histograms of states are sums of the histograms of transitions, so they are not compared. The
    // handshake of a server needs request sockets, which this test does not observe.
    let shown = histograms
        .all
        .iter()
        .filter(|histogram| !matches!(histogram.of, Of::State(..) | Of::ConnectServer));
    let shown: BTreeMap<Of, _> = shown.map(|shown| (shown.of, &shown.tally)).collect();
    assert!(shown.keys().eq(expected.keys()), "{name}: {:?}, {:?}", shown.keys(), expected.keys());
    let mut agree = true;
    for (of, durations) in expected {
        let tally = shown[of];
        assert_eq!((tally.count(), tally.unknown), (durations.len() as u64, 0), "{name}: {of:?}");
        if *of == Of::Lifetime {
            continue;
        }
        let ends = [durations.first(), durations.last()].map(|end| *end.expect("there are some"));
        for (shown, reported) in [tally.shortest, tally.longest].into_iter().zip(ends) {
            let shown = shown.expect("there are some");
            if shown.abs_diff(reported) >= TOLERANCE {
                println!("{name}: {of:?}: {shown:?}, {reported:?}");
                agree = false;
            }
        }
    }
    agree
}

#[test]
fn hist_filter_keeps_exactly_the_matching_durations() {
    let cgroup = Cgroup::new(&format!("docker-{}.scope", "0123456789abcdef".repeat(4)));
    for attempt in 1..=ATTEMPTS {
        let _namespace = Namespace::enter();
        let [serves, asks] = actors(cgroup.as_ref());
        let mut cases = cases([asks.pid(), serves.pid()], cgroup.as_ref());
        // Durations cannot be filtered by owner or by length.
        cases.retain(|Case { filter, .. }| {
            filter.pids.is_none() && filter.comms.is_none() && filter.min_duration.is_none()
        });
        let mut whole = Traced::with(&watched(EventFilter::default()));
        let mut whole_events = whole.tracer.take_events().expect("events are asked for");
        let mut filtered: Vec<Tracer> = cases
            .iter()
            .map(|case| {
                Tracer::start(&timed(case.filter.clone()))
                    .unwrap_or_else(|error| panic!("{}: {error}", case.name))
            })
            .collect();
        let uncounted = whole.uncounted();
        perform(serves, asks);
        let (losses, whole_missed, _) = whole.lost();
        let histograms: Vec<Histograms> = filtered
            .iter_mut()
            .map(|tracer| {
                let summary = tracer.summary().expect("a summary can be taken");
                summary.histograms.expect("histograms are asked for")
            })
            .collect();
        let missed = histograms.iter().map(|histograms| histograms.untimed.missed).sum::<u64>();
        if losses + whole_missed + missed > 0 || whole.uncounted() != uncounted {
            println!("attempt {attempt}: the kernel kept events from the programs");
            continue;
        }
        let lines = whole_events.take(usize::MAX);
        // The fold calls `has_durations` for every case, because `has_durations` also asserts the
        // number of durations.
        let agree = cases.iter().zip(&histograms).fold(true, |agree, (case, histograms)| {
            agree & has_durations(case.name, histograms, &durations(&lines, &case.matches))
        });
        if agree {
            return;
        }
        println!("attempt {attempt}: the programs looked at the clock too far apart");
    }
    panic!("the kernel kept events from the programs each time, or durations differ");
}

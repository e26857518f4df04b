//! Tests the processes that event lines name as the opener and the closer of a connection, and the
//! filters that match time-wait sockets by their closer.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use socket2::Socket;
use tcpstate::{
    filter::EventFilter,
    probe::{EventOptions, Options},
    report::{Caller, Event, Hook, Provider},
    source::{Events, cgroups::Cgroups},
    tracer::Tracer,
};
use tcpstate_common::State::{self, Close, FinWait1, FinWait2, Listen};
use tcpstate_tests::{
    actor::{Actor, Cgroup, Costume},
    audit::ATTEMPTS,
    netns::{Namespace, Sysctl},
    traced::{Traced, options},
    traffic::{Family, Listener},
    truth, wait,
};

use crate::owners::closers::{WAYS, Way, connect};

/// The number of connections that are closed in each way.
const CONNECTIONS: usize = 5;

fn recorded(time_wait: Option<Provider>, event_filter: EventFilter) -> Options {
    let events = Some(EventOptions::default());
    Options { events, time_wait, event_filter, ..options() }
}

/// The providers that see the birth of each time-wait socket: the best provider and timers.
const PROVIDERS: [Option<Provider>; 2] = [None, Some(Provider::Timer)];

fn name(caller: Option<&Caller>) -> Option<&str> {
    caller.and_then(|caller| caller.comm.to_str())
}

/// Returns the process that closes one end of a connection.
fn closer_of(way: &Way, is_client: bool) -> &'static str {
    match (way.name, is_client) {
        ("connected and passed", true) | ("accepted and passed", false) => "heir",
        (_, true) => "client",
        (_, false) => "server",
    }
}

/// Asserts that a line names the right processes, or none. `pids` are those of the client and of
/// the server.
fn assert_ends(way: &Way, event: &Event, port: u16, pids: &[[u32; 2]], label: &str) {
    let is_client = event.remote_port == Some(port);
    let (opener, end) = if is_client { ("client", 0) } else { ("server", 1) };
    let own = pids.iter().map(|pids| Some(pids[end]));
    if let Some(by) = &event.opened_by {
        assert_eq!(by.comm, opener, "{label}: {event:#?}");
        assert!(own.clone().any(|pid| pid == by.pid), "{label}: {pids:?}: {event:#?}");
    }
    if let Some(by) = &event.closed_by {
        let closer = closer_of(way, is_client);
        assert_eq!(by.comm, closer, "{label}: {event:#?}");
        let is_own = own.clone().any(|pid| pid == by.pid);
        assert_eq!(is_own, closer != "heir", "{label}: {pids:?}: {event:#?}");
    }
}

/// Closes connections in one way, and asserts the processes of their lines. Returns whether the
/// kernel kept no events from the programs.
fn assert_closed(
    family: Family,
    way: &Way,
    traced: &mut Traced,
    events: &mut Events,
    label: &str,
) -> bool {
    let before = traced.lost();
    let listener = Listener::open(family);
    let port = listener.port();
    let pids: Vec<_> = (0..CONNECTIONS).map(|_| connect(way, &listener)).collect();
    drop(listener);
    truth::await_end_of_sockets();
    wait::grace_period();
    let mut lines = events.take(usize::MAX);
    // Timers report a move late, so there may be lines of earlier connections.
    lines.retain(|event| [event.local_port, event.remote_port].contains(&Some(port)));
    let is_listener = |event: &Event| event.from == Listen || event.to == Listen;
    let is_early = |event: &Event| event.hook == Hook::Transitions && event.to != Close;
    for event in lines.iter().filter(|event| !is_listener(event)) {
        if is_early(event) || event.hook == Hook::SynRecv {
            assert_eq!((&event.closed_by, &event.opened_by), (&None, &None), "{label}: {event:#?}");
        } else {
            assert_ends(way, event, port, &pids, label);
        }
    }
    if traced.lost() != before {
        println!("{label}: the kernel kept events from the programs");
        return false;
    }
    // Every time-wait socket has a closer, and so has each end that sent a FIN.
    let births = |event: &&Event| event.hook == Hook::TimeWait && event.from == Close;
    let closers: Vec<_> =
        lines.iter().filter(births).map(|event| name(event.closed_by.as_ref())).collect();
    let expected = vec![way.closer; if way.closer.is_some() { CONNECTIONS } else { 0 }];
    assert_eq!(closers, expected, "{label}: {lines:#?}");
    let has_fin = |from| [FinWait1, FinWait2, State::Closing, State::LastAck].contains(&from);
    for event in lines.iter().filter(|event| event.hook == Hook::Transitions && event.to == Close) {
        let is_child = event.local_port == Some(port) && event.from != Listen;
        assert!(!has_fin(event.from) || event.closed_by.is_some(), "{label}: {event:#?}");
        assert!(event.opened_by.is_some() || is_child, "{label}: {event:#?}");
        assert_eq!(event.opened_by.as_ref().map(|by| &by.comm), event.comm.as_ref(), "{label}");
    }
    true
}

#[test]
fn events_of_closed_connections_name_the_opener_and_the_closer() {
    for (family, provider) in Family::BOTH
        .into_iter()
        .zip(PROVIDERS)
        .chain([(Family::V4, Some(Provider::Timer)), (Family::V6, None)])
    {
        let _namespace = Namespace::enter();
        let mut traced = Traced::with(&recorded(provider, EventFilter::default()));
        let mut events = traced.tracer.take_events().expect("events are asked for");
        for way in &WAYS {
            let label = format!("{family}: {provider:?}: {}", way.name);
            let mut attempts = 0..ATTEMPTS;
            let is_whole =
                attempts.any(|_| assert_closed(family, way, &mut traced, &mut events, &label));
            assert!(is_whole, "{label}: the kernel kept events from the programs each time");
        }
    }
}

/// A process that closes a listener or resets a connection is named, and a peer that resets a
/// connection is not.
#[test]
fn events_of_resets_never_name_the_peer() {
    let _namespace = Namespace::enter();
    for family in Family::BOTH {
        let mut traced = Traced::with(&recorded(None, EventFilter::default()));
        let mut events = traced.tracer.take_events().expect("events are asked for");
        let listener = Listener::open(family);
        let port = listener.port();
        let resetter = named("resetter", None);
        let mut resetter = Actor::start(resetter, || {
            let client = listener.connect();
            client.set_linger(Some(std::time::Duration::ZERO)).expect("sockets can linger");
            drop(client);
        });
        let before = traced.lost();
        resetter.cue();
        resetter.join();
        let server = listener.accept();
        assert!((&server).read(&mut [0]).is_err(), "the client has reset the connection");
        drop(server);
        drop(listener);
        wait::grace_period();
        let lines = events.take(usize::MAX);
        let is_last = |event: &&Event| event.hook == Hook::Transitions && event.to == Close;
        let last: Vec<_> = lines.iter().filter(is_last).collect();
        for event in &last {
            let by = event.closed_by.as_ref();
            let is_client = event.remote_port == Some(port);
            let ours = by.is_some_and(|by| by.pid == Some(std::process::id()));
            match (is_client, event.from) {
                (true, _) => assert_eq!(name(by), Some("resetter"), "{event:#?}"),
                (false, Listen) => assert!(ours, "{event:#?}"),
                (false, _) => assert_eq!(by, None, "{event:#?}"),
            }
        }
        assert!(last.len() == 3 || traced.lost() != before, "{lines:#?}");
    }
}

pub(crate) fn named<'a>(name: &'a str, cgroup: Option<&'a Cgroup>) -> Costume<'a> {
    Costume { name, uid: 0, cgroup }
}

/// Connects, and passes the connection to another process, which ends.
pub(crate) fn pass(listener: &Listener, cgroup: Option<&Cgroup>) {
    let client = listener.connect();
    (&client).write_all(&[1]).expect("the server stands");
    let mut heir = Actor::start(named("heir", cgroup), || {});
    drop(client);
    heir.cue();
    heir.join();
}

/// Makes a connection whose client passes its socket to another process. The orphan ends as a
/// time-wait socket in FIN_WAIT2.
pub(crate) fn perform(listener: &Listener, mut client: Actor) {
    client.cue();
    let server: Socket = listener.accept();
    let mut server = TcpStream::from(server);
    server.read_exact(&mut [0]).expect("the client sends");
    assert_eq!(server.read(&mut [0]).expect("the client closes"), 0);
    client.join();
    wait::until("the orphan to expire", || {
        let sockets = truth::sockets();
        let closing = sockets.full[FinWait1] + sockets.full[FinWait2];
        closing == 0 && sockets.minis.total() == 0
    });
    drop(server);
    wait::grace_period();
}

/// A filter, and whether it matches the lines of time-wait sockets.
type Case = (&'static str, EventFilter, bool);

fn cases(client: u32, cgroup: Option<&Cgroup>) -> Vec<Case> {
    let names = |list: &str| EventFilter {
        comms: Some(list.parse().expect("names")),
        ..EventFilter::default()
    };
    let pids = |pid: u32| EventFilter {
        pids: Some(pid.to_string().parse().expect("numbers")),
        ..EventFilter::default()
    };
    let cgroups = |path: &str| {
        let cgroups = Cgroups::now().matching(path);
        assert!(!cgroups.is_empty(), "{path}");
        EventFilter { cgroups: Some(cgroups), ..EventFilter::default() }
    };
    let mut cases = vec![
        ("name of the closer", names("nobody,heir"), true),
        ("name of the opener", names("client"), false),
        ("pid of the opener", pids(client), false),
    ];
    match cgroup {
        Some(cgroup) => {
            cases.push(("cgroup of the closer", cgroups(&cgroup.path()), true));
            cases.push(("parent of the cgroup of the closer", cgroups(&cgroup.slice()), true));
        }
        None => println!("skipped: cgroups: this machine has no version 2"),
    }
    cases
}

fn start(provider: Option<Provider>, filter: EventFilter) -> (Tracer, Events) {
    let mut tracer = Tracer::start(&recorded(provider, filter)).expect("the tracer starts");
    let events = tracer.take_events().expect("events are asked for");
    (tracer, events)
}

/// The fields of a line that do not depend on the time.
fn known(event: &Event) -> String {
    let Event { hook, from, to, local_port, closed_by, opened_by, .. } = event;
    format!("{hook:?} {from} -> {to} {local_port:?} {closed_by:?} {opened_by:?}")
}

#[test]
fn events_filter_matches_time_wait_sockets_by_their_closer() {
    let cgroup = Cgroup::new("closers.scope");
    for (family, provider) in Family::BOTH.into_iter().zip(PROVIDERS) {
        let is_whole = (0..ATTEMPTS).any(|_| assert_filtered(family, provider, cgroup.as_ref()));
        assert!(is_whole, "{family}: the kernel kept events from the programs each time");
    }
}

/// Asserts which lines of one connection each filter keeps. Returns whether the kernel kept no
/// events from the programs.
fn assert_filtered(family: Family, provider: Option<Provider>, cgroup: Option<&Cgroup>) -> bool {
    let _namespace = Namespace::enter();
    let _soon = Sysctl::held("net.ipv4.tcp_fin_timeout", "1");
    let listener = Listener::open(family);
    let client = Actor::start(named("client", None), || pass(&listener, cgroup));
    let cases = cases(client.pid(), cgroup);
    let mut whole = Traced::with(&recorded(provider, EventFilter::default()));
    let mut whole_events = whole.tracer.take_events().expect("events are asked for");
    let before = whole.lost();
    let mut filtered: Vec<_> =
        cases.iter().map(|(_, filter, _)| start(provider, filter.clone())).collect();
    perform(&listener, client);
    let lost = |tracer: &mut Tracer| {
        let snapshot = tracer.snapshot().expect("a snapshot can be taken");
        snapshot.losses.expect("events are asked for").lines() + snapshot.missed.total()
    };
    if whole.lost() != before || filtered.iter_mut().any(|(tracer, _)| lost(tracer) > 0) {
        println!("{family}: the kernel kept events from the programs");
        return false;
    }
    let of_minis = |events: &mut Events| -> Vec<String> {
        let lines = events.take(usize::MAX);
        let is_mini = |event: &&Event| event.hook == Hook::TimeWait;
        lines.iter().filter(is_mini).map(known).collect()
    };
    let lines = of_minis(&mut whole_events);
    // The orphan is born in FIN_WAIT2 and ends in FIN_WAIT2.
    assert_eq!(lines.len(), 2, "{lines:#?}");
    let is_named = |line: &String| line.contains("heir") && line.contains("client");
    assert!(lines.iter().all(is_named), "{lines:#?}");
    for ((name, _, is_matching), (_, events)) in cases.iter().zip(&mut filtered) {
        let expected = if *is_matching { lines.clone() } else { Vec::new() };
        assert_eq!(of_minis(events), expected, "{family}: {provider:?}: {name}");
    }
    true
}

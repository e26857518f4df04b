//! Tests the close reasons and the event lines of mini sockets, on scripted paths. Each expected
//! close reason must be reported, and no other reason.

use std::{collections::BTreeSet, net::Shutdown, time::Duration};

use socket2::Socket;
use tcpstate::{
    aggregate::CloseReasonCounter,
    probe::{EventOptions, Options},
    report::{
        CloseReason::{self, Abort, LocalFin, LocalRst, Refused, RemoteFin, RemoteRst, Timeout},
        Event, Hook, Minis, Provider,
    },
    source::Events,
};
use tcpstate_common::State::{Close, Established, FinWait2, Listen, SynRecv};
use tcpstate_tests::{
    audit::ATTEMPTS,
    netns::{Namespace, Sysctl},
    paths,
    traced::{Traced, options},
    traffic::{Family, Listener, deafen, hear, port, shutdown},
    truth, wait,
};

/// Scripted paths, with all close reasons of full sockets that occur on each path.
const ENDS: &[(&str, &[CloseReason])] = &[
    ("active close", &[LocalFin, RemoteFin]),
    ("passive close", &[LocalFin, RemoteFin]),
    ("half-close", &[LocalFin, RemoteFin]),
    ("simultaneous close", &[LocalFin]),
    ("orphan gets data", &[LocalFin, RemoteRst]),
    ("orphan gets RST", &[LocalFin, LocalRst]),
    ("no room for TIME_WAIT", &[LocalFin, RemoteRst]),
    ("TIME_WAIT reused by connect", &[LocalFin, RemoteFin, LocalRst, RemoteRst]),
    ("reset by linger", &[LocalRst, RemoteRst]),
    ("reset by unread data", &[LocalRst, RemoteRst]),
    ("reset of half-closed", &[LocalRst, RemoteRst]),
    ("reset before accept", &[LocalRst, RemoteRst]),
    ("connect refused", &[Refused]),
    ("connect timed out", &[Timeout]),
    ("connect abandoned", &[Abort]),
    ("ports exhausted", &[Abort, LocalRst, RemoteRst]),
    ("never accepted", &[LocalRst, RemoteRst]),
];

fn with_events() -> (Traced, Events) {
    let mut traced = Traced::with(&Options { events: Some(EventOptions::default()), ..options() });
    let events = traced.tracer.take_events().expect("events are asked for");
    (traced, events)
}

#[test]
fn endings_on_scripted_paths_have_the_expected_reasons() {
    let _namespace = Namespace::enter();
    let (mut traced, mut events) = with_events();
    for &(name, causes) in ENDS {
        let path = paths::ALL.iter().find(|path| path.name == name).expect("it is there");
        let before = traced.lost();
        path.run(&mut |_: &str| {});
        let lines = events.take(usize::MAX);
        if traced.lost() != before {
            println!("{name}: the kernel kept events from the programs");
            continue;
        }
        let ends = lines.iter().filter(|event| {
            event.hook == Hook::Transitions && event.to == Close && event.from != Listen
        });
        let reported: BTreeSet<_> = ends.map(|event| event.ended_by).collect();
        let expected = causes.iter().copied().map(Some).collect();
        assert_eq!(reported, expected, "{name}: {lines:#?}");
        let sums = lines.iter().fold(CloseReasonCounter::default(), |mut sums, event| {
            sums.count(event);
            sums
        });
        let no_port = sums.sums().no_local_port;
        // The path makes five failed connects of each family.
        assert_eq!(no_port, if name == "ports exhausted" { 10 } else { 0 }, "{name}");
    }
}

/// Makes a connection, and calls `end` to close both sockets of the connection. Returns the last
/// event line of the client.
fn last_line(events: &mut Events, end: impl FnOnce(Socket, Socket)) -> Event {
    let listener = Listener::open(Family::V4);
    let (client, server) = (listener.connect(), listener.accept());
    let port = port(&client);
    drop(listener);
    end(client, server);
    truth::await_end_of_sockets();
    let lines = events.take(usize::MAX);
    let is_clients =
        |event: &&Event| event.local_port == Some(port) && event.hook == Hook::Transitions;
    lines.iter().rfind(is_clients).expect("it ended").clone()
}

/// The test covers close reasons that no path shows: a timeout, `ss -K`, and data after a shutdown
/// of both directions.
#[test]
fn endings_by_timeout_abort_and_late_data_are_reported() {
    let _namespace = Namespace::enter();
    let (mut traced, mut events) = with_events();
    for attempt in 1..=ATTEMPTS {
        let before = traced.lost();
        let timed_out = last_line(&mut events, |client, server| {
            client.set_tcp_user_timeout(Some(Duration::from_millis(1))).expect("sockets have one");
            deafen([&server]);
            client.send(b"anyone?").expect("nobody knows yet");
            await_error(&client, libc::ETIMEDOUT);
            hear([&server]);
        });
        let destroyed = last_line(&mut events, |client, server| {
            truth::ss_kill(&["sport", &format!(":{}", port(&client))]);
            await_error(&client, libc::ECONNABORTED);
            drop(server);
        });
        let late_data = last_line(&mut events, |client, server| {
            client.shutdown(Shutdown::Both).expect("it is connected");
            wait::until("an acknowledged FIN", || truth::sockets().full[FinWait2] == 1);
            server.send(b"late").expect("it does not know yet");
            await_error(&server, libc::EPIPE);
        });
        if traced.lost() != before {
            println!("attempt {attempt}: the kernel kept events from the programs");
            continue;
        }
        let ends = [&timed_out, &destroyed, &late_data];
        assert_eq!(
            ends.map(|end| (end.from, end.to, end.ended_by)),
            [
                (Established, Close, Some(Timeout)),
                (Established, Close, Some(Abort)),
                (FinWait2, Close, Some(LocalRst))
            ],
            "{ends:#?}"
        );
        return;
    }
    panic!("the kernel kept events from the programs each time");
}

fn await_error(socket: &Socket, errno: i32) {
    wait::until("an error", || {
        let error = socket.take_error().expect("sockets have one");
        error.is_some_and(|error| error.raw_os_error() == Some(errno))
    });
}

/// Returns the lines of mini sockets of one connection with this hook, in order.
fn of_minis(lines: &[Event], hook: Hook, port: u16) -> Vec<&Event> {
    lines.iter().filter(|event| event.hook == hook && event.local_port == Some(port)).collect()
}

#[test]
fn endings_of_mini_sockets_join_their_connection() {
    let _namespace = Namespace::enter();
    let (traced, mut events) = with_events();
    let by = Minis::BOTH.map(|minis| traced.tracer.probe().provider(minis));
    for family in Family::BOTH {
        let _soon = Sysctl::held("net.ipv4.tcp_fin_timeout", "1");
        let listener = Listener::open(family);
        let (client, server) = (listener.connect(), listener.accept());
        let port = port(&client);
        shutdown([&client]);
        wait::until("its FIN to be acknowledged", || truth::sockets().full[FinWait2] == 1);
        drop(client);
        wait::until("the orphan to expire", || truth::sockets().minis.total() == 0);
        let lines = events.take(usize::MAX);
        let minis = of_minis(&lines, Hook::TimeWait, port);
        let moves: Vec<_> = minis.iter().map(|event| (event.from, event.to)).collect();
        assert_eq!(moves, [(Close, FinWait2), (FinWait2, Close)], "{family}: {lines:#?}");
        let full = lines
            .iter()
            .find(|event| event.hook == Hook::Transitions && event.local_port == Some(port));
        let full = full.expect("it connected");
        for event in &minis {
            assert_eq!(event.cookie, full.cookie, "{family}: {lines:#?}");
            assert_eq!((event.local, event.remote), (full.local, full.remote), "{family}");
            assert_eq!(
                (event.remote_port, event.netns),
                (full.remote_port, full.netns),
                "{family}"
            );
        }
        let passed = minis[1].monotonic.saturating_sub(minis[0].monotonic);
        assert_eq!(minis[1].duration, Some(passed));
        assert!(passed >= Duration::from_millis(900), "{passed:?}");
        let is_reported = by[0] == Provider::Fentry;
        assert_eq!(minis[1].ended_by, is_reported.then_some(Timeout), "{family}");
        let requests = of_minis(&lines, Hook::SynRecv, listener.port());
        let moves: Vec<_> = requests.iter().map(|event| (event.from, event.to)).collect();
        assert_eq!(moves, [(Close, SynRecv), (SynRecv, Close)], "{family}: {lines:#?}");
        assert!(requests.iter().all(|event| event.remote_port == Some(port)), "{family}");
        drop(server);
        wait::until("the server to end", || truth::sockets().full.total() == 1);
        drop(listener);
        let _ = events.take(usize::MAX);
    }
}

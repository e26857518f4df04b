//! Tests the owners of sockets in event lines: the process that accepted the connection and its
//! cgroup, never the peer.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
};

use socket2::Socket;
use tcpstate::{
    probe::{EventOptions, Netns, Options},
    report::{Acceptors, Event, Hook},
    source::Events,
};
use tcpstate_common::State::{self, Close, Established, Listen, SynRecv};
use tcpstate_tests::{
    actor::{Actor, Cgroup, Costume},
    audit::{ATTEMPTS, has_twin},
    emulated::scaled,
    netns::{Namespace, Place},
    traced::{Traced, options},
    traffic::{Family, Listener, shutdown},
    wait,
};

/// A container ID that looks like the IDs in the cgroups of container runtimes.
const CONTAINER: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904b825dc642cb6eb9a060e54bf";

fn traced(netns: Netns, acceptors: Option<Acceptors>) -> Option<(Traced, Events)> {
    let events = Some(EventOptions { acceptors, ..EventOptions::default() });
    match Traced::try_with(&Options { events, netns, ..options() }) {
        Ok(mut traced) => {
            let events = traced.tracer.take_events().expect("events are asked for");
            Some((traced, events))
        }
        Err(error) => {
            println!("skipped: {acceptors:?}: {error}");
            None
        }
    }
}

/// Accepts one connection, answers one byte, and closes when the peer closes.
fn serve(listener: &Socket) {
    let mut server = TcpStream::from(listener.accept().expect("a connection comes").0);
    let mut byte = [0];
    server.read_exact(&mut byte).expect("the client sends");
    server.write_all(&byte).expect("the client stands");
    assert_eq!(server.read(&mut byte).expect("the client closes"), 0);
}

/// Connects, sends a byte, and closes after the answer.
fn ask(to: &socket2::SockAddr) {
    let mut client = TcpStream::connect(to.as_socket().expect("an address")).expect("it listens");
    client.write_all(&[1]).expect("the server stands");
    client.read_exact(&mut [0]).expect("the server answers");
    client.shutdown(Shutdown::Write).expect("it is connected");
    assert_eq!(client.read(&mut [0]).expect("the server closes"), 0);
}

/// The test process has a listener. Another process accepts a connection, and a third process makes
/// the connection. The function asserts the owner of each event line.
///
/// The function is long because it contains both the traffic and the expected owners of the
/// traffic's sockets.
fn assert_owned(traced: &mut Traced, events: &mut Events, netns: u64, cgroup: Option<&Cgroup>) {
    for attempt in 1..=ATTEMPTS {
        let before = traced.lost();
        let listener = Listener::open(Family::V4);
        let acceptor = Costume { name: "acceptor", uid: 1234, cgroup: None };
        let mut acceptor = Actor::start(acceptor, || serve(listener.socket()));
        let client = Costume { name: "client \u{1b}[2J", uid: 4321, cgroup };
        let mut client = Actor::start(client, || ask(listener.address()));
        let (accepts, asks, port) = (acceptor.pid(), client.pid(), listener.port());
        acceptor.cue();
        client.cue();
        client.join();
        acceptor.join();
        drop(listener);
        // The last event line is about the listener, or about the server socket if the acceptor was
        // the last process that held the server socket.
        wait::grace_period();
        let lines: Vec<Event> = events.take(usize::MAX);
        if has_twin(&lines) {
            println!("attempt {attempt}: two children of one handshake");
            continue;
        }
        let is_here =
            |event: &&Event| event.hook == Hook::Transitions && u64::from(event.netns) == netns;
        let lines: Vec<_> = lines.iter().filter(is_here).collect();
        if traced.lost() != before {
            println!("attempt {attempt}: the kernel kept events from the programs");
            continue;
        }
        let at = |local: bool| {
            let end = move |event: &Event| if local { event.local_port } else { event.remote_port };
            lines.iter().filter(move |event| end(event) == Some(port)).copied()
        };
        let is_listener =
            |event: &&Event| event.to == Listen || event.from == Listen && event.to == Close;
        let owner = |event: &Event| {
            (event.pid, event.comm.as_ref().map(|comm| comm.to_string_lossy().into_owned()))
        };
        let path = cgroup.map(Cgroup::path);
        let clients: Vec<&Event> = at(false).collect();
        assert_eq!(clients.len(), 5, "{lines:#?}");
        for event in clients {
            assert_eq!(owner(event), (Some(asks), Some("client \u{1b}[2J".into())), "{event:#?}");
            assert_eq!(event.uid, Some(4321), "{event:#?}");
            let place = event.cgroup.as_ref();
            if let Some(path) = &path {
                assert_eq!(place.map(|place| &place.path), Some(path), "{event:#?}");
                let container = place.and_then(|place| place.container.as_ref());
                assert_eq!(container.map(|container| &*container.id), Some(CONTAINER));
            }
        }
        let servers: Vec<&Event> = at(true).filter(|event| !is_listener(event)).collect();
        assert_eq!(servers.len(), 5, "{lines:#?}");
        for (index, event) in servers.into_iter().enumerate() {
            // Until accept(), the server socket has no owner, and its user is the listener's user.
            let (expected, uid) = match index {
                0 | 1 => ((None, None), 0),
                _ => ((Some(accepts), Some("acceptor".into())), 1234),
            };
            assert_eq!((owner(event), event.uid), (expected, Some(uid)), "{event:#?}");
            // The child has the cgroup of its listener.
            assert!(event.cgroup.as_ref().is_none_or(|place| Some(&place.path) != path.as_ref()));
        }
        let ours = std::process::id();
        assert!(at(true).filter(is_listener).all(|event| event.pid == Some(ours)), "{lines:#?}");
        return;
    }
    panic!("the kernel kept events from the programs, or undid a child, each time");
}

#[test]
fn events_of_accepted_connections_name_the_acceptor() {
    let namespace = Namespace::enter();
    let cgroup = Cgroup::new(&format!("docker-{CONTAINER}.scope"));
    if cgroup.is_none() {
        println!("skipped: cgroups: this machine has no version 2");
    }
    for acceptors in [Acceptors::Accept, Acceptors::Use, Acceptors::Receive] {
        if let Some((mut traced, mut events)) = traced(Netns::Own, Some(acceptors)) {
            assert_eq!(traced.tracer.probe().acceptors(), Some(acceptors));
            assert_owned(&mut traced, &mut events, namespace.inode(), cgroup.as_ref());
        }
    }
}

#[test]
fn events_of_all_namespaces_name_their_owners() {
    let (mut traced, mut events) = traced(Netns::All, None).expect("some way is always there");
    let cgroup = Cgroup::new(&format!("docker-{CONTAINER}.scope"));
    let place = Place::new();
    let inode = place.inode();
    // The tracer must stay on this thread, so this thread itself enters the namespace. Processes
    // that this thread starts are in the current namespace of the thread.
    let _inside = Inside::enter(&place);
    assert_owned(&mut traced, &mut events, inode, cgroup.as_ref());
}

/// Keeps this thread in a namespace until the value is dropped.
struct Inside(std::fs::File);

impl Inside {
    fn enter(place: &Place) -> Self {
        let before = std::fs::File::open("/proc/thread-self/ns/net").expect("procfs is mounted");
        let there = std::fs::File::open(place.path()).expect("it is ours");
        set(&there);
        Self(before)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        set(&self.0);
    }
}

fn set(namespace: &std::fs::File) {
    nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).expect("root may enter it");
}

#[test]
fn events_of_older_sockets_name_the_process_that_has_them_open() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V6);
    let client = listener.connect();
    let server = listener.accept();
    let holder = Costume { name: "holder", uid: 0, cgroup: None };
    let mut holder = Actor::start(holder, || {
        // This process got a copy of the server socket by fork(). After `drop(server)` no other
        // process has the server socket.
        assert_eq!((&server).read(&mut [0]).expect("the client closes"), 0);
    });
    drop(server);
    let (mut traced, mut events) = traced(Netns::Own, None).expect("some way is always there");
    let before = traced.lost();
    shutdown([&client]);
    let pid = holder.pid();
    holder.cue();
    holder.join();
    wait::grace_period();
    let mut lines = events.take(usize::MAX);
    lines.retain(|event| event.hook == Hook::Transitions);
    if traced.lost() != before {
        println!("skipped: the kernel kept events from the programs");
        return;
    }
    let port = Some(listener.port());
    assert_eq!(lines.len(), 6, "{lines:#?}");
    // fork() also copied the client socket, so both processes have the client socket open. The
    // search for owners begins with the lowest process ID. If process IDs have wrapped around, the
    // child has the lowest ID.
    let client_owner = std::process::id().min(pid);
    for event in &lines {
        let owner = if event.remote_port == port { client_owner } else { pid };
        assert_eq!(event.pid, Some(owner), "{event:#?}");
        let is_holder = event.comm.as_deref() == Some("holder".as_ref());
        assert_eq!(is_holder, owner == pid, "{event:#?}");
    }
}

/// The test is long because one script contains both processes, their connections and the check of
/// their event lines.
#[test]
fn events_of_two_busy_processes_never_name_the_peer() {
    let wanted = usize::try_from(scaled(100_000)).expect("a small number");
    let _namespace = Namespace::enter();
    let (mut traced, mut events) = traced(Netns::Own, None).expect("some way is always there");
    // Each process is the server in one half of the test.
    for (server, client) in [("alpha", "beta"), ("beta", "alpha")] {
        let costume =
            |name| Costume { name, uid: if name == "alpha" { 1001 } else { 1002 }, cgroup: None };
        let listener = Listener::open(Family::V4);
        let (port, address) = (listener.port(), listener.address().clone());
        let connections = wanted / 2 / 10 + 1;
        let mut serves = Actor::start(costume(server), || {
            let listener = TcpListener::from(listener.socket().try_clone().expect("descriptors"));
            for stream in listener.incoming().take(connections) {
                let mut stream = stream.expect("a connection comes");
                let _ = stream.read(&mut [0]);
                let _ = stream.write(&[1]);
            }
        });
        let mut connects = Actor::start(costume(client), || {
            for _ in 0..connections {
                let address = address.as_socket().expect("an address");
                let mut stream = TcpStream::connect(address).expect("it listens");
                let _ = stream.write(&[1]);
                let _ = stream.read(&mut [0]);
            }
        });
        let owners = [(serves.pid(), server), (connects.pid(), client)];
        serves.cue();
        connects.cue();
        let is_over = AtomicBool::new(false);
        let mut lines = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                connects.join();
                serves.join();
                is_over.store(true, Ordering::Release);
            });
            while !is_over.load(Ordering::Acquire) {
                lines.extend(events.take(usize::MAX));
                std::thread::yield_now();
            }
        });
        lines.extend(events.take(usize::MAX));
        lines.retain(|event| event.hook == Hook::Transitions);
        let lost = traced.lost().0;
        let mut owned = [0_usize; 2];
        let mut of_end = [0_usize; 2];
        for event in &lines {
            let end = usize::from(event.local_port != Some(port));
            let is_listener = matches!((event.from, event.to), (_, Listen) | (Listen, Close));
            let (pid, name) = owners[end];
            if is_listener {
                continue;
            }
            of_end[end] += 1;
            assert_eq!(
                event.uid,
                Some(if is_born_of(event) { 0 } else { uid(name) }),
                "{event:#?}"
            );
            if let Some(owner) = event.pid {
                assert_eq!(owner, pid, "the peer's: {event:#?}");
                assert_eq!(event.comm.as_deref(), Some(name.as_ref()), "the peer's: {event:#?}");
                owned[end] += 1;
            }
        }
        println!("{} lines, {owned:?} of {of_end:?} with an owner, {lost} lost", lines.len());
        // All event lines of a client have an owner. A server has five lines, and the three lines
        // after accept() have an owner.
        assert!(
            owned[1] * 10 >= of_end[1] * 9 && owned[0] * 10 >= of_end[0] * 4,
            "{owned:?} of {of_end:?}"
        );
        assert!(
            lines.len() + usize::try_from(lost).expect("small") >= wanted / 2,
            "{}",
            lines.len()
        );
    }
}

/// Returns whether the event's transition happens before accept() can return the child.
fn is_born_of(event: &Event) -> bool {
    let moves: [(State, State); 2] = [(Listen, SynRecv), (SynRecv, Established)];
    moves.contains(&(event.from, event.to))
}

fn uid(name: &str) -> u32 {
    if name == "alpha" { 1001 } else { 1002 }
}

//! Tests that no count is lost while thousands of owners come and go.

use std::{
    collections::HashMap,
    io::Read as _,
    net::{SocketAddr, TcpStream},
    os::fd::AsFd as _,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::Duration,
};

use nix::{
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        signal::{Signal, kill},
    },
    unistd::Pid,
};
use socket2::{Socket, Type};
use tcpstate::{
    probe::{MAX_OWNERS, Options, OwnerOptions},
    report::{Column, Key, OwnerCounts, OwnerKind, Owners, Snapshot, key::Value},
};
use tcpstate_tests::{
    actor::{Actor, Costume},
    emulated::scaled,
    files,
    netns::{Namespace, sysctl},
    traced::{Traced, options},
    traffic::Family,
    truth, wait,
};

use super::{differences_over, owners};

/// The number of processes that connect. Each connects to a port of its own.
const OWNERS: u64 = 10_000;
/// The number of connections of each process. Each has six or ten transitions.
const CONNECTIONS: u64 = 160;
/// One in so many connections of every second process closes by a FIN and leaves a time-wait
/// socket. All others close by a reset, so that every other process has gone when it ends.
const ONE_IN: u64 = 5;
/// The number of processes that connect at the same time.
const AT_ONCE: usize = 4;
const FIRST_PORT: u16 = 20_000;

fn address(owner: u32) -> SocketAddr {
    let family = if owner.is_multiple_of(2) { Family::V4 } else { Family::V6 };
    family.loopback(FIRST_PORT + u16::try_from(owner).expect("owners have ports"))
}

fn listen(to: SocketAddr) -> Socket {
    let listener = Socket::new(socket2::Domain::for_address(to), Type::STREAM, None);
    let listener = listener.expect("there are descriptors left");
    listener.bind(&to.into()).expect("nobody has the port");
    listener.listen(1024).expect("it is bound");
    listener
}

/// Accepts each connection, and closes it after its client.
fn serve(listeners: &[Socket]) {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("there are descriptors left");
    for (index, listener) in listeners.iter().enumerate() {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
        epoll.add(listener.as_fd(), event).expect("it is a socket");
    }
    let mut events = [EpollEvent::empty(); 64];
    loop {
        let number = epoll.wait(&mut events, EpollTimeout::NONE).expect("no signal handler");
        for event in &events[..number] {
            let index = usize::try_from(event.data()).expect("it is an index");
            let child = listeners[index].accept().expect("a connection comes").0;
            // The client may have reset the connection.
            let _ = TcpStream::from(child).read(&mut [0]);
        }
    }
}

/// Returns whether a connection of a process leaves a time-wait socket.
fn leaves_time_wait(owner: u32, connection: u64) -> bool {
    (owner / 2).is_multiple_of(2) && connection.is_multiple_of(ONE_IN)
}

/// Makes the connections of one process.
fn connect(owner: u32, connections: u64) {
    for connection in 0..connections {
        let socket = Socket::from(TcpStream::connect(address(owner)).expect("it listens"));
        if !leaves_time_wait(owner, connection) {
            socket.set_linger(Some(Duration::ZERO)).expect("sockets can linger");
        }
    }
}

/// Starts one process after the other until each owner had one. Returns the process of each owner.
fn connect_all(owners: u32, connections: u64) -> HashMap<u32, u32> {
    let next = AtomicU32::new(0);
    let work = || {
        let mut pids = Vec::new();
        loop {
            let owner = next.fetch_add(1, Ordering::Relaxed);
            if owner >= owners {
                return pids;
            }
            let work = || connect(owner, connections);
            let mut client = Actor::start(Costume::named("client"), work);
            pids.push((owner, client.pid()));
            client.cue();
            client.join();
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("clients end")).collect()
    })
}

fn sum(owners: &Owners, column: Column) -> u64 {
    owners.groups.iter().map(|group| group.total.get(column)).sum()
}

/// Compares snapshots under load: each sum lies between the totals before and after it, and no
/// count of a group becomes smaller.
#[derive(Default)]
struct Watch {
    snapshots: Vec<Snapshot>,
    counts: HashMap<OwnerKind, OwnerCounts>,
    seen: u64,
}

impl Watch {
    fn observe(&mut self, snapshot: Snapshot) {
        let mut counts = HashMap::new();
        for group in &owners(&snapshot).groups {
            if let Some(before) = self.counts.get(&group.kind) {
                for column in Column::ALL {
                    let (before, now) = (before.get(column), group.total.get(column));
                    // A time-wait socket counts for an unknown owner at first.
                    let may_fall =
                        column == Column::TimeWaitEntries && group.kind == OwnerKind::Unknown;
                    assert!(now >= before || may_fall, "{column:?}: {before}, {now}: {group:#?}");
                }
            }
            counts.insert(group.kind.clone(), group.total);
        }
        self.counts = counts;
        self.snapshots.push(snapshot);
        self.seen += 1;
        if let [before, between, after] = &self.snapshots[..] {
            for column in Column::ALL {
                let total = |of: &Snapshot| of.totals().get(column).expect("it is counted");
                let sum = sum(owners(between), column);
                let range = total(before)..=total(after);
                assert!(range.contains(&sum), "{column:?}: {sum} of {range:?}");
            }
            self.snapshots.remove(0);
        }
    }
}

/// The rows of clients, compared with the connections of their processes.
#[derive(Debug, Default)]
struct Rows {
    right: usize,
    /// The sum of all differences.
    off: u64,
}

impl Rows {
    fn compare(owners: &Owners, pids: &HashMap<u32, u32>, connections: u64) -> Self {
        let mut rows = Self::default();
        for group in owners.groups.iter().filter(|group| group.total.opened > 0) {
            let OwnerKind::Group(key) = &group.kind else { continue };
            let [Value::Process(process), Value::Port(port)] = &key[..] else {
                panic!("{group:#?}")
            };
            let owner = u32::from(port - FIRST_PORT);
            assert_eq!(pids.get(&owner), Some(&process.pid), "{group:#?}");
            let with_fin = (0..connections).filter(|&number| leaves_time_wait(owner, number));
            let with_fin = with_fin.count() as u64;
            let expected = OwnerCounts {
                opened: connections,
                connected: connections,
                closed_first: with_fin,
                time_wait_entries: with_fin,
                reset: connections - with_fin,
                ..OwnerCounts::default()
            };
            let off = |column| group.total.get(column).abs_diff(expected.get(column));
            let off: u64 = Column::ALL.into_iter().map(off).sum();
            rows.off += off;
            rows.right += usize::from(off == 0);
        }
        rows
    }
}

#[test]
fn owners_of_ten_million_transitions_have_all_of_them() {
    let _namespace = Namespace::enter();
    files::lift_limit();
    sysctl("net.core.somaxconn", "1024");
    let (owners_number, connections) = (scaled(OWNERS), scaled(CONNECTIONS));
    let number = u32::try_from(owners_number).expect("few");
    let listeners: Vec<_> = (0..number).map(|owner| listen(address(owner))).collect();
    let server = Actor::start(Costume::named("server"), || serve(&listeners));
    drop(listeners);
    let room = u32::try_from(scaled(u64::from(MAX_OWNERS))).expect("few");
    let keys = vec![Key::Process, Key::RemotePort];
    let by = OwnerOptions { max_owners: room, ..OwnerOptions::by(keys) };
    let mut traced = Traced::with(&Options { owners: Some(by), ..options() });
    let mut server = server;
    server.cue();
    let (mut watch, has_ended) = (Watch::default(), AtomicBool::new(false));
    let pids = thread::scope(|scope| {
        let clients = scope.spawn(|| {
            let pids = connect_all(number, connections);
            has_ended.store(true, Ordering::Relaxed);
            pids
        });
        while !has_ended.load(Ordering::Relaxed) {
            watch.observe(traced.snapshot());
            thread::sleep(Duration::from_millis(200));
        }
        clients.join().expect("clients end")
    });
    wait::grace_period();
    let snapshot = traced.snapshot();
    kill(Pid::from_raw(server.pid().cast_signed()), Signal::SIGKILL).expect("it is our child");
    drop(server);
    let transitions: u64 = snapshot.transitions.iter().map(|transition| transition.count).sum();
    let gone = owners(&snapshot).groups.iter().find(|group| group.kind == OwnerKind::Gone);
    let gone = gone.map_or(0, |group| group.total.opened);
    println!(
        "{transitions} transitions, {} snapshots, {gone} connections of owners that have gone, \
         {} sockets without room",
        watch.seen,
        owners(&snapshot).without_room,
    );
    // The kernel may keep events from the programs. The snapshot tells how many at most.
    let missed = owners(&snapshot).missed;
    let rows = Rows::compare(owners(&snapshot), &pids, connections);
    println!("{} uncounted, at most {missed} missed, {rows:?}", traced.uncounted());
    assert!(rows.right > 0 && rows.off <= missed, "at most {missed} missed, {rows:?}");
    assert!(gone > 0, "no owner has gone");
    truth::await_end_of_sockets();
    // Time-wait sockets expire meanwhile, and a snapshot does not read all rows at one moment.
    wait::until_equal("the groups to add up", &Vec::new(), || {
        differences_over(&traced.snapshot(), missed)
    });
    traced.assert_equal("after the churn");
}

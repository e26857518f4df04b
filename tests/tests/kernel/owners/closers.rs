//! Tests that a time-wait socket counts for the process that closed its connection, however the
//! connection was closed.

use std::{
    io::{ErrorKind, Read, Write as _},
    mem::MaybeUninit,
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use socket2::{SockAddr, Socket};
use tcpstate::report::{Key, OwnerKind, Owners, Snapshot, key::Value};
use tcpstate_tests::{
    actor::{Actor, Costume},
    netns::Namespace,
    traced::Traced,
    traffic::{Family, Listener, set_option},
    truth, wait,
};

use super::{by, differences, owners};

/// The number of connections that are closed in each way.
const CONNECTIONS: u64 = 5;

/// A way in which a connection ends: what the server does with it, what the client does with it,
/// and the name of the process that closes first, if a time-wait socket remains.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    client: fn(Socket),
    server: fn(Socket),
    pub(crate) closer: Option<&'static str>,
    /// Whether the client does not read what the server sends.
    leaves_data: bool,
}

pub(crate) const WAYS: [Way; 10] = [
    way("active close", drop_first, drop_second, Some("client")),
    way("passive close", drop_second, drop_first, Some("server")),
    Way { leaves_data: true, ..way("unread data", drop_first, drop_second, None) },
    way("linger 0", drop_at_once, drop_second, None),
    way("linger2 -1", without_fin_wait2, drop_late, None),
    way("shutdown", shut_down, drop_second, Some("client")),
    way("exit", exit, drop_second, Some("client")),
    way("kill", die, drop_second, Some("client")),
    way("connected and passed", pass, drop_second, Some("heir")),
    way("accepted and passed", drop_second, pass, Some("heir")),
];

const fn way(
    name: &'static str,
    client: fn(Socket),
    server: fn(Socket),
    closer: Option<&'static str>,
) -> Way {
    Way { name, client, server, closer, leaves_data: false }
}

fn drop_first(socket: Socket) {
    drop(socket);
}

/// Closes after the peer has closed.
fn drop_second(socket: Socket) {
    let mut stream = TcpStream::from(socket);
    while stream.read(&mut [0; 16]).is_ok_and(|bytes| bytes > 0) {}
}

/// Closes a while after the peer has closed, so that the peer is in FIN_WAIT2.
fn drop_late(socket: Socket) {
    let mut stream = TcpStream::from(socket);
    while stream.read(&mut [0; 16]).is_ok_and(|bytes| bytes > 0) {}
    std::thread::sleep(Duration::from_millis(20));
}

fn drop_at_once(socket: Socket) {
    socket.set_linger(Some(Duration::ZERO)).expect("sockets can linger");
    drop(socket);
}

fn without_fin_wait2(socket: Socket) {
    set_option(&socket, libc::IPPROTO_TCP, libc::TCP_LINGER2, -1).expect("TCP has this option");
    drop(socket);
}

fn shut_down(socket: Socket) {
    socket.shutdown(Shutdown::Write).expect("it is connected");
    drop_second(socket);
}

fn exit(socket: Socket) {
    std::mem::forget(socket);
    // SAFETY: the process ends without a destructor, as its parent expects.
    unsafe { libc::_exit(0) }
}

fn die(socket: Socket) {
    std::mem::forget(socket);
    kill(Pid::this(), Signal::SIGKILL).expect("it may kill itself");
}

/// Passes the socket to another process, which closes it.
fn pass(socket: Socket) {
    let mut heir = Actor::start(Costume::named("heir"), || {
        // The parent has closed its descriptor when it gives the cue.
    });
    drop(socket);
    heir.cue();
    heir.join();
}

fn closed_by(owners: &Owners, name: &str) -> u64 {
    let is_named = |values: &[Value]| matches!(&values[0], Value::Comm(comm) if comm == name);
    let groups = owners.groups.iter();
    let of = groups.filter(|group| matches!(&group.kind, OwnerKind::Group(key) if is_named(key)));
    of.map(|group| group.total.time_wait_entries).sum()
}

/// Makes one connection, in which each end is a process of its own. Returns the process IDs of the
/// client and of the server.
pub(crate) fn connect(way: &Way, listener: &Listener) -> [u32; 2] {
    let mut server = Actor::start(Costume::named("server"), || {
        let mut socket = listener.socket().accept().expect("a connection comes").0;
        socket.write_all(&[1]).expect("the client stands");
        (way.server)(socket);
    });
    let mut client = Actor::start(Costume::named("client"), || {
        let socket = connected(listener.address());
        socket.peek(&mut [MaybeUninit::uninit()]).expect("the server sends");
        if !way.leaves_data {
            socket.recv(&mut [MaybeUninit::uninit()]).expect("the server sends");
        }
        (way.client)(socket);
    });
    let pids = [client.pid(), server.pid()];
    server.cue();
    client.cue();
    drop(client);
    drop(server);
    pids
}

fn connected(to: &SockAddr) -> Socket {
    let to = to.as_socket().expect("an address of the internet");
    Socket::from(TcpStream::connect(to).expect("the server listens"))
}

/// Returns the number of events that the kernel kept from the programs, and of the sockets whose
/// owners are unknown because of such events.
fn uncounted(traced: &mut Traced, snapshot: &Snapshot) -> u64 {
    traced.uncounted() + owners(snapshot).missed
}

/// The processes that make connections.
const NAMES: [&str; 3] = ["client", "server", "heir"];

/// Closes connections in one way, and asserts that the time-wait sockets count for the closer.
fn assert_closed_by(family: Family, way: &Way, traced: &mut Traced) {
    let label = format!("{family}: {}", way.name);
    let closed = |snapshot: &Snapshot| NAMES.map(|name| closed_by(owners(snapshot), name));
    let at_start = traced.snapshot();
    let (lost, before) = (uncounted(traced, &at_start), closed(&at_start));
    let listener = Listener::open(family);
    for _ in 0..CONNECTIONS {
        connect(way, &listener);
    }
    drop(listener);
    truth::await_end_of_sockets();
    wait::grace_period();
    traced.assert_equal(&label);
    let snapshot = traced.snapshot();
    if uncounted(traced, &snapshot) > lost {
        println!("{label}: skipped: the kernel kept events from the programs");
        return;
    }
    let after = closed(&snapshot);
    for (slot, name) in NAMES.into_iter().enumerate() {
        let expected = if way.closer == Some(name) { CONNECTIONS } else { 0 };
        assert_eq!(after[slot] - before[slot], expected, "{label}: {name}: {snapshot:#?}");
    }
}

#[test]
fn owners_of_time_waits_are_their_closers() {
    for family in Family::BOTH {
        let _namespace = Namespace::enter();
        let mut traced = Traced::with(&by(&[Key::Comm]));
        for way in &WAYS {
            assert_closed_by(family, way, &mut traced);
        }
        let snapshot = traced.snapshot();
        if uncounted(&mut traced, &snapshot) == 0 {
            // On a slow machine, time-wait sockets expire meanwhile, and a snapshot does not read
            // the groups and the totals at one moment.
            wait::until_equal("the groups to add up", &Vec::new(), || {
                differences(&traced.snapshot())
            });
        }
    }
}

/// The number of connections whose ends close at almost the same time.
const SIMULTANEOUS: u64 = 4000;

/// Tells the peer that the caller is ready, and returns when the peer is ready as well.
fn meet(peer: &mut UnixStream) {
    peer.write_all(&[1]).expect("the peer lives");
    spin_until_read(peer);
}

/// Reads without sleeping, so that the function returns as soon as there is something to read.
fn spin_until_read(stream: &mut impl Read) {
    while stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
        std::hint::spin_loop();
    }
}

/// Makes connections whose ends close at almost the same time. In each second connection the server
/// closes as soon as it sees the FIN of the client, while the kernel makes the client's time-wait
/// socket on another CPU. In the other connections, either end can be the first.
fn close_simultaneously(listener: &Listener) {
    let (mut at_client, mut at_server) = UnixStream::pair().expect("there are descriptors left");
    for end in [&at_client, &at_server] {
        end.set_nonblocking(true).expect("it is a socket");
    }
    let mut server = Actor::start(Costume::named("server"), || {
        for connection in 0..SIMULTANEOUS {
            let mut socket = listener.socket().accept().expect("a connection comes").0;
            socket.set_nonblocking(true).expect("it is a socket");
            meet(&mut at_server);
            if connection % 2 == 0 {
                spin_until_read(&mut socket);
            }
        }
    });
    let mut client = Actor::start(Costume::named("client"), || {
        for _ in 0..SIMULTANEOUS {
            let _socket = connected(listener.address());
            meet(&mut at_client);
        }
    });
    server.cue();
    client.cue();
    client.join();
    server.join();
}

#[test]
fn owners_of_simultaneous_closes_are_the_processes_of_each_end() {
    for family in Family::BOTH {
        let _namespace = Namespace::enter();
        let mut traced = Traced::with(&by(&[Key::Comm, Key::LocalPort]));
        let listener = Listener::open(family);
        let port = listener.address().as_socket().expect("an address of the internet").port();
        close_simultaneously(&listener);
        drop(listener);
        truth::await_end_of_sockets();
        wait::grace_period();
        traced.assert_equal("simultaneous closes");
        let snapshot = traced.snapshot();
        let uncounted = uncounted(&mut traced, &snapshot);
        if uncounted > 0 {
            println!("{family}: skipped: the kernel kept {uncounted} events from the programs");
            continue;
        }
        // On a slow machine, time-wait sockets expire meanwhile.
        wait::until_equal("the groups to add up", &Vec::new(), || differences(&traced.snapshot()));
        let owners = owners(&snapshot);
        for group in owners.groups.iter().filter(|group| group.total.time_wait_entries > 0) {
            let OwnerKind::Group(key) = &group.kind else { panic!("unknown: {owners:#?}") };
            let [Value::Comm(name), local] = &key[..] else { panic!("{key:?}") };
            let of_end = if name == "server" { Value::Port(port) } else { Value::Client };
            assert_eq!(*local, of_end, "{family}: {name}: {owners:#?}");
        }
    }
}

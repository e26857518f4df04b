//! The traffic that the documents show: a server whose operator finds 46,807 sockets in TIME_WAIT.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use socket2::{Domain, Socket, Type};
use tcpstate_common::State;
use tcpstate_tests::{
    actor::{Actor, Costume},
    netns::sysctl,
    traffic::{shutdown, vanish},
    truth::ss,
    wait,
};

const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080);
/// The number of the server's sockets in each of three states.
const TIME_WAIT: u16 = 46_807;
const ESTABLISHED: u16 = 497;
const CLOSE_WAIT: u16 = 165;

/// The first byte of a client tells the server whether to keep the connection or to close it.
const KEEP: u8 = b'k';
const CLOSE: u8 = b'c';

/// The local port of the first client at each client address.
const FIRST_PORT: u16 = 10_000;

/// A server that has connections in several states, and a client that connects to the server again
/// and again.
#[derive(Debug)]
pub(super) struct Scene {
    _client: Killed,
    _server: Killed,
}

/// A process that is killed when this value is dropped.
#[derive(Debug)]
struct Killed(Actor);

impl Drop for Killed {
    fn drop(&mut self) {
        // After this function, dropping the inner actor waits until the killed process has exited.
        _ = kill(Pid::from_raw(self.0.pid().cast_signed()), Signal::SIGKILL);
    }
}

impl Scene {
    /// Opens the connections in the network namespace of this thread. Returns after each connection
    /// has reached the state in which the documents show the connection.
    pub(super) fn open() -> Self {
        // The default of this sysctl depends on the memory of the machine.
        sysctl("net.ipv4.tcp_max_tw_buckets", "131072");
        let server = start("api", serve);
        wait::until("the server to listen", || ss()[State::Listen] > 0);
        thread::scope(|scope| {
            // Each thread has a different client address, so that no two threads use the same port.
            let half = TIME_WAIT / 2;
            scope.spawn(move || leave_time_wait(Ipv4Addr::new(127, 0, 0, 2), half));
            scope.spawn(move || leave_time_wait(Ipv4Addr::new(127, 0, 0, 3), TIME_WAIT - half));
        });
        // Some connections leave no socket in TIME_WAIT, because both sides may close at the same
        // time.
        let mut hosts = 6..;
        wait::until("sockets in TIME_WAIT", || {
            let missing = u64::from(TIME_WAIT).saturating_sub(ss()[State::TimeWait]);
            let host = hosts.next().expect("there are hosts enough");
            leave_time_wait(Ipv4Addr::new(127, 0, 0, host), missing.try_into().expect("few are"));
            missing == 0
        });
        // The client sockets disappear without sending a packet, so that only the server's sockets
        // remain.
        vanish(kept(Ipv4Addr::new(127, 0, 0, 4), ESTABLISHED));
        let half_closed = kept(Ipv4Addr::new(127, 0, 0, 5), CLOSE_WAIT);
        shutdown(&half_closed);
        wait::until("the server to see the ends", || ss()[State::CloseWait] >= CLOSE_WAIT.into());
        vanish(half_closed);
        Self { _client: start("client", visit), _server: server }
    }
}

/// Starts a process whose name is `name`. The process runs `work` until the process is killed.
fn start(name: &str, work: fn() -> io::Result<()>) -> Killed {
    let mut actor = Actor::start(Costume { name, uid: 0, cgroup: None }, || {
        work().expect("loopback works");
    });
    actor.cue();
    Killed(actor)
}

/// Accepts connections. Keeps a connection if the client sends `KEEP`, and closes every other
/// connection immediately.
fn serve() -> io::Result<()> {
    let listener = TcpListener::bind(SERVER)?;
    let mut held = Vec::new();
    loop {
        let (mut connection, _) = listener.accept()?;
        let mut wish = [CLOSE];
        // If the client has closed the connection without sending a byte, the read returns 0 bytes,
        // and the server closes the connection.
        if connection.read(&mut wish).is_ok() && wish == [KEEP] {
            held.push(connection);
        }
    }
}

/// Makes a short connection every 50 ms. The server closes first.
fn visit() -> io::Result<()> {
    loop {
        let mut connection = TcpStream::connect(SERVER)?;
        thread::sleep(Duration::from_millis(20));
        close_by_server(&mut connection)?;
        drop(connection);
        thread::sleep(Duration::from_millis(30));
    }
}

/// Opens `connections` connections from the address `host`. The server closes each connection
/// before the client does.
fn leave_time_wait(host: Ipv4Addr, connections: u16) {
    clients(host, connections)
        .for_each(|mut client| close_by_server(&mut client).expect("the server answers"));
}

fn close_by_server(connection: &mut TcpStream) -> io::Result<()> {
    connection.write_all(&[CLOSE])?;
    connection.read_to_end(&mut Vec::new()).map(drop)
}

/// Connects `connections` clients from the address `host`, and returns the sockets of these
/// clients. The server keeps the connections open.
fn kept(host: Ipv4Addr, connections: u16) -> Vec<Socket> {
    let keep = |mut client: TcpStream| {
        client.write_all(&[KEEP]).expect("the connection stands");
        Socket::from(client)
    };
    clients(host, connections).map(keep).collect()
}

/// Connects `connections` clients from the address `host`. Each client uses a port that no other
/// client uses.
fn clients(host: Ipv4Addr, connections: u16) -> impl Iterator<Item = TcpStream> {
    (FIRST_PORT..).take(connections.into()).map(move |port| {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are descriptors");
        client.bind(&SocketAddrV4::new(host, port).into()).expect("the port is free");
        client.connect(&SERVER.into()).expect("the server listens");
        client.into()
    })
}

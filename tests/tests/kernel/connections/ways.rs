//! Connections that end in known ways, and what is known of both of their ends.

use std::{
    io::{Read as _, Write as _},
    thread,
    time::{Duration, Instant},
};

use socket2::Socket;
use tcpstate::report::{CloseReason, Role};
use tcpstate_common::State::{self, Close, Listen};
use tcpstate_tests::{
    traffic::{Listener, TcpInfo, deafen, hear, port, reset, shutdown, tcp_info},
    truth, wait,
};

/// The minimum time for which a script holds a connection open.
const HOLD: Duration = Duration::from_millis(20);

/// The bytes that the client sends, that the server sends, and that the server sends after the
/// client has shut down its direction.
const TO_SERVER: usize = 30_000;
const TO_CLIENT: usize = 4321;
const LATE: usize = 777;

/// What a script knows of one end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) label: String,
    pub(super) role: Role,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) ended_by: CloseReason,
    pub(super) has_time_wait: bool,
    /// The kernel's counts of an established connection, read before the close.
    pub(super) before_close: Option<TcpInfo>,
    /// The shortest and the longest possible duration.
    pub(super) lasted: [Duration; 2],
}

/// The ways in which the script ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ClientFirst,
    ServerFirst,
    ClientResets,
    /// The client closes while data waits that it has not read.
    Unread,
    /// The client shuts its direction down, and the server sends data afterwards.
    HalfClosed,
    /// The server hears nothing for a while, so the client sends data again.
    Lossy,
}

pub(super) const WAYS: [Way; 6] = [
    Way::ClientFirst,
    Way::ServerFirst,
    Way::ClientResets,
    Way::Unread,
    Way::HalfClosed,
    Way::Lossy,
];

pub(super) fn send(socket: &Socket, bytes: usize) {
    let mut socket = socket;
    socket.write_all(&vec![7; bytes]).expect("the peer exists");
}

pub(super) fn receive(socket: &Socket, bytes: usize) {
    let mut socket = socket;
    socket.read_exact(&mut vec![0; bytes]).expect("the peer sends");
}

/// Waits until the peer has acknowledged everything that a socket sent.
pub(super) fn await_acknowledged(socket: &Socket) {
    wait::until("data to be acknowledged", || tcp_info(socket).unacknowledged == 0);
}

/// What happens when both ends of a connection close.
struct Closed {
    /// The close reasons of the client and of the server.
    ended_by: [CloseReason; 2],
    has_time_wait: [bool; 2],
}

const CLIENT_FIRST: Closed = Closed {
    ended_by: [CloseReason::LocalFin, CloseReason::RemoteFin],
    has_time_wait: [true, false],
};

/// Opens a connection and sends data in both directions, which the peers acknowledge.
fn open(way: Way, listener: &Listener) -> (Socket, Socket) {
    let (client, server) = (listener.connect(), listener.accept());
    if way == Way::Lossy {
        deafen([&server]);
    }
    send(&client, TO_SERVER);
    if way == Way::Lossy {
        wait::until("data to be sent again", || tcp_info(&client).retransmits > 0);
        hear([&server]);
    }
    receive(&server, TO_SERVER);
    send(&server, TO_CLIENT);
    if way != Way::Unread {
        receive(&client, TO_CLIENT);
    }
    await_acknowledged(&client);
    await_acknowledged(&server);
    thread::sleep(HOLD);
    (client, server)
}

/// Closes both ends of a connection.
fn close(way: Way, client: Socket, server: Socket) -> Closed {
    let await_state = |socket: &Socket, state| {
        wait::until("the close of the peer", || tcp_info(socket).state == state);
    };
    match way {
        Way::ServerFirst => {
            drop(server);
            await_state(&client, State::CloseWait);
            drop(client);
            Closed {
                ended_by: [CloseReason::RemoteFin, CloseReason::LocalFin],
                has_time_wait: [false, true],
            }
        }
        Way::ClientResets | Way::Unread => {
            if way == Way::Unread {
                drop(client);
            } else {
                reset(client);
            }
            await_state(&server, Close);
            drop(server);
            Closed {
                ended_by: [CloseReason::LocalRst, CloseReason::RemoteRst],
                has_time_wait: [false, false],
            }
        }
        Way::HalfClosed => {
            shutdown([&client]);
            await_state(&server, State::CloseWait);
            send(&server, LATE);
            receive(&client, LATE);
            drop(server);
            drop(client);
            CLIENT_FIRST
        }
        Way::ClientFirst | Way::Lossy => {
            drop(client);
            await_state(&server, State::CloseWait);
            drop(server);
            CLIENT_FIRST
        }
    }
}

/// Opens and ends one connection. Returns what is expected of both ends, with the client's port.
pub(super) fn run(way: Way, listener: &Listener, label: &str) -> [(u16, Expected); 2] {
    let before = Instant::now();
    let (client, server) = open(way, listener);
    let client_port = port(&client);
    // A half-closed connection sends more data after these counts were read.
    let infos = [&client, &server].map(|end| (way != Way::HalfClosed).then(|| tcp_info(end)));
    let Closed { ended_by, has_time_wait } = close(way, client, server);
    wait::until("the connection to end", || {
        let sockets = truth::sockets().full;
        State::GAUGES.iter().all(|&state| state == Listen || sockets[state] == 0)
    });
    let lasted = [HOLD, before.elapsed()];
    let late = if way == Way::HalfClosed { LATE } else { 0 };
    let bytes = [TO_SERVER as u64, (TO_CLIENT + late) as u64];
    let end = |role: Role| {
        let (own, peer) = (role as usize, 1 - role as usize);
        let expected = Expected {
            label: format!("{label}: {way:?}: {role:?}"),
            role,
            sent: bytes[own],
            received: bytes[peer],
            ended_by: ended_by[own],
            has_time_wait: has_time_wait[own],
            before_close: infos[own],
            lasted,
        };
        (client_port, expected)
    };
    Role::BOTH.map(end)
}

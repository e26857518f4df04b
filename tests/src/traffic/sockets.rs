//! Building blocks: listeners, connections, and ways to end them.

use std::{io, net::Shutdown, os::fd::AsRawFd as _, time::Duration};

use socket2::{Protocol, SockAddr, SockAddrStorage, Socket, Type};
use tcpstate_common::State;

use super::Family;
use crate::wait::patience;

/// What the kernel's default `net.core.somaxconn` allows.
const BACKLOG: i32 = 4096;
/// For how long accept() waits for a connection that does not come; longer where the machine is emulated.
const PATIENCE: Duration = Duration::from_secs(10);

/// A TCP socket, fresh: in CLOSE, and counted nowhere.
///
/// # Panics
/// If there are no more file descriptors.
#[must_use]
pub fn socket(family: Family) -> Socket {
    Socket::new(family.domain(), Type::STREAM, Some(Protocol::TCP))
        .expect("there is a file descriptor left")
}

/// A TCP socket that holds a free port of loopback; who connects to it is refused.
///
/// # Panics
/// If there are no more ports.
#[must_use]
pub fn bound(family: Family) -> Socket {
    let socket = socket(family);
    socket.bind(&family.loopback(0).into()).expect("there is a port left");
    socket
}

/// A socket whose connect() has begun: it does not block, now or later.
///
/// # Panics
/// If connect() fails at once.
#[must_use]
pub fn connecting(family: Family, to: &SockAddr) -> Socket {
    let socket = socket(family);
    begin_connect(&socket, to);
    socket
}

/// Sends a SYN and does not wait for the answer.
pub(crate) fn begin_connect(socket: &Socket, to: &SockAddr) {
    socket.set_nonblocking(true).expect("sockets can be non-blocking");
    match socket.connect(to) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => panic!("connect: {error}"),
        _ => {}
    }
}

/// The local port of a socket that has one.
///
/// # Panics
/// If it is no socket of the internet.
#[must_use]
pub fn port(socket: &Socket) -> u16 {
    let address = socket.local_addr().expect("the socket is bound");
    address.as_socket().expect("the address is one of the internet").port()
}

/// Closes with a RST instead of a FIN.
///
/// # Panics
/// Never: every socket has the option.
pub fn reset(socket: Socket) {
    socket.set_linger(Some(Duration::ZERO)).expect("sockets can linger");
    drop(socket);
}

/// Sends a FIN on each of these; they can still receive.
///
/// # Panics
/// If one is not connected.
pub fn shutdown<'a>(sockets: impl IntoIterator<Item = &'a Socket>) {
    for socket in sockets {
        socket.shutdown(Shutdown::Write).expect("the socket is connected");
    }
}

/// Takes the socket back to CLOSE, ready to connect or to listen again: connect() to nowhere.
pub fn disconnect(socket: &Socket) -> io::Result<()> {
    let nowhere = SockAddrStorage::zeroed();
    let length = nowhere.size_of();
    // SAFETY: all zeroes are an address of family AF_UNSPEC, valid in its whole length.
    socket.connect(&unsafe { SockAddr::new(nowhere, length) })
}

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    family: Family,
    socket: Socket,
    address: SockAddr,
}

impl Listener {
    /// Listens on a free port of loopback.
    #[must_use]
    pub fn open(family: Family) -> Self {
        Self::on(family, bound(family), BACKLOG)
    }

    /// Listens on this bound socket.
    ///
    /// # Panics
    /// If it cannot.
    #[must_use]
    pub fn on(family: Family, socket: Socket, backlog: i32) -> Self {
        socket.listen(backlog).expect("the port is the socket's own");
        socket.set_read_timeout(Some(patience(PATIENCE))).expect("accept() can be made to give up");
        let address = socket.local_addr().expect("a listener has an address");
        Self { family, socket, address }
    }

    /// Listens again, after a shutdown or disconnect. A port that the kernel chose is not the same again.
    ///
    /// # Panics
    /// If it cannot.
    pub fn restart(&mut self) {
        self.socket.listen(BACKLOG).expect("the kernel chooses the port");
        self.address = self.socket.local_addr().expect("a listener has an address");
    }

    /// The listening socket itself.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &SockAddr {
        &self.address
    }

    /// The port on which it listens.
    ///
    /// # Panics
    /// Never: its address is one of the internet.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.as_socket().expect("the address is one of the internet").port()
    }

    /// A connection to here, not accepted yet: its client.
    ///
    /// # Panics
    /// If connect() fails.
    #[must_use]
    pub fn connect(&self) -> Socket {
        let client = socket(self.family);
        client.connect(&self.address).expect("the listener has room");
        client
    }

    /// Accepts a connection.
    ///
    /// # Panics
    /// If none comes within 10 s, or five times that where the machine is emulated.
    #[must_use]
    pub fn accept(&self) -> Socket {
        self.socket.accept().expect("a connection comes").0
    }

    /// That many connections: their clients and, in the same order, what was accepted.
    #[must_use]
    pub fn pairs(&self, connections: usize) -> (Vec<Socket>, Vec<Socket>) {
        (0..connections).map(|_| (self.connect(), self.accept())).unzip()
    }
}

/// The state of a socket, as the kernel tells its owner (`TCP_INFO`).
///
/// # Panics
/// If it is no TCP socket.
#[must_use]
pub fn state(socket: &Socket) -> State {
    let (mut state, mut length) = (0_u8, 1);
    // SAFETY: the kernel writes one byte, the first of its struct, into one.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut state).cast(),
            &raw mut length,
        )
    };
    assert_eq!(result, 0, "TCP_INFO: {}", io::Error::last_os_error());
    State::from_number(state.into()).expect("the kernel's states are known")
}

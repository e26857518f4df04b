//! Listeners, connections, and ways to close them.

use std::{io, net::Shutdown, os::fd::AsRawFd as _, time::Duration};

use socket2::{Protocol, SockAddr, SockAddrStorage, Socket, Type};
use tcpstate_common::State;

use super::Family;
use crate::wait::patience;

/// The kernel's default of `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// The maximum time that accept() waits for a connection. On an emulated machine the wait is
/// longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns a new TCP socket, which is in CLOSE. No gauge counts a socket in CLOSE.
///
/// # Panics
/// Panics if no file descriptor is left.
#[must_use]
pub fn socket(family: Family) -> Socket {
    Socket::new(family.domain(), Type::STREAM, Some(Protocol::TCP))
        .expect("there is a file descriptor left")
}

/// Returns a TCP socket that occupies a free port of loopback without listening. A connect to this
/// port is refused.
///
/// # Panics
/// Panics if no port is left.
#[must_use]
pub fn bound(family: Family) -> Socket {
    let socket = socket(family);
    socket.bind(&family.loopback(0).into()).expect("there is a port left");
    socket
}

/// Returns a non-blocking socket whose connect() has begun.
///
/// # Panics
/// Panics if connect() returns an error other than `EINPROGRESS`.
#[must_use]
pub fn connecting(family: Family, to: &SockAddr) -> Socket {
    let socket = socket(family);
    begin_connect(&socket, to);
    socket
}

/// Sends a SYN and does not wait for the SYN-ACK.
///
/// # Panics
/// Panics if connect() returns an error other than `EINPROGRESS`.
pub fn begin_connect(socket: &Socket, to: &SockAddr) {
    socket.set_nonblocking(true).expect("sockets can be non-blocking");
    match socket.connect(to) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => panic!("connect: {error}"),
        _ => {}
    }
}

/// The local port of a bound socket.
///
/// # Panics
/// Panics if the socket is not an internet socket.
#[must_use]
pub fn port(socket: &Socket) -> u16 {
    let address = socket.local_addr().expect("the socket is bound");
    address.as_socket().expect("the address is one of the internet").port()
}

/// Closes a socket with a RST instead of a FIN.
///
/// # Panics
/// Never panics: every socket has this option.
pub fn reset(socket: Socket) {
    socket.set_linger(Some(Duration::ZERO)).expect("sockets can linger");
    drop(socket);
}

/// Shuts down the sending side of each of these sockets, so that the kernel sends a FIN. The
/// sockets can still receive.
///
/// # Panics
/// Panics if a socket is not connected.
pub fn shutdown<'a>(sockets: impl IntoIterator<Item = &'a Socket>) {
    for socket in sockets {
        socket.shutdown(Shutdown::Write).expect("the socket is connected");
    }
}

/// Returns the socket to CLOSE by a connect() with the family AF_UNSPEC. A disconnected socket can
/// connect or listen again.
pub fn disconnect(socket: &Socket) -> io::Result<()> {
    let nowhere = SockAddrStorage::zeroed();
    let length = nowhere.size_of();
    // SAFETY: an all-zero address is a valid address of family AF_UNSPEC in its whole length.
    socket.connect(&unsafe { SockAddr::new(nowhere, length) })
}

/// Sets a socket option whose value is an int.
pub fn set_option(
    socket: &Socket,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of_val(&value)).expect("an int is small");
    // SAFETY: the kernel reads one int, which outlives the call.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    family: Family,
    socket: Socket,
    address: SockAddr,
}

impl Listener {
    /// Creates a listener on a free port of loopback.
    #[must_use]
    pub fn open(family: Family) -> Self {
        Self::on(family, bound(family), BACKLOG)
    }

    /// Creates a listener on this bound socket.
    ///
    /// # Panics
    /// Panics if the socket cannot listen.
    #[must_use]
    pub fn on(family: Family, socket: Socket, backlog: i32) -> Self {
        socket.listen(backlog).expect("the port is the socket's own");
        socket.set_read_timeout(Some(patience(PATIENCE))).expect("accept() can be made to give up");
        let address = socket.local_addr().expect("a listener has an address");
        Self { family, socket, address }
    }

    /// Makes the listener listen again after a shutdown or disconnect. If the kernel chose the
    /// earlier port, it may choose another port now.
    ///
    /// # Panics
    /// Panics if the socket cannot listen.
    pub fn restart(&mut self) {
        self.socket.listen(BACKLOG).expect("the kernel chooses the port");
        self.address = self.socket.local_addr().expect("a listener has an address");
    }

    /// The listening socket.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Returns the address on which the listener listens.
    #[must_use]
    pub fn address(&self) -> &SockAddr {
        &self.address
    }

    /// Returns the port on which the listener listens.
    ///
    /// # Panics
    /// Never panics: its address is an internet address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.as_socket().expect("the address is one of the internet").port()
    }

    /// Connects a client to this listener without accepting the connection. Returns the connected
    /// client.
    ///
    /// # Panics
    /// Panics if connect() fails.
    #[must_use]
    pub fn connect(&self) -> Socket {
        let client = socket(self.family);
        client.connect(&self.address).expect("the listener has room");
        client
    }

    /// Accepts a connection from the listener's queue.
    ///
    /// # Panics
    /// Panics if no connection comes within 10 s, or within 50 s on an emulated machine.
    #[must_use]
    pub fn accept(&self) -> Socket {
        self.socket.accept().expect("a connection comes").0
    }

    /// Makes this number of connections to the listener. Returns the clients, and the accepted
    /// sockets in the order of the clients.
    #[must_use]
    pub fn pairs(&self, connections: usize) -> (Vec<Socket>, Vec<Socket>) {
        (0..connections).map(|_| (self.connect(), self.accept())).unzip()
    }
}

/// Returns the state of a socket according to `TCP_INFO`.
///
/// # Panics
/// Panics if the socket is not a TCP socket.
#[must_use]
pub fn state(socket: &Socket) -> State {
    tcp_info(socket).state
}

/// Fields of `struct tcp_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpInfo {
    /// The state of the socket.
    pub state: State,
    /// `tcpi_unacked`: the number of segments that the peer has not acknowledged.
    pub unacknowledged: u32,
    /// `tcpi_rtt`: the smoothed round-trip time in microseconds.
    pub srtt: u32,
    /// `tcpi_total_retrans`: the number of segments that were sent again.
    pub retransmits: u32,
}

/// Returns what `TCP_INFO` tells of a socket.
///
/// # Panics
/// Panics if the socket is not a TCP socket.
#[must_use]
pub fn tcp_info(socket: &Socket) -> TcpInfo {
    const BYTES: u32 = 104;
    let (mut info, mut length) = ([0_u8; BYTES as usize], BYTES);
    // SAFETY: the kernel writes at most `length` bytes, and the variable has as many.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    assert_eq!(result, 0, "TCP_INFO: {}", io::Error::last_os_error());
    let word = |at: usize| u32::from_ne_bytes(info[at..at + 4].try_into().expect("four bytes"));
    TcpInfo {
        state: State::from_number(info[0].into()).expect("the kernel's states are known"),
        unacknowledged: word(24),
        srtt: word(68),
        retransmits: word(100),
    }
}

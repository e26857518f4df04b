//! Connections with a byte in each direction, whose clients close first.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{SockAddr, Socket};

/// Accepts `connections` connections, and closes each when the peer has closed.
///
/// # Panics
/// Panics if a client does not do as [`ask`] does.
pub fn answer(listener: &Socket, connections: u64) {
    for _ in 0..connections {
        let mut server = TcpStream::from(listener.accept().expect("a connection comes").0);
        let mut byte = [0];
        server.read_exact(&mut byte).expect("the client sends");
        server.write_all(&byte).expect("the client stands");
        assert_eq!(server.read(&mut byte).expect("the client closes"), 0);
    }
}

/// Makes `connections` connections to a server that does as [`answer`] does, and closes each first.
///
/// # Panics
/// Panics if the server does not answer.
pub fn ask(to: &SockAddr, connections: u64) {
    let to = to.as_socket().expect("an address of the internet");
    for _ in 0..connections {
        let mut client = TcpStream::connect(to).expect("the server listens");
        client.write_all(&[1]).expect("the server stands");
        client.read_exact(&mut [0]).expect("the server answers");
    }
}

/// Makes a connection and closes it by a RST, so that no time-wait socket remains.
///
/// # Panics
/// Panics if nothing listens.
pub fn connect_and_reset(to: SocketAddr) {
    let socket = Socket::from(TcpStream::connect(to).expect("it listens"));
    socket.set_linger(Some(Duration::ZERO)).expect("sockets can linger");
}

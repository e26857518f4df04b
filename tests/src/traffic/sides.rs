//! Connections of which first one side moves and then the other, so that what is done for each can be told apart.

use std::{
    io::{self, Write as _},
    os::fd::AsRawFd as _,
};

use nix::sys::socket::{setsockopt, sockopt::TcpRepair};
use socket2::Socket;

use super::{Family, Listener};

/// Makes such connections: a listener whose children are not born before their clients have sent something.
#[derive(Debug)]
pub struct Sides(Listener);

impl Sides {
    /// Listens on loopback, by IPv4.
    ///
    /// # Panics
    /// If the kernel does not know `TCP_DEFER_ACCEPT`.
    #[must_use]
    pub fn new() -> Self {
        // Far more than scan until a client sends something.
        let seconds: libc::c_int = 30;
        let listener = Listener::open(Family::V4);
        // SAFETY: the kernel reads one int, which outlives the call.
        let result = unsafe {
            libc::setsockopt(
                listener.socket().as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_DEFER_ACCEPT,
                (&raw const seconds).cast(),
                libc::c_int::BITS / u8::BITS,
            )
        };
        assert_eq!(result, 0, "TCP_DEFER_ACCEPT: {}", io::Error::last_os_error());
        Self(listener)
    }

    /// Connects that many clients: CLOSE, SYN_SENT, ESTABLISHED. No server is born.
    #[must_use]
    pub fn clients(&self, connections: usize) -> Vec<Socket> {
        (0..connections).map(|_| self.0.connect()).collect()
    }

    /// Their servers: LISTEN, SYN_RECV, ESTABLISHED. No client moves.
    ///
    /// # Panics
    /// If one is not connected any more.
    #[must_use]
    pub fn servers(&self, clients: &[Socket]) -> Vec<Socket> {
        let serve = |mut client: &Socket| {
            client.write_all(&[0]).expect("the client is connected");
            self.0.accept()
        };
        clients.iter().map(serve).collect()
    }
}

impl Default for Sides {
    fn default() -> Self {
        Self::new()
    }
}

/// Closes these without a word to their peers: ESTABLISHED, CLOSE.
///
/// # Panics
/// Without root.
pub fn vanish(sockets: Vec<Socket>) {
    for socket in sockets {
        // As by who moves a connection to another machine.
        setsockopt(&socket, TcpRepair, &1).expect("root may repair sockets");
    }
}

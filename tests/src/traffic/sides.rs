//! Connections in which the client changes its state first, and the server changes its state
//! afterwards. A test can therefore distinguish the events of the two sides.

use std::io::Write as _;

use nix::sys::socket::{setsockopt, sockopt::TcpRepair};
use socket2::Socket;

use super::{Family, Listener, set_option};

/// Makes connections in which the client changes its state first. The listener creates a child only
/// after the client has sent data.
#[derive(Debug)]
pub struct Sides(Listener);

impl Sides {
    /// Listens on loopback with IPv4.
    ///
    /// # Panics
    /// Panics if the kernel does not support `TCP_DEFER_ACCEPT`.
    #[must_use]
    pub fn new() -> Self {
        // This timeout is far longer than the time until a client sends data.
        let seconds: libc::c_int = 30;
        let listener = Listener::open(Family::V4);
        set_option(listener.socket(), libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)
            .unwrap_or_else(|error| panic!("TCP_DEFER_ACCEPT: {error}"));
        Self(listener)
    }

    /// Connects this number of clients. The clients move from CLOSE to SYN_SENT to ESTABLISHED.
    /// Because of `TCP_DEFER_ACCEPT`, the kernel creates no child of the listener when a client
    /// connects.
    #[must_use]
    pub fn clients(&self, connections: usize) -> Vec<Socket> {
        (0..connections).map(|_| self.0.connect()).collect()
    }

    /// Creates and accepts the server sockets of the clients. The server sockets move from LISTEN
    /// to SYN_RECV to ESTABLISHED. No client changes its state while the servers are created.
    ///
    /// # Panics
    /// Panics if a client is no longer connected.
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

/// Closes these sockets without a packet to their peers, so they move from ESTABLISHED to CLOSE.
///
/// # Panics
/// Panics if the caller is not root.
pub fn vanish(sockets: Vec<Socket>) {
    for socket in sockets {
        // A program that moves a connection to another machine uses this repair mode.
        setsockopt(&socket, TcpRepair, &1).expect("root may repair sockets");
    }
}

//! Deaf sockets receive no packets. Over loopback, a deaf socket holds a connection in a state that
//! the connection would otherwise leave immediately.
//!
//! A socket filter gets each packet before TCP does. A filter that accepts no packet has the effect
//! of packet loss: the peer retransmits. When the filter is removed, the connection continues.

use socket2::{SockFilter, Socket};

use super::{Family, Listener, begin_connect, socket};

/// Classic BPF instruction that returns a constant, the number of bytes that pass.
const RETURN: u16 = 0x06;

/// Makes these sockets drop all packets from now on. A listener passes its filter on to its
/// children.
///
/// # Panics
/// Panics if the kernel refuses the filter.
pub fn deafen<'a>(sockets: impl IntoIterator<Item = &'a Socket>) {
    let nothing = [SockFilter::new(RETURN, 0, 0, 0)];
    sockets
        .into_iter()
        .for_each(|socket| socket.attach_filter(&nothing).expect("the filter is valid"));
}

/// Begins connections that do not receive the SYN-ACK of the listener, and returns their clients.
///
/// # Panics
/// Panics if the kernel refuses a socket.
#[must_use]
pub fn deaf_clients(listener: &Listener, family: Family, number: usize) -> Vec<Socket> {
    let begin = |_| {
        let client = socket(family);
        deafen([&client]);
        begin_connect(&client, listener.address());
        client
    };
    (0..number).map(begin).collect()
}

/// Removes the filter of [`deafen`].
///
/// # Panics
/// Panics if a socket is not deaf.
pub fn hear<'a>(sockets: impl IntoIterator<Item = &'a Socket>) {
    sockets.into_iter().for_each(|socket| socket.detach_filter().expect("the socket was deaf"));
}

//! Sockets that hear nothing: how a connection is held in a state that loopback would leave at once.
//!
//! A socket filter sees each packet before TCP does. With one that takes none, the peer's packets are as good as lost
//! on the way: the peer retransmits, and goes on in earnest once the filter is gone.

use socket2::{SockFilter, Socket};

/// Classic BPF: return a constant, the number of bytes to let pass.
const RETURN: u16 = 0x06;

/// From now on nothing gets through to these sockets. A listener gives the filter to its children.
///
/// # Panics
/// If the kernel takes no filter.
pub fn deafen<'a>(sockets: impl IntoIterator<Item = &'a Socket>) {
    let nothing = [SockFilter::new(RETURN, 0, 0, 0)];
    sockets
        .into_iter()
        .for_each(|socket| socket.attach_filter(&nothing).expect("the filter is valid"));
}

/// Takes [`deafen`] back.
///
/// # Panics
/// If a socket was not deaf.
pub fn hear<'a>(sockets: impl IntoIterator<Item = &'a Socket>) {
    sockets.into_iter().for_each(|socket| socket.detach_filter().expect("the socket was deaf"));
}

//! Requests the list of existing sockets from the kernel through `sock_diag`. Listing sockets
//! through `sock_diag` needs no privilege and no BPF program.
//!
//! ```text
//! Filter -> bytecode, request -> kernel -> dump: messages -> record: Socket -> filter again -> sum
//!                                          proc_net, if sock_diag is not available
//! ```
//!
//! Each socket is passed to the caller and not stored, so the memory does not depend on the number
//! of sockets. Sockets can change while the kernel walks its socket tables. The numbers are exact
//! if no socket changes while the kernel walks its tables.

mod bytecode;
mod dump;
mod error;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod proc_net;
mod record;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, io, net::SocketAddr, num::NonZeroU32, time::Duration};

use netlink_sys::{Socket as Netlink, SocketAddr as NetlinkAddress, protocols::NETLINK_SOCK_DIAG};
use tcpstate_common::{State, abi::STATE_SLOTS};

use self::dump::End;
pub use self::error::Error;
use crate::filter::Filter;

/// The maximum number of attempts to get a consistent list from the kernel.
const ATTEMPTS: u32 = 5;

/// One listed socket: a full socket or a mini socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// The TCP state that `ss` shows for the socket. A request socket is in SYN_RECV, and a
    /// time-wait socket is in TIME_WAIT or FIN_WAIT2.
    pub state: State,
    /// The local address and port. An IPv6 socket with an IPv4 connection has mapped addresses.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// The file that belongs to the socket while a program has the socket open. The value is `None`
    /// if only the kernel uses the socket. Only the kernel uses mini sockets, closed sockets, and
    /// sockets that accept() has not returned yet.
    pub holder: Option<SocketFile>,
    /// The id of the cgroup, if the id was requested and is known.
    pub cgroup: Option<u64>,
    /// The number that no other socket of the host has. The number is 0 if the list has no numbers.
    pub cookie: u64,
    /// The queues and timers of the socket.
    pub detail: Detail,
}

/// The queues and timers of a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// If the socket is a listener, the number of connections that wait for accept(). If the socket
    /// is not a listener, the number of bytes that wait to be read.
    pub receive_queue: u32,
    /// The backlog of a listener, if the backlog is known. At most `backlog + 1` connections can
    /// wait.
    pub backlog: Option<u32>,
    /// The time until the timer fires. When the timer of a time-wait socket expires, the kernel
    /// destroys the socket.
    pub timer: Option<Duration>,
    /// Whether the timer is that of a time-wait socket, which can be in TIME_WAIT or in FIN_WAIT2.
    pub is_time_wait: bool,
    /// The number of unanswered retransmissions.
    pub retransmits: u8,
    /// The time since the peer's last ACK, if this time was requested and is known.
    pub silence: Option<Duration>,
    /// The number of packets that the socket has dropped, if the number was requested and is known.
    /// A listener drops SYNs and the last packets of handshakes. The number overflows to 0.
    pub drops: Option<u32>,
}

/// The file that belongs to a socket while a program has the socket open. The inode of this file
/// identifies the process that has the socket open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketFile {
    /// The user id in the user namespace of the reader.
    pub uid: u32,
    /// The inode that `/proc/PID/fd` shows: `socket:[inode]`.
    pub inode: NonZeroU32,
}

/// A request for the list of sockets.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The filter that selects the sockets to list.
    pub filter: &'a Filter,
    /// Whether the request asks for the cgroup of each socket. The kernel needs more time for each
    /// socket if cgroups are requested.
    pub cgroups: bool,
    /// Whether the request asks for the time since the peer's last ACK. The kernel needs more time
    /// for each socket if the time since the last ACK is requested.
    pub silence: bool,
    /// Whether the request asks for the number of packets that each socket has dropped.
    pub drops: bool,
}

impl<'a> Query<'a> {
    /// Returns a request without further details.
    #[must_use]
    pub const fn of(filter: &'a Filter) -> Self {
        Self { filter, cgroups: false, silence: false, drops: false }
    }
}

/// The result of a request for the list of sockets.
#[derive(Debug)]
pub struct Answer<A> {
    /// The value that the functions of the caller computed from the listed sockets.
    pub sum: A,
    /// The number of sockets that the kernel listed. The number of listed sockets is larger than
    /// the number of matching sockets only if the kernel could not apply the filter.
    pub listed: u64,
    /// The error of `sock_diag`, if `/proc/net/tcp` and `tcp6` replaced `sock_diag`.
    pub instead_of: Option<Error>,
}

/// Lists the sockets of the calling thread's network namespace, and passes each socket to the
/// function `add`.
///
/// Each time the function requests the list again, the function starts with a new sum. The function
/// therefore returns a complete result or an error.
pub fn collect<A>(
    query: &Query<'_>,
    start: impl Fn() -> A,
    mut add: impl FnMut(&mut A, &Socket),
) -> Result<Answer<A>, Error> {
    match sum(list, query, &start, &mut add) {
        Err(error) if error.is_unavailable() => {
            let answer = sum(proc_net::list, query, &start, &mut add)?;
            Ok(Answer { instead_of: Some(error), ..answer })
        }
        outcome => outcome,
    }
}

/// Returns the local addresses of the listeners in the calling thread's network namespace.
pub fn listeners() -> Result<Vec<SocketAddr>, Error> {
    let filter = Filter { states: [State::Listen].into_iter().collect(), ..Filter::default() };
    let add = |all: &mut Vec<SocketAddr>, socket: &Socket| all.push(socket.local);
    collect(&Query::of(&filter), Vec::new, add).map(|answer| answer.sum)
}

/// Returns the local ports of the listeners in the calling thread's network namespace.
pub fn listening_ports() -> Result<HashSet<u16>, Error> {
    Ok(listeners()?.iter().map(SocketAddr::port).collect())
}

/// Counts the matching sockets by state. The result has the kernel's state number as its index.
pub fn count_by_state(filter: &Filter) -> Result<[u64; STATE_SLOTS], Error> {
    let query = Query::of(filter);
    let by_state = |counts: &mut [u64; STATE_SLOTS], socket: &Socket| {
        counts[socket.state.number()] += 1;
    };
    collect(&query, || [0; STATE_SLOTS], by_state).map(|answer| answer.sum)
}

/// Calls `add` with each matching socket that `list` finds. The function `list` returns whether its
/// result is consistent. The function makes at most [`ATTEMPTS`] attempts to get a consistent list.
fn sum<A>(
    mut list: impl FnMut(&Query<'_>, &mut dyn FnMut(&Socket)) -> Result<bool, Error>,
    query: &Query<'_>,
    start: impl Fn() -> A,
    mut add: impl FnMut(&mut A, &Socket),
) -> Result<Answer<A>, Error> {
    for _ in 0..ATTEMPTS {
        let mut answer = Answer { sum: start(), listed: 0, instead_of: None };
        let mut each = |socket: &Socket| {
            answer.listed += 1;
            // The socket is filtered again, because the socket's state can change after the
            // kernel's check and before the kernel writes the record.
            if query.filter.matches(socket.state, &socket.local, &socket.remote) {
                add(&mut answer.sum, socket);
            }
        };
        if list(query, &mut each)? {
            return Ok(answer);
        }
    }
    Err(Error::Interrupted(ATTEMPTS))
}

/// Lists the sockets with a netlink request.
fn list(query: &Query<'_>, each: &mut dyn FnMut(&Socket)) -> Result<bool, Error> {
    let socket = open().map_err(Error::Unavailable)?;
    let program = bytecode::compile(query.filter);
    let mut buffer = vec![0; dump::DATAGRAM];
    for (family, sequence) in query.filter.families().zip(1..) {
        let request = dump::request(family, query, program.as_deref(), sequence);
        socket
            .send(&request, 0)
            .map_err(|source| Error::System { action: "ask the kernel for its sockets", source })?;
        // With the flag `MSG_TRUNC`, the call returns the length of the datagram even if the buffer
        // is too short.
        let receive = |mut buffer: &mut [u8]| socket.recv(&mut buffer, libc::MSG_TRUNC);
        let end = dump::read(&mut buffer, sequence, receive, |bytes| {
            each(&record::parse(bytes, query.cgroups || query.silence || query.drops)?);
            Ok(())
        })?;
        if end == End::Interrupted {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Opens a netlink socket in the thread's network namespace.
fn open() -> io::Result<Netlink> {
    let socket = Netlink::new(NETLINK_SOCK_DIAG)?;
    socket.connect(&NetlinkAddress::new(0, 0))?;
    Ok(socket)
}

//! The sockets there are now, as the kernel lists them to anyone (`sock_diag`): no privilege, no BPF.
//!
//! ```text
//! Filter -> bytecode, request -> kernel -> dump: messages -> record: Socket -> filter again -> the caller's sums
//!                                             where there is no sock_diag: proc_net
//! ```
//!
//! Sockets are handed on one by one and never kept, so that a million of them need no more memory than ten.
//! The kernel walks its tables while sockets come, go and change: the sum is exact when nothing moves.

mod bytecode;
mod dump;
mod error;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod proc_net;
mod record;
#[cfg(test)]
mod tests;

use std::{io, net::SocketAddr, num::NonZeroU32, time::Duration};

use netlink_sys::{Socket as Netlink, SocketAddr as NetlinkAddress, protocols::NETLINK_SOCK_DIAG};
use tcpstate_common::{State, abi::STATE_SLOTS};

use self::dump::End;
pub use self::error::Error;
use crate::filter::Filter;

/// How often a list that the kernel calls inconsistent is asked for.
const ATTEMPTS: u32 = 5;

/// A socket, full or mini.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its state as `ss` shows it: a request in SYN_RECV, a time-wait mini socket in TIME_WAIT or FIN_WAIT2.
    pub state: State,
    /// This end. An IPv6 socket has IPv6 addresses, mapped ones if it carries an IPv4 connection.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// Who has it. `None`: the kernel alone, because it is a mini socket, closed already or not accepted yet.
    pub holder: Option<SocketFile>,
    /// The id of its cgroup, if it was asked for and is known.
    pub cgroup: Option<u64>,
    /// Its queues and timers.
    pub detail: Detail,
}

/// What a socket waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// Connections that wait to be accepted, if it listens; otherwise bytes that wait to be read.
    pub receive_queue: u32,
    /// How many connections may wait, less one, if it listens and this is known.
    pub backlog: Option<u32>,
    /// When its timer will fire; that of a time-wait socket ends it.
    pub timer: Option<Duration>,
    /// What it sent in vain, again and again, so many times.
    pub retransmits: u8,
    /// Since when the peer has acknowledged nothing, if it was asked for and is known.
    pub silence: Option<Duration>,
}

/// The open file of a socket, by which its owner is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketFile {
    /// The user, as seen from the reader's user namespace.
    pub uid: u32,
    /// The number that `/proc/PID/fd` shows for it: `socket:[inode]`.
    pub inode: NonZeroU32,
}

/// What to ask for.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// Which sockets.
    pub filter: &'a Filter,
    /// Whether their cgroups are wanted, which takes a longer look at each.
    pub cgroups: bool,
    /// Whether it is wanted how long their peers have been silent; the same is true.
    pub silence: bool,
}

/// An answer, made up of all sockets that were meant.
#[derive(Debug)]
pub struct Answer<A> {
    /// What the caller made of them.
    pub sum: A,
    /// How many sockets the kernel listed. More than were meant only where it could not filter.
    pub listed: u64,
    /// Why it was read from `/proc/net/tcp` and `tcp6` instead, if it was.
    pub instead_of: Option<Error>,
}

/// Lists the sockets of the calling thread's network namespace, and adds each one up.
///
/// Where the list has to be asked for again, the sum starts anew, too: the answer is whole, or an error.
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

/// The sockets that are meant, by state: an index is the kernel's number of a state.
pub fn count_by_state(filter: &Filter) -> Result<[u64; STATE_SLOTS], Error> {
    let query = Query { filter, cgroups: false, silence: false };
    let by_state = |counts: &mut [u64; STATE_SLOTS], socket: &Socket| {
        counts[socket.state.number()] += 1;
    };
    collect(&query, || [0; STATE_SLOTS], by_state).map(|answer| answer.sum)
}

/// Adds up the sockets that `list` gives to the function it is handed, and says whether those were all. Starts anew,
/// but not forever, while they were not.
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
            // The kernel looked at the state some time before it wrote it down.
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

/// Asks over netlink.
fn list(query: &Query<'_>, each: &mut dyn FnMut(&Socket)) -> Result<bool, Error> {
    let socket = open().map_err(Error::Unavailable)?;
    let program = bytecode::compile(query.filter);
    let mut buffer = vec![0; dump::DATAGRAM];
    for (family, sequence) in query.filter.families().zip(1..) {
        let request = dump::request(family, query, program.as_deref(), sequence);
        socket
            .send(&request, 0)
            .map_err(|source| Error::System { action: "ask the kernel for its sockets", source })?;
        // With this flag it returns the length that the datagram had before it was cut.
        let receive = |mut buffer: &mut [u8]| socket.recv(&mut buffer, libc::MSG_TRUNC);
        let end = dump::read(&mut buffer, sequence, receive, |bytes| {
            each(&record::parse(bytes, query.cgroups || query.silence)?);
            Ok(())
        })?;
        if end == End::Interrupted {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A socket to the kernel, of the thread's network namespace.
fn open() -> io::Result<Netlink> {
    let socket = Netlink::new(NETLINK_SOCK_DIAG)?;
    socket.connect(&NetlinkAddress::new(0, 0))?;
    Ok(socket)
}

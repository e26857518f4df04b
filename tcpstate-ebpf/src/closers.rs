//! Finds the processes that close connections, for the lines and the durations of time-wait sockets
//! and for the last line of full sockets.
//!
//! ```text
//! tracking -> began   a process closes its side: the map holds both processes of the connection
//!          -> Entry   the full socket closes: its last line names the closer, the entry is removed
//! minis    -> of      a time-wait socket is born in between: it copies the entry
//! ```
//!
//! A time-wait socket has no owner, and no field leads to its full socket. The kernel makes the
//! time-wait socket before it closes the full socket (`tcp_time_wait`), so the entry still exists.
//! The key of an entry is the hash of the connection with both ports, which both sockets have.
//!
//! Only a process that holds the lock of the socket closes it. A packet can complete a close that a
//! process began earlier, and the kernel handles the packet while any process runs.

use aya_ebpf::bindings::BPF_ANY;
use tcpstate_common::{
    State,
    abi::{COMM_BYTES, Callers, FLAG_EVENTS, FLAG_HISTOGRAMS},
};

use crate::{
    access::{Access, Probed},
    cgroup_filter,
    config::config,
    histograms,
    maps::{CLOSERS, SOCKETS},
    process::Process,
    program_tree, ring,
    sock::Sock,
    verifier::checked_once,
};

const CLOSE: usize = State::Close as usize;
const FIN_WAIT1: usize = State::FinWait1 as usize;
const FIN_WAIT2: usize = State::FinWait2 as usize;
const CLOSING: usize = State::Closing as usize;
const LAST_ACK: usize = State::LastAck as usize;

/// Returns whether closers are needed: by event lines, or by histograms that are grouped by process
/// or that have a filter by cgroup or by the tree of a program. The verifier knows the value.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    config!(flags) & FLAG_EVENTS != 0 || are_for_durations()
}

/// Returns whether durations need the closers; the verifier knows the value.
#[inline(always)]
pub(crate) fn are_for_durations() -> bool {
    config!(flags) & FLAG_HISTOGRAMS != 0
        && (histograms::is_by_owner() || cgroup_filter::has_cgroups() || program_tree::is_on())
}

/// Called at each event of a full socket, after its state was stored. `has_new_owner` tells whether
/// the owner of the socket was found at this event.
#[inline(always)]
pub(crate) fn began<A: Access>(sock: Sock<A>, from: usize, to: usize, has_new_owner: bool) {
    if !is_on() {
        return;
    }
    let is_first = to == FIN_WAIT1 || to == LAST_ACK || closes_at_once(from, to);
    if is_first || (from == FIN_WAIT1 && to != CLOSE && has_new_owner) {
        store_closer(sock.plain_address(), from as u64, to as u64);
    }
}

/// Returns whether an event closes a socket whose process has not sent a FIN.
#[inline(always)]
fn closes_at_once(from: usize, to: usize) -> bool {
    to == CLOSE
        && (from == State::Established as usize
            || from == State::CloseWait as usize
            || from == State::SynSent as usize
            || from == State::Listen as usize)
}

checked_once! {
    fn store_closer(address: u64, from: u64, to: u64) -> u64 {
        if !is_on() {
            return 0;
        }
        let (from, to) = (from as usize, to as usize);
        // SAFETY: the callers pass the address of a socket that exists while the program runs.
        let sock = unsafe { Sock::<Probed>::from_ptr(address as *const u8) };
        let key = key(sock, from, to);
        let mut callers = Callers::UNKNOWN;
        if let Some(entry) = SOCKETS.get(address) {
            // SAFETY: the kernel does not free the memory of a map entry while the program runs.
            unsafe {
                callers.opener_pid = (*entry).pid;
                callers.opener_comm = (*entry).comm;
            }
        }
        if from == FIN_WAIT1 {
            if let Some(entry) = CLOSERS.get_ptr_mut(key) {
                // SAFETY: as above.
                unsafe {
                    (*entry).opener_comm = callers.opener_comm;
                    (*entry).opener_pid = callers.opener_pid;
                }
            }
            return 0;
        }
        if is_called_by_process(sock, to) {
            let Process { pid, comm } = Process::current();
            (callers.closer_pid, callers.closer_comm) = (pid, comm);
            callers.is_in_cgroup = cgroup_filter::is_current_in_cgroup().into();
        }
        if CLOSERS.insert(key, callers, u64::from(BPF_ANY)).is_err() {
            // The entry of an earlier connection with this key names other processes.
            let _ = CLOSERS.remove(key);
            ring::count_untracked();
        }
        0
    }
}

/// Returns whether the current process closes the socket. In a call of the process, the kernel can
/// also handle packets that arrived meanwhile. A packet or a timer that closes the connection sets
/// the error first.
#[inline(always)]
fn is_called_by_process(sock: Sock<Probed>, to: usize) -> bool {
    sock.is_locked_by_process() && (to != CLOSE || sock.load::<u32>(config!(events.sk_err)) == 0)
}

/// Returns the key of a full socket that moves from one state to another. A socket that closes
/// without a FIN may have no connection, so its address is the key. The address of a socket never
/// equals a key of a connection by chance: its upper half is the same for all sockets.
#[inline(always)]
fn key<A: Access>(sock: Sock<A>, from: usize, to: usize) -> u64 {
    if closes_at_once(from, to) {
        sock.plain_address()
    } else {
        of_connection(sock, sock.local_port(from))
    }
}

#[inline(always)]
fn of_connection<A: Access>(sock: Sock<A>, local_port: u16) -> u64 {
    u64::from(sock.hash()) << 32 | u64::from(local_port) << 16 | u64::from(sock.remote_port())
}

/// Whether a connection has a time-wait socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeWait {
    None,
    Born,
    /// The event at which a process closed the connection was missed.
    Unknown,
}

/// The entry of a full socket that closes.
#[derive(Clone, Copy)]
pub(crate) struct Entry(u64);

impl Entry {
    /// The entry of a socket that does not close.
    pub(crate) const NONE: Self = Self(0);

    /// Returns the entry at an event of a full socket.
    #[inline(always)]
    pub(crate) fn at<A: Access>(sock: Sock<A>, from: usize, to: usize) -> Self {
        Self(if is_on() && to == CLOSE { key(sock, from, to) } else { 0 })
    }

    /// Returns the ID and the name of the process that closed the connection, if the socket closes.
    #[inline(always)]
    pub(crate) fn closer(self) -> (u32, [u8; COMM_BYTES]) {
        if self.0 != 0
            && let Some(callers) = CLOSERS.get_ptr(self.0)
        {
            // SAFETY: the kernel does not free the memory of a map entry while the program runs.
            unsafe { ((*callers).closer_pid, (*callers).closer_comm) }
        } else {
            (0, [0; COMM_BYTES])
        }
    }

    /// Returns the key of the entry; 0 if the socket does not close.
    #[inline(always)]
    pub(crate) fn key(self) -> u64 {
        self.0
    }

    /// Returns the entry with a key.
    #[inline(always)]
    pub(crate) fn of_key(key: u64) -> Self {
        Self(key)
    }

    /// Returns whether the kernel has made a time-wait socket for a full socket that closes from
    /// this state.
    #[inline(always)]
    pub(crate) fn time_wait(self, from: usize) -> TimeWait {
        if !matches!(from, FIN_WAIT1 | FIN_WAIT2 | CLOSING) {
            return TimeWait::None;
        }
        let Some(callers) = CLOSERS.get_ptr(self.0) else { return TimeWait::Unknown };
        // SAFETY: the kernel does not free the memory of a map entry while the program runs.
        if unsafe { (*callers).has_time_wait } == 0 { TimeWait::None } else { TimeWait::Born }
    }

    /// Removes the entry after the last event of a full socket.
    #[inline(always)]
    pub(crate) fn forget(self) {
        if self.0 != 0 {
            let _ = CLOSERS.remove(self.0);
        }
    }
}

/// Returns the entry of the connection of a newborn time-wait socket.
#[inline(always)]
pub(crate) fn of<A: Access>(tw: Sock<A>) -> Option<*mut Callers> {
    CLOSERS.get_ptr_mut(of_connection(tw, tw.held_port()))
}

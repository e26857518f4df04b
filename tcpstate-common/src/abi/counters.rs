//! The counters that the BPF programs keep per CPU and per network namespace.

use super::{STATE_SLOTS, TRANSITION_SLOTS};

/// The numbers of sockets that entered and left one state. The two counters of a state are
/// adjacent, and the states are in the kernel's order. Most transitions therefore find the four
/// counters of their two states in one or two cache lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Flow {
    /// Number of sockets that entered the state.
    pub entered: u64,
    /// Number of sockets that left the state.
    pub left: u64,
}

/// The counts of full sockets of one CPU in one buffer. The CPU counts in a buffer while the buffer
/// is active. The counts never decrease.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Counters {
    /// The sockets that entered and left each state, indexed by the state's kernel number.
    pub states: [Flow; STATE_SLOTS],
    /// Number of events that the tracepoint reported, indexed by
    /// [`transition_slot`](super::transition_slot).
    pub transitions: [u64; TRANSITION_SLOTS],
}

/// The counts of mini sockets of one CPU in one buffer. The CPU counts in a buffer while the buffer
/// is active. A time-wait socket is counted in its substate, a request socket in `SYN_RECV`. Mini
/// sockets have their own counters, separate from the [`Counters`] of full sockets. The program
/// that adds to [`Counters`] uses plain additions, and the programs that count mini sockets can
/// interrupt it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MiniCounters {
    /// The mini sockets that entered and left each state, indexed by the state's kernel number.
    pub states: [Flow; STATE_SLOTS],
    /// Number of time-wait sockets that moved from FIN_WAIT2 to TIME_WAIT. These sockets are
    /// included in `left` of FIN_WAIT2 and in `entered` of TIME_WAIT.
    pub moved: u64,
    /// Number of time-wait sockets that ended, indexed by [`Cause`]. The timer hooks count only the
    /// cause [`Cause::Expired`].
    pub exits: [u64; EXIT_SLOTS],
}

/// Number of slots of [`MiniCounters::exits`].
pub const EXIT_SLOTS: usize = 4;

/// The cause of the end of a time-wait socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Cause {
    /// No hook observed the cause, or the kernel removed the socket with its namespace
    /// (`inet_twsk_purge`).
    Unknown = 0,
    /// The socket's timer expired (`tw_timer_handler`).
    Expired = 1,
    /// A new connection replaced the socket (`tcp_twsk_unique`, or a SYN).
    Reused = 2,
    /// The kernel removed the socket because of a RST, data after the close, or `tcp_abort`.
    Killed = 3,
}

/// The way in which a time-wait socket ended, if a hook observed it. An [`Exit`] is more precise
/// than a [`Cause`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Exit {
    /// No hook observed how the socket ended.
    Unknown = 0,
    /// The socket's timer expired.
    Expired = 1,
    /// The peer sent a RST.
    Reset = 2,
    /// The peer sent data, and the kernel responded with a RST.
    Data = 3,
    /// The kernel called `tcp_abort` for the socket.
    Aborted = 4,
}

/// The last cause that a hook on this CPU observed, and the time-wait socket to which the cause
/// applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ExitLabel {
    /// Address of the time-wait socket.
    pub tw: u64,
    /// A [`Cause`] in the lowest byte, and an [`Exit`] in the bytes above.
    pub cause: u64,
}

impl ExitLabel {
    /// Creates the label of a time-wait socket.
    #[must_use]
    #[inline]
    pub const fn new(tw: u64, cause: Cause, exit: Exit) -> Self {
        Self { tw, cause: cause as u64 | (exit as u64) << 8 }
    }
}

/// The last timer event of this CPU, if the event canceled the timer of a time-wait socket;
/// otherwise all fields are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LastCancel {
    /// Address of the `struct timer_list`.
    pub timer: u64,
    /// The control word at the time of the cancel.
    pub control: u64,
}

/// The counters of one CPU: both buffers, and the results of scans.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct CpuSlots {
    /// Counts of full sockets. The control word selects the active buffer, and the programs do not
    /// change the other buffer.
    pub buffers: [Counters; 2],
    /// Counts of mini sockets, in two buffers that become active together with `buffers`.
    pub minis: [MiniCounters; 2],
    /// The record by which the timer hooks distinguish the birth of a time-wait socket from a
    /// restart of its timer.
    pub last_cancel: LastCancel,
    /// The label from which the function hooks take the cause when a time-wait socket ends.
    pub exit_label: ExitLabel,
    /// Number of full sockets that were first observed during a scan, by their state at the scan's
    /// t0.
    pub base: [u64; STATE_SLOTS],
    /// Number of mini sockets that were first observed during a scan, by their state at the scan's
    /// t0.
    pub base_minis: [u64; STATE_SLOTS],
    /// Number of time-wait sockets in FIN_WAIT2 that did not fit in their map. The move of a
    /// time-wait socket to TIME_WAIT is not counted if the socket did not fit in the map.
    pub unrecorded: u64,
    /// Number of sockets that the iterator visited, including sockets that the scan had already
    /// observed.
    pub visited: u64,
    /// Number of first observations that were not stored because the scan map was full.
    pub map_full: u64,
    /// Number of errors of the scan map and of the namespace map that have another cause than a
    /// full map or an existing entry.
    pub map_errors: u64,
    /// Number of events since the load; counted only if a test sets
    /// [`Config::drop_one_in`](super::Config::drop_one_in) or
    /// [`Config::losses`](super::Config::losses). Only the first element of a CPU counts.
    pub events: u64,
    /// Number of events that the program ignored on purpose; see
    /// [`Config::drop_one_in`](super::Config::drop_one_in).
    pub dropped: u64,
    /// Number of events and visits whose namespace did not fit in the map of namespaces. An event
    /// or visit without a namespace entry is counted for the CPU, but for no namespace.
    pub unlisted: u64,
}

/// The counts of one network namespace by all CPUs in one buffer. The CPUs count in a buffer while
/// the buffer is active.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NamespaceCounters {
    /// The full sockets that entered and left each state, indexed by the state's kernel number.
    pub states: [Flow; STATE_SLOTS],
    /// The counts of mini sockets.
    pub minis: MiniCounters,
}

/// The counters of one network namespace, used if namespaces are counted separately
/// ([`FLAG_NAMESPACES`](super::FLAG_NAMESPACES)). All CPUs share the counters of a namespace, so
/// every addition to them is atomic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NamespaceSlots {
    /// Inode of the namespace; 0 from the insertion of the entry until a program stores the inode.
    pub inode: u64,
    /// Address of the namespace's `struct net`, which is valid while the namespace exists.
    pub net: u64,
    /// Not 0 once the iterator has found that the namespace is gone.
    pub gone: u64,
    /// The namespace's counts in both buffers, like [`CpuSlots::buffers`] and [`CpuSlots::minis`]
    /// for a CPU.
    pub buffers: [NamespaceCounters; 2],
    /// The namespace's full sockets that were first observed during a scan, by their state at the
    /// scan's t0.
    pub base: [u64; STATE_SLOTS],
    /// The namespace's mini sockets that were first observed during a scan, by their state at the
    /// scan's t0.
    pub base_minis: [u64; STATE_SLOTS],
}

impl NamespaceSlots {
    /// The initial value of a namespace's counters: all counts are 0.
    pub const BLANK: Self = {
        const NOTHING: Flow = Flow { entered: 0, left: 0 };
        const MINIS: MiniCounters =
            MiniCounters { states: [NOTHING; STATE_SLOTS], moved: 0, exits: [0; EXIT_SLOTS] };
        const COUNTERS: NamespaceCounters =
            NamespaceCounters { states: [NOTHING; STATE_SLOTS], minis: MINIS };
        Self {
            inode: 0,
            net: 0,
            gone: 0,
            buffers: [COUNTERS; 2],
            base: [0; STATE_SLOTS],
            base_minis: [0; STATE_SLOTS],
        }
    };
}

/// Number of slots of the counts of failed connects. The slot of a failed connect is the number of
/// the socket's error.
pub const FAILED_CONNECT_SLOTS: usize = 256;
/// The slot of the connects that found no free local port. No error has this number.
pub const FAILED_WITHOUT_PORT: usize = FAILED_CONNECT_SLOTS - 1;

// SAFETY: `CpuSlots` is a `repr(C)` struct of integers without padding, so every bit pattern is
// valid.
#[cfg(feature = "user")]
unsafe impl aya::Pod for CpuSlots {}
// SAFETY: `NamespaceSlots` is a `repr(C)` struct of integers without padding, so every bit pattern
// is valid.
#[cfg(feature = "user")]
unsafe impl aya::Pod for NamespaceSlots {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_namespace_is_the_default_one() {
        assert_eq!(NamespaceSlots::BLANK, NamespaceSlots::default());
    }
}

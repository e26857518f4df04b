//! The counters that the programs keep: per CPU, and per network namespace.

use super::{STATE_SLOTS, TRANSITION_SLOTS};

/// The traffic through one state. The two counters are adjacent, and the states are in the kernel's
/// order. Most transitions therefore find the four counters of their two states in one or two cache
/// lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Flow {
    /// Sockets that entered the state.
    pub entered: u64,
    /// Sockets that left the state.
    pub left: u64,
}

/// Counts of one CPU from the times when their buffer was the active one. Counts only grow.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Counters {
    /// Indexed by the state's kernel number.
    pub states: [Flow; STATE_SLOTS],
    /// Events as the tracepoint reported them, indexed by
    /// [`transition_slot`](super::transition_slot).
    pub transitions: [u64; TRANSITION_SLOTS],
}

/// Counts of mini sockets of one CPU from the times when their buffer was the active one. Time-wait
/// sockets are counted by substate, request sockets in `SYN_RECV`.
/// They are separate from the [`Counters`] of full sockets. A program adds to [`Counters`] without
/// atomic additions, and programs that count mini sockets can interrupt it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MiniCounters {
    /// Indexed by the state's kernel number.
    pub states: [Flow; STATE_SLOTS],
    /// Time-wait sockets that moved from FIN_WAIT2 to TIME_WAIT. They are included in `left` of
    /// FIN_WAIT2 and in `entered` of TIME_WAIT.
    pub moved: u64,
    /// Time-wait sockets that ended, indexed by [`Cause`]. Ends with a cause that no hook observed
    /// are not included.
    pub exits: [u64; EXIT_SLOTS],
}

/// Slots of [`MiniCounters::exits`].
pub const EXIT_SLOTS: usize = 4;

/// Why a time-wait socket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Cause {
    /// No hook observed the cause; or `inet_twsk_purge`, when the namespace is removed.
    Unknown = 0,
    /// `tw_timer_handler`: the timer expired.
    Expired = 1,
    /// `tcp_twsk_unique`, or a SYN: a new connection replaced the socket.
    Reused = 2,
    /// A RST, data after the close, or `tcp_abort`.
    Killed = 3,
}

/// How a time-wait socket ended, as far as a hook observed it. It is more precise than a [`Cause`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Exit {
    /// No hook observed it.
    Unknown = 0,
    /// The timer expired.
    Expired = 1,
    /// The peer sent a RST.
    Reset = 2,
    /// The peer sent data, and the kernel answered with a RST.
    Data = 3,
    /// `tcp_abort`.
    Aborted = 4,
}

/// The time-wait socket for which a hook on this CPU last observed a cause, and that cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ExitLabel {
    /// Address.
    pub tw: u64,
    /// A [`Cause`] in the lowest byte, and an [`Exit`] above it.
    pub cause: u64,
}

impl ExitLabel {
    /// The label of a time-wait socket.
    #[must_use]
    #[inline]
    pub const fn new(tw: u64, cause: Cause, exit: Exit) -> Self {
        Self { tw, cause: cause as u64 | (exit as u64) << 8 }
    }
}

/// The last timer event of this CPU, if it canceled the timer of a time-wait socket; otherwise
/// zeroes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LastCancel {
    /// Address of the `struct timer_list`.
    pub timer: u64,
    /// The control word at the time of that event.
    pub control: u64,
}

/// The memory of one CPU: both buffers, and the results of scans.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct CpuSlots {
    /// Counts of full sockets. The control word names the active buffer; the other buffer does not
    /// change.
    pub buffers: [Counters; 2],
    /// Counts of mini sockets, in two buffers like those of full sockets.
    pub minis: [MiniCounters; 2],
    /// With the timer hooks: distinguishes the birth of a time-wait socket from a re-arm of its
    /// timer.
    pub last_cancel: LastCancel,
    /// With the function hooks: the cause of the next end of a time-wait socket.
    pub exit_label: ExitLabel,
    /// Full sockets first observed during a scan, by their state at the scan's t0.
    pub base: [u64; STATE_SLOTS],
    /// Mini sockets first observed during a scan, by their state at the scan's t0.
    pub base_minis: [u64; STATE_SLOTS],
    /// Time-wait sockets in FIN_WAIT2 that did not fit in the map of such sockets. Their move to
    /// TIME_WAIT will not be counted.
    pub unrecorded: u64,
    /// Sockets that the iterator visited, including sockets that were observed before.
    pub visited: u64,
    /// First observations that were not stored because the scan map was full.
    pub map_full: u64,
    /// Observations that the scan map refused for another reason than an existing entry or a lack
    /// of room.
    pub map_errors: u64,
    /// Events since the load; counted only if [`Config::drop_one_in`](super::Config::drop_one_in)
    /// is set.
    pub events: u64,
    /// Events ignored on purpose; see [`Config::drop_one_in`](super::Config::drop_one_in).
    pub dropped: u64,
    /// Events and visits of namespaces that did not fit in the map of namespaces. These events and
    /// visits are counted on the CPU, but in no namespace.
    pub unlisted: u64,
}

/// Counts of one network namespace by all CPUs, from the times when their buffer was the active
/// one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NamespaceCounters {
    /// Full sockets, indexed by the state's kernel number.
    pub states: [Flow; STATE_SLOTS],
    /// Mini sockets.
    pub minis: MiniCounters,
}

/// The memory of one network namespace, if namespaces are counted separately
/// ([`FLAG_NAMESPACES`](super::FLAG_NAMESPACES)). All CPUs share it, so every addition to it is
/// atomic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NamespaceSlots {
    /// Inode of the namespace; 0 between the insertion of the entry and the store of this field.
    pub inode: u64,
    /// Address of the `struct net`, while it is alive.
    pub net: u64,
    /// Not 0 once the iterator has found that the namespace is gone.
    pub gone: u64,
    /// Like [`CpuSlots::buffers`] and [`CpuSlots::minis`], for this namespace.
    pub buffers: [NamespaceCounters; 2],
    /// Like [`CpuSlots::base`], for this namespace.
    pub base: [u64; STATE_SLOTS],
    /// Like [`CpuSlots::base_minis`], for this namespace.
    pub base_minis: [u64; STATE_SLOTS],
}

impl NamespaceSlots {
    /// The initial value: no counts.
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

// SAFETY: a `repr(C)` struct of integers without padding: every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for CpuSlots {}
// SAFETY: a `repr(C)` struct of integers without padding: every bit pattern is a value.
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

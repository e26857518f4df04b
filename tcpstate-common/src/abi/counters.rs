//! What the programs count: by CPU, and by network namespace.

use super::{STATE_SLOTS, TRANSITION_SLOTS};

/// The traffic through one state. The two numbers lie side by side, and the states in the kernel's order, so that
/// most transitions find all four numbers that they observe in one or two cache lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Flow {
    /// Sockets that came into the state.
    pub entered: u64,
    /// Sockets that went out of it.
    pub left: u64,
}

/// What one CPU counted while its buffer was the active one. Counts only grow.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Counters {
    /// By the state's kernel number.
    pub states: [Flow; STATE_SLOTS],
    /// Events as the tracepoint reported them, by [`transition_slot`](super::transition_slot).
    pub transitions: [u64; TRANSITION_SLOTS],
}

/// What one CPU counted of mini sockets while its buffer was the active one: time-wait sockets by their substate,
/// request sockets in `SYN_RECV`. Apart from the full sockets' [`Counters`], which are written without atomic
/// additions by a program that the ones that write these may interrupt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MiniCounters {
    /// By the state's kernel number.
    pub states: [Flow; STATE_SLOTS],
    /// Time-wait sockets that went from FIN_WAIT2 to TIME_WAIT; in `left` of the one and `entered` of the other.
    pub moved: u64,
    /// Time-wait sockets that ended, by [`Cause`]; those of which no hook knows the cause are in none.
    pub exits: [u64; EXIT_SLOTS],
}

/// Slots of [`MiniCounters::exits`].
pub const EXIT_SLOTS: usize = 4;

/// Why a time-wait socket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Cause {
    /// Nothing said; `inet_twsk_purge`, when the namespace goes.
    Unknown = 0,
    /// `tw_timer_handler`: its time was over.
    Expired = 1,
    /// `tcp_twsk_unique`, or a SYN: a new connection took its place.
    Reused = 2,
    /// A RST, data after the close, or `tcp_abort`.
    Killed = 3,
}

/// How a time-wait socket ended, as far as a hook knows: more than a [`Cause`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Exit {
    /// Nothing said.
    Unknown = 0,
    /// Its time was over.
    Expired = 1,
    /// A RST came.
    Reset = 2,
    /// Data came, which was answered with a RST.
    Data = 3,
    /// `tcp_abort`.
    Aborted = 4,
}

/// The time-wait socket about which a hook on this CPU last learnt something, and what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ExitLabel {
    /// Address.
    pub tw: u64,
    /// A [`Cause`], and above its byte an [`Exit`].
    pub cause: u64,
}

impl ExitLabel {
    /// What a hook learnt of a time-wait socket.
    #[must_use]
    #[inline]
    pub const fn new(tw: u64, cause: Cause, exit: Exit) -> Self {
        Self { tw, cause: cause as u64 | (exit as u64) << 8 }
    }
}

/// The last event of a timer that this CPU saw, if it was the end of a time-wait socket's; else zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LastCancel {
    /// Address of the `struct timer_list`.
    pub timer: u64,
    /// The control word under which it was counted.
    pub control: u64,
}

/// One CPU's memory: the two buffers, and what passes found.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct CpuSlots {
    /// The active buffer is the one that the control word names; the other one stands still.
    pub buffers: [Counters; 2],
    /// The same for mini sockets.
    pub minis: [MiniCounters; 2],
    /// What timers tell time-wait sockets' births from re-arms by.
    pub last_cancel: LastCancel,
    /// What functions tell the causes of exits by.
    pub exit_label: ExitLabel,
    /// Full sockets first touched during a scan, by the state they were in at its t0.
    pub base: [u64; STATE_SLOTS],
    /// The same for mini sockets.
    pub base_minis: [u64; STATE_SLOTS],
    /// Time-wait sockets in FIN_WAIT2 for which the map of those had no room, so that nobody will see them move.
    pub unrecorded: u64,
    /// Sockets that the iterator visited, whether it was the first observe or not.
    pub visited: u64,
    /// First observations that found the scan map full.
    pub map_full: u64,
    /// First observations that the scan map refused for another reason than an entry being there already.
    pub map_errors: u64,
    /// Events seen since the load; kept only when [`Config::drop_one_in`](super::Config::drop_one_in) is set.
    pub events: u64,
    /// Events ignored on purpose; see [`Config::drop_one_in`](super::Config::drop_one_in).
    pub dropped: u64,
    /// Events and visits of namespaces for which the map of those had no room; counted here, and in no row.
    pub unlisted: u64,
}

/// What was counted of one network namespace while a buffer was the active one, by all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NamespaceCounters {
    /// Full sockets, by the state's kernel number.
    pub states: [Flow; STATE_SLOTS],
    /// Mini sockets.
    pub minis: MiniCounters,
}

/// One network namespace's memory, where each has its own
/// ([`FLAG_NAMESPACES`](super::FLAG_NAMESPACES)): shared by all CPUs, so that
/// every addition to it is atomic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NamespaceSlots {
    /// Its inode; 0 for the moment between the entry's making and this field's.
    pub inode: u64,
    /// Address of its `struct net`, as long as that lives.
    pub net: u64,
    /// Not 0 once somebody looked and found the namespace gone.
    pub gone: u64,
    /// As in [`CpuSlots`].
    pub buffers: [NamespaceCounters; 2],
    /// As in [`CpuSlots`].
    pub base: [u64; STATE_SLOTS],
    /// As in [`CpuSlots`].
    pub base_minis: [u64; STATE_SLOTS],
}

impl NamespaceSlots {
    /// Nothing counted yet.
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
// SAFETY: as above.
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

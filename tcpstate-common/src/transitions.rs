//! The transitions that the kernel makes, and the hook that can observe each of them.

use crate::State::{
    self, Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv,
    SynSent, TimeWait,
};

/// A pair of states between which the kernel moves sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelTransition {
    /// The state before the transition.
    pub from: State,
    /// The state after the transition.
    pub to: State,
    /// The hook that can observe this transition.
    pub seen: Seen,
}

/// The hook that can observe a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The tracepoint `sock:inet_sock_set_state` reports this transition.
    Reported,
    /// The hook for time-wait mini sockets observes this transition. The tracepoint
    /// `sock:inet_sock_set_state` does not report time-wait sockets.
    Unreported,
}

impl Seen {
    /// Returns the hook's name in tcpstate's output.
    #[must_use]
    pub const fn hook(self) -> &'static str {
        match self {
            Self::Reported => "transitions",
            Self::Unreported => "time_wait",
        }
    }
}

const fn reported(from: State, to: State) -> KernelTransition {
    KernelTransition { from, to, seen: Seen::Reported }
}

const fn unreported(from: State, to: State) -> KernelTransition {
    KernelTransition { from, to, seen: Seen::Unreported }
}

/// Every transition that the kernel makes between a socket's birth and its removal, as of Linux
/// 6.12.
pub const TRANSITIONS: [KernelTransition; 31] = [
    reported(Close, Listen),
    reported(Close, SynSent),
    reported(Close, SynRecv),
    reported(Close, Close),
    reported(Listen, SynRecv),
    reported(Listen, Close),
    reported(SynSent, Established),
    reported(SynSent, SynRecv),
    reported(SynSent, Close),
    reported(SynRecv, Established),
    reported(SynRecv, FinWait1),
    reported(SynRecv, CloseWait),
    reported(SynRecv, Close),
    reported(Established, FinWait1),
    reported(Established, CloseWait),
    reported(Established, Close),
    reported(FinWait1, FinWait1),
    reported(FinWait1, FinWait2),
    reported(FinWait1, Closing),
    reported(FinWait1, Close),
    reported(FinWait2, FinWait2),
    reported(FinWait2, Close),
    unreported(FinWait2, TimeWait),
    reported(Closing, Closing),
    reported(Closing, Close),
    unreported(Closing, TimeWait),
    reported(CloseWait, LastAck),
    reported(CloseWait, Close),
    reported(LastAck, LastAck),
    reported(LastAck, Close),
    unreported(TimeWait, Close),
];

/// Returns the hook that can observe the transition between two states, or `None` if the kernel
/// does not make that transition.
#[must_use]
pub fn seen(from: State, to: State) -> Option<Seen> {
    TRANSITIONS.iter().find(|pair| (pair.from, pair.to) == (from, to)).map(|pair| pair.seen)
}

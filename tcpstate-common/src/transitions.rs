//! The transitions that the kernel makes, and where each one can be observed.

use crate::State::{
    self, Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv,
    SynSent, TimeWait,
};

/// A pair of states between which the kernel moves sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelTransition {
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// Where it can be observed.
    pub seen: Seen,
}

/// Where a transition can be observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The tracepoint `sock:inet_sock_set_state` reports it.
    Reported,
    /// It is a time-wait mini socket's, which the tracepoint does not report. The hook of those sockets sees it.
    Unreported,
}

impl Seen {
    /// The name in output of the hook that sees it.
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

/// Every transition, from birth to end, as of Linux 6.12.
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

/// Where the transition between two states can be observed; `None` if the kernel does not make it.
#[must_use]
pub fn seen(from: State, to: State) -> Option<Seen> {
    TRANSITIONS.iter().find(|pair| (pair.from, pair.to) == (from, to)).map(|pair| pair.seen)
}

//! The TCP states, with their kernel numbers and all their spellings.

use core::{fmt, str::FromStr};

/// A TCP socket's state, numbered as in the kernel (`include/net/tcp_states.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum State {
    /// The connection is open and data can be transferred (RFC 9293: ESTABLISHED).
    Established = 1,
    /// The socket sent a SYN and waits for the SYN-ACK (SYN-SENT).
    SynSent = 2,
    /// The socket received a SYN and waits for the last ACK of the handshake (SYN-RECEIVED).
    SynRecv = 3,
    /// The local side has closed, and the peer has not acknowledged the local FIN yet (FIN-WAIT-1).
    FinWait1 = 4,
    /// The local side has closed, and the socket waits for the peer's FIN (FIN-WAIT-2).
    FinWait2 = 5,
    /// Both sides have closed, and the kernel keeps the socket so that late segments cannot reach a
    /// new connection (TIME-WAIT). A full socket is never in TIME_WAIT, because a time-wait mini
    /// socket replaces it.
    TimeWait = 6,
    /// The socket has no connection (CLOSED). Transitions start and end in CLOSE, but CLOSE is
    /// never a gauge, because a new socket is in CLOSE without any event.
    Close = 7,
    /// The peer has closed, but the local program has not (CLOSE-WAIT).
    CloseWait = 8,
    /// The peer and then the local side have closed, and the socket waits for the ACK of the local
    /// FIN (LAST-ACK).
    LastAck = 9,
    /// The socket accepts connections (LISTEN).
    Listen = 10,
    /// Both sides have closed at the same time, and the socket waits for the ACK of the local FIN
    /// (CLOSING).
    Closing = 11,
    /// A half-open request mini socket, which every tool shows as SYN-RECV. The state NEW_SYN_RECV
    /// has no RFC name.
    NewSynRecv = 12,
    /// The socket is bound but idle; only `sock_diag` reports this state, since 6.8. The state
    /// BOUND_INACTIVE has no RFC name.
    BoundInactive = 13,
}

impl State {
    /// All states, ordered by kernel number.
    pub const ALL: [Self; 13] = [
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
        Self::NewSynRecv,
        Self::BoundInactive,
    ];

    /// The ten states that are counted, in the order in which a connection passes through them.
    pub const GAUGES: [Self; 10] = [
        Self::Listen,
        Self::SynSent,
        Self::SynRecv,
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::CloseWait,
        Self::Closing,
        Self::LastAck,
        Self::TimeWait,
    ];

    /// Returns the state with a kernel number, or `None` if the number belongs to no state.
    #[must_use]
    pub fn from_number(number: usize) -> Option<Self> {
        Self::ALL.get(number.checked_sub(1)?).copied()
    }

    /// Returns the state's kernel number, for use as an index.
    #[must_use]
    pub const fn number(self) -> usize {
        self as usize
    }

    /// Returns the state's name for people, as netstat and the kernel spell it, for example
    /// `SYN_RECV`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Established => "ESTABLISHED",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::FinWait1 => "FIN_WAIT1",
            Self::FinWait2 => "FIN_WAIT2",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::Listen => "LISTEN",
            Self::Closing => "CLOSING",
            Self::NewSynRecv => "NEW_SYN_RECV",
            Self::BoundInactive => "BOUND_INACTIVE",
        }
    }

    /// Returns the state's name for machines, in JSON, CSV and metric labels, for example
    /// `syn_recv`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::SynSent => "syn_sent",
            Self::SynRecv => "syn_recv",
            Self::FinWait1 => "fin_wait1",
            Self::FinWait2 => "fin_wait2",
            Self::TimeWait => "time_wait",
            Self::Close => "close",
            Self::CloseWait => "close_wait",
            Self::LastAck => "last_ack",
            Self::Listen => "listen",
            Self::Closing => "closing",
            Self::NewSynRecv => "new_syn_recv",
            Self::BoundInactive => "bound_inactive",
        }
    }

    /// Returns the names in `ss` and RFC 9293 that differ from the kernel's name by more than
    /// hyphens.
    const fn other_names(self) -> &'static [&'static str] {
        match self {
            Self::Established => &["ESTAB"],
            Self::SynRecv => &["SYN-RECEIVED"],
            Self::Close => &["CLOSED", "UNCONN"],
            Self::Listen => &["LISTENING"],
            _ => &[],
        }
    }
}

/// The error for a text that is not the name of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownState;

impl FromStr for State {
    type Err = UnknownState;

    /// Reads every common spelling of a state, in upper or lower case:
    /// * the kernel's names: `TIME_WAIT`, `TCP_TIME_WAIT`
    /// * the names for machines: `time_wait`
    /// * the names in `ss`: `TIME-WAIT`, `ESTAB`
    /// * the names in RFC 9293: `FIN-WAIT-1`, `SYN-RECEIVED`
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let is = |name| letters(text).eq(letters(name)) || letters(text).eq(prefixed(name));
        Self::ALL
            .into_iter()
            .find(|state| is(state.name()) || state.other_names().iter().any(|name| is(name)))
            .ok_or(UnknownState)
    }
}

/// Returns the letters and digits of a name in lower case. Names are compared without regard to
/// case, hyphens and underscores.
fn letters(name: &str) -> impl Iterator<Item = char> + '_ {
    name.chars().filter(|letter| !matches!(letter, '-' | '_')).map(|c| c.to_ascii_lowercase())
}

fn prefixed(name: &str) -> impl Iterator<Item = char> + '_ {
    letters("TCP_").chain(letters(name))
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_found_by_its_kernel_number() {
        for state in State::ALL {
            assert_eq!(State::from_number(state.number()), Some(state));
        }
        assert_eq!(State::from_number(0), None);
        assert_eq!(State::from_number(14), None);
    }

    #[test]
    fn every_spelling_is_read() {
        for state in State::ALL {
            assert_eq!(state.name().parse(), Ok(state));
            assert_eq!(state.label().parse(), Ok(state));
        }
        for (text, state) in [
            ("ESTAB", State::Established),
            ("SYN-SENT", State::SynSent),
            ("syn-recv", State::SynRecv),
            ("SYN-RECEIVED", State::SynRecv),
            ("FIN-WAIT-1", State::FinWait1),
            ("fin-wait-2", State::FinWait2),
            ("TCP_TIME_WAIT", State::TimeWait),
            ("TimeWait", State::TimeWait),
            ("UNCONN", State::Close),
            ("closed", State::Close),
            ("CLOSE-WAIT", State::CloseWait),
            ("LAST-ACK", State::LastAck),
            ("listening", State::Listen),
            ("CLOSING", State::Closing),
        ] {
            assert_eq!(text.parse(), Ok(state), "{text}");
        }
        for text in ["", "tcp_", "TIME WAIT", "TIME_WAITS", "WAIT", "6", "-"] {
            assert_eq!(text.parse::<State>(), Err(UnknownState), "{text}");
        }
    }

    #[test]
    fn gauges_are_the_states_that_ss_shows() {
        for state in State::GAUGES {
            assert_ne!(state, State::Close);
            assert!(state.number() < State::NewSynRecv.number());
        }
        assert_eq!(State::GAUGES.len() + 1, State::NewSynRecv.number() - 1);
    }
}

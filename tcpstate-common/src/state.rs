//! The TCP states: their kernel numbers, and every spelling that people and machines use for them.

use core::{fmt, str::FromStr};

/// A TCP socket's state, numbered as in the kernel (`include/net/tcp_states.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum State {
    /// Data flows (RFC 9293: ESTABLISHED).
    Established = 1,
    /// SYN sent, answer awaited (SYN-SENT).
    SynSent = 2,
    /// SYN received, the handshake's last ACK awaited (SYN-RECEIVED).
    SynRecv = 3,
    /// Closed here; our FIN is not acknowledged yet (FIN-WAIT-1).
    FinWait1 = 4,
    /// Closed here; the peer's FIN is awaited (FIN-WAIT-2).
    FinWait2 = 5,
    /// Both sides closed; held back so that late segments find no new connection (TIME-WAIT).
    /// A full socket is never in it: a time-wait mini socket takes its place.
    TimeWait = 6,
    /// No connection (CLOSED). An end of transitions, never a gauge: a fresh socket is in it without any event.
    Close = 7,
    /// The peer closed; this side's program has not yet (CLOSE-WAIT).
    CloseWait = 8,
    /// Closed here after the peer; the ACK of our FIN is awaited (LAST-ACK).
    LastAck = 9,
    /// Accepts connections (LISTEN).
    Listen = 10,
    /// Both sides closed at once; the ACK of our FIN is awaited (CLOSING).
    Closing = 11,
    /// A request mini socket: half-open, shown as SYN-RECV by every tool. No RFC name.
    NewSynRecv = 12,
    /// Bound but idle, since 6.8 and in `sock_diag` only. No RFC name.
    BoundInactive = 13,
}

impl State {
    /// All states, in the order of their kernel numbers.
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

    /// The ten states that sockets are counted in, in the order a connection lives through them.
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

    /// The state with this kernel number, if there is one.
    #[must_use]
    pub fn from_number(number: usize) -> Option<Self> {
        Self::ALL.get(number.checked_sub(1)?).copied()
    }

    /// The kernel's number of this state, as an index.
    #[must_use]
    pub const fn number(self) -> usize {
        self as usize
    }

    /// The name that people read, as netstat and the kernel spell it: `SYN_RECV`.
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

    /// The name that machines read, in JSON, CSV and metric labels: `syn_recv`.
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

    /// The names that `ss` and RFC 9293 have for it where they differ from the kernel's by more than hyphens.
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

/// No state has that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownState;

impl FromStr for State {
    type Err = UnknownState;

    /// Reads every spelling in use: the kernel's (`TIME_WAIT`, `TCP_TIME_WAIT`), that of machines (`time_wait`), of
    /// `ss` (`TIME-WAIT`, `ESTAB`) and of RFC 9293 (`FIN-WAIT-1`, `SYN-RECEIVED`), in any case.
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let is = |name| letters(text).eq(letters(name)) || letters(text).eq(prefixed(name));
        Self::ALL
            .into_iter()
            .find(|state| is(state.name()) || state.other_names().iter().any(|name| is(name)))
            .ok_or(UnknownState)
    }
}

/// What tells names apart: neither case nor what joins their words.
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

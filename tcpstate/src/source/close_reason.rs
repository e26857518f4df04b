//! Who ended a connection, from what the kernel had noted of it at its last transition: pure.

use nix::errno::Errno;
use tcpstate_common::{
    State,
    abi::{EVENT_IS_SHUT, EVENT_SENT_RESET, Exit},
};

use crate::report::CloseReason;

/// What the kernel had noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noted {
    /// No failure.
    Nothing,
    /// `tcp_reset`.
    Reset,
    /// `tcp_write_err`, when nobody answered and no router had said why.
    Timeout,
    /// `tcp_abort`.
    Abort,
    /// A SYN was answered by a RST (`tcp_reset`), or by word that the port is closed (`tcp_v4_err`).
    Refused,
    /// A router's word. It may have been there for long, and not have ended anything.
    Unreachable,
    /// Something else, as old as that may be.
    Other,
}

impl Noted {
    fn of(error: u16) -> Self {
        match Errno::from_raw(error.into()) {
            Errno::UnknownErrno if error == 0 => Self::Nothing,
            Errno::ECONNRESET | Errno::EPIPE => Self::Reset,
            Errno::ETIMEDOUT => Self::Timeout,
            Errno::ECONNABORTED => Self::Abort,
            Errno::ECONNREFUSED => Self::Refused,
            Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EHOSTDOWN | Errno::ENONET => {
                Self::Unreachable
            }
            _ => Self::Other,
        }
    }
}

/// Who ended the connection of a full socket that goes to CLOSE from a state, with `sk_err` and the record's flags. `None`
/// where that can't be told, and where there was no connection.
///
/// Who sent its FIN first follows from the last state: only who was first comes through FIN_WAIT1. An end by anything else
/// than both FINs is told as such, whoever had sent a FIN before it.
pub(super) fn of_connection(from: State, error: u16, flags: u8) -> Option<CloseReason> {
    let noted = Noted::of(error);
    match (from, noted) {
        (State::Close | State::Listen | State::TimeWait | State::NewSynRecv, _) => None,
        (State::SynSent, Noted::Refused) => Some(CloseReason::Refused),
        (State::SynSent, Noted::Unreachable) => Some(CloseReason::Unreachable),
        (State::SynSent, Noted::Nothing) | (_, Noted::Abort) => Some(CloseReason::Abort),
        (_, Noted::Timeout) => Some(CloseReason::Timeout),
        (State::SynSent, _) => None,
        // With data after a close the kernel resets the connection as if it had got a RST, and sends one.
        _ if flags & EVENT_SENT_RESET != 0 => Some(CloseReason::LocalRst),
        (_, Noted::Reset) => Some(CloseReason::RemoteRst),
        // Nobody but the network speaks of an error on a connection that is not shut, and it closes at the timeout.
        (State::Established | State::CloseWait, Noted::Unreachable)
            if flags & EVENT_IS_SHUT == 0 =>
        {
            Some(CloseReason::Timeout)
        }
        // Neither is left for CLOSE in order: `tcp_close` or `tcp_disconnect`, which send a RST next.
        (State::Established | State::CloseWait, Noted::Nothing) => Some(CloseReason::LocalRst),
        (State::FinWait2, _) | (State::Closing, Noted::Nothing) => Some(CloseReason::LocalFin),
        (State::LastAck, Noted::Nothing) => Some(CloseReason::RemoteFin),
        _ => None,
    }
}

/// The same of a time-wait socket, whose owner sent its FIN first. In TIME_WAIT the connection is over, however the socket
/// itself ends; in FIN_WAIT2 its peer has yet to close.
pub(super) fn of_time_wait(from: State, exit: u16) -> Option<CloseReason> {
    match from {
        State::TimeWait => Some(CloseReason::LocalFin),
        _ if exit == Exit::Expired as u16 => Some(CloseReason::Timeout),
        _ if exit == Exit::Reset as u16 => Some(CloseReason::RemoteRst),
        _ if exit == Exit::Data as u16 => Some(CloseReason::LocalRst),
        _ if exit == Exit::Aborted as u16 => Some(CloseReason::Abort),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(from: State, error: Errno, flags: u8) -> Option<CloseReason> {
        of_connection(from, u16::try_from(error as i32).expect("it is small"), flags)
    }

    const NOTHING: Errno = Errno::UnknownErrno;

    #[test]
    fn an_end_in_order_is_whose_fin_was_first() {
        for (from, by) in [
            (State::FinWait2, CloseReason::LocalFin),
            (State::Closing, CloseReason::LocalFin),
            (State::LastAck, CloseReason::RemoteFin),
        ] {
            assert_eq!(ended(from, NOTHING, EVENT_IS_SHUT), Some(by), "{from:?}");
        }
    }

    #[test]
    fn a_reset_is_told_by_who_sent_it_whatever_came_before() {
        for from in [State::Established, State::FinWait1, State::FinWait2, State::LastAck] {
            assert_eq!(ended(from, Errno::ECONNRESET, 0), Some(CloseReason::RemoteRst), "{from:?}");
            let both = EVENT_SENT_RESET | EVENT_IS_SHUT;
            assert_eq!(
                ended(from, Errno::ECONNRESET, both),
                Some(CloseReason::LocalRst),
                "{from:?}"
            );
        }
        assert_eq!(ended(State::CloseWait, Errno::EPIPE, 0), Some(CloseReason::RemoteRst));
        assert_eq!(ended(State::Established, NOTHING, EVENT_IS_SHUT), Some(CloseReason::LocalRst));
        assert_eq!(ended(State::CloseWait, NOTHING, EVENT_IS_SHUT), Some(CloseReason::LocalRst));
    }

    #[test]
    fn a_connect_fails_by_what_answered_it() {
        for (error, by) in [
            (Errno::ECONNREFUSED, Some(CloseReason::Refused)),
            (Errno::ETIMEDOUT, Some(CloseReason::Timeout)),
            (Errno::EHOSTUNREACH, Some(CloseReason::Unreachable)),
            (Errno::ECONNABORTED, Some(CloseReason::Abort)),
            (NOTHING, Some(CloseReason::Abort)),
            (Errno::EPROTO, None),
        ] {
            assert_eq!(ended(State::SynSent, error, 0), by, "{error:?}");
        }
    }

    #[test]
    fn what_may_have_ended_in_several_ways_is_unknown() {
        assert_eq!(ended(State::Established, Errno::EHOSTUNREACH, 0), Some(CloseReason::Timeout));
        assert_eq!(ended(State::Established, Errno::EHOSTUNREACH, EVENT_IS_SHUT), None);
        assert_eq!(ended(State::LastAck, Errno::EHOSTUNREACH, EVENT_IS_SHUT), None);
        assert_eq!(ended(State::FinWait1, NOTHING, EVENT_IS_SHUT), None);
        assert_eq!(ended(State::SynRecv, NOTHING, 0), None);
    }

    #[test]
    fn a_timeout_or_an_abort_is_one_though_a_reset_is_sent_with_it() {
        let flags = EVENT_SENT_RESET;
        assert_eq!(ended(State::Established, Errno::ETIMEDOUT, flags), Some(CloseReason::Timeout));
        assert_eq!(ended(State::Established, Errno::ECONNABORTED, flags), Some(CloseReason::Abort));
    }

    #[test]
    fn a_listener_ends_no_connection() {
        assert_eq!(ended(State::Listen, NOTHING, EVENT_IS_SHUT), None);
    }

    #[test]
    fn a_time_wait_socket_was_closed_from_here_unless_its_peer_never_closed() {
        for exit in [Exit::Unknown, Exit::Expired, Exit::Reset, Exit::Aborted] {
            assert_eq!(of_time_wait(State::TimeWait, exit as u16), Some(CloseReason::LocalFin));
        }
        for (exit, by) in [
            (Exit::Unknown, None),
            (Exit::Expired, Some(CloseReason::Timeout)),
            (Exit::Reset, Some(CloseReason::RemoteRst)),
            (Exit::Data, Some(CloseReason::LocalRst)),
            (Exit::Aborted, Some(CloseReason::Abort)),
        ] {
            assert_eq!(of_time_wait(State::FinWait2, exit as u16), by, "{exit:?}");
        }
    }
}

//! Derives the close reason of a connection from the data that the kernel stored at the last
//! transition. The module performs no I/O.

use nix::errno::Errno;
use tcpstate_common::{
    State,
    abi::{EVENT_IS_SHUT, EVENT_SENT_RESET, Exit, FAILED_WITHOUT_PORT},
};

use crate::report::{CloseReason, ConnectFailure};

/// The cause of a socket error, derived from the value of `sk_err`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SocketError {
    /// The socket has no error.
    Nothing,
    /// The function `tcp_reset` set the error.
    Reset,
    /// The function `tcp_write_err` set the error after too many retransmissions without an answer
    /// and without an ICMP error.
    Timeout,
    /// The function `tcp_abort` set the error.
    Abort,
    /// The kernel set the error after a SYN: the peer responded with a RST (`tcp_reset`), or an
    /// ICMP message says that the port is closed (`tcp_v4_err`).
    Refused,
    /// A router caused the error by an ICMP message. An ICMP error may be old and unrelated to the
    /// close of the connection.
    Unreachable,
    /// The socket has an error of another kind. The error may be old.
    Other,
}

impl SocketError {
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

/// Derives the close reason of a full socket that moves to CLOSE. The inputs are the socket's last
/// state, the socket's `sk_err` and the flags of the record. The function returns `None` if the
/// reason is unknown or if there was no connection.
///
/// The last state shows which side sent the first FIN, because only that side passes through
/// FIN_WAIT1. If a RST, a timeout or another error closed the connection after a FIN, the function
/// returns the RST, the timeout or the error.
pub(super) fn of_connection(from: State, error: u16, flags: u8) -> Option<CloseReason> {
    let socket_error = SocketError::of(error);
    match (from, socket_error) {
        (State::Close | State::Listen | State::TimeWait | State::NewSynRecv, _) => None,
        (State::SynSent, SocketError::Refused) => Some(CloseReason::Refused),
        (State::SynSent, SocketError::Unreachable) => Some(CloseReason::Unreachable),
        (State::SynSent, SocketError::Nothing) | (_, SocketError::Abort) => {
            Some(CloseReason::Abort)
        }
        (_, SocketError::Timeout) => Some(CloseReason::Timeout),
        (State::SynSent, _) => None,
        // If data arrives after a close, the kernel sends a RST, and then closes the connection in
        // the same way as after a received RST.
        _ if flags & EVENT_SENT_RESET != 0 => Some(CloseReason::LocalRst),
        (_, SocketError::Reset) => Some(CloseReason::RemoteRst),
        // If the socket is not shut down, only the network can have set this error. If the network
        // reported an error, the connection closes at the retransmission timeout.
        (State::Established | State::CloseWait, SocketError::Unreachable)
            if flags & EVENT_IS_SHUT == 0 =>
        {
            Some(CloseReason::Timeout)
        }
        // An orderly close never goes from ESTABLISHED or CLOSE_WAIT directly to CLOSE. The
        // functions `tcp_close` and `tcp_disconnect` make such a direct transition. After such a
        // direct transition, both functions send a RST.
        (State::Established | State::CloseWait, SocketError::Nothing) => {
            Some(CloseReason::LocalRst)
        }
        (State::FinWait2, _) | (State::Closing, SocketError::Nothing) => {
            Some(CloseReason::LocalFin)
        }
        (State::LastAck, SocketError::Nothing) => Some(CloseReason::RemoteFin),
        _ => None,
    }
}

/// Returns the reason of the failed connects that the programs count in a slot.
pub(super) fn of_failed_connect(slot: usize) -> ConnectFailure {
    if slot == FAILED_WITHOUT_PORT {
        return ConnectFailure::NoLocalPort;
    }
    match SocketError::of(u16::try_from(slot).unwrap_or(u16::MAX)) {
        SocketError::Nothing | SocketError::Abort => ConnectFailure::Abort,
        SocketError::Reset => ConnectFailure::Reset,
        SocketError::Timeout => ConnectFailure::Timeout,
        SocketError::Refused => ConnectFailure::Refused,
        SocketError::Unreachable => ConnectFailure::Unreachable,
        SocketError::Other => ConnectFailure::Other,
    }
}

/// Returns the close reason of a time-wait socket. The full socket that preceded a time-wait socket
/// sent the first FIN. If the socket is in TIME_WAIT, the connection is already closed, so the
/// destruction of the socket does not affect the close reason. If the socket is in FIN_WAIT2, the
/// peer has not closed yet, so the way in which the socket closes determines the close reason.
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
    fn failed_connects_have_the_same_reason_in_events_and_in_metrics() {
        for error in 0..200_u16 {
            let of_event = match of_connection(State::SynSent, error, 0) {
                Some(CloseReason::Refused) => ConnectFailure::Refused,
                Some(CloseReason::Timeout) => ConnectFailure::Timeout,
                Some(CloseReason::Unreachable) => ConnectFailure::Unreachable,
                Some(CloseReason::Abort) => ConnectFailure::Abort,
                Some(reason) => panic!("{error}: {reason:?}"),
                None if SocketError::of(error) == SocketError::Reset => ConnectFailure::Reset,
                None => ConnectFailure::Other,
            };
            assert_eq!(of_failed_connect(error.into()), of_event, "{error}");
        }
        assert_eq!(of_failed_connect(FAILED_WITHOUT_PORT), ConnectFailure::NoLocalPort);
    }

    #[test]
    fn orderly_closes_name_the_side_of_the_first_fin() {
        for (from, by) in [
            (State::FinWait2, CloseReason::LocalFin),
            (State::Closing, CloseReason::LocalFin),
            (State::LastAck, CloseReason::RemoteFin),
        ] {
            assert_eq!(ended(from, NOTHING, EVENT_IS_SHUT), Some(by), "{from:?}");
        }
    }

    #[test]
    fn resets_name_their_sender() {
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
    fn failed_connects_have_the_reason_of_the_answer() {
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
    fn ambiguous_ends_are_unknown() {
        assert_eq!(ended(State::Established, Errno::EHOSTUNREACH, 0), Some(CloseReason::Timeout));
        assert_eq!(ended(State::Established, Errno::EHOSTUNREACH, EVENT_IS_SHUT), None);
        assert_eq!(ended(State::LastAck, Errno::EHOSTUNREACH, EVENT_IS_SHUT), None);
        assert_eq!(ended(State::FinWait1, NOTHING, EVENT_IS_SHUT), None);
        assert_eq!(ended(State::SynRecv, NOTHING, 0), None);
    }

    #[test]
    fn timeouts_and_aborts_win_over_a_sent_reset() {
        let flags = EVENT_SENT_RESET;
        assert_eq!(ended(State::Established, Errno::ETIMEDOUT, flags), Some(CloseReason::Timeout));
        assert_eq!(ended(State::Established, Errno::ECONNABORTED, flags), Some(CloseReason::Abort));
    }

    #[test]
    fn listeners_have_no_close_reason() {
        assert_eq!(ended(State::Listen, NOTHING, EVENT_IS_SHUT), None);
    }

    #[test]
    fn time_wait_sockets_are_closed_locally_unless_the_peer_never_closed() {
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

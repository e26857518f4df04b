//! The sum of one connection, which is known at the last event of its full socket.

use std::time::{Duration, SystemTime};

use tcpstate_common::State;

/// Which side opened the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// This socket called connect().
    Client,
    /// This socket is the child of a listener.
    Server,
}

impl Role {
    /// Both roles. The recording stores the index of a role.
    pub const BOTH: [Self; 2] = [Self::Client, Self::Server];

    /// Returns the name used in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// What one side of a connection did until the last event of its full socket. The time as a
/// time-wait socket is not part of it. The value of a field is `None` if the value is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// The wall-clock time of the socket's birth. It is unknown if the socket is older than
    /// tcpstate.
    pub opened: Option<SystemTime>,
    /// The role of this side. It is unknown if the socket is older than tcpstate.
    pub role: Option<Role>,
    /// The time from the birth to the last event.
    pub duration: Option<Duration>,
    /// The time of the handshake: of a client, from connect() until the connection was established;
    /// of a server, from the SYN-ACK until its acknowledgement. The time of a server is unknown if
    /// the SYN-ACK was sent again.
    pub handshake: Option<Duration>,
    /// The states in order, and how long the socket was in each state.
    pub states: Vec<(State, Option<Duration>)>,
    /// Whether the kernel made a time-wait socket for the connection.
    pub time_wait: Option<bool>,
    /// The bytes of data that the peer acknowledged. The number is unknown if the role is unknown.
    pub bytes_sent: Option<u64>,
    /// The bytes of data that this side received in order. This number and the next are unknown if
    /// the table of connections had no room.
    pub bytes_received: Option<u64>,
    /// The number of segments that this side sent again, also of SYN and SYN-ACK.
    pub retransmits: Option<u64>,
    /// The smoothed round-trip time at the end.
    pub srtt: Option<Duration>,
    /// Whether the connection is a subflow of an MPTCP connection.
    pub is_mptcp: bool,
}

impl Connection {
    /// Returns whether a connect() failed: the connection never was established.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        let ends = |state: &(State, _)| !matches!(state.0, State::SynSent | State::SynRecv);
        self.role == Some(Role::Client) && !self.states.iter().any(ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_never_was_established_has_failed() {
        let connection = |role, states: &[State]| Connection {
            role: Some(role),
            states: states.iter().map(|&state| (state, None)).collect(),
            ..Connection::default()
        };
        assert!(connection(Role::Client, &[State::SynSent]).has_failed());
        assert!(!connection(Role::Client, &[State::SynSent, State::Established]).has_failed());
        assert!(!connection(Role::Server, &[State::SynRecv]).has_failed());
    }
}

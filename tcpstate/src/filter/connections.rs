//! The filter of connections by what is known only when they have ended.

use std::time::Duration;

use tcpstate_common::State;

use crate::report::{CloseReason, Event};

/// Selects connections. The conditions are combined with AND. Without a condition, every event
/// matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionFilter {
    /// Whether only failed calls of connect() match.
    pub only_failed: bool,
    /// The close reasons of which one must match.
    pub ended_by: Option<Vec<CloseReason>>,
    /// The minimum time from the birth to the last event. An unknown time does not match.
    pub min_duration: Option<Duration>,
}

impl ConnectionFilter {
    /// Returns whether the filter matches every event.
    #[must_use]
    pub fn matches_all(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether the connection that ends with an event matches. Without a connection, an
    /// event matches no condition.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        if self.matches_all() {
            return true;
        }
        let Some(connection) = &event.connection else { return false };
        let is_in = |reasons: &Vec<CloseReason>| {
            event.ended_by.is_some_and(|reason| reasons.contains(&reason))
        };
        (!self.only_failed || (event.to == State::Close && connection.has_failed()))
            && self.ended_by.as_ref().is_none_or(is_in)
            && self.min_duration.is_none_or(|least| connection.duration >= Some(least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Connection, Role, bare};

    #[test]
    fn conditions_are_combined_and_unknown_values_match_none() {
        let mut event = bare(State::SynSent, State::Close);
        event.ended_by = Some(CloseReason::Refused);
        let any = ConnectionFilter::default();
        let failed = ConnectionFilter { only_failed: true, ..any.clone() };
        assert!(any.matches(&event) && !failed.matches(&event), "the connection is unknown");
        event.connection = Some(Box::new(Connection {
            role: Some(Role::Client),
            states: vec![(State::SynSent, None)],
            ..Connection::default()
        }));
        assert!(failed.matches(&event));
        let refused = |by| ConnectionFilter { ended_by: Some(vec![by]), ..failed.clone() };
        assert!(refused(CloseReason::Refused).matches(&event));
        assert!(!refused(CloseReason::Timeout).matches(&event));
        let least = Some(Duration::from_millis(5));
        let long = ConnectionFilter { min_duration: least, ..any };
        assert!(!long.matches(&event), "the duration is unknown");
        event.connection.as_mut().expect("set").duration = least;
        assert!(long.matches(&event));
    }
}

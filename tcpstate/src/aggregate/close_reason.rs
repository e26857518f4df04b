//! Counts the close reasons of connections by local port, and the reasons of failed connects, from
//! the events of a run.

use std::collections::{BTreeMap, BTreeSet};

use tcpstate_common::State;

use crate::report::{CloseReason, CloseReasons, Event, Hook, PortReasons, ReasonCounts};

/// The maximum number of ports that have their own row in the report. The report adds the
/// connections of all other ports in one common row.
const MAX_PORT_ROWS: usize = 1000;

/// Counts the close reasons in the events of a run. The counter stores at most one entry for each
/// of the 65,536 ports.
#[derive(Debug, Default)]
pub struct CloseReasonCounter {
    by_port: BTreeMap<u16, ReasonCounts>,
    /// Close reasons of connections with an unknown local port.
    portless: ReasonCounts,
    /// The local ports that listened or accepted a connection.
    listening: BTreeSet<u16>,
    failed_connects: ReasonCounts,
    no_local_port: u64,
}

impl CloseReasonCounter {
    /// Adds an event.
    pub fn count(&mut self, event: &Event) {
        if event.hook != Hook::Transitions {
            return;
        }
        let Event { from, to, local_port, ended_by, .. } = *event;
        match (from, to) {
            (_, State::Listen) | (State::Listen, _) => self.listening.extend(local_port),
            (State::SynSent, State::Close) => match (ended_by, local_port) {
                (Some(CloseReason::Abort), None) => self.no_local_port += 1,
                _ => self.failed_connects.count(ended_by),
            },
            (State::Close, _) => {}
            (_, State::Close) => {
                let ends = local_port.map(|port| self.by_port.entry(port).or_default());
                ends.unwrap_or(&mut self.portless).count(ended_by);
            }
            _ => {}
        }
    }

    /// Returns the numbers of connections per close reason.
    #[must_use]
    pub fn sums(&self) -> CloseReasons {
        let rows = self.by_port.iter().map(|(&port, &ends)| PortReasons { port, ends });
        let (mut ports, rest): (Vec<_>, Vec<_>) =
            rows.partition(|row| self.listening.contains(&row.port));
        ports.sort_by_key(|row| (std::cmp::Reverse(row.ends.total()), row.port));
        let beyond = ports.split_off(ports.len().min(MAX_PORT_ROWS));
        let mut others = self.portless;
        for row in rest.iter().chain(&beyond) {
            others.add(&row.ends);
        }
        let Self { failed_connects, no_local_port, .. } = *self;
        CloseReasons { ports, others, failed_connects, no_local_port }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::bare as event;

    fn end(from: State, port: u16, by: CloseReason) -> Event {
        Event { ended_by: Some(by), local_port: Some(port), ..event(from, State::Close) }
    }

    fn close_reasons(events: &[Event]) -> CloseReasons {
        let mut counts = CloseReasonCounter::default();
        for event in events {
            counts.count(event);
        }
        counts.sums()
    }

    #[test]
    fn listening_ports_have_rows_and_other_ports_share_one() {
        let birth = Event { local_port: Some(443), ..event(State::Listen, State::SynRecv) };
        let CloseReasons { ports, others, .. } = close_reasons(&[
            end(State::LastAck, 443, CloseReason::RemoteFin),
            birth,
            end(State::Established, 443, CloseReason::LocalRst),
            end(State::FinWait2, 40_000, CloseReason::LocalFin),
        ]);
        let [PortReasons { port: 443, ends }] = ports[..] else { panic!("{ports:?}") };
        assert_eq!((ends.by(CloseReason::RemoteFin), ends.by(CloseReason::LocalRst)), (1, 1));
        assert_eq!((ends.total(), others.total()), (2, 1));
        assert_eq!(others.by(CloseReason::LocalFin), 1);
    }

    #[test]
    fn ports_beyond_the_limit_are_with_the_others() {
        let ports = 1..=u16::try_from(MAX_PORT_ROWS).expect("it is small") + 7;
        let listening = ports
            .clone()
            .map(|port| Event { local_port: Some(port), ..event(State::Close, State::Listen) });
        let ends = ports.map(|port| end(State::LastAck, port, CloseReason::RemoteFin));
        let CloseReasons { ports, others, .. } =
            close_reasons(&listening.chain(ends).collect::<Vec<_>>());
        assert_eq!((ports.len(), others.total()), (MAX_PORT_ROWS, 7));
    }

    #[test]
    fn failed_connects_are_not_ended_connections() {
        let refused = end(State::SynSent, 40_000, CloseReason::Refused);
        let given_up = end(State::SynSent, 40_001, CloseReason::Abort);
        let portless = Event { local_port: None, ..end(State::SynSent, 0, CloseReason::Abort) };
        let close_reasons = close_reasons(&[refused, given_up, portless]);
        assert_eq!(
            (close_reasons.ports, close_reasons.others),
            (Vec::new(), ReasonCounts::default())
        );
        let failed = close_reasons.failed_connects;
        assert_eq!((failed.by(CloseReason::Refused), failed.by(CloseReason::Abort)), (1, 1));
        assert_eq!((close_reasons.no_local_port, failed.total()), (1, 2));
    }

    #[test]
    fn mini_sockets_and_listeners_are_not_ended_connections() {
        let mini =
            Event { hook: Hook::TimeWait, ..end(State::TimeWait, 443, CloseReason::LocalFin) };
        let listener = Event { local_port: Some(443), ..event(State::Listen, State::Close) };
        assert_eq!(close_reasons(&[mini, listener]), CloseReasons::default());
    }
}

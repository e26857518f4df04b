//! Counts the close reasons of connections by local port, and the reasons of failed connects, from
//! the events of a run.

use tcpstate_common::State;

use crate::report::{CloseReason, CloseReasons, Event, Hook, PortReasons, ReasonCounts};

/// The maximum number of ports that have their own row in the report. The report adds the
/// connections of all other ports in one common row.
const MAX_PORT_ROWS: usize = 1000;

/// Counts the close reasons in the events of a run. The counter stores at most one entry for each
/// of the 65,536 ports.
#[derive(Debug, Default)]
pub struct CloseReasonCounter {
    by_port: Ports,
    /// Close reasons of connections with an unknown local port.
    portless: ReasonCounts,
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
            (_, State::Listen) | (State::Listen, _) => {
                if let Some(port) = local_port {
                    self.by_port.entry(port).is_listening = true;
                }
            }
            (State::SynSent, State::Close) => match (ended_by, local_port) {
                (Some(CloseReason::Abort), None) => self.no_local_port += 1,
                _ => self.failed_connects.count(ended_by),
            },
            (State::Close, _) => {}
            (_, State::Close) => {
                let ends = local_port.map(|port| &mut self.by_port.entry(port).ends);
                ends.unwrap_or(&mut self.portless).count(ended_by);
            }
            _ => {}
        }
    }

    /// Returns the numbers of connections per close reason.
    #[must_use]
    pub fn sums(&self) -> CloseReasons {
        let ended = self.by_port.all().filter(|(_, entry)| entry.ends.total() > 0);
        let (listening, rest): (Vec<_>, Vec<_>) = ended.partition(|(_, entry)| entry.is_listening);
        let row = |(port, entry): (u16, &Port)| PortReasons { port, ends: entry.ends };
        let mut ports: Vec<_> = listening.into_iter().map(row).collect();
        ports.sort_by_key(|row| (std::cmp::Reverse(row.ends.total()), row.port));
        let beyond = ports.split_off(ports.len().min(MAX_PORT_ROWS));
        let mut others = self.portless;
        let rest = rest.iter().map(|(_, entry)| &entry.ends);
        for ends in rest.chain(beyond.iter().map(|row| &row.ends)) {
            others.add(ends);
        }
        let Self { failed_connects, no_local_port, .. } = *self;
        CloseReasons { ports, others, failed_connects, no_local_port }
    }
}

/// A local port.
#[derive(Clone, Copy, Debug, Default)]
struct Port {
    ends: ReasonCounts,
    /// Whether the port listened or accepted a connection.
    is_listening: bool,
}

/// The local ports, in chunks of consecutive ports. The range of ephemeral ports is used at random,
/// so the memory of the chunks reaches its maximum soon, and does not grow during a long run.
#[derive(Debug)]
struct Ports([Option<Box<[Port; Self::LENGTH]>>; (u16::MAX as usize + 1) / Self::LENGTH]);

impl Ports {
    /// The number of ports in a chunk.
    const CHUNK: u16 = 128;
    const LENGTH: usize = Self::CHUNK as usize;

    fn entry(&mut self, port: u16) -> &mut Port {
        let [chunk, place] = [port / Self::CHUNK, port % Self::CHUNK].map(usize::from);
        &mut self.0[chunk].get_or_insert_with(|| Box::new([Port::default(); Self::LENGTH]))[place]
    }

    /// Returns all ports of the used chunks, in ascending order.
    fn all(&self) -> impl Iterator<Item = (u16, &Port)> {
        let chunks = self.0.iter().zip(0_u16..);
        let used = chunks.filter_map(|(chunk, number)| Some((chunk.as_deref()?, number)));
        used.flat_map(|(chunk, number)| {
            let first = number * Self::CHUNK;
            chunk.iter().zip(0..).map(move |(port, place)| (first + place, port))
        })
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self([const { None }; _])
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
    fn ports_at_the_ends_of_chunks_have_their_own_rows() {
        let edges = [0, 1, 127, 128, 32_767, 32_768, 65_408, 65_535];
        let opened = |port| Event { local_port: Some(port), ..event(State::Close, State::Listen) };
        let mut events = edges.map(opened).to_vec();
        events.extend(edges.map(|port| end(State::LastAck, port, CloseReason::RemoteFin)));
        let CloseReasons { ports, others, .. } = close_reasons(&events);
        assert_eq!(
            ports.iter().map(|row| (row.port, row.ends.total())).collect::<Vec<_>>(),
            edges.map(|port| (port, 1))
        );
        assert_eq!(others, ReasonCounts::default());
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

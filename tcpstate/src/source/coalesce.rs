//! Keeps a record for a short time if a later record may complete or cancel the earlier record.
//!
//! A later record completes or cancels an earlier record in three cases. The later record normally
//! arrives microseconds after the earlier record:
//!
//! * The first record of a client has no port, and the first record of a child has no peer. The
//!   second record of the socket has both the port and the peer.
//! * The kernel sends the RST that closes a connection after the close event is recorded.
//! * The kernel cancels the timer of a mini socket and restarts the timer, so the socket did not
//!   end.
//!
//! No record waits longer than [`MAX_DELAY`], and the order of records does not change.

use std::{collections::VecDeque, time::Duration};

use tcpstate_common::{
    State,
    abi::{
        ConnectionRecord, ConnectionSum, EVENT_IS_AMENDABLE, EVENT_SENT_RESET, EventRecord,
        RecordKind,
    },
};

/// The maximum time that a record waits for a later record. This time is short compared with the
/// interval at which events are read.
const MAX_DELAY: Duration = Duration::from_millis(10);

/// The maximum number of earlier records among which the coalescer looks for a record that a later
/// record may change. The wanted record is usually one of the last few records.
const MAX_DISTANCE: usize = 4096;

/// The records that wait for a later record, oldest first.
#[derive(Debug, Default)]
pub(super) struct Coalescer {
    records: VecDeque<EventRecord>,
    /// The sums of the connections whose last events wait, in the order of these events.
    sums: VecDeque<ConnectionSum>,
}

/// A record that no later record can change. The last event of a connection has the sum of the
/// connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) event: EventRecord,
    /// The sum is in a box, because few records have one.
    pub(super) sum: Option<Box<ConnectionSum>>,
}

impl Coalescer {
    /// Adds the next record.
    pub(super) fn push(&mut self, record: EventRecord) {
        match record.kind {
            kind if kind == RecordKind::ResetSent as u8 => {
                if let Some(at) = self.find_amendable(&record, |_| true) {
                    self.records[at].flags |= EVENT_SENT_RESET;
                    self.records[at].flags &= !EVENT_IS_AMENDABLE;
                }
            }
            kind if kind == RecordKind::Resumed as u8 => {
                if let Some(at) = self.find_amendable(&record, |_| true) {
                    self.records.remove(at);
                }
            }
            kind => {
                let is_second = is_of_full_socket(kind)
                    && [State::SynSent as u8, State::SynRecv as u8].contains(&record.from);
                if is_second
                    && let Some(at) = self.find_amendable(&record, |first| first.to == record.from)
                {
                    complete(&mut self.records[at], &record);
                }
                self.records.push_back(record);
            }
        }
    }

    /// Adds the record of a connection.
    pub(super) fn push_connection(&mut self, ConnectionRecord { event, sum }: ConnectionRecord) {
        self.sums.push_back(sum);
        self.push(event);
    }

    /// Returns the oldest record, if no later record can change the oldest record.
    ///
    /// `now` is the monotonic time. The caller passes the current time only if the ring buffer is
    /// empty. If the ring buffer is not empty, the time of the newest record is used as the current
    /// time.
    pub(super) fn pop(&mut self, now: Option<Duration>) -> Option<Settled> {
        let first = self.records.front()?;
        if first.flags & EVENT_IS_AMENDABLE != 0 {
            let newest = self.records.back().map_or(0, |last| last.time);
            let now = now.map_or(newest, |now| newest.max(nanos(now)));
            if now < first.time.saturating_add(nanos(MAX_DELAY)) {
                return None;
            }
        }
        self.pop_anyway()
    }

    /// Returns the oldest record, even if a later record could change the oldest record.
    pub(super) fn pop_anyway(&mut self) -> Option<Settled> {
        let event = self.records.pop_front()?;
        let has_sum = event.kind == RecordKind::Connection as u8;
        let sum = if has_sum { self.sums.pop_front().map(Box::new) } else { None };
        Some(Settled { event, sum })
    }

    /// Returns the index of the last record of this socket that a later record may change.
    fn find_amendable(
        &self,
        of: &EventRecord,
        fits: impl Fn(&EventRecord) -> bool,
    ) -> Option<usize> {
        let near = self.records.len().saturating_sub(MAX_DISTANCE);
        let is_other = |record: &EventRecord| {
            record.socket == of.socket && record.flags & EVENT_IS_AMENDABLE != 0 && fits(record)
        };
        let back = self.records.range(near..).rev().position(is_other)?;
        Some(self.records.len() - 1 - back)
    }
}

/// Returns whether a record of this kind is a transition of a full socket.
pub(super) fn is_of_full_socket(kind: u8) -> bool {
    kind == RecordKind::Transition as u8 || kind == RecordKind::Connection as u8
}

/// Copies fields from a socket's second record to the socket's first record. The first record of
/// the socket lacks these fields.
fn complete(first: &mut EventRecord, second: &EventRecord) {
    first.local = second.local;
    first.local_port = second.local_port;
    first.remote = second.remote;
    first.remote_port = second.remote_port;
    first.cookie = second.cookie;
    first.flags &= !EVENT_IS_AMENDABLE;
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn record(socket: u64, time: u64, kind: RecordKind) -> EventRecord {
        EventRecord { socket, time, kind: kind as u8, ..EventRecord::BLANK }
    }

    fn line(socket: u64, time: u64, from: State, to: State, flags: u8) -> EventRecord {
        let (from, to) = (from as u8, to as u8);
        EventRecord { from, to, flags, ..record(socket, time, RecordKind::Transition) }
    }

    fn coalescer(records: &[EventRecord]) -> Coalescer {
        let mut coalescer = Coalescer::default();
        for &record in records {
            coalescer.push(record);
        }
        coalescer
    }

    fn event(settled: Option<Settled>) -> Option<EventRecord> {
        settled.map(|settled| settled.event)
    }

    #[test]
    fn complete_records_do_not_wait() {
        let mut coalescer = coalescer(&[line(1, 5, State::Established, State::FinWait1, 0)]);
        assert_eq!(event(coalescer.pop(None)).map(|record| record.socket), Some(1));
        assert_eq!(coalescer.pop(None), None);
    }

    #[test]
    fn amendable_records_delay_later_records_until_the_timeout() {
        let amendable = line(1, MS, State::FinWait2, State::Close, EVENT_IS_AMENDABLE);
        let other = line(2, 2 * MS, State::Established, State::FinWait1, 0);
        let mut coalescer = coalescer(&[amendable, other]);
        assert_eq!(coalescer.pop(Some(Duration::from_millis(10))), None);
        assert_eq!(event(coalescer.pop(Some(Duration::from_millis(11)))), Some(amendable));
        assert_eq!(event(coalescer.pop(None)), Some(other));
    }

    #[test]
    fn record_times_are_the_clock_while_more_records_arrive() {
        let amendable = line(1, MS, State::FinWait2, State::Close, EVENT_IS_AMENDABLE);
        let mut coalescer = coalescer(&[amendable]);
        assert_eq!(coalescer.pop(None), None);
        coalescer.push(line(2, 11 * MS, State::Established, State::FinWait1, 0));
        assert_eq!(event(coalescer.pop(None)), Some(amendable));
    }

    #[test]
    fn reset_after_an_end_is_added_to_the_end() {
        let mut coalescer = coalescer(&[
            line(1, 1, State::FinWait2, State::Close, EVENT_IS_AMENDABLE),
            line(2, 2, State::FinWait2, State::Close, EVENT_IS_AMENDABLE),
            record(1, 3, RecordKind::ResetSent),
        ]);
        assert_eq!(event(coalescer.pop(None)).map(|end| end.flags), Some(EVENT_SENT_RESET));
        assert_eq!(event(coalescer.pop_anyway()).map(|end| end.flags), Some(EVENT_IS_AMENDABLE));
        assert_eq!(coalescer.pop_anyway(), None);
    }

    #[test]
    fn end_before_a_resumed_timer_is_removed() {
        let end = EventRecord {
            kind: RecordKind::SynRecv as u8,
            ..line(1, 1, State::SynRecv, State::Close, EVENT_IS_AMENDABLE)
        };
        let mut coalescer = coalescer(&[end, record(1, 2, RecordKind::Resumed)]);
        assert_eq!(coalescer.pop_anyway(), None);
    }

    #[test]
    fn clients_first_event_gets_its_port_from_the_second() {
        let port = |port, record| EventRecord { local_port: port, ..record };
        let mut coalescer = coalescer(&[
            line(1, 1, State::Close, State::SynSent, EVENT_IS_AMENDABLE),
            line(2, 2, State::Close, State::SynSent, EVENT_IS_AMENDABLE),
            port(40_000, line(1, 3, State::SynSent, State::Established, 0)),
        ]);
        let ports: Vec<_> = std::iter::from_fn(|| event(coalescer.pop_anyway()))
            .map(|record| (record.socket, record.local_port))
            .collect();
        assert_eq!(ports, [(1, 40_000), (2, 0), (1, 40_000)]);
    }

    #[test]
    fn connections_keep_their_sums_and_complete_the_first_event() {
        let last = |socket, from, flags| {
            let kind = RecordKind::Connection as u8;
            EventRecord { kind, local_port: 7, ..line(socket, 9, from, State::Close, flags) }
        };
        let connection = |event, marks| {
            let sum = ConnectionSum { marks, ..ConnectionSum::default() };
            ConnectionRecord { event, sum }
        };
        let mut coalescer =
            coalescer(&[line(1, 1, State::Close, State::SynSent, EVENT_IS_AMENDABLE)]);
        coalescer.push_connection(connection(last(1, State::SynSent, 0), 1));
        let amendable = last(2, State::FinWait2, EVENT_IS_AMENDABLE);
        coalescer.push_connection(connection(amendable, 2));
        coalescer.push(record(2, 10, RecordKind::ResetSent));
        let shown: Vec<_> = std::iter::from_fn(|| coalescer.pop_anyway())
            .map(|it| (it.event.local_port, it.event.flags, it.sum.map(|sum| sum.marks)))
            .collect();
        assert_eq!(shown, [(7, 0, None), (7, 0, Some(1)), (7, EVENT_SENT_RESET, Some(2))]);
    }
}

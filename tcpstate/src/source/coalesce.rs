//! Records wait here for a moment, if what follows them at once may complete them or take them back.
//!
//! A client has no port yet when it begins, nor has a child its peer; the RST that ends a connection is sent after its end;
//! and a timer that stops may start again. All of that comes within microseconds, by rule, and here the two are put
//! together. Nothing waits longer than [`PATIENCE`], and the order stays.

use std::{collections::VecDeque, time::Duration};

use tcpstate_common::{
    State,
    abi::{EVENT_IS_AMENDABLE, EVENT_SENT_RESET, EventRecord, RecordKind},
};

/// For how long a record may be changed. Beside the reader's pace it is too short for people to notice.
const PATIENCE: Duration = Duration::from_millis(10);

/// How far back the other half is looked for. It is mostly the last record or the last but a few.
const REACH: usize = 4096;

/// Records in their order, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Coalescer {
    records: VecDeque<EventRecord>,
}

impl Coalescer {
    /// Takes the next record in.
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
                let is_second = [State::SynSent, State::SynRecv].iter().any(|&state| {
                    record.from == state as u8 && kind == RecordKind::Transition as u8
                });
                if is_second
                    && let Some(at) = self.find_amendable(&record, |first| first.to == record.from)
                {
                    complete(&mut self.records[at], &record);
                }
                self.records.push_back(record);
            }
        }
    }

    /// The oldest record, if nothing can change it any more; `now` is the monotonic clock if there is nothing more to take
    /// in, else what has been taken in tells the time.
    pub(super) fn pop(&mut self, now: Option<Duration>) -> Option<EventRecord> {
        let first = self.records.front()?;
        if first.flags & EVENT_IS_AMENDABLE != 0 {
            let newest = self.records.back().map_or(0, |last| last.time);
            let now = now.map_or(newest, |now| newest.max(nanos(now)));
            if now < first.time.saturating_add(nanos(PATIENCE)) {
                return None;
            }
        }
        self.records.pop_front()
    }

    /// The oldest record, whatever may follow.
    pub(super) fn pop_anyway(&mut self) -> Option<EventRecord> {
        self.records.pop_front()
    }

    /// Where the last amendable record of this socket is.
    fn find_amendable(
        &self,
        of: &EventRecord,
        fits: impl Fn(&EventRecord) -> bool,
    ) -> Option<usize> {
        let near = self.records.len().saturating_sub(REACH);
        let is_other = |record: &EventRecord| {
            record.socket == of.socket && record.flags & EVENT_IS_AMENDABLE != 0 && fits(record)
        };
        let back = self.records.range(near..).rev().position(is_other)?;
        Some(self.records.len() - 1 - back)
    }
}

/// What a socket's first record lacks and its second one has.
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

    #[test]
    fn what_nothing_can_change_does_not_wait() {
        let mut coalescer = coalescer(&[line(1, 5, State::Established, State::FinWait1, 0)]);
        assert_eq!(coalescer.pop(None).map(|record| record.socket), Some(1));
        assert_eq!(coalescer.pop(None), None);
    }

    #[test]
    fn what_may_change_waits_and_all_that_follows_it_until_its_time_is_over() {
        let amendable = line(1, MS, State::FinWait2, State::Close, EVENT_IS_AMENDABLE);
        let other = line(2, 2 * MS, State::Established, State::FinWait1, 0);
        let mut coalescer = coalescer(&[amendable, other]);
        assert_eq!(coalescer.pop(Some(Duration::from_millis(10))), None);
        assert_eq!(coalescer.pop(Some(Duration::from_millis(11))), Some(amendable));
        assert_eq!(coalescer.pop(None), Some(other));
    }

    #[test]
    fn while_there_is_more_to_take_in_records_themselves_tell_the_time() {
        let amendable = line(1, MS, State::FinWait2, State::Close, EVENT_IS_AMENDABLE);
        let mut coalescer = coalescer(&[amendable]);
        assert_eq!(coalescer.pop(None), None);
        coalescer.push(line(2, 11 * MS, State::Established, State::FinWait1, 0));
        assert_eq!(coalescer.pop(None), Some(amendable));
    }

    #[test]
    fn a_reset_that_follows_an_end_is_the_ends() {
        let mut coalescer = coalescer(&[
            line(1, 1, State::FinWait2, State::Close, EVENT_IS_AMENDABLE),
            line(2, 2, State::FinWait2, State::Close, EVENT_IS_AMENDABLE),
            record(1, 3, RecordKind::ResetSent),
        ]);
        assert_eq!(coalescer.pop(None).map(|end| end.flags), Some(EVENT_SENT_RESET));
        assert_eq!(coalescer.pop_anyway().map(|end| end.flags), Some(EVENT_IS_AMENDABLE));
        assert_eq!(coalescer.pop_anyway(), None);
    }

    #[test]
    fn an_end_that_was_none_has_no_line() {
        let end = EventRecord {
            kind: RecordKind::SynRecv as u8,
            ..line(1, 1, State::SynRecv, State::Close, EVENT_IS_AMENDABLE)
        };
        let mut coalescer = coalescer(&[end, record(1, 2, RecordKind::Resumed)]);
        assert_eq!(coalescer.pop_anyway(), None);
    }

    #[test]
    fn a_clients_first_line_gets_its_port_from_the_second_and_not_from_another_socket() {
        let port = |port, record| EventRecord { local_port: port, ..record };
        let mut coalescer = coalescer(&[
            line(1, 1, State::Close, State::SynSent, EVENT_IS_AMENDABLE),
            line(2, 2, State::Close, State::SynSent, EVENT_IS_AMENDABLE),
            port(40_000, line(1, 3, State::SynSent, State::Established, 0)),
        ]);
        let ports: Vec<_> = std::iter::from_fn(|| coalescer.pop_anyway())
            .map(|record| (record.socket, record.local_port))
            .collect();
        assert_eq!(ports, [(1, 40_000), (2, 0), (1, 40_000)]);
    }
}

//! Durations of a state, of a transition or of a connection, with their percentiles.

use std::{collections::BTreeSet, time::Duration};

use tcpstate_common::{
    State,
    histogram::{
        By, PAIRS, SLOT_HOLD, SLOT_LIFETIME, SLOT_ORPHAN, SLOT_OTHER_PAIR, SLOT_REQUEST,
        SLOT_SERVER_CONNECT, SLOT_TIME_WAIT, SLOTS, bucket_begin, bucket_end, slot_of_pair,
    },
};

use super::{Group, Tally, Untimed};

/// What a duration is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// Sockets in a state, full ones or mini sockets.
    State(State, SocketKind),
    /// The state that a transition leaves.
    Transition(State, State),
    /// The states that transitions leave which no kernel is known to make.
    OtherTransitions,
    /// Connecting: to somebody.
    ConnectClient,
    /// Connecting: somebody to here.
    ConnectServer,
    /// From a connection's birth to its end.
    Lifetime,
    /// A time-wait socket from its birth to its end.
    TimeWaitHold,
}

impl Of {
    /// All that durations can be of.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SLOTS).flat_map(Self::of_slot).collect::<BTreeSet<_>>().into_iter()
    }

    /// The meanings of the durations in a slot of the kernel half.
    #[must_use]
    pub fn of_slot(slot: u32) -> Vec<Self> {
        let special = match slot {
            SLOT_OTHER_PAIR => vec![Self::OtherTransitions],
            SLOT_LIFETIME => vec![Self::Lifetime],
            SLOT_SERVER_CONNECT => vec![Self::ConnectServer],
            SLOT_REQUEST => vec![Self::State(State::SynRecv, SocketKind::Mini)],
            SLOT_TIME_WAIT => vec![Self::State(State::TimeWait, SocketKind::Mini)],
            SLOT_ORPHAN => vec![Self::State(State::FinWait2, SocketKind::Mini)],
            SLOT_HOLD => vec![Self::TimeWaitHold],
            _ => Vec::new(),
        };
        let pair =
            PAIRS.into_iter().find(|(from, to)| slot_of_pair(from.number(), to.number()) == slot);
        let of_pair = pair.into_iter().flat_map(|(from, to)| {
            let connects = (from, to) == (State::SynSent, State::Established);
            let connect = connects.then_some(Self::ConnectClient);
            [Self::State(from, SocketKind::Full), Self::Transition(from, to)]
                .into_iter()
                .chain(connect)
        });
        special.into_iter().chain(of_pair).collect()
    }
}

/// The kind of sockets that were in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SocketKind {
    /// Full sockets.
    Full,
    /// Time-wait and request sockets.
    Mini,
}

/// Durations of one kind, of all sockets or of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// What they are of.
    pub of: Of,
    /// Whose they are, where sockets are told apart.
    pub group: Option<Group>,
    /// What there is of them.
    pub tally: Tally,
}

/// A bucket: its ends, and how many durations are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Durations are longer than this.
    pub above: Duration,
    /// They are not longer than this; none is too long for the last bucket.
    pub up_to: Option<Duration>,
    /// How many there are.
    pub count: u64,
}

impl Histogram {
    /// The buckets that have durations, the shortest first.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> {
        self.tally.buckets().map(|(bucket, count)| Bucket {
            above: Duration::from_nanos(bucket_begin(bucket)),
            up_to: bucket_end(bucket).map(Duration::from_nanos),
            count,
        })
    }

    /// The duration that so many of a hundred known ones do not exceed (by nearest rank), as the
    /// middle of its bucket: off by a sixteenth at most
    /// ([`RELATIVE_ERROR`](tcpstate_common::histogram::RELATIVE_ERROR)). `None` if none is known.
    #[must_use]
    pub fn percentile(&self, percent: u8) -> Option<Duration> {
        let (longest, shortest) = (self.tally.longest?, self.tally.shortest?);
        let rank = (u128::from(self.tally.count()) * u128::from(percent)).div_ceil(100).max(1);
        let mut seen = 0_u128;
        let bucket = self.buckets().find(|bucket| {
            seen += u128::from(bucket.count);
            seen >= rank
        })?;
        let middle = bucket.up_to.map_or(longest, |end| (bucket.above + end) / 2);
        // Both are exact, and may lie in this very bucket.
        Some(middle.min(longest).max(shortest))
    }

    /// The mean of all known ones, exact.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        let count = self.tally.count();
        (count > 0).then(|| self.tally.sum.div_f64(count as f64))
    }
}

/// All histograms of an interval, or of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histograms {
    /// What sockets are told apart by, if by anything.
    pub by: Option<By>,
    /// By what they are of, then by group, that with most first.
    pub all: Vec<Histogram>,
    /// What is not in them, since the start.
    pub untimed: Untimed,
    /// Only those that a filter lets pass are in them; what is counted beside them is of all
    /// sockets.
    pub is_filtered: bool,
}

impl Histograms {
    /// The histograms of one kind, one for each group.
    pub fn of(&self, of: Of) -> impl Iterator<Item = &Histogram> {
        self.all.iter().filter(move |histogram| histogram.of == of)
    }
}

#[cfg(test)]
mod tests {
    use tcpstate_common::histogram::RELATIVE_ERROR;

    use super::*;

    fn histogram(durations: &[u64]) -> Histogram {
        Histogram { of: Of::Lifetime, group: None, tally: Tally::from_nanos(durations, 0) }
    }

    #[test]
    fn percentiles_are_off_by_the_stated_error_at_most() {
        // From 300 ns to some hours, unevenly.
        let mut durations: Vec<u64> = (0..2000).map(|n| 300 + n * n * n * 1500).collect();
        durations.sort_unstable();
        let histogram = histogram(&durations);
        for percent in [0, 1, 10, 50, 90, 99, 100] {
            let rank = (durations.len() * usize::from(percent)).div_ceil(100).max(1);
            let truth = durations[rank - 1] as f64;
            let shown = histogram.percentile(percent).expect("there are some").as_nanos() as f64;
            assert!((shown - truth).abs() <= truth * RELATIVE_ERROR, "{percent}: {shown}, {truth}");
        }
    }

    #[test]
    fn of_one_duration_all_percentiles_are_exact() {
        let histogram = histogram(&[1_234_567]);
        for percent in [50, 90, 99] {
            assert_eq!(histogram.percentile(percent), Some(Duration::from_nanos(1_234_567)));
        }
        assert_eq!(histogram.mean(), Some(Duration::from_nanos(1_234_567)));
    }

    #[test]
    fn of_nothing_known_there_is_no_percentile() {
        let unknown = Histogram { of: Of::Lifetime, group: None, tally: Tally::from_nanos(&[], 3) };
        assert_eq!((unknown.percentile(50), unknown.mean()), (None, None));
        assert_eq!(unknown.buckets().count(), 0);
    }

    #[test]
    fn a_duration_beyond_all_buckets_is_the_longest() {
        let weeks = Duration::from_secs(60 * 86_400);
        let ns = u64::try_from(weeks.as_nanos()).expect("it fits");
        assert_eq!(histogram(&[5, ns]).percentile(99), Some(weeks));
    }

    #[test]
    fn every_slot_has_a_meaning_of_its_own() {
        let all: Vec<Of> = (0..SLOTS)
            .flat_map(Of::of_slot)
            .filter(|of| !matches!(of, Of::State(_, SocketKind::Full)))
            .collect();
        let mut apart = all.clone();
        apart.sort();
        apart.dedup();
        assert_eq!(apart.len(), all.len());
        assert!((0..SLOTS).all(|slot| !Of::of_slot(slot).is_empty()));
    }
}

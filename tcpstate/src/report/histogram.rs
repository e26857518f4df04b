//! Durations of states, transitions and connections, with percentiles.

use std::{collections::BTreeSet, time::Duration};

use tcpstate_common::{
    State,
    histogram::{
        By, PAIRS, SLOT_HOLD, SLOT_LIFETIME, SLOT_ORPHAN, SLOT_OTHER_PAIR, SLOT_REQUEST,
        SLOT_SERVER_CONNECT, SLOT_TIME_WAIT, SLOTS, bucket_begin, bucket_end, slot_of_pair,
    },
};

use super::{Group, Tally, Untimed};

/// What a duration measures, for example how long sockets were in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// How long full sockets or mini sockets were in a state.
    State(State, SocketKind),
    /// How long sockets were in the old state of a transition.
    Transition(State, State),
    /// How long sockets were in the old state of a transition that no known kernel makes.
    OtherTransitions,
    /// How long a connection attempt took on the side of the client, from connect() to ESTABLISHED.
    ConnectClient,
    /// How long a connection attempt took on the side of the server, from the received SYN to
    /// ESTABLISHED.
    ConnectServer,
    /// How long a connection existed, from the start to the close of the connection.
    Lifetime,
    /// How long a time-wait socket existed.
    TimeWaitHold,
}

impl Of {
    /// Returns everything that a duration can measure.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SLOTS).flat_map(Self::of_slot).collect::<BTreeSet<_>>().into_iter()
    }

    /// Returns what the durations in one slot of the BPF map measure. One slot can have several
    /// uses.
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

/// The kind of the sockets whose time in a state is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SocketKind {
    /// Full sockets.
    Full,
    /// Time-wait sockets and request sockets.
    Mini,
}

/// The durations that measure one thing, for all sockets or for one group of sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// What the durations measure.
    pub of: Of,
    /// The group to which the sockets belong, if sockets are grouped.
    pub group: Option<Group>,
    /// The durations.
    pub tally: Tally,
}

/// The bounds of a bucket, and the number of durations in the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The exclusive lower bound of the bucket.
    pub above: Duration,
    /// The inclusive upper bound of the bucket. The last bucket has no upper bound.
    pub up_to: Option<Duration>,
    /// The number of durations in the bucket.
    pub count: u64,
}

impl Histogram {
    /// Returns the buckets that contain durations, shortest durations first.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> {
        self.tally.buckets().map(|(bucket, count)| Bucket {
            above: Duration::from_nanos(bucket_begin(bucket)),
            up_to: bucket_end(bucket).map(Duration::from_nanos),
            count,
        })
    }

    /// Returns a percentile of the known durations (nearest rank): the given percentage of the
    /// durations is not longer than the returned duration.
    ///
    /// The returned value is the middle of a bucket. The relative error of the returned value is at
    /// most one sixteenth ([`RELATIVE_ERROR`](tcpstate_common::histogram::RELATIVE_ERROR)). The
    /// function returns `None` if no duration is known.
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
        // The middle of a bucket can lie outside the range from the shortest to the longest
        // duration.
        Some(middle.min(longest).max(shortest))
    }

    /// Returns the exact mean of all known durations.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        let count = self.tally.count();
        (count > 0).then(|| self.tally.sum.div_f64(count as f64))
    }
}

/// All histograms of durations that ended in an interval, or in a whole run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histograms {
    /// The property by which sockets are grouped, if sockets are grouped.
    pub by: Option<By>,
    /// The histograms, ordered by meaning, then by group, largest group first.
    pub all: Vec<Histogram>,
    /// The numbers of durations since the start that no histogram contains.
    pub untimed: Untimed,
    /// Whether the histograms contain only the durations that a filter selects. The counts of
    /// durations that no histogram contains always cover all sockets.
    pub is_filtered: bool,
}

impl Histograms {
    /// Returns the histograms with one meaning, one histogram for each group.
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
        // The durations range from 300 ns to some hours, and are unevenly spaced.
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
    fn percentiles_of_one_duration_are_exact() {
        let histogram = histogram(&[1_234_567]);
        for percent in [50, 90, 99] {
            assert_eq!(histogram.percentile(percent), Some(Duration::from_nanos(1_234_567)));
        }
        assert_eq!(histogram.mean(), Some(Duration::from_nanos(1_234_567)));
    }

    #[test]
    fn unknown_durations_have_no_percentile() {
        let unknown = Histogram { of: Of::Lifetime, group: None, tally: Tally::from_nanos(&[], 3) };
        assert_eq!((unknown.percentile(50), unknown.mean()), (None, None));
        assert_eq!(unknown.buckets().count(), 0);
    }

    #[test]
    fn percentile_beyond_all_buckets_is_the_longest_duration() {
        let weeks = Duration::from_secs(60 * 86_400);
        let ns = u64::try_from(weeks.as_nanos()).expect("it fits");
        assert_eq!(histogram(&[5, ns]).percentile(99), Some(weeks));
    }

    #[test]
    fn slots_have_distinct_meanings() {
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

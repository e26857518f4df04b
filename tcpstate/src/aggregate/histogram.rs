//! Durations as people ask for them: of a state, of a transition, of a connection; with percentiles. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tcpstate_common::{
    State,
    histogram::{
        By, PAIRS, SLOT_HOLD, SLOT_LIFETIME, SLOT_ORPHAN, SLOT_OTHER_PAIR, SLOT_REQUEST,
        SLOT_SERVER_CONNECT, SLOT_TIME_WAIT, SLOTS, bucket_begin, bucket_end, slot_of_pair,
    },
};

use crate::source::{Group, Tallies, Tally, Timed, Untimed};

/// What a duration is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// Sockets in a state, full ones or mini sockets.
    State(State, Kind),
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
        (0..SLOTS).flat_map(meanings).collect::<BTreeSet<_>>().into_iter()
    }
}

/// The kind of sockets that were in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
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

    /// The duration that so many of a hundred known ones do not exceed (by nearest rank), as the middle of its bucket: off by a
    /// sixteenth at most ([`RELATIVE_ERROR`](tcpstate_common::histogram::RELATIVE_ERROR)). `None` if none is known.
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
    /// Only those that a filter lets pass are in them; what is counted beside them is of all sockets.
    pub is_filtered: bool,
}

impl Histograms {
    /// Of what ended since the last snapshot.
    #[must_use]
    pub fn of_interval(timed: &Timed) -> Self {
        Self::of_tallies(timed, &timed.recent)
    }

    /// Of what ended since the start.
    #[must_use]
    pub fn of_run(timed: &Timed) -> Self {
        Self::of_tallies(timed, &timed.total)
    }

    fn of_tallies(timed: &Timed, tallies: &Tallies) -> Self {
        let Timed { by, is_filtered, untimed, .. } = *timed;
        Self { by, all: histograms(tallies), untimed, is_filtered }
    }

    /// Those of one kind, of each group.
    pub fn of(&self, of: Of) -> impl Iterator<Item = &Histogram> {
        self.all.iter().filter(move |histogram| histogram.of == of)
    }
}

fn histograms(tallies: &Tallies) -> Vec<Histogram> {
    let mut sums: BTreeMap<(Of, &Option<Group>), Tally> = BTreeMap::new();
    for ((group, slot), tally) in tallies {
        for of in meanings(*slot) {
            sums.entry((of, group)).or_default().add(tally);
        }
    }
    let histogram = |((of, group), tally): ((Of, &Option<Group>), Tally)| Histogram {
        of,
        group: group.clone(),
        tally,
    };
    let mut all: Vec<Histogram> = sums.into_iter().map(histogram).collect();
    let size = |histogram: &Histogram| histogram.tally.count() + histogram.tally.unknown;
    // The others come last, whatever they are.
    all.sort_by_cached_key(|histogram| {
        let is_other = histogram.group == Some(Group::Other);
        (order(histogram.of), is_other, std::cmp::Reverse(size(histogram)), histogram.group.clone())
    });
    all
}

/// What durations in a slot of the kernel half's are of.
fn meanings(slot: u32) -> Vec<Of> {
    let special = match slot {
        SLOT_OTHER_PAIR => vec![Of::OtherTransitions],
        SLOT_LIFETIME => vec![Of::Lifetime],
        SLOT_SERVER_CONNECT => vec![Of::ConnectServer],
        SLOT_REQUEST => vec![Of::State(State::SynRecv, Kind::Mini)],
        SLOT_TIME_WAIT => vec![Of::State(State::TimeWait, Kind::Mini)],
        SLOT_ORPHAN => vec![Of::State(State::FinWait2, Kind::Mini)],
        SLOT_HOLD => vec![Of::TimeWaitHold],
        _ => Vec::new(),
    };
    let pair =
        PAIRS.into_iter().find(|(from, to)| slot_of_pair(from.number(), to.number()) == slot);
    let of_pair = pair.into_iter().flat_map(|(from, to)| {
        let connects = (from, to) == (State::SynSent, State::Established);
        let connect = connects.then_some(Of::ConnectClient);
        [Of::State(from, Kind::Full), Of::Transition(from, to)].into_iter().chain(connect)
    });
    special.into_iter().chain(of_pair).collect()
}

/// States in the order of a connection's life, then transitions, then what spans several.
fn order(of: Of) -> (u8, usize, usize) {
    let life = |state: State| {
        State::GAUGES.iter().position(|&gauge| gauge == state).unwrap_or(State::GAUGES.len())
    };
    match of {
        Of::ConnectClient => (0, 0, 0),
        Of::ConnectServer => (0, 1, 0),
        Of::Lifetime => (1, 0, 0),
        Of::TimeWaitHold => (2, 0, 0),
        Of::State(state, kind) => (3, life(state), kind as usize),
        Of::Transition(from, to) => (4, life(from), life(to)),
        Of::OtherTransitions => (5, 0, 0),
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
    fn a_state_is_all_the_transitions_that_leave_it_and_a_connect_is_one_of_them() {
        let slot = |from: State, to: State| slot_of_pair(from.number(), to.number());
        let tallies = Tallies::from([
            ((None, slot(State::SynSent, State::Established)), Tally::from_nanos(&[100, 200], 1)),
            ((None, slot(State::SynSent, State::Close)), Tally::from_nanos(&[300], 0)),
        ]);
        let all = histograms(&tallies);
        let shape: Vec<_> = all
            .iter()
            .map(|histogram| (histogram.of, histogram.tally.count(), histogram.tally.unknown))
            .collect();
        assert_eq!(
            shape,
            [
                (Of::ConnectClient, 2, 1),
                (Of::State(State::SynSent, Kind::Full), 3, 1),
                (Of::Transition(State::SynSent, State::Established), 2, 1),
                (Of::Transition(State::SynSent, State::Close), 1, 0),
            ]
        );
    }

    #[test]
    fn groups_come_by_size_and_the_others_last() {
        let of = |group, unknown| ((Some(group), SLOT_LIFETIME), Tally::from_nanos(&[1], unknown));
        let tallies = Tallies::from([
            of(Group::Other, 90),
            of(Group::Port(1), 1),
            of(Group::Port(2), 7),
            of(Group::None, 0),
        ]);
        let groups: Vec<_> =
            histograms(&tallies).into_iter().filter_map(|histogram| histogram.group).collect();
        assert_eq!(groups, [Group::Port(2), Group::Port(1), Group::None, Group::Other]);
    }

    #[test]
    fn every_slot_has_a_meaning_of_its_own() {
        let all: Vec<Of> = (0..SLOTS)
            .flat_map(meanings)
            .filter(|of| !matches!(of, Of::State(_, Kind::Full)))
            .collect();
        let mut apart = all.clone();
        apart.sort();
        apart.dedup();
        assert_eq!(apart.len(), all.len());
        assert!((0..SLOTS).all(|slot| !meanings(slot).is_empty()));
    }
}

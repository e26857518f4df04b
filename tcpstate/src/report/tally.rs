//! Durations of one kind and one group of sockets, by bucket.

use std::{collections::BTreeMap, ffi::OsString, net::IpAddr, time::Duration};

use tcpstate_common::histogram::{BUCKETS, Histogram, SUM_BITS};

/// Durations of one kind: how many in each bucket, and what is exact about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By bucket; those that have none are not there.
    buckets: BTreeMap<usize, u64>,
    /// All of them together.
    pub sum: Duration,
    /// The longest.
    pub longest: Option<Duration>,
    /// The shortest.
    pub shortest: Option<Duration>,
    /// Those of which nobody knows how long they were.
    pub unknown: u64,
}

impl Tally {
    /// How many durations there are in each bucket that has any.
    pub fn buckets(&self) -> impl Iterator<Item = (usize, u64)> {
        self.buckets.iter().map(|(&bucket, &count)| (bucket, count))
    }

    /// How many durations are known.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.values().sum()
    }

    /// Whether nothing ended, known or unknown.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unknown == 0 && self.count() == 0
    }

    /// This one with durations by bucket, as [`Tally::buckets`] tells them. `None` if there is no
    /// such bucket, or more than anything can count.
    #[must_use]
    pub fn with_buckets(self, buckets: impl IntoIterator<Item = (usize, u64)>) -> Option<Self> {
        let buckets: BTreeMap<usize, u64> = buckets.into_iter().collect();
        let all_buckets_exist = buckets.keys().all(|&bucket| bucket < BUCKETS);
        let sum = buckets.values().try_fold(self.unknown, |sum, &count| sum.checked_add(count));
        (all_buckets_exist && sum.is_some()).then_some(Self { buckets, ..self })
    }

    /// Adds what another one has.
    pub fn add(&mut self, other: &Self) {
        for (bucket, count) in other.buckets() {
            *self.buckets.entry(bucket).or_default() += count;
        }
        self.sum += other.sum;
        self.longest = self.longest.max(other.longest);
        self.shortest = [self.shortest, other.shortest].into_iter().flatten().min();
        self.unknown += other.unknown;
    }

    /// A histogram as the kernel half keeps it; `None` if nothing is in it.
    #[must_use]
    pub fn of(histogram: &Histogram) -> Option<Self> {
        let buckets = histogram.buckets.iter().copied().enumerate();
        let buckets: BTreeMap<usize, u64> = buckets.filter(|&(_, count)| count > 0).collect();
        let is_known = !buckets.is_empty();
        if !is_known && histogram.unknown == 0 {
            return None;
        }
        let nanos = Duration::from_nanos;
        // Whole seconds do not overflow: the upper part is in units of little more than one.
        let high = Duration::from_nanos(1 << SUM_BITS).as_nanos() * u128::from(histogram.sum_high);
        let high = Duration::new(
            u64::try_from(high / 1_000_000_000).unwrap_or(u64::MAX),
            (high % 1_000_000_000) as u32,
        );
        Some(Self {
            buckets,
            sum: high.saturating_add(nanos(histogram.sum)),
            longest: is_known.then(|| nanos(histogram.longest)),
            shortest: is_known.then(|| nanos(!histogram.shortest_inverted)),
            unknown: histogram.unknown,
        })
    }

    /// For tests: these durations.
    #[cfg(test)]
    pub(crate) fn from_nanos(durations: &[u64], unknown: u64) -> Self {
        let mut tally = Self { unknown, ..Self::default() };
        for &ns in durations {
            let mut histogram = Histogram::EMPTY;
            histogram.buckets[tcpstate_common::histogram::bucket_of(ns)] = 1;
            (histogram.sum, histogram.sum_high) = (ns % (1 << SUM_BITS), ns >> SUM_BITS);
            (histogram.longest, histogram.shortest_inverted) = (ns, !ns);
            tally.add(&Self::of(&histogram).expect("one duration"));
        }
        tally
    }
}

/// Whose durations they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// A port.
    Port(u16),
    /// An address.
    Address(IpAddr),
    /// A network namespace, by its inode.
    Netns(u64),
    /// A cgroup: its number, and where it is if that can be known.
    Cgroup(u64, Option<String>),
    /// A process's name.
    Comm(OsString),
    /// Sockets that have no such thing, or of which it is not known.
    None,
    /// Groups for which there was no room.
    Other,
}

/// What can't be relied on, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Untimed {
    /// Events that the kernel kept from the program because it was running already, whatever their
    /// namespace: their durations are in no histogram, and what they invalidated is unknown.
    pub missed: u64,
    /// Sockets that there was no room to remember: their next duration is unknown.
    pub untracked: u64,
    /// Mini sockets that there was no room to remember: their durations are unknown.
    pub untracked_minis: u64,
    /// Durations that are among the others although there was room for their group.
    pub group_errors: u64,
}

impl Untimed {
    /// What was not timed since an earlier count.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            missed: self.missed - earlier.missed,
            untracked: self.untracked - earlier.untracked,
            untracked_minis: self.untracked_minis - earlier.untracked_minis,
            group_errors: self.group_errors - earlier.group_errors,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_beyond_what_64_bits_of_nanoseconds_hold() {
        let mut histogram = Histogram::EMPTY;
        histogram.buckets[300] = u64::MAX >> 20;
        (histogram.sum, histogram.sum_high) = (5, 1 << 40);
        let tally = Tally::of(&histogram).expect("it is not empty");
        // 2^40 times 2^30 ns.
        assert_eq!(tally.sum, Duration::new(1_180_591_620_717, 411_303_429));
    }

    #[test]
    fn added_tallies_keep_the_extremes_of_both() {
        let mut tally = Tally::from_nanos(&[2000], 1);
        tally.add(&Tally::from_nanos(&[1000, 3000], 2));
        tally.add(&Tally::default());
        assert_eq!((tally.count(), tally.unknown), (3, 3));
        assert_eq!(tally.shortest, Some(Duration::from_micros(1)));
        assert_eq!(tally.longest, Some(Duration::from_micros(3)));
        assert_eq!(tally.sum, Duration::from_micros(6));
    }
}

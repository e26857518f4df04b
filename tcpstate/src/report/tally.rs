//! Counts durations in the buckets of a histogram.

use std::{collections::BTreeMap, ffi::OsString, net::IpAddr, time::Duration};

use tcpstate_common::histogram::{BUCKETS, Histogram, SUM_BITS};

/// The counts of durations in the buckets of one histogram, and the exact longest duration,
/// shortest duration and sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// For each bucket that is not empty, the number of durations in the bucket.
    buckets: BTreeMap<usize, u64>,
    /// The sum of all known durations.
    pub sum: Duration,
    /// The longest known duration.
    pub longest: Option<Duration>,
    /// The shortest known duration.
    pub shortest: Option<Duration>,
    /// The number of unknown durations.
    pub unknown: u64,
}

impl Tally {
    /// Returns the index and the count of each bucket that is not empty.
    pub fn buckets(&self) -> impl Iterator<Item = (usize, u64)> {
        self.buckets.iter().map(|(&bucket, &count)| (bucket, count))
    }

    /// Returns the number of known durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.values().sum()
    }

    /// Returns whether the tally contains neither known nor unknown durations.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unknown == 0 && self.count() == 0
    }

    /// Returns a copy of this tally with the given buckets. Each item of `buckets` is the index of
    /// a bucket and the number of durations in the bucket. The function returns `None` if a bucket
    /// does not exist or the total overflows.
    #[must_use]
    pub fn with_buckets(self, buckets: impl IntoIterator<Item = (usize, u64)>) -> Option<Self> {
        let buckets: BTreeMap<usize, u64> = buckets.into_iter().collect();
        let all_buckets_exist = buckets.keys().all(|&bucket| bucket < BUCKETS);
        let sum = buckets.values().try_fold(self.unknown, |sum, &count| sum.checked_add(count));
        (all_buckets_exist && sum.is_some()).then_some(Self { buckets, ..self })
    }

    /// Adds another tally to this tally.
    pub fn add(&mut self, other: &Self) {
        for (bucket, count) in other.buckets() {
            *self.buckets.entry(bucket).or_default() += count;
        }
        self.sum += other.sum;
        self.longest = self.longest.max(other.longest);
        self.shortest = [self.shortest, other.shortest].into_iter().flatten().min();
        self.unknown += other.unknown;
    }

    /// Converts a histogram of the BPF map. The function returns `None` if the histogram is empty.
    #[must_use]
    pub fn of(histogram: &Histogram) -> Option<Self> {
        let buckets = histogram.buckets.iter().copied().enumerate();
        let buckets: BTreeMap<usize, u64> = buckets.filter(|&(_, count)| count > 0).collect();
        let is_known = !buckets.is_empty();
        if !is_known && histogram.unknown == 0 {
            return None;
        }
        let nanos = Duration::from_nanos;
        // The unit of `sum_high` is 2^30 ns (1.07 s), so the seconds of every realistic sum fit in
        // a `u64`.
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

    /// Makes a tally of the given durations for tests.
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

/// The group of sockets to which durations belong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// A port.
    Port(u16),
    /// An address.
    Address(IpAddr),
    /// A network namespace, identified by an inode.
    Netns(u64),
    /// A cgroup, identified by an id. The path is `None` if the path cannot be known.
    Cgroup(u64, Option<String>),
    /// A process name.
    Comm(OsString),
    /// All sockets whose port connect() chose: the local ports of clients, or the remote ports of
    /// servers.
    Client,
    /// All sockets without a known value of the property by which sockets are grouped.
    None,
    /// All groups that did not fit in the table of groups.
    Other,
}

/// The numbers of events and sockets since the start that make durations unreliable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Untimed {
    /// The number of events that the matrix contains and that the program that measures durations
    /// did not observe. Usually the kernel skipped this program because the program was already
    /// running on the CPU. If the event that ends a duration was missed, no histogram contains the
    /// duration. If a missed event makes a duration wrong, the tally counts the duration as
    /// unknown. In old recordings, the number contains the skipped runs for the sockets of all
    /// namespaces.
    pub missed: u64,
    /// The number of full sockets that did not fit in the table of sockets. If a socket did not fit
    /// in the table, the next duration of the socket is unknown.
    pub untracked: u64,
    /// The number of mini sockets that did not fit in the tables of mini sockets. If a mini socket
    /// did not fit in the table, the durations of the mini socket are unknown.
    pub untracked_minis: u64,
    /// The number of durations that were added to the group `other` although the table of groups
    /// had space.
    pub group_errors: u64,
}

impl Untimed {
    /// Returns how much each count has grown since the earlier counts.
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
    fn sums_are_exact_beyond_64_bits_of_nanoseconds() {
        let mut histogram = Histogram::EMPTY;
        histogram.buckets[300] = u64::MAX >> 20;
        (histogram.sum, histogram.sum_high) = (5, 1 << 40);
        let tally = Tally::of(&histogram).expect("it is not empty");
        // The sum of the durations is 2^40 times 2^30 ns, plus 5 ns.
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

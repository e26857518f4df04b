//! Durations since the start, drained from the kernel half at each cut: its buffer that stands still is read and emptied.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    net::{IpAddr, Ipv6Addr},
    os::unix::ffi::OsStringExt as _,
    sync::Arc,
    time::Duration,
};

use aya::{maps::PerCpuValues, util::nr_cpus};
use tcpstate_common::{
    abi::COMM_BYTES,
    histogram::{BUCKETS, By, GROUP_OTHER, GroupKey, Histogram, SLOTS, SUM_BITS},
};

use super::cgroups::Cgroups;
use crate::probe::{Error, HistogramHook, map_error};

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

    /// This one with durations by bucket, as [`Tally::buckets`] tells them. `None` if there is no such bucket, or more than
    /// anything can count.
    #[must_use]
    pub fn with_buckets(self, buckets: impl IntoIterator<Item = (usize, u64)>) -> Option<Self> {
        let buckets: BTreeMap<usize, u64> = buckets.into_iter().collect();
        let are_there = buckets.keys().all(|&bucket| bucket < BUCKETS);
        let sum = buckets.values().try_fold(self.unknown, |sum, &count| sum.checked_add(count));
        (are_there && sum.is_some()).then_some(Self { buckets, ..self })
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
    fn of(histogram: &Histogram) -> Option<Self> {
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

impl Group {
    /// Reads a key of the kernel half's.
    fn of(by: By, GroupKey { words }: GroupKey, cgroups: &mut Option<Cgroups>) -> Self {
        let [first, second] = words;
        if words == [0, 0] {
            return Self::None;
        }
        let bytes = || {
            let mut bytes = [0; COMM_BYTES];
            bytes[..8].copy_from_slice(&first.to_ne_bytes());
            bytes[8..].copy_from_slice(&second.to_ne_bytes());
            bytes
        };
        match by {
            By::LocalPort | By::RemotePort => Self::Port(u16::try_from(first).unwrap_or_default()),
            By::Remote => match Ipv6Addr::from(bytes()).to_canonical() {
                address if address.is_unspecified() => Self::None,
                address => Self::Address(address),
            },
            By::Netns => Self::Netns(first),
            By::Cgroup => {
                let cgroups = cgroups.get_or_insert_with(Cgroups::now);
                Self::Cgroup(first, cgroups.path(first).map(str::to_owned))
            }
            By::Comm => {
                let name = bytes();
                let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
                Self::Comm(OsString::from_vec(name.to_vec()))
            }
        }
    }
}

/// What can't be relied on, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Untimed {
    /// Events that the kernel kept from the program because it was running already, whatever their namespace: their
    /// durations are in no histogram, and what they invalidated is unknown.
    pub missed: u64,
    /// Sockets that there was no room to remember: their next duration is unknown.
    pub untracked: u64,
    /// Mini sockets that there was no room to remember: their durations are unknown.
    pub untracked_minis: u64,
    /// Durations that are among the others although there was room for their group.
    pub group_errors: u64,
}

impl Untimed {
    fn since(&self, earlier: &Self) -> Self {
        Self {
            missed: self.missed - earlier.missed,
            untracked: self.untracked - earlier.untracked,
            untracked_minis: self.untracked_minis - earlier.untracked_minis,
            group_errors: self.group_errors - earlier.group_errors,
        }
    }
}

/// Durations by group and kind; a kind is a slot of the kernel half's ([`tcpstate_common::histogram`]). Where groups are not
/// asked for, all are of [`GROUP_OTHER`].
pub type Tallies = BTreeMap<(Option<Group>, u32), Tally>;

/// Durations that ended before a cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timed {
    /// What they are told apart by, if by anything.
    pub by: Option<By>,
    /// Only those that a filter lets pass are in them.
    pub is_filtered: bool,
    /// Since the start.
    pub total: Tallies,
    /// Since the last snapshot.
    pub recent: Tallies,
    /// What is not in them.
    pub untimed: Untimed,
}

/// Drains histograms.
#[derive(Debug, Default)]
pub(super) struct Timer {
    timed: Arc<Timed>,
    origin: Untimed,
    /// The groups that are known.
    groups: HashMap<u32, Group>,
    cgroups: Option<Cgroups>,
}

impl Timer {
    pub(super) fn new(by: Option<By>, is_filtered: bool) -> Self {
        let timed = Timed { by, is_filtered, ..Timed::default() };
        Self { timed: Arc::new(timed), ..Self::default() }
    }

    /// Reads and empties the buffer that stands still.
    pub(super) fn drain(
        &mut self,
        hook: &mut HistogramHook,
        stood: u32,
        missed: u64,
    ) -> Result<Arc<Timed>, Error> {
        let tallies = if let Some(by) = hook.by {
            self.look_for_groups(hook, by)?;
            self.drain_groups(hook, stood)?
        } else {
            drain_all(hook, stood)?
        };
        let untimed = untimed(hook, missed)?;
        let timed = Arc::make_mut(&mut self.timed);
        for (key, tally) in tallies {
            timed.recent.entry(key.clone()).or_default().add(&tally);
            timed.total.entry(key).or_default().add(&tally);
        }
        timed.untimed = untimed.since(&self.origin);
        Ok(Arc::clone(&self.timed))
    }

    /// What ended up to the last cut is not of interest any more.
    pub(super) fn begin(&mut self) {
        let timed = Arc::make_mut(&mut self.timed);
        (timed.total, timed.recent) = Default::default();
        let untimed = timed.untimed;
        self.origin = Untimed {
            missed: self.origin.missed + untimed.missed,
            untracked: self.origin.untracked + untimed.untracked,
            untracked_minis: self.origin.untracked_minis + untimed.untracked_minis,
            group_errors: self.origin.group_errors + untimed.group_errors,
        };
        timed.untimed = Untimed::default();
    }

    /// From the last cut on another interval is under way.
    pub(super) fn begin_interval(&mut self) {
        Arc::make_mut(&mut self.timed).recent = Tallies::new();
    }

    fn look_for_groups(&mut self, hook: &HistogramHook, by: By) -> Result<(), Error> {
        // New names may have come since the folders were last looked at.
        self.cgroups = None;
        for entry in &hook.groups {
            let (key, id) = entry.map_err(map_error("read", "GROUPS"))?;
            if !self.groups.contains_key(&id) {
                self.groups.insert(id, Group::of(by, key, &mut self.cgroups));
            }
        }
        Ok(())
    }

    fn drain_groups(&self, hook: &mut HistogramHook, stood: u32) -> Result<Tallies, Error> {
        let mut tallies = Tallies::new();
        let others = [(GROUP_OTHER, Group::Other)];
        let known = self.groups.iter().map(|(&id, group)| (id, group.clone()));
        for (id, group) in known.chain(others) {
            let first = (id * 2 + stood) * SLOTS;
            for slot in 0..SLOTS {
                let index = first + slot;
                let histogram =
                    hook.grouped.get(&index, 0).map_err(map_error("read", "GROUPED"))?;
                if let Some(tally) = Tally::of(&histogram) {
                    let emptied = hook.grouped.set(index, Histogram::EMPTY, 0);
                    emptied.map_err(map_error("update", "GROUPED"))?;
                    // A group without an address and one whose address is none are one.
                    tallies.entry((Some(group.clone()), slot)).or_default().add(&tally);
                }
            }
        }
        Ok(tallies)
    }
}

fn drain_all(hook: &mut HistogramHook, stood: u32) -> Result<Tallies, Error> {
    let mut tallies = Tallies::new();
    for slot in 0..SLOTS {
        let index = stood * SLOTS + slot;
        let of_cpus = hook.all.get(&index, 0).map_err(map_error("read", "HISTOGRAMS"))?;
        let mut all = Tally::default();
        of_cpus.iter().filter_map(Tally::of).for_each(|tally| all.add(&tally));
        if !all.is_empty() {
            let cpus = nr_cpus().map_err(|(action, source)| Error::System { action, source })?;
            let empty = PerCpuValues::try_from(vec![Histogram::EMPTY; cpus])
                .map_err(|source| Error::System { action: "count the processors", source })?;
            hook.all.set(index, empty, 0).map_err(map_error("update", "HISTOGRAMS"))?;
            tallies.insert((None, slot), all);
        }
    }
    Ok(tallies)
}

/// What was not timed since the load.
fn untimed(hook: &HistogramHook, missed: u64) -> Result<Untimed, Error> {
    let of_cpus = hook.slots.get(&0, 0).map_err(map_error("read", "HISTOGRAM_SLOTS"))?;
    let sum = |of: fn(&tcpstate_common::histogram::HistogramSlots) -> u64| {
        of_cpus.iter().map(of).sum::<u64>()
    };
    Ok(Untimed {
        missed: missed + sum(|cpu| cpu.dropped),
        untracked: sum(|cpu| cpu.untracked),
        untracked_minis: sum(|cpu| cpu.untracked_minis),
        group_errors: sum(|cpu| cpu.group_errors),
    })
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

    #[test]
    fn keys_are_read_as_what_they_are() {
        let group = |by, words| Group::of(by, GroupKey { words }, &mut Some(Cgroups::default()));
        assert_eq!(group(By::LocalPort, [443, 0]), Group::Port(443));
        let mapped = "::ffff:192.0.2.1".parse::<Ipv6Addr>().expect("an address").octets();
        let words = [0, 8]
            .map(|at| u64::from_ne_bytes(mapped[at..at + 8].try_into().expect("eight bytes")));
        let v4 = "192.0.2.1".parse().expect("an address");
        assert_eq!(group(By::Remote, words), Group::Address(v4));
        let words = [u64::from_ne_bytes(*b"a thread"), u64::from_ne_bytes(*b" of it\0\0")];
        assert_eq!(group(By::Comm, words), Group::Comm("a thread of it".into()));
        assert_eq!(group(By::Cgroup, [7, 0]), Group::Cgroup(7, None));
        assert_eq!(group(By::Comm, [0, 0]), Group::None);
    }
}

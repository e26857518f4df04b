//! Reads durations at each cut. The module reads the inactive histogram buffer of the BPF programs,
//! empties the buffer, and adds the durations to the totals since the start.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    net::Ipv6Addr,
    os::unix::ffi::OsStringExt as _,
    sync::Arc,
};

use aya::{maps::PerCpuValues, util::nr_cpus};
use tcpstate_common::{
    abi::COMM_BYTES,
    histogram::{By, GROUP_OTHER, GroupKey, Histogram, SLOTS},
};

use super::cgroups::Cgroups;
use crate::{
    probe::{Error, HistogramHook, map_error},
    report::{Group, Tally, Untimed},
};

/// Converts a group key of the BPF programs to a group of the report.
fn group_of(by: By, GroupKey { words }: GroupKey, cgroups: &mut Option<Cgroups>) -> Group {
    let [first, second] = words;
    let is_by_port = matches!(by, By::LocalPort | By::RemotePort);
    if words == [0, 0] {
        return if is_by_port { Group::Client } else { Group::None };
    }
    let bytes = || {
        let mut bytes = [0; COMM_BYTES];
        bytes[..8].copy_from_slice(&first.to_ne_bytes());
        bytes[8..].copy_from_slice(&second.to_ne_bytes());
        bytes
    };
    match by {
        By::LocalPort | By::RemotePort => Group::Port(u16::try_from(first).unwrap_or_default()),
        By::Remote => match Ipv6Addr::from(bytes()).to_canonical() {
            address if address.is_unspecified() => Group::None,
            address => Group::Address(address),
        },
        By::Netns => Group::Netns(first),
        By::Cgroup => {
            let cgroups = cgroups.get_or_insert_with(Cgroups::now);
            Group::Cgroup(first, cgroups.path(first).map(str::to_owned))
        }
        By::Comm => {
            let name = bytes();
            let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
            Group::Comm(OsString::from_vec(name.to_vec()))
        }
    }
}

/// For each group and each histogram slot ([`tcpstate_common::histogram`]), the durations. If
/// sockets are not grouped, the group is `None`.
pub type Tallies = BTreeMap<(Option<Group>, u32), Tally>;

/// The durations that ended before a cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timed {
    /// The property by which sockets are grouped, if sockets are grouped.
    pub by: Option<By>,
    /// Whether the histograms contain only the durations that a filter selects.
    pub is_filtered: bool,
    /// The durations since the start.
    pub total: Tallies,
    /// The durations since the last snapshot.
    pub recent: Tallies,
    /// The numbers of durations that no histogram contains.
    pub untimed: Untimed,
}

/// Reads the histograms of the BPF programs, and empties the read buffer.
#[derive(Debug, Default)]
pub(super) struct Timer {
    timed: Arc<Timed>,
    origin: Untimed,
    /// The largest number of missed events at a cut so far.
    missed: u64,
    /// The groups found so far. The key is the number that the BPF programs assigned to the group.
    groups: HashMap<u32, Group>,
    cgroups: Option<Cgroups>,
}

impl Timer {
    pub(super) fn new(by: Option<By>, is_filtered: bool) -> Self {
        let timed = Timed { by, is_filtered, ..Timed::default() };
        Self { timed: Arc::new(timed), ..Self::default() }
    }

    /// Reads and empties the inactive buffer. Returns the totals of the durations that ended before
    /// the cut. `missed` is the number of events that the tracking program missed before the cut.
    /// The number can decrease under traffic; the returned number never decreases.
    pub(super) fn drain(
        &mut self,
        hook: &mut HistogramHook,
        inactive: u32,
        missed: u64,
    ) -> Result<Arc<Timed>, Error> {
        let tallies = if let Some(by) = hook.by {
            self.look_for_groups(hook, by)?;
            self.drain_groups(hook, inactive)?
        } else {
            drain_all(hook, inactive)?
        };
        let untimed = untimed(hook, missed.max(self.missed))?;
        self.missed = untimed.missed;
        let timed = Arc::make_mut(&mut self.timed);
        for (key, tally) in tallies {
            timed.recent.entry(key.clone()).or_default().add(&tally);
            timed.total.entry(key).or_default().add(&tally);
        }
        timed.untimed = untimed.since(&self.origin);
        Ok(Arc::clone(&self.timed))
    }

    /// Discards all durations that ended before the last cut.
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

    /// Starts a new interval at the last cut.
    pub(super) fn begin_interval(&mut self) {
        Arc::make_mut(&mut self.timed).recent = Tallies::new();
    }

    fn look_for_groups(&mut self, hook: &HistogramHook, by: By) -> Result<(), Error> {
        // Cgroups may have been created since the last walk, so the next look-up walks over the
        // cgroups again.
        self.cgroups = None;
        for entry in &hook.groups {
            let (key, id) = entry.map_err(map_error("read", "GROUPS"))?;
            if !self.groups.contains_key(&id) {
                self.groups.insert(id, group_of(by, key, &mut self.cgroups));
            }
        }
        Ok(())
    }

    fn drain_groups(&self, hook: &mut HistogramHook, inactive: u32) -> Result<Tallies, Error> {
        let mut tallies = Tallies::new();
        let others = [(GROUP_OTHER, Group::Other)];
        let known = self.groups.iter().map(|(&id, group)| (id, group.clone()));
        for (id, group) in known.chain(others) {
            let first = (id * 2 + inactive) * SLOTS;
            for slot in 0..SLOTS {
                let index = first + slot;
                let histogram =
                    hook.grouped.get(&index, 0).map_err(map_error("read", "GROUPED"))?;
                if let Some(tally) = Tally::of(&histogram) {
                    let emptied = hook.grouped.set(index, Histogram::EMPTY, 0);
                    emptied.map_err(map_error("update", "GROUPED"))?;
                    // Two keys can mean `Group::None`: a key of zeros, and an unspecified address.
                    tallies.entry((Some(group.clone()), slot)).or_default().add(&tally);
                }
            }
        }
        Ok(tallies)
    }
}

fn drain_all(hook: &mut HistogramHook, inactive: u32) -> Result<Tallies, Error> {
    let mut tallies = Tallies::new();
    for slot in 0..SLOTS {
        let index = inactive * SLOTS + slot;
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

/// Returns the numbers of unreliable durations since the BPF programs were loaded.
fn untimed(hook: &HistogramHook, missed: u64) -> Result<Untimed, Error> {
    let of_cpus = hook.slots.get(&0, 0).map_err(map_error("read", "HISTOGRAM_SLOTS"))?;
    let sum = |of: fn(&tcpstate_common::histogram::HistogramSlots) -> u64| {
        of_cpus.iter().map(of).sum::<u64>()
    };
    Ok(Untimed {
        missed,
        untracked: sum(|cpu| cpu.untracked),
        untracked_minis: sum(|cpu| cpu.untracked_minis),
        group_errors: sum(|cpu| cpu.group_errors),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_keys_are_decoded() {
        let group = |by, words| group_of(by, GroupKey { words }, &mut Some(Cgroups::default()));
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
        assert_eq!(group(By::LocalPort, [0, 0]), Group::Client);
    }
}

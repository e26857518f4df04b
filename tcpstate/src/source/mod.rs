//! Reads the counters of the BPF programs: totals since the programs were loaded, as one consistent
//! cut over all CPUs.

mod by_owner;
pub mod cgroups;
mod clock;
mod close_reason;
mod coalesce;
mod connections;
mod counts;
mod events;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod histograms;
mod id_map;
mod kernel_counters;
pub mod listening;
pub mod live;
mod namespaces;
mod owner_hints;
pub mod owners;
pub(crate) mod process_cgroups;
pub mod sock_diag;
pub mod survey;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tcpstate_common::abi::STATE_SLOTS;

pub use self::{
    by_owner::{OwnerReading, RowReading},
    counts::{Counts, Flows},
    events::Events,
    histograms::{Tallies, Timed},
    kernel_counters::{Activity, KernelCounters},
};
use crate::report::{Losses, Missed};

/// A moment, as measured by two clocks: the monotonic clock and the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The monotonic time, from which durations and rates are computed.
    pub monotonic: Instant,
    /// The wall-clock time, which output shows.
    pub wall: SystemTime,
}

impl Moment {
    /// Returns the current time.
    #[must_use]
    pub fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }
}

/// The number of runs of a BPF program since the program was loaded, and the total time of these
/// runs. A run is counted only if the kernel's BPF statistics were enabled during the run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramRuns {
    /// The name of the program.
    pub program: String,
    /// How often the program ran.
    pub runs: u64,
    /// The total time of all runs on all CPUs.
    pub time: Duration,
}

/// One consistent cut of all counters. A cut that contains an event contains every earlier event
/// too.
#[derive(Clone, Debug)]
pub struct Reading {
    /// When the cut was made.
    pub at: Moment,
    /// All events that the BPF programs counted before the cut.
    pub counts: Counts,
    /// The counts of each address family in the order of
    /// [`Family::BOTH`](crate::report::Family::BOTH), if families are counted separately.
    pub families: Option<[Counts; 2]>,
    /// The counts of each network namespace, if namespaces are counted separately.
    pub namespaces: Option<BTreeMap<Identity, Namespace>>,
    /// At most this number of events were missed before the cut.
    pub missed: Missed,
    /// If events are enabled, the number of events before the cut that have no line.
    pub losses: Option<Losses>,
    /// If durations are enabled, the totals of the durations that ended before the cut.
    pub histograms: Option<Arc<Timed>>,
    /// The kernel's own counters, read shortly after the cut.
    pub kernel: KernelCounters,
    /// The counters by owner, if sockets are counted by owner and the caller has read the counters.
    /// The counters are read after the cut.
    pub owners: Option<Arc<OwnerReading>>,
    /// Whether no event was counted between the cut and the read of `kernel`. The cut waits about
    /// 10 ms for running programs, so no event was counted for about 10 ms.
    pub is_still: bool,
    /// How often each BPF program ran before the cut, and the total time of these runs. The list is
    /// empty if the cost is not measured.
    pub runs: Vec<ProgramRuns>,
    /// The CPU time that tcpstate has used before the cut.
    pub process_time: Duration,
}

/// A unique identifier of a network namespace. An inode is not unique, because a later namespace
/// can reuse the inode of an earlier namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(pub u64);

/// The part of a cut that belongs to one network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// The inode of the namespace.
    pub inode: u64,
    /// The last known file name of the namespace in the folder `/run/netns`.
    pub name: Option<String>,
    /// Whether the network namespace is no longer in use. Mini sockets can remain for a short time
    /// in a namespace that is no longer in use.
    pub is_gone: bool,
    /// All counts of the namespace from the time when tcpstate first found the namespace to the
    /// cut.
    pub flows: Flows,
}

/// For each state, the number of sockets that a scan found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Population {
    /// The number of full sockets in each state.
    pub full: [u64; STATE_SLOTS],
    /// The number of mini sockets in each state.
    pub minis: [u64; STATE_SLOTS],
}

/// The results of a scan.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The cut at the scan's t0.
    pub zero: Reading,
    /// The sockets that existed at t0.
    pub base: Population,
    /// The sockets of each address family at t0, if families are counted separately.
    pub family_bases: Option<[Population; 2]>,
    /// The sockets of each network namespace at t0, if namespaces are counted separately.
    pub bases: BTreeMap<Identity, Population>,
    /// The cut that cleared the scan flag.
    pub end: Reading,
    /// At least this number of events were missed before t0.
    pub missed_before: Missed,
    /// The number of sockets that the iterator visited.
    pub visited: u64,
    /// How often the scan failed to store a socket because the map of the scan was full.
    pub map_full: u64,
    /// How often the scan failed to store a socket in the map of the scan although the map had
    /// space.
    pub map_errors: u64,
    /// The number of network namespaces whose sockets the iterator could not visit.
    pub unentered: u64,
    /// The namespaces with sockets that the iterator could not visit.
    pub hidden: BTreeSet<Identity>,
    /// The CPU time that the scan used. If the scan was made step by step, only that of the walk.
    pub cost: Duration,
}

/// The sockets that the kernel listed while no socket changed its state: for each state that `ss`
/// shows, the number of sockets. The index is the kernel's number of the state.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The sockets of all counted families and namespaces.
    pub states: [u64; STATE_SLOTS],
    /// The sockets of each address family, if families are counted separately.
    pub families: Option<[[u64; STATE_SLOTS]; 2]>,
    /// The sockets of each network namespace, if namespaces are counted separately.
    pub namespaces: Option<BTreeMap<Identity, [u64; STATE_SLOTS]>>,
    /// The number of network namespaces whose sockets could not be listed.
    pub unentered: u64,
    /// The namespaces with sockets that could not be listed.
    pub hidden: BTreeSet<Identity>,
}

impl Population {
    /// Returns the number of sockets in each state, full sockets and mini sockets together.
    #[must_use]
    pub fn states(&self) -> [u64; STATE_SLOTS] {
        std::array::from_fn(|slot| self.full[slot] + self.minis[slot])
    }

    /// Adds the counts of one buffer of the BPF programs.
    pub(crate) fn add(&mut self, full: &[u64; STATE_SLOTS], minis: &[u64; STATE_SLOTS]) {
        add_each(&mut self.full, full);
        add_each(&mut self.minis, minis);
    }

    /// Returns the numbers of sockets minus the numbers in an earlier population.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let minus = |now: &[u64; STATE_SLOTS], then: &[u64; STATE_SLOTS]| {
            std::array::from_fn(|slot| now[slot] - then[slot])
        };
        Self { full: minus(&self.full, &earlier.full), minis: minus(&self.minis, &earlier.minis) }
    }
}

fn add_each(sums: &mut [u64], counts: &[u64]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum += count;
    }
}

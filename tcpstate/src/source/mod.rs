//! Where numbers come from: totals since the load, as one consistent cut through all CPUs.

pub mod cgroups;
mod close_reason;
mod coalesce;
mod counts;
mod events;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod histograms;
mod kernel_counters;
pub mod live;
mod namespaces;
mod owner_hints;
pub mod owners;
pub mod sock_diag;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tcpstate_common::abi::STATE_SLOTS;

pub use self::{
    counts::{Counts, Flows},
    events::Events,
    histograms::{Tallies, Timed},
    kernel_counters::KernelCounters,
};
use crate::report::{Losses, Missed};

/// A moment on both clocks: the monotonic one for durations, the wall's for people.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For durations and rates.
    pub monotonic: Instant,
    /// For showing.
    pub wall: SystemTime,
}

impl Moment {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }
}

/// How often a program ran since the load, and for how long, as far as the kernel's statistics were on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramRuns {
    /// The program's name.
    pub program: String,
    /// Runs.
    pub runs: u64,
    /// Time of all runs together, on all CPUs.
    pub time: Duration,
}

/// One consistent cut: if an event is in it, so is every event that came before.
#[derive(Clone, Debug)]
pub struct Reading {
    /// When the cut was made.
    pub at: Moment,
    /// All that was counted before it, since the load.
    pub counts: Counts,
    /// The same for each family, by [`Family::BOTH`](crate::report::Family::BOTH), where they are told apart.
    pub families: Option<[Counts; 2]>,
    /// The same for each network namespace, where each has a row.
    pub namespaces: Option<BTreeMap<Identity, Namespace>>,
    /// At least all that was missed before the cut.
    pub missed: Missed,
    /// What was not written down before the cut, where events are.
    pub losses: Option<Losses>,
    /// Durations that ended before the cut, where states are timed.
    pub histograms: Option<Arc<Timed>>,
    /// The kernel's own counters, soon after the cut.
    pub kernel: KernelCounters,
    /// What the programs cost up to then; empty where nobody asked.
    pub runs: Vec<ProgramRuns>,
    /// Processor time of this process up to then.
    pub process_time: Duration,
}

/// What names a network namespace among all that ever were: its inode may be another's tomorrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(pub u64);

/// A network namespace's part of a cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// What people know it by while it is there.
    pub inode: u64,
    /// The name it was once seen to have, below `/run/netns`.
    pub name: Option<String>,
    /// Nobody uses it any more; mini sockets may still be in it for a moment.
    pub is_gone: bool,
    /// All that was counted in it before the cut, since it was first met.
    pub flows: Flows,
}

/// Sockets by state, as a scan found them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Population {
    /// Full sockets.
    pub full: [u64; STATE_SLOTS],
    /// Mini sockets.
    pub minis: [u64; STATE_SLOTS],
}

/// What a scan found.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The cut that t0 is.
    pub zero: Reading,
    /// What there was at t0.
    pub base: Population,
    /// The same for each family, where they are told apart.
    pub family_bases: Option<[Population; 2]>,
    /// The same for each network namespace, where each has a row.
    pub bases: BTreeMap<Identity, Population>,
    /// The cut at which the scan flag closed.
    pub end: Reading,
    /// At most all that was missed before t0.
    pub missed_before: Missed,
    /// Sockets that the iterator visited.
    pub visited: u64,
    /// Touches that found the map full.
    pub map_full: u64,
    /// Touches that the map refused otherwise.
    pub map_errors: u64,
    /// Network namespaces whose sockets it could not visit.
    pub unentered: u64,
    /// Processor time that the walk took.
    pub cost: Duration,
}

impl Population {
    /// As the kernel half keeps it.
    pub(crate) fn add(&mut self, full: &[u64; STATE_SLOTS], minis: &[u64; STATE_SLOTS]) {
        add_each(&mut self.full, full);
        add_each(&mut self.minis, minis);
    }

    /// What was found since an earlier count of what is found.
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

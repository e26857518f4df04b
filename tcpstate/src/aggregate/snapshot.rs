//! One moment, aggregated: what every view shows.

use std::time::{Duration, SystemTime};

use tcpstate_common::{State, abi::Flow};

use super::{Endings, Histograms, verify::Verdict};
use crate::{
    probe::Counted,
    source::{Losses, Missed},
};

/// One state's sockets. `current = current at the start + entered - left + corrected`, in every snapshot.
///
/// `None` where nothing in place can see that state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauge {
    /// Sockets in the state now.
    pub current: Option<i64>,
    /// Sockets that came into it since the start.
    pub entered: Option<u64>,
    /// Sockets that went out of it since the start.
    pub left: Option<u64>,
    /// What passes over the sockets changed since the start, because events had been missed.
    pub corrected: Option<i64>,
}

/// A pair of states, and how often the tracepoint reported it since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The old state.
    pub from: State,
    /// The new state.
    pub to: State,
    /// How often.
    pub count: u64,
    /// How often in the interval.
    pub in_interval: u64,
}

/// TIME_WAIT mini sockets: how many, and their flow since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TimeWait {
    /// All mini sockets, those that show as FIN_WAIT2 included.
    pub sockets: Option<u64>,
    /// How many there may be (`tcp_max_tw_buckets`).
    pub limit: Option<u64>,
    /// Mini sockets made.
    pub entries: Option<u64>,
    /// Mini sockets gone, by cause.
    pub exits: Exits,
    /// Mini sockets gone in the interval, by cause.
    pub exits_in_interval: Exits,
    /// Mini sockets refused, because there were `tcp_max_tw_buckets` of them.
    pub overflows: Option<u64>,
    /// Over the interval.
    pub entries_per_second: Option<f64>,
    /// Over the interval.
    pub exits_per_second: Option<f64>,
}

/// How mini sockets went. The causes are disjoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exits {
    /// Their time was over.
    pub expired: Option<u64>,
    /// A new connection took their place.
    pub reused: Option<u64>,
    /// By a RST, data, or an operator.
    pub killed: Option<u64>,
    /// Their namespace went, or the cause can't be told.
    pub other: Option<u64>,
}

/// Which hook serves what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// Transitions of full sockets.
    pub transitions: &'static str,
    /// TIME_WAIT mini sockets.
    pub time_wait: &'static str,
    /// SYN_RECV request sockets.
    pub syn_recv: &'static str,
}

/// What serves now, and what that leaves to wish for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InPlace {
    /// What serves.
    pub hooks: Hooks,
    /// What can't be seen here, and why; a sentence each.
    pub degraded: Vec<String>,
}

/// What is known when counting begins.
#[derive(Clone, Debug)]
pub struct Start {
    /// Wall time.
    pub time: SystemTime,
    /// Which network namespaces are counted.
    pub netns: Counted,
    /// The kernel's release.
    pub kernel: String,
    /// What serves.
    pub in_place: InPlace,
    /// By [`State::GAUGES`].
    pub states: [Gauge; 10],
    /// The same for each network namespace, by inode, where each has a row.
    pub namespaces: Option<Vec<NamespaceStart>>,
}

/// A network namespace when counting begins.
#[derive(Clone, Debug)]
pub struct NamespaceStart {
    /// Its inode.
    pub netns: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// By [`State::GAUGES`].
    pub states: [Gauge; 10],
}

/// A network namespace at one moment. Totals are since the start, rates over the interval.
#[derive(Clone, Debug)]
pub struct NamespaceRow {
    /// Its inode. Two rows may have the same one: a namespace that is gone, and then a new one.
    pub netns: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Nobody uses it any more. Its row goes when its last socket has.
    pub is_gone: bool,
    /// By [`State::GAUGES`].
    pub states: [Gauge; 10],
    /// TIME_WAIT.
    pub time_wait: TimeWait,
}

/// A family's part of all that is counted. Totals are since the start.
#[derive(Clone, Debug)]
pub struct FamilyRow {
    /// By [`State::GAUGES`].
    pub states: [Gauge; 10],
    /// Only pairs that occurred, by kernel number; as of the whole run, not of an interval.
    pub transitions: Vec<Transition>,
}

/// What a program in the kernel costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The program's name.
    pub program: String,
    /// Since the start.
    pub total: Runs,
    /// In the interval.
    pub in_interval: Runs,
}

/// Runs of a program, and the time that they took together, the kernel's measuring included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// How many.
    pub count: u64,
    /// All together, on all CPUs.
    pub time: Duration,
}

impl Runs {
    /// What a run takes on average; unknown if there was none.
    #[must_use]
    pub fn ns_per_run(&self) -> Option<f64> {
        (self.count > 0).then(|| self.time.as_nanos() as f64 / self.count as f64)
    }

    /// The share of one CPU that they took of this time.
    #[must_use]
    pub fn cpu_share(&self, of: Duration) -> Option<f64> {
        (of > Duration::ZERO).then(|| self.time.as_secs_f64() / of.as_secs_f64())
    }
}

/// All counts at one moment. Totals are since the start, rates over the interval.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Wall time.
    pub time: SystemTime,
    /// Since the start.
    pub elapsed: Duration,
    /// Since the snapshot before.
    pub interval: Duration,
    /// What serves now, if that changed since the snapshot before.
    pub in_place: Option<InPlace>,
    /// Events that were missed and that no pass has made up for, at most; each may put a gauge off by one.
    pub unreconciled: u64,
    /// Whether what is in place sees all kinds of sockets.
    pub sees_all: bool,
    /// By [`State::GAUGES`].
    pub states: [Gauge; 10],
    /// What came into and went out of each state in the interval, by [`State::GAUGES`].
    pub moved: [Option<Flow>; 10],
    /// What a comparison with the kernel's list of sockets showed, if one was asked for.
    pub verdict: Option<Verdict>,
    /// Only pairs that occurred, by kernel number.
    pub transitions: Vec<Transition>,
    /// TIME_WAIT.
    pub time_wait: TimeWait,
    /// What was missed since the start.
    pub missed: Missed,
    /// What was not written down since the start, where events are.
    pub losses: Option<Losses>,
    /// How connections ended, at the end of a run in which each had its lines.
    pub endings: Option<Endings>,
    /// Durations that ended in the interval, where states are timed.
    pub histograms: Option<Histograms>,
    /// Passes since the start.
    pub reconciles: u64,
    /// Sockets that found a map full.
    pub map_full: u64,
    /// Touches that a pass's map refused otherwise.
    pub map_errors: u64,
    /// What the programs in the kernel cost, if that is measured.
    pub cost: Vec<Cost>,
    /// Processor time that this process took since the start.
    pub process_time: Duration,
    /// Each family, by [`Family::BOTH`](crate::family::Family::BOTH), where they are told apart.
    pub families: Option<[FamilyRow; 2]>,
    /// Each network namespace, by inode, where each has a row.
    pub namespaces: Option<Vec<NamespaceRow>>,
}

impl Snapshot {
    /// Whether each gauge equals the kernel's sockets.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.sees_all && self.unreconciled == 0
    }

    /// The gauge of one state; no gauge for CLOSE and the kernel's internal states.
    #[must_use]
    pub fn gauge(&self, state: State) -> Option<Gauge> {
        let slot = State::GAUGES.iter().position(|&gauge| gauge == state)?;
        Some(self.states[slot])
    }

    /// The count of one transition.
    #[must_use]
    pub fn count(&self, from: State, to: State) -> u64 {
        self.transitions
            .iter()
            .find(|pair| pair.from == from && pair.to == to)
            .map_or(0, |pair| pair.count)
    }

    /// All transitions since the start.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.transitions.iter().map(|pair| pair.count).sum()
    }
}

/// What a view is given, in this order: one start, snapshots, one end.
#[derive(Clone, Debug)]
pub enum Report {
    /// Everything is in place, and the first pass is done.
    Start(Start),
    /// An interval is over.
    Snapshot(Snapshot),
    /// The run is over; rates are over all of it.
    End(Snapshot),
}

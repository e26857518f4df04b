//! The reports of a run: a start report, one snapshot for each interval, and an end report.

use std::time::{Duration, SystemTime};

use tcpstate_common::{State, abi::Flow};

use super::{
    Attached, CloseReasons, Cost, Counted, FamilyRow, Gauge, Histograms, Losses, Missed,
    NamespaceRow, NamespaceStart, Owners, TimeWait, Transition, Verdict,
};

/// The start report of a run, made when counting begins.
#[derive(Clone, Debug)]
pub struct Start {
    /// The wall-clock time of the report.
    pub time: SystemTime,
    /// The network namespaces that are counted.
    pub netns: Counted,
    /// The release of the kernel.
    pub kernel: String,
    /// The attached hooks, and the limits of these hooks.
    pub attached: Attached,
    /// The gauges, in the order of [`State::GAUGES`].
    pub states: [Gauge; 10],
    /// The gauges of each network namespace in the order of inodes, if namespaces are counted
    /// separately.
    pub namespaces: Option<Vec<NamespaceStart>>,
}

/// All counts of a run at one moment. Totals count from the start of the run, and rates cover only
/// the interval.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The wall-clock time of the report.
    pub time: SystemTime,
    /// The time since the start.
    pub elapsed: Duration,
    /// The time since the previous snapshot.
    pub interval: Duration,
    /// The attached hooks and the limits of these hooks, if hooks or limits changed since the
    /// previous snapshot.
    pub attached: Option<Attached>,
    /// A bound of the error of each gauge: the number of missed events that no scan has corrected.
    /// Each missed event can make a gauge one too large or one too small. The field is `None` if
    /// nothing bounds the error.
    pub unreconciled: Option<u64>,
    /// Whether the attached hooks observe all kinds of sockets.
    pub sees_all: bool,
    /// The gauges, in the order of [`State::GAUGES`].
    pub states: [Gauge; 10],
    /// The sockets that entered and left each state in the interval, in the order of
    /// [`State::GAUGES`].
    pub moved: [Option<Flow>; 10],
    /// If requested, the result of comparing the gauges with the kernel's list of sockets.
    pub verdict: Option<Verdict>,
    /// The transitions that occurred, in the order of the kernel's state numbers.
    pub transitions: Vec<Transition>,
    /// The counts of time-wait sockets.
    pub time_wait: TimeWait,
    /// The number of events that tracing missed since the start.
    pub missed: Missed,
    /// If events are enabled, the number of events that were not recorded since the start.
    pub losses: Option<Losses>,
    /// The close reasons of all connections. Only the end report of a run with events contains
    /// close reasons.
    pub close_reasons: Option<CloseReasons>,
    /// If durations are measured, the histograms of the durations that ended in the interval.
    pub histograms: Option<Histograms>,
    /// The number of skipped runs of the BPF programs that cannot have been caused by a counted
    /// socket. They make no gauge wrong.
    pub missed_elsewhere: u64,
    /// The number of audits since the start.
    pub audits: u64,
    /// The time since the gauges were last compared with the kernel's sockets, by an audit or by a
    /// scan. The field is `None` if the gauges were compared only at the start.
    pub audited: Option<Duration>,
    /// The number of scans since the start.
    pub reconciles: u64,
    /// The number of sockets that tcpstate could not store because a BPF map was full.
    pub map_full: u64,
    /// How often a scan failed to store a socket in the map of the scan although the map had space.
    pub map_errors: u64,
    /// The cost of each BPF program, if the cost is measured.
    pub cost: Vec<Cost>,
    /// The CPU time that tcpstate has used since the start.
    pub process_time: Duration,
    /// The counts of each address family in the order of [`Family::BOTH`](super::Family::BOTH), if
    /// families are counted separately.
    pub families: Option<[FamilyRow; 2]>,
    /// The counts of each network namespace in the order of inodes, if namespaces are counted
    /// separately.
    pub namespaces: Option<Vec<NamespaceRow>>,
    /// The counts by owner, if sockets are grouped.
    pub owners: Option<Owners>,
}

impl Snapshot {
    /// Returns whether every gauge is exact: whether the gauge of each state equals the number of
    /// sockets that the kernel has in that state.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.sees_all && self.unreconciled == Some(0)
    }

    /// Returns the gauge of one state. CLOSE and the kernel's internal states have no gauge.
    #[must_use]
    pub fn gauge(&self, state: State) -> Option<Gauge> {
        let slot = State::GAUGES.iter().position(|&gauge| gauge == state)?;
        Some(self.states[slot])
    }

    /// Returns the count of one transition since the start.
    #[must_use]
    pub fn count(&self, from: State, to: State) -> u64 {
        self.transitions
            .iter()
            .find(|pair| pair.from == from && pair.to == to)
            .map_or(0, |pair| pair.count)
    }

    /// Returns the total number of transitions since the start.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.transitions.iter().map(|pair| pair.count).sum()
    }
}

/// A report of a run. Views show reports. A run has one start report, then snapshots, and one end
/// report.
#[derive(Clone, Debug)]
pub enum Report {
    /// The start report, made when all hooks are attached and the first scan is done.
    Start(Start),
    /// The snapshot at the end of an interval.
    Snapshot(Snapshot),
    /// The end report of a run. The rates of the end report cover the whole run.
    End(Snapshot),
}

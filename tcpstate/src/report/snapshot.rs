//! A whole run as reports: the start, one snapshot for each interval, the end.

use std::time::{Duration, SystemTime};

use tcpstate_common::{State, abi::Flow};

use super::{
    Attached, CloseReasons, Cost, Counted, FamilyRow, Gauge, Histograms, Losses, Missed,
    NamespaceRow, NamespaceStart, TimeWait, Transition, Verdict,
};

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
    pub attached: Attached,
    /// By [`State::GAUGES`].
    pub states: [Gauge; 10],
    /// The same for each network namespace, by inode, where each has a row.
    pub namespaces: Option<Vec<NamespaceStart>>,
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
    pub attached: Option<Attached>,
    /// Events that were missed and that no scan has made up for, at most; each may put a gauge off
    /// by one.
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
    pub close_reasons: Option<CloseReasons>,
    /// Durations that ended in the interval, where states are timed.
    pub histograms: Option<Histograms>,
    /// Passes since the start.
    pub reconciles: u64,
    /// Sockets that found a map full.
    pub map_full: u64,
    /// Touches that a scan's map refused otherwise.
    pub map_errors: u64,
    /// What the programs in the kernel cost, if that is measured.
    pub cost: Vec<Cost>,
    /// Processor time that this process took since the start.
    pub process_time: Duration,
    /// Each family, by [`Family::BOTH`](super::Family::BOTH), where they are told apart.
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
    /// Everything is in place, and the first scan is done.
    Start(Start),
    /// An interval is over.
    Snapshot(Snapshot),
    /// The run is over; rates are over all of it.
    End(Snapshot),
}

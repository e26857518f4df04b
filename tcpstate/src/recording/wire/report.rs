//! Encodes reports. Gauges are in the order of [`State::GAUGES`](tcpstate_common::State::GAUGES).

use tcpstate_common::abi;

use super::{
    Malformed,
    histograms::Histograms,
    limited::{List, Text},
    owners::Owners,
    table::{Bound, HookName, Nanos, Newer, Number, Scope, Wire, wire},
};
use crate::report;

/// The maximum number of network namespaces, which is the largest value of `--max-namespaces`.
const MAX_NAMESPACES: usize = 1 << 20;
/// The maximum number of transitions: all pairs of 16 states.
const MAX_TRANSITIONS: usize = 256;
/// The maximum number of BPF programs.
const MAX_PROGRAMS: usize = 1024;
/// The maximum number of limits of a run.
const MAX_LIMITS: usize = 1024;
/// The maximum number of local ports.
const MAX_PORTS: usize = 1 << 16;

wire! {
    Start is report::Start {
        0 time: Nanos,
        1 netns: Scope,
        2 kernel: Text,
        3 attached: Attached,
        4 states: [Gauge; 10],
        5 namespaces: Option<List<NamespaceStart, MAX_NAMESPACES>>,
    }

    Snapshot is report::Snapshot {
        0 time: Nanos,
        1 elapsed: Nanos,
        2 interval: Nanos,
        3 attached: Option<Attached>,
        4 unreconciled: Bound,
        5 sees_all: bool,
        6 states: [Gauge; 10],
        7 moved: [Option<Flow>; 10],
        8 verdict: Option<Verdict>,
        9 transitions: List<Transition, MAX_TRANSITIONS>,
        10 time_wait: TimeWait,
        11 missed: Missed,
        12 losses: Option<Losses>,
        13 reconciles: u64,
        14 map_full: u64,
        15 map_errors: u64,
        16 cost: List<Cost, MAX_PROGRAMS>,
        17 process_time: Nanos,
        18 namespaces: Option<List<NamespaceRow, MAX_NAMESPACES>>,
        19 families: Option<[FamilyRow; 2]>,
        20 close_reasons: Option<CloseReasons>,
        21 histograms: Option<Histograms>,
        22 missed_elsewhere: Newer,
        23 audits: Newer,
        24 audited: Option<Nanos>,
        25 owners: Option<Owners>,
    }

    NamespaceStart is report::NamespaceStart {
        0 netns: u64,
        1 name: Option<Text>,
        2 states: [Gauge; 10],
    }

    NamespaceRow is report::NamespaceRow {
        0 netns: u64,
        1 name: Option<Text>,
        2 is_gone: bool,
        3 states: [Gauge; 10],
        4 time_wait: TimeWait,
    }

    FamilyRow is report::FamilyRow {
        0 states: [Gauge; 10],
        1 transitions: List<Transition, MAX_TRANSITIONS>,
    }

    Attached is report::Attached {
        0 hooks: Hooks,
        1 limits: List<Text, MAX_LIMITS>,
    }

    Hooks is report::Hooks {
        0 transitions: HookName,
        1 time_wait: HookName,
        2 syn_recv: HookName,
    }

    Gauge is report::Gauge {
        0 current: Option<i64>,
        1 entered: Option<u64>,
        2 left: Option<u64>,
        3 corrected: Option<i64>,
    }

    Flow is abi::Flow {
        0 entered: u64,
        1 left: u64,
    }

    Transition is report::Transition {
        0 from: Number,
        1 to: Number,
        2 count: u64,
        3 in_interval: u64,
    }

    TimeWait is report::TimeWait {
        0 sockets: Option<u64>,
        1 limit: Option<u64>,
        2 entries: Option<u64>,
        3 exits: Exits,
        4 exits_in_interval: Exits,
        5 overflows: Option<u64>,
        6 entries_per_second: Option<f64>,
        7 exits_per_second: Option<f64>,
    }

    Exits is report::Exits {
        0 expired: Option<u64>,
        1 reused: Option<u64>,
        2 killed: Option<u64>,
        3 other: Option<u64>,
    }

    Difference is report::Difference {
        0 state: Number,
        1 current: i64,
        2 listed: i64,
    }

    Missed is report::Missed {
        0 transitions: u64,
        1 time_wait: u64,
        2 syn_recv: u64,
        3 unrecorded: u64,
        4 unlisted: u64,
    }

    Losses is report::Losses {
        0 dropped: u64,
        1 missed: u64,
        2 untracked: u64,
        3 time_wait: Newer,
        4 syn_recv: Newer,
        5 dropped_ends: Newer,
        6 missed_ends: Newer,
    }

    CloseReasons is report::CloseReasons {
        0 ports: List<PortReasons, MAX_PORTS>,
        1 others: ReasonCounts,
        2 failed_connects: ReasonCounts,
        3 no_local_port: u64,
    }

    PortReasons is report::PortReasons {
        0 port: u16,
        1 ends: ReasonCounts,
    }

    ReasonCounts is report::ReasonCounts {
        0 known: [u64; 8],
        1 unknown: u64,
    }

    Cost is report::Cost {
        0 program: Text,
        1 total: Runs,
        2 in_interval: Runs,
    }

    Runs is report::Runs {
        0 count: u64,
        1 time: Nanos,
    }
}

/// The result of the comparison of tcpstate's numbers with the kernel's numbers.
#[derive(minicbor::Encode, minicbor::Decode)]
#[cbor(context_bound = "AsMut<crate::recording::budget::Budget>")]
pub(super) enum Verdict {
    #[n(0)]
    Equal,
    #[n(1)]
    Differs(#[n(0)] List<Difference, 10>),
    #[n(2)]
    Moving,
    #[n(3)]
    Inexact,
}

impl Wire<report::Verdict> for Verdict {
    fn of(verdict: &report::Verdict) -> Self {
        match verdict {
            report::Verdict::Equal => Self::Equal,
            report::Verdict::Differs(differences) => Self::Differs(Wire::of(differences)),
            report::Verdict::Moving => Self::Moving,
            report::Verdict::Inexact => Self::Inexact,
        }
    }

    fn read(self) -> Result<report::Verdict, Malformed> {
        Ok(match self {
            Self::Equal => report::Verdict::Equal,
            Self::Differs(differences) => report::Verdict::Differs(differences.read()?),
            Self::Moving => report::Verdict::Moving,
            Self::Inexact => report::Verdict::Inexact,
        })
    }
}

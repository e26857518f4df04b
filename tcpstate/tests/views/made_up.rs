//! Made-up reports of a run with known numbers, for the tests of views.

use std::time::{Duration, SystemTime};

use tcpstate::{
    report::{
        Attached, Cost, Counted, Effect, Exits, Gauge, Hooks, Limit, Minis, Missed, Provider,
        Reason, Report, Runs, Snapshot, Start, TimeWait, Transition, Transitions,
    },
    view::View,
};
use tcpstate_common::{State, abi::Flow};

/// The gauges at the start, in the order of `State::GAUGES`.
const OPENING: [i64; 10] = [12, 0, 3, 497, 0, 41, 7, 0, 1, 45_027];
/// For each state, the number of sockets that enter the state and the number of sockets that leave
/// the state per second. In each second, this machine opens 120 connections and accepts 920
/// connections. In each second, this machine closes 774 connections first, and the peer closes 262
/// connections first. Each second, 771 sockets reach FIN_WAIT2 and become time-wait sockets: 763 of
/// them move to TIME_WAIT, 3 close in FIN_WAIT2, and 5 stay in FIN_WAIT2.
const PER_SECOND: [(u64, u64); 10] = [
    (0, 0),
    (120, 120),
    (1840, 1840),
    (1038, 1036),
    (774, 774),
    (771, 766),
    (262, 262),
    (3, 3),
    (262, 261),
    (766, 626),
];
const PAIRS: [(State, State, u64); 13] = [
    (State::Established, State::FinWait1, 774),
    (State::Established, State::CloseWait, 262),
    (State::SynSent, State::Established, 118),
    (State::SynSent, State::Close, 2),
    (State::SynRecv, State::Established, 920),
    (State::FinWait1, State::FinWait2, 771),
    (State::FinWait1, State::Closing, 3),
    (State::FinWait2, State::Close, 771),
    (State::Close, State::SynSent, 120),
    (State::CloseWait, State::LastAck, 262),
    (State::LastAck, State::Close, 261),
    (State::Listen, State::SynRecv, 920),
    (State::Closing, State::Close, 3),
];

fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_521_600)
}

pub(crate) fn start() -> Start {
    let hooks = Hooks {
        transitions: Some(Transitions::TpBtf),
        time_wait: Some(Provider::Fentry),
        syn_recv: Some(Provider::Fentry),
    };
    Start {
        time: noon(),
        netns: Counted::One(4_026_531_840),
        namespaces: None,
        kernel: "6.1.0-56-cloud-amd64".into(),
        attached: Attached { hooks, limits: Vec::new() },
        states: OPENING.map(|current| Gauge {
            current: Some(current),
            entered: Some(0),
            left: Some(0),
            corrected: Some(0),
        }),
    }
}

/// Returns the snapshot that is taken `seconds` after the start, for the interval that begins at
/// `interval_start`.
pub(crate) fn at(seconds: u64, interval_start: u64) -> Snapshot {
    let interval = seconds - interval_start;
    let times = |per_second: u64, seconds: u64| per_second * seconds;
    let states = std::array::from_fn(|slot| {
        let (entered, left) = PER_SECOND[slot];
        let (entered, left) = (times(entered, seconds), times(left, seconds));
        let current = OPENING[slot] + entered.cast_signed() - left.cast_signed();
        Gauge {
            current: Some(current.max(0)),
            entered: Some(entered),
            left: Some(left),
            corrected: Some((-current).max(0)),
        }
    });
    let moved = PER_SECOND.map(|(entered, left)| {
        Some(Flow { entered: times(entered, interval), left: times(left, interval) })
    });
    let transitions = PAIRS.map(|(from, to, per_second)| Transition {
        from,
        to,
        count: times(per_second, seconds),
        in_interval: times(per_second, interval),
    });
    Snapshot {
        families: None,
        namespaces: None,
        sees_all: true,
        verdict: None,
        time: noon() + Duration::from_secs(seconds),
        elapsed: Duration::from_secs(seconds),
        interval: Duration::from_secs(interval),
        attached: None,
        unreconciled: Some(0),
        missed_elsewhere: 0,
        audits: 4,
        audited: Some(Duration::from_secs(3)),
        states,
        moved,
        transitions: transitions.to_vec(),
        time_wait: time_wait(seconds, interval),
        missed: Missed::default(),
        losses: None,
        close_reasons: None,
        histograms: None,
        reconciles: 0,
        map_full: 0,
        map_errors: 0,
        cost: Vec::new(),
        process_time: Duration::from_millis(2 * seconds),
        owners: None,
    }
}

/// Returns the numbers of time-wait sockets in the snapshot that is taken `seconds` after the
/// start, for an interval of `interval` seconds.
fn time_wait(seconds: u64, interval: u64) -> TimeWait {
    let exits = |seconds| Exits {
        expired: Some(590 * seconds),
        reused: Some(25 * seconds),
        killed: Some(10 * seconds),
        other: Some(4 * seconds),
    };
    TimeWait {
        sockets: Some(45_068 + 145 * seconds),
        limit: Some(262_144),
        entries: Some(774 * seconds),
        exits: exits(seconds),
        exits_in_interval: exits(interval),
        overflows: Some(0),
        entries_per_second: Some(774.0),
        exits_per_second: Some(629.0),
    }
}

pub(crate) fn with_cost(mut snapshot: Snapshot) -> Snapshot {
    let runs = |count, of: Duration| Runs {
        count: count * of.as_secs(),
        time: Duration::from_nanos(count * of.as_secs() * 79),
    };
    snapshot.cost =
        [("inet_sock_set_state", 5224), ("inet_twsk_schedule", 785), ("tcp_iterator", 0)]
            .map(|(program, count)| Cost {
                program: program.into(),
                total: runs(count, snapshot.elapsed),
                in_interval: runs(count, snapshot.interval),
            })
            .to_vec();
    snapshot
}

/// Describes a kernel that has no hooks for mini sockets. The release name of this kernel contains
/// escape sequences.
pub(crate) fn hostile_start() -> Start {
    let hooks = Hooks {
        transitions: Some(Transitions::RawTp),
        time_wait: Some(Provider::None),
        syn_recv: Some(Provider::None),
    };
    let limits = vec![
        Limit::Transitions {
            by: Transitions::RawTp,
            reasons: vec![Reason::Failed(Transitions::TpBtf, "\x1b[2Jrefused".to_owned())],
            effect: Effect::CostlyTransitions,
        },
        Limit::Minis {
            minis: Minis::TimeWait,
            by: Provider::None,
            reasons: Vec::new(),
            effect: Effect::NoTimeWait,
        },
    ];
    let mut start = start();
    start.kernel = "6.1\x1b]0;owned\x07\n\u{202e}".into();
    start.attached = Attached { hooks, limits };
    start.states[9] = Gauge::default();
    start
}

pub(crate) fn unsure(mut snapshot: Snapshot) -> Snapshot {
    snapshot.states[9] = Gauge::default();
    snapshot.moved[9] = None;
    snapshot.time_wait = TimeWait { limit: Some(262_144), ..TimeWait::default() };
    snapshot.unreconciled = Some(1);
    snapshot.missed =
        Missed { transitions: 1936, time_wait: 0, syn_recv: 0, unrecorded: 0, unlisted: 0 };
    snapshot.reconciles = 17;
    snapshot.map_full = 4000;
    snapshot
}

fn snapshots(seconds: std::ops::RangeInclusive<u64>) -> impl Iterator<Item = Snapshot> {
    seconds.map(|second| at(second, second - 1))
}

pub(crate) fn shown(view: &mut dyn View, reports: impl IntoIterator<Item = Report>) -> String {
    let mut out = Vec::new();
    for report in reports {
        view.show(&report, &mut out).expect("a vector accepts every write");
    }
    String::from_utf8(out).expect("the text is UTF-8")
}

pub(crate) fn run(seconds: u64) -> Vec<Report> {
    let begin = [Report::Start(start())].into_iter();
    begin.chain(snapshots(1..=seconds).map(Report::Snapshot)).collect()
}

//! Tests that the losses that tests seed are losses: the programs do not count the lost events, and
//! count no missed event either. The tests of [`lost`](crate::lost) rely on these losses.

use tcpstate::{
    probe::{Lost, Options, Pattern, SeededLosses, Testing},
    report::Provider,
    source::{Counts, Reading},
};
use tcpstate_common::State;
use tcpstate_tests::{
    netns::Namespace,
    traced::{Traced, options, testing},
};

use crate::lost::{expired_orphans, flood};

/// A seeded loss, and the events by which the test recognizes it.
struct Case {
    name: &'static str,
    events: Lost,
    pattern: Pattern,
    /// Returns the number of counted events of the lost kind, and the number of counted events of
    /// another kind. Without the loss both numbers are equal, or the first is larger.
    counted: fn(&Counts) -> [u64; 2],
    loses_all: bool,
}

const MINIS: [Case; 6] = [
    Case {
        name: "every end of a request",
        events: Lost::RequestEnds,
        pattern: Pattern::EveryNth(1),
        counted: ends_of_requests,
        loses_all: true,
    },
    Case {
        name: "every third end of a request",
        events: Lost::RequestEnds,
        pattern: Pattern::EveryNth(3),
        counted: ends_of_requests,
        loses_all: false,
    },
    Case {
        name: "ends of requests while they are switched on",
        events: Lost::RequestEnds,
        pattern: Pattern::Switched,
        counted: ends_of_requests,
        loses_all: true,
    },
    Case {
        name: "every birth of a request",
        events: Lost::RequestBirths,
        pattern: Pattern::EveryNth(1),
        counted: |counts| reversed(ends_of_requests(counts)),
        loses_all: true,
    },
    Case {
        name: "ends of time-wait sockets in bursts",
        events: Lost::TimeWaitEnds,
        pattern: Pattern::Bursts(3),
        counted: ends_of_time_wait,
        loses_all: false,
    },
    Case {
        name: "every birth of a time-wait socket",
        events: Lost::TimeWaitBirths,
        pattern: Pattern::EveryNth(1),
        counted: |counts| reversed(ends_of_time_wait(counts)),
        loses_all: true,
    },
];

const TRANSITIONS: [Case; 2] = [
    Case {
        name: "every second move to CLOSE_WAIT",
        events: Lost::Transitions { from: Some(State::Established), to: Some(State::CloseWait) },
        pattern: Pattern::EveryNth(2),
        counted: |counts| {
            let births = counts.transitions(State::SynRecv, State::Established);
            [counts.transitions(State::Established, State::CloseWait), births]
        },
        loses_all: false,
    },
    Case {
        name: "every transition",
        events: Lost::Transitions { from: None, to: None },
        pattern: Pattern::EveryNth(1),
        counted: |counts| [counts.total(), counts.flows.time_wait_entries()],
        loses_all: true,
    },
];

fn ends_of_requests(counts: &Counts) -> [u64; 2] {
    let requests = counts.flows.minis(State::SynRecv);
    [requests.left, requests.entered]
}

fn ends_of_time_wait(counts: &Counts) -> [u64; 2] {
    [counts.flows.time_wait_exits(), counts.flows.time_wait_entries()]
}

fn reversed([first, second]: [u64; 2]) -> [u64; 2] {
    [second, first]
}

/// The test reads the counters of the programs, because tcpstate may correct its gauges.
#[test]
fn seeded_losses_are_silent_with_each_provider() {
    let _namespace = Namespace::enter();
    let minis = [None, Some(Provider::Timer)].into_iter().flat_map(|provider| {
        let start = move |case| (case, start(case, provider));
        MINIS.iter().map(start)
    });
    let transitions = TRANSITIONS.iter().map(|case| (case, start(case, None)));
    let mut tracers: Vec<_> = minis.chain(transitions).collect();
    flood(31);
    let _servers = expired_orphans(31);
    for (case, (traced, before)) in &mut tracers {
        let now = traced.tracer.live().read().expect("a cut can be made");
        let [lost, other] = (case.counted)(&now.counts.since(&before.counts));
        println!("{}: {lost} counted, {other} others", case.name);
        assert_eq!(now.missed.since(&before.missed).total(), 0, "{}: missed", case.name);
        assert!(lost < other, "{}: {lost} of {other}", case.name);
        assert_eq!(lost == 0, case.loses_all, "{}: {lost} of {other}", case.name);
    }
}

/// Starts a tracer with a seeded loss, and returns its first reading.
fn start(case: &Case, provider: Option<Provider>) -> (Traced, Reading) {
    let &Case { events, pattern, .. } = case;
    let losses = Some(SeededLosses { events, pattern, spares_timers: false });
    let testing = Testing { losses, ..testing() };
    let options = Options { time_wait: provider, syn_recv: provider, testing, ..options() };
    let mut traced = Traced::unaudited(&options);
    traced.tracer.probe_mut().set_losing(true).expect("the map can be written");
    let reading = traced.tracer.live().read().expect("a cut can be made");
    (traced, reading)
}

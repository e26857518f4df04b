//! Tests event lines of mini sockets that come from timers. Kernels on which no program can be
//! attached to functions have only timers.

use std::net::IpAddr;

use tcpstate::{
    filter::{End, EventFilter},
    probe::{EventOptions, HistogramOptions, Netns, Options},
    report::{Event, Family as Kind, Hook, Minis, Provider},
    source::Events,
};
use tcpstate_common::{State, histogram::By};
use tcpstate_tests::{
    audit::ATTEMPTS,
    emulated::scaled,
    netns::Namespace,
    traced::{Traced, options},
    traffic::{Load, Style},
    truth, wait,
};

fn by_timers(options: Options) -> Options {
    let timer = Some(Provider::Timer);
    Options { time_wait: timer, syn_recv: timer, ..options }
}

fn with_events() -> Options {
    Options { events: Some(EventOptions::default()), ..options() }
}

/// The fields of a line that do not depend on the hook. The hooks are called at slightly different
/// moments, and timers do not tell why a socket ended.
type Line = (Hook, State, State, Kind, Option<IpAddr>, Option<u16>, Option<IpAddr>, Option<u16>);

/// Returns the sorted lines of mini sockets.
fn mini_lines(events: &mut Events) -> Vec<Line> {
    let line = |event: Event| {
        let Event { hook, from, to, family, local, local_port, remote, remote_port, .. } = event;
        (hook, from, to, family, local, local_port, remote, remote_port)
    };
    let is_mini = |line: &Line| line.0 != Hook::Transitions;
    let mut lines: Vec<_> = events.take(usize::MAX).into_iter().map(line).filter(is_mini).collect();
    lines.sort_by_key(|line| format!("{line:?}"));
    lines
}

#[test]
fn events_by_timers_are_the_lines_of_the_best_hooks() {
    let connections = scaled(2_000);
    let _namespace = Namespace::enter();
    let mut best = Traced::with(&with_events());
    let mut timed = Traced::with(&by_timers(with_events()));
    for minis in Minis::BOTH {
        assert_eq!(timed.tracer.probe().provider(minis), Provider::Timer);
        println!("{minis:?}: timers beside {:?}", best.tracer.probe().provider(minis));
    }
    let mut of_best = best.tracer.take_events().expect("events are asked for");
    let mut of_timed = timed.tracer.take_events().expect("events are asked for");
    // The test is repeated only if the kernel withheld events from the programs.
    for attempt in 1..=ATTEMPTS {
        let before = (best.lost(), timed.lost());
        let load = Load::start(2, Style::Mixed);
        wait::until("connections", || load.completed() >= connections);
        let _ = load.stop();
        truth::await_end_of_sockets();
        let (expected, lines) = (mini_lines(&mut of_best), mini_lines(&mut of_timed));
        if (best.lost(), timed.lost()) != before {
            println!("attempt {attempt}: the kernel kept events from the programs");
            continue;
        }
        let of = |hook| lines.iter().filter(|line| line.0 == hook).count();
        println!("{} of requests, {} of time-wait sockets", of(Hook::SynRecv), of(Hook::TimeWait));
        assert!(of(Hook::SynRecv) > 0 && of(Hook::TimeWait) > 0, "{lines:#?}");
        assert_eq!(lines.len(), expected.len());
        for (line, expected) in lines.iter().zip(&expected) {
            assert_eq!(line, expected);
        }
        timed.assert_equal("with events by timers");
        return;
    }
    panic!("the kernel kept events from the programs each time");
}

/// Returns a list of networks that differ from each other.
fn networks(count: usize) -> String {
    (0..count).map(|index| format!("10.{index}.0.0/16")).collect::<Vec<_>>().join(",")
}

/// Returns a filter with all conditions, and with as many items as each condition allows.
fn largest_filter() -> EventFilter {
    let numbers = || (1..=16).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    let names = (1..=16).map(|number| format!("name{number}")).collect::<Vec<_>>().join(",");
    let ports = "1-100,200";
    EventFilter {
        ports: [End::Local, End::Remote, End::Either]
            .map(|end| (end, ports.parse().expect("ports")))
            .into(),
        addresses: [(End::Local, 10), (End::Remote, 11), (End::Either, 11)]
            .map(|(end, count)| (end, networks(count).parse().expect("networks")))
            .into(),
        moves: Some("syn_sent:established,:close_wait,time_wait:".parse().expect("transitions")),
        pids: Some(numbers().parse().expect("numbers")),
        program: Some(1),
        comms: Some(names.parse().expect("names")),
        uids: Some(numbers().parse().expect("numbers")),
        cgroups: Some((1..=16).collect()),
        min_duration: Some(std::time::Duration::from_millis(5)),
    }
}

/// The programs for events at timers are the largest programs. Old kernels refuse a program whose
/// paths are too many (E2BIG).
#[test]
fn events_by_timers_load_with_the_largest_filter() {
    let _namespace = Namespace::enter();
    let grouped = HistogramOptions { by: Some(By::Remote), ..HistogramOptions::default() };
    let networks =
        vec![(End::Either, networks(32).parse().expect("as many networks as a filter can have"))];
    let cases = [
        ("events", with_events()),
        (
            "events, 32 networks, all namespaces",
            Options {
                netns: Netns::All,
                event_filter: EventFilter { addresses: networks, ..EventFilter::default() },
                ..with_events()
            },
        ),
        (
            "events, durations, the largest filter, by family",
            Options {
                histograms: Some(grouped),
                by_family: true,
                event_filter: largest_filter(),
                ..with_events()
            },
        ),
    ];
    for (name, options) in cases {
        let traced = Traced::unaudited(&by_timers(options));
        for minis in Minis::BOTH {
            assert_eq!(traced.tracer.probe().provider(minis), Provider::Timer, "{name}");
        }
    }
}

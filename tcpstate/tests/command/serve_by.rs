//! Tests the series of `tcpstate serve --by`: they equal the sockets that `ss` lists, and what the
//! processes of the test did. They never fall when owners come and go.
#![allow(clippy::float_cmp, reason = "counts are whole numbers, which floats hold exactly")]

use std::collections::BTreeMap;

use tcpstate_common::State;
use tcpstate_tests::{
    actor::{Actor, Costume},
    netns::{Namespace, Place},
    traced::Traced,
    traffic::{Family, Listener, answer, ask, connect_and_reset},
    truth, wait,
};

use super::served::{Metrics, Server, serve};

/// The number of connections of one test.
const CONNECTIONS: u32 = 20;

/// Returns the samples of a metric by their labels.
fn samples(metrics: &Metrics, name: &str) -> BTreeMap<String, f64> {
    let labels = |series: &str| Some(series.strip_prefix(name)?.strip_prefix('{')?.to_owned());
    metrics.iter().filter_map(|(series, &value)| Some((labels(series)?, value))).collect()
}

fn sum(metrics: &Metrics, name: &str) -> f64 {
    samples(metrics, name).values().sum()
}

/// Asserts that the gauges of a key, added up, are the sockets of each state, and that the counters
/// are the transitions of all sockets.
fn assert_sums(metrics: &Metrics, key: &str, place: &Place) {
    let truth = place.inside(truth::ss);
    for state in State::GAUGES {
        let label = format!("state=\"{}\"}}", state.label());
        let gauges = samples(metrics, &format!("tcpstate_{key}_connections"));
        let there: f64 = gauges.iter().filter(|(it, _)| it.ends_with(&label)).map(|it| it.1).sum();
        assert_eq!(there, truth[state] as f64, "{key} {state}: {gauges:?}");
    }
    let transitions = |from: &str, to: &str| {
        let labels = format!("from=\"{from}\",to=\"{to}\"");
        let all = samples(metrics, "tcpstate_transitions_total");
        all.iter().filter(|(it, _)| it.starts_with(&labels)).map(|it| it.1).sum::<f64>()
    };
    let total = |column: &str| sum(metrics, &format!("tcpstate_{key}_{column}_total"));
    assert_eq!(total("opened"), transitions("close", "syn_sent"), "{key}");
    assert_eq!(total("failed_connects"), transitions("syn_sent", "close"), "{key}");
    assert_eq!(total("time_wait_entries"), metrics["tcpstate_time_wait_entries_total"], "{key}");
}

/// Returns the only sample whose labels begin with a text.
fn only(metrics: &Metrics, name: &str, labels: &str) -> f64 {
    let all = samples(metrics, name);
    let found: Vec<f64> =
        all.iter().filter(|(it, _)| it.starts_with(labels)).map(|it| *it.1).collect();
    assert_eq!(found.len(), 1, "{name}{{{labels}: {all:?}");
    found[0]
}

/// Asserts that only one port has a series: connect() chose all other ports.
fn assert_only_port(metrics: &Metrics, port: &str) {
    let mut ports: Vec<String> =
        samples(metrics, "tcpstate_local_port_opened_total").into_keys().collect();
    ports.sort_unstable();
    let mut expected =
        [port, "client", "gone", "other", "unknown"].map(|port| format!("local_port=\"{port}\"}}"));
    expected.sort_unstable();
    assert_eq!(ports, expected);
}

#[test]
fn serve_by_several_keys_equals_ss_and_the_work_of_processes() {
    let _namespace = Namespace::enter();
    for family in Family::BOTH {
        let place = Place::new();
        let mut idle = Traced::start();
        let netns = format!("path:{}", place.path().display());
        let keys = ["--by", "process", "--by", "remote", "--by", "remote-port"];
        let keys = [&keys[..], &["--by", "local-port", "--netns", &netns]].concat();
        let server = Server::start(&mut serve(&keys));
        let (port, pids) = place.inside(|| {
            let listener = Listener::open(family);
            let mut serving = Actor::start(Costume::named("server"), || {
                answer(listener.socket(), CONNECTIONS.into());
            });
            let mut client = Actor::start(Costume::named("client"), || {
                ask(listener.address(), CONNECTIONS.into());
            });
            let pids = (serving.pid(), client.pid());
            serving.cue();
            client.cue();
            client.join();
            serving.join();
            (listener.port(), pids)
        });
        wait::grace_period();
        let metrics = server.exact_metrics();
        if idle.uncounted() > 0 {
            println!("{family}: skipped: the kernel kept events from the programs");
            continue;
        }
        for key in ["process", "remote", "remote_port", "local_port"] {
            assert_sums(&metrics, key, &place);
        }
        let all: f64 = CONNECTIONS.into();
        let client = format!("process=\"client[{}]\",pid=\"{}\",comm=\"client\"", pids.1, pids.1);
        let serving = format!("process=\"server[{}]\"", pids.0);
        let of = |column: &str, labels: &str| {
            only(&metrics, &format!("tcpstate_process_{column}_total"), labels)
        };
        assert_eq!(of("opened", &client), all);
        assert_eq!(of("time_wait_entries", &client), all);
        assert_eq!(of("failed_connects", &client), 0.0);
        assert_eq!(of("accepted", &serving), all);
        assert_eq!(of("time_wait_entries", &serving), 0.0);
        let time_wait = format!("{client},state=\"time_wait\"");
        assert_eq!(only(&metrics, "tcpstate_process_connections", &time_wait), all);
        let port = port.to_string();
        let by_ss = place.inside(|| truth::ss_filtered(&["dport", "=", &format!(":{port}")]));
        let to_port = format!("remote_port=\"{port}\",state=\"time_wait\"");
        let there = only(&metrics, "tcpstate_remote_port_connections", &to_port);
        assert_eq!(there, by_ss[State::TimeWait] as f64);
        let accepted = format!("local_port=\"{port}\"");
        assert_eq!(only(&metrics, "tcpstate_local_port_accepted_total", &accepted), all);
        assert_only_port(&metrics, &port);
        assert_eq!(sum(&metrics, "tcpstate_groups_without_room_total"), 0.0);
        assert!(server.end().success());
    }
}

#[test]
fn serve_by_process_never_falls_when_owners_are_recycled() {
    const PROCESSES: u32 = 40;
    let _namespace = Namespace::enter();
    let place = Place::new();
    let mut idle = Traced::start();
    let netns = format!("path:{}", place.path().display());
    let limits = ["--max-owners", "16", "--max-series", "4"];
    let arguments = [&["--by", "process", "--netns", &netns][..], &limits].concat();
    let server = Server::start(&mut serve(&arguments));
    let names = ["opened", "accepted", "time_wait_entries", "failed_connects"]
        .map(|column| format!("tcpstate_process_{column}_total"));
    let listener = place.inside(|| Listener::open(Family::V4));
    let to = listener.address().as_socket().expect("an address of the internet");
    let mut earlier = server.metrics();
    for number in 1..=PROCESSES {
        place.inside(|| {
            // Without a time-wait socket, nothing refers to the process after its end.
            let mut client = Actor::start(Costume::named("client"), || connect_and_reset(to));
            client.cue();
            client.join();
            drop(listener.accept());
        });
        let now = server.metrics();
        for name in &names {
            for (labels, count) in samples(&earlier, name) {
                // A series that ends is part of the series `gone`.
                let next = samples(&now, name).get(&labels).copied();
                assert!(
                    next.is_none_or(|next| next >= count),
                    "{name}{{{labels} fell from {count}"
                );
            }
            assert!(sum(&now, name) >= sum(&earlier, name), "the sum of {name} fell");
        }
        let series = samples(&now, &names[0]).len();
        assert!(series <= 4 + 3, "{series} series after {number} processes");
        earlier = now;
    }
    wait::grace_period();
    let metrics = server.exact_metrics();
    if idle.uncounted() > 0 {
        println!("skipped: the kernel kept events from the programs");
        return;
    }
    assert_eq!(sum(&metrics, &names[0]), f64::from(PROCESSES));
    assert_sums(&metrics, "process", &place);
    let without_room = metrics["tcpstate_groups_without_room_total{by=\"process\"}"];
    assert!(without_room >= f64::from(PROCESSES - 16), "{without_room}");
}

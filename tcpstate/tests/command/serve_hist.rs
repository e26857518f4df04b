//! Tests `tcpstate serve --hist` and `--by`. In every scrape, including the first, and in every
//! group, the numbers of durations must agree with the transition counts.
#![allow(clippy::float_cmp, reason = "counts are whole numbers, which floats hold exactly")]

use tcpstate_common::{State, abi::is_birth};
use tcpstate_tests::{
    netns::{Namespace, Place},
    traced::Traced,
    traffic::{Family, Listener, Load, Style, reset},
    truth, wait,
};

use super::served::{Metrics, Server, serve, without_listeners};

/// Adds up the values of all series of a metric that have all these labels.
fn sum(metrics: &Metrics, name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |series: &str| {
        let of_name =
            series.strip_prefix(name).filter(|rest| rest.is_empty() || rest.starts_with('{'));
        of_name.is_some_and(|rest| {
            labels.iter().all(|(label, text)| rest.contains(&format!("{label}=\"{text}\"")))
        })
    };
    metrics.iter().filter(|(series, _)| has(series)).map(|(_, count)| count).sum()
}

/// Returns all values of a label in the series of a metric.
fn said(metrics: &Metrics, name: &str, label: &str) -> Vec<String> {
    let of = |series: &String| {
        let rest = series.strip_prefix(name)?.strip_prefix('{')?;
        let (_, text) = rest.split_once(&format!("{label}=\""))?;
        Some(text.split('"').next()?.to_owned())
    };
    let mut all: Vec<String> = metrics.keys().filter_map(of).collect();
    all.sort();
    all.dedup();
    all
}

/// Computes the number of transitions out of a state from the transition counts. The number does
/// not include births of sockets.
fn counted_out_of(metrics: &Metrics, from: State) -> f64 {
    let ends = State::ALL.into_iter();
    let ends = ends.filter(|to| *to != from && !is_birth(from.number(), to.number()));
    let count = |to: State| {
        let labels = [("from", from.label()), ("to", to.label())];
        sum(metrics, "tcpstate_transitions_total", &labels)
    };
    ends.map(count).sum()
}

/// Returns the number of events that the BPF programs missed according to the metrics.
fn missed(metrics: &Metrics) -> f64 {
    sum(metrics, "tcpstate_untimed_total", &[("reason", "missed")])
        + sum(metrics, "tcpstate_missed_events_total", &[("hook", "transitions")])
}

fn only_grows(series: &str) -> bool {
    let name = series.split('{').next().unwrap_or_default();
    ["_total", "_bucket", "_count", "_sum"].iter().any(|end| name.ends_with(end))
}

#[test]
fn serve_hist_agrees_with_the_matrix_from_the_first_scrape() {
    let _namespace = Namespace::enter();
    let place = Place::new();
    let mut idle = Traced::start();
    let netns = format!("path:{}", place.path().display());
    let server = Server::start(&mut serve(&["--netns", &netns, "--hist"]));
    let first = without_listeners(server.metrics());
    for (series, count) in first.iter().filter(|(series, _)| series.contains("_seconds_bucket")) {
        assert_eq!(*count, 0.0, "{series}");
    }
    let load = place.inside(|| Load::start(2, Style::Mixed));
    let mut earlier = first.clone();
    for connections in [500, 1000, 1500] {
        wait::until("connections", || load.completed() >= connections);
        let now = without_listeners(server.metrics());
        for (series, count) in earlier.iter().filter(|(series, _)| only_grows(series)) {
            assert!(now[series] >= *count, "{series} fell from {count} to {}", now[series]);
        }
        earlier = now;
    }
    assert!(load.stop() > 0);
    place.inside(|| {
        truth::await_end_of_sockets();
    });
    let found = without_listeners(server.metrics());
    let series = |metrics: &Metrics| metrics.keys().cloned().collect::<Vec<_>>();
    assert_eq!(series(&first), series(&found));
    let lost = 2.0 * idle.uncounted() as f64 + missed(&found);
    let mut off = 0.0;
    for state in State::GAUGES.into_iter().filter(|state| *state != State::TimeWait) {
        let labels = [("state", state.label()), ("sockets", "full")];
        let known = sum(&found, "tcpstate_state_duration_seconds_count", &labels);
        let infinite = [&labels[..], &[("le", "+Inf")]].concat();
        assert_eq!(sum(&found, "tcpstate_state_duration_seconds_bucket", &infinite), known);
        let unknown = sum(&found, "tcpstate_unknown_durations_total", &labels);
        let counted = counted_out_of(&found, state);
        println!("{state}: {counted} counted, {known} timed, {unknown} unknown");
        off += (known + unknown - counted).abs();
    }
    assert!(off <= lost, "off by {off}, and {lost} were lost");
    assert!(sum(&found, "tcpstate_state_duration_seconds_sum", &[("state", "established")]) > 0.0);
}

#[test]
fn serve_by_port_and_cgroup_has_series_up_to_a_limit() {
    const CONNECTIONS: usize = 7;
    let _namespace = Namespace::enter();
    let mut idle = Traced::start();
    for (by, label, most) in [
        ("local-port", "local_port", 100),
        ("local-port", "local_port", 1),
        ("cgroup", "cgroup", 3),
    ] {
        let place = Place::new();
        let (netns, most) = (format!("path:{}", place.path().display()), most.to_string());
        let arguments = ["--netns", &netns, "--by", by, "--max-series", &most, "--hist"];
        let server = Server::start(&mut serve(&arguments));
        let name = format!("tcpstate_{label}_transitions_total");
        let first = server.metrics();
        let none = if by == "cgroup" { "none" } else { "client" };
        assert_eq!(said(&first, &name, label), [none, "other"], "{by}");
        assert_eq!(sum(&first, &name, &[]), 0.0, "{by}");
        let port = place.inside(|| {
            let listener = Listener::open(Family::V4);
            for _ in 0..CONNECTIONS {
                let (client, server) = (listener.connect(), listener.accept());
                reset(client);
                wait::until("the RST", || truth::sockets().full[State::Established] == 0);
                drop(server);
            }
            listener.port().to_string()
        });
        let found = server.metrics();
        let lost = 2.0 * idle.uncounted() as f64 + missed(&found);
        let of = |labels: &[(&str, &str)]| sum(&found, &name, labels);
        let equals = |count: f64, expected: usize| (count - expected as f64).abs() <= lost;
        let connected = [("from", "syn_sent"), ("to", "established")];
        assert!(equals(of(&connected), CONNECTIONS), "{by}: {found:?}");
        let groups = said(&found, &name, label);
        assert!(groups.len() <= 2 + most.parse::<usize>().expect("a number"), "{groups:?}");
        for group in [none, "other"] {
            assert!(groups.contains(&group.to_owned()), "{groups:?}");
        }
        let lifetimes =
            |labels: &[(&str, &str)]| sum(&found, "tcpstate_lifetime_seconds_count", labels);
        assert!(equals(lifetimes(&[]), 2 * CONNECTIONS), "{by}");
        if label == "local_port" {
            // The ports that connect() chose take no room, so one group is enough.
            let accepted = [(label, &*port), ("from", "syn_recv"), ("to", "established")];
            assert!(equals(of(&accepted), CONNECTIONS), "{found:?}");
            assert!(equals(lifetimes(&[(label, &port)]), CONNECTIONS), "{found:?}");
            assert!(equals(lifetimes(&[(label, "client")]), CONNECTIONS), "{found:?}");
            assert_eq!(of(&[(label, "other")]), 0.0);
        }
    }
}

//! `tcpstate serve --otlp`. The test receiver uses OpenTelemetry's protocol crates. Over gRPC and
//! over HTTP, the receiver must receive the values that a Prometheus scrape returns. While the
//! receiver is down, the memory of `serve` must not grow. When the receiver is up again, `serve`
//! must send the queued collections.
#![allow(clippy::float_cmp, reason = "counts are whole numbers, which floats hold exactly")]

mod receiver;

use std::net::{SocketAddr, TcpListener};

use receiver::{Collection, Receiver};
use tcpstate_tests::{
    measure::resident_bytes,
    netns::{Namespace, Place},
    served::{Metrics, PATIENCE, Server, serve},
    traffic::{Family, Listener},
    wait,
};

/// Runs `serve` for a namespace, with the shortest allowed push interval.
fn pushing(place: &Place, url: &str, protocol: &str) -> Server {
    let netns = format!("path:{}", place.path().display());
    let to = ["--otlp", url, "--otlp-protocol", protocol, "--otlp-interval", "50ms"];
    let arguments = [&["--netns", &netns][..], &to].concat();
    Server::start(&mut serve(env!("CARGO_BIN_EXE_tcpstate-otlp"), &arguments))
}

/// Returns the OpenTelemetry name of a Prometheus series.
fn renamed(series: &str) -> Option<String> {
    let state = |label: &str| match label {
        "close" => "closed".to_owned(),
        "fin_wait1" | "fin_wait2" => label.replace("wait", "wait_"),
        "syn_recv" => "syn_received".to_owned(),
        same => same.to_owned(),
    };
    let (name, labels) = series.split_once('{')?;
    let values: Vec<&str> = labels.split('"').skip(1).step_by(2).collect();
    match (name, &values[..]) {
        ("tcpstate_connections", [of, family]) => Some(format!(
            "system.network.connection.count{{network.connection.state=\"{}\",network.transport=\"tcp\",network.type=\"{family}\"}}",
            state(of)
        )),
        ("tcpstate_transitions_total", [from, to, family]) => Some(format!(
            "tcpstate.transitions{{network.type=\"{family}\",tcpstate.from=\"{}\",tcpstate.to=\"{}\"}}",
            state(from),
            state(to)
        )),
        ("tcpstate_time_wait_exits_total", [reason]) => {
            Some(format!("tcpstate.time_wait_exits{{tcpstate.reason=\"{reason}\"}}"))
        }
        _ => None,
    }
}

fn assert_equal(collection: &Collection, scraped: &Metrics) {
    let mut compared = 0;
    for (series, number) in scraped {
        if let Some(name) = renamed(series) {
            assert_eq!(collection.numbers.get(&name), Some(number), "{series}: {collection:#?}");
            compared += 1;
        }
    }
    assert!(compared > 60, "{compared}: {scraped:?}");
}

#[test]
fn otlp_receivers_get_the_numbers_of_a_scrape_over_grpc_and_http() {
    let _namespace = Namespace::enter();
    let place = Place::new();
    let held = place.inside(|| {
        let listener = Listener::open(Family::V4);
        (listener.pairs(7), listener)
    });
    for protocol in ["grpc", "http"] {
        let receiver = Receiver::start();
        let server = pushing(&place, &receiver.url(), protocol);
        let more = place.inside(|| {
            let listener = Listener::open(Family::V6);
            (listener.pairs(5), listener)
        });
        let scraped = server.exact_metrics();
        // The test waits for two more pushes, because the first push may have been in progress
        // during the scrape.
        let before = receiver.count();
        wait::until_within(PATIENCE, "pushes", || receiver.count() >= before + 2);
        let last = receiver.collections().pop().expect("some came");
        assert_equal(&last, &scraped);
        let v6 = "{network.connection.state=\"established\",network.transport=\"tcp\",network.type=\"ipv6\"}";
        let v6 = last.numbers[&format!("system.network.connection.count{v6}")];
        println!("{protocol}: {v6} established");
        let only_grow: Vec<&str> = last.monotonic.iter().map(String::as_str).collect();
        for name in ["tcpstate.transitions", "tcpstate.time_wait_entries", "process.cpu.time"] {
            assert!(only_grow.contains(&name), "{name}: {only_grow:?}");
        }
        assert!(!only_grow.contains(&"system.network.connection.count"));
        assert_eq!(last.resource["service.name"], "tcpstate");
        assert_eq!(scraped["tcpstate_push_errors_total"], 0.0);
        assert!(server.end().success());
        drop(more);
    }
    drop(held);
}

fn nobody_listens_at() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    listener.local_addr().expect("it has one")
}

#[test]
fn otlp_receiver_gets_queued_collections_after_an_outage() {
    let _namespace = Namespace::enter();
    let place = Place::new();
    let address = nobody_listens_at();
    let server = pushing(&place, &format!("http://{address}"), "grpc");
    let dropped = || server.metrics()["tcpstate_push_dropped_total"];
    wait::until_within(PATIENCE, "the queue to be full", || dropped() > 0.0);
    let (before, full) = (dropped(), resident_bytes(server.pid()));
    let listener = place.inside(|| Listener::open(Family::V4));
    wait::until_within(PATIENCE, "as many again", || dropped() >= before + 64.0);
    let grown = resident_bytes(server.pid()).saturating_sub(full);
    assert!(grown < 1 << 20, "by {grown} bytes");
    let said = server.said();
    assert_eq!(said.matches("tcpstate: cannot push to").count(), 1, "{said}");

    let receiver = Receiver::at(address);
    wait::until_within(PATIENCE, "what waited", || receiver.count() >= 32);
    let passed = receiver.count();
    wait::until_within(PATIENCE, "what comes now", || receiver.count() >= passed + 64);
    let collections = receiver.collections();
    assert!(collections.is_sorted_by_key(|collection| collection.time), "in order");
    let listening = "system.network.connection.count{network.connection.state=\"listen\",network.transport=\"tcp\",network.type=\"ipv4\"}";
    let last = collections.last().expect("some came");
    assert_eq!(last.numbers[listening], 1.0);
    let scraped = server.exact_metrics();
    assert_eq!(scraped["tcpstate_connections{state=\"listen\",family=\"ipv4\"}"], 1.0);
    assert!(scraped["tcpstate_push_errors_total"] >= 3.0);
    assert!(server.end().success());
    drop(listener);
}

//! Tests the gauges of `tcpstate trace` and `serve` after thousands of half-open connections have
//! expired. No sum of the kernel contains half-open connections.

use std::time::Duration;

use tcpstate_tests::{
    lines::{Limits, Lines, Program},
    netns::Namespace,
    traffic::{Wire, deaf_flood, flood},
    watch::Scope,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tcpstate");
/// The number of half-open connections of a large flood.
const LARGE: usize = 25_000;

/// After the last half-open connection, an exact line must come within this time, and no later line
/// may be exact with a wrong gauge.
const LIMITS: Limits =
    Limits { exact_within: Duration::from_secs(5), wrong_within: Duration::from_secs(5) };

/// Compares the lines of `trace` and `serve` after each of these floods.
fn assert_exact_after(namespace: &Namespace, floods: usize, mut flood: impl FnMut() -> usize) {
    let mut programs = vec![Program::trace(PROGRAM, Scope::One)];
    programs.extend(Program::serve(PROGRAM, namespace));
    let mut lines = Lines::new(programs);
    let mut failures = Vec::new();
    for number in 1..=floods {
        let requests = flood();
        let comparison = lines.compare(&LIMITS);
        println!("flood {number}: {requests} requests, exact after {:.1?}", comparison.exact_after);
        if !comparison.failures.is_empty() {
            failures.push(format!("flood {number}:\n{}", comparison.failures.join("\n")));
            lines.restart();
        }
    }
    let tally = lines.tally;
    println!("{tally}; {} of {floods} floods failed", failures.len());
    failures.extend(lines.end());
    assert!(
        failures.is_empty(),
        "{tally}; {} of {floods} floods failed\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// Runs floods over a tun device.
fn assert_exact_after_large_floods(floods: usize) {
    let namespace = Namespace::enter();
    match Wire::open() {
        Ok(wire) => assert_exact_after(&namespace, floods, || flood(&wire, LARGE)),
        Err(error) => println!("skipped: no tun device: {error}"),
    }
}

#[test]
fn floods_one_of_25_000_half_open_connections_ends_exact() {
    assert_exact_after_large_floods(1);
}

#[test]
fn floods_ten_of_25_000_half_open_connections_end_exact() {
    assert_exact_after_large_floods(10);
}

#[test]
fn floods_twelve_of_3_000_deaf_clients_end_exact() {
    let namespace = Namespace::enter();
    assert_exact_after(&namespace, 12, || deaf_flood(3_000));
}

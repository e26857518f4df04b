//! Tests the gauges of each family after many short connections: `tcpstate trace --family` and
//! `serve`.

use std::{thread, time::Duration};

use tcpstate_tests::{
    lines::{Limits, Lines, Program},
    netns::Namespace,
    traffic::{Family, Load, Style},
    truth,
    watch::Scope,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tcpstate");
/// The number of connections per second, of which half leave a socket in TIME_WAIT. After a minute,
/// a list of all sockets still takes less than the time that tcpstate may spend at once.
const RATE: u32 = 2_000;
/// The time without a change before the comparison.
const QUIET: Duration = Duration::from_secs(1);
/// An exact line must come within this time after the quiet time. No exact line may be wrong.
const LIMITS: Limits =
    Limits { exact_within: Duration::from_secs(5), wrong_within: Duration::ZERO };

/// Makes connections for this time, and compares the lines of `trace --family 4`, `trace --family
/// 6` and `serve` with the kernel afterwards.
fn assert_equal_after(churn: Duration) {
    let namespace = Namespace::enter();
    let mut programs: Vec<Program> =
        Family::BOTH.map(|family| Program::trace(PROGRAM, Scope::Family(family))).into();
    programs.extend(Program::serve(PROGRAM, &namespace));
    let mut lines = Lines::new(programs);
    let load = Load::paced(2, Style::Mixed, Some(RATE));
    thread::sleep(churn);
    let connections = load.stop();
    truth::await_end_of_sockets();
    truth::await_quiet(QUIET);
    let comparison = lines.compare(&LIMITS);
    let tally = lines.tally;
    println!("{connections} connections: {tally}; exact after {:.1?}", comparison.exact_after);
    let mut failures = comparison.failures;
    failures.extend(lines.end());
    assert!(failures.is_empty(), "{connections} connections: {tally}\n{}", failures.join("\n"));
}

#[test]
fn churn_of_five_seconds_leaves_the_gauges_of_each_family_equal() {
    assert_equal_after(Duration::from_secs(5));
}

#[test]
fn churn_of_a_minute_leaves_the_gauges_of_each_family_equal() {
    assert_equal_after(Duration::from_secs(60));
}

//! Tests the gauges of the library over scripted lifetimes of sockets (`tcpstate_tests::torture`).
//! Each lifetime ends at a random moment. `tcpstate/tests/command/torture.rs` tests the program.
//!
//! `TCPSTATE_TEST_SEED` repeats the lifetimes of an earlier run, which prints its seed.
//! `TCPSTATE_TEST_LIFETIMES` changes the number of lifetimes.

use std::time::Duration;

use tcpstate::probe::{Lost, Pattern, SeededLosses, Testing};
use tcpstate_tests::{
    emulated::scaled,
    lines::{Limits, Program},
    netns::Namespace,
    torture::{self, LIMITS},
    traced::testing,
    traffic::Family,
    watch::Scope,
};

#[test]
fn torture_never_makes_an_exact_snapshot_wrong() {
    let _namespace = Namespace::enter();
    let scopes = [Scope::One, Scope::Family(Family::V6)];
    let programs = scopes.into_iter().map(|scope| Program::library(scope, testing()));
    if let Some(report) = torture::run(programs.collect(), scaled(60).max(30)) {
        report.assert();
    }
}

#[test]
fn torture_with_silent_losses_never_makes_an_exact_snapshot_wrong() {
    let _namespace = Namespace::enter();
    let all = Lost::Transitions { from: None, to: None };
    // The traffic pauses, and an audit can find everything right in a pause. If the program then
    // loses the only event after the pause, the sockets seem to be still at rest. Such a loss
    // counts as a loss under traffic: the next audit finds it within the budget of
    // docs/ACCURACY.md.
    let limits = Limits { wrong_within: Duration::from_secs(3), ..LIMITS };
    let losses = [(all, 7), (all, 31), (Lost::RequestBirths, 3), (Lost::TimeWaitBirths, 5)];
    let programs = losses.map(|(events, one_in)| {
        let pattern = Pattern::EveryNth(one_in);
        let losses = Some(SeededLosses { events, pattern, spares_timers: false });
        Program::library(Scope::One, Testing { losses, ..testing() })
    });
    if let Some(report) = torture::run_within(programs.into(), scaled(40).max(30), limits) {
        report.assert();
    }
}

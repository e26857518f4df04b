//! Tests the gauges of `tcpstate trace` over scripted lifetimes of sockets
//! (`tcpstate_tests::torture`). Each lifetime ends at a random moment.
//!
//! `TCPSTATE_TEST_SEED` repeats the lifetimes of an earlier run, which prints its seed.
//! `TCPSTATE_TEST_LIFETIMES` changes the number of lifetimes.

use tcpstate_tests::{lines::Program, netns::Namespace, torture, traffic::Family, watch::Scope};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tcpstate");

#[test]
fn torture_of_sixty_lifetimes_never_makes_an_exact_line_wrong() {
    let _namespace = Namespace::enter();
    if let Some(report) = torture::run(vec![Program::trace(PROGRAM, Scope::One)], 60) {
        report.assert();
    }
}

#[test]
fn torture_of_a_thousand_lifetimes_never_makes_an_exact_line_wrong() {
    let _namespace = Namespace::enter();
    if let Some(report) = torture::run(vec![Program::trace(PROGRAM, Scope::One)], 1000) {
        report.assert();
        report.assert_all_parts_completed();
    }
}

/// The programs of this test disturb each other, so one program alone has a test of its own. A
/// server is not among the programs: its scrapes are connections in another namespace, and a line
/// of all namespaces is compared only if the other namespaces are at rest.
#[test]
fn torture_by_family_and_namespace_never_makes_an_exact_line_wrong() {
    let _namespace = Namespace::enter();
    let scopes = [Scope::Family(Family::V4), Scope::Family(Family::V6), Scope::All];
    let programs = scopes.map(|scope| Program::trace(PROGRAM, scope));
    if let Some(report) = torture::run(programs.into(), 300) {
        report.assert();
    }
}

#[test]
fn torture_of_serve_never_makes_an_exact_scrape_wrong() {
    let namespace = Namespace::enter();
    let programs = Program::serve(PROGRAM, &namespace);
    if let Some(report) = torture::run(programs.into(), 300) {
        report.assert();
    }
}

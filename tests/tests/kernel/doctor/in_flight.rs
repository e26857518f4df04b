//! Tests the rule about CLOSE_WAIT with sockets that are in no file table of a process.

use tcpstate::doctor::Level;
use tcpstate_common::State;
use tcpstate_tests::{
    netns::Namespace,
    traffic::{Family, InFlight, Listener, shutdown},
    truth, wait,
};

use super::{found_with, of, only, thresholds};

#[test]
fn doctor_names_the_listener_of_sockets_in_no_file_table() {
    let _namespace = Namespace::enter();
    let listener = Listener::open(Family::V4);
    let pairs: Vec<_> = (0..120).map(|_| (listener.connect(), listener.accept())).collect();
    let (clients, servers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    shutdown(&clients);
    let close_wait = || truth::sockets().full[State::CloseWait];
    wait::until("120 in CLOSE_WAIT", || close_wait() == 120);
    let _in_flight = InFlight::send(servers);
    let now = thresholds("[close_wait]\nsettled_seconds = 0");
    let findings = found_with(&now, || ());
    let leak = only(&findings, "C1", Level::Warn);
    let own = format!("[{}]", std::process::id());
    assert!(leak.summary.starts_with("an unknown program of uid 0 (listener: "), "{leak:#?}");
    assert!(leak.summary.contains(&own) && leak.advice.contains(&own), "{leak:#?}");
    assert!(!leak.advice.contains("as root"), "root runs this test: {leak:#?}");
    assert!(leak.numbers["pid"].is_null() && leak.numbers["uid"] == 0, "{leak:#?}");
    assert_eq!(of(&findings, "C1").len(), 1);
}

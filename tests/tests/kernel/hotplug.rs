//! Tests a CPU that is taken offline while it counts, and brought online again.

use std::{fs, path::Path};

use tcpstate::{probe::Options, report::Provider};
use tcpstate_common::State;
use tcpstate_tests::{
    emulated::is_emulated,
    netns::Namespace,
    traced::{Traced, options},
    traffic::{Load, Style},
    wait,
};

/// The file that takes the second CPU offline. Linux does not allow the first CPU to go offline.
const SWITCH: &str = "/sys/devices/system/cpu/cpu1/online";

/// The second CPU is offline while this value exists. Dropping the value brings the second CPU
/// online again.
struct Offline;

impl Offline {
    fn take() -> Self {
        switch("0");
        Self
    }
}

impl Drop for Offline {
    fn drop(&mut self) {
        switch("1");
    }
}

fn switch(state: &str) {
    fs::write(SWITCH, state).unwrap_or_else(|error| panic!("write {state} to {SWITCH}: {error}"));
}

#[test]
fn hotplug_of_a_processor_under_load_loses_no_count() {
    if !is_emulated() {
        println!("skipped: takes a processor off the machine: `cargo xtask vm hotplug`");
        return;
    }
    assert!(Path::new(SWITCH).exists(), "the guest has two processors");
    let by_timers = Provider::Timer;
    let by_timers = Options { time_wait: Some(by_timers), syn_recv: Some(by_timers), ..options() };
    for options in [options(), by_timers] {
        take_and_return(&options);
    }
}

/// Timers that wait on the offline CPU move to the other CPU.
fn take_and_return(options: &Options) {
    let _namespace = Namespace::enter();
    let mut traced = Traced::unaudited(options);
    let load = Load::start(2, Style::Mixed);
    let go_on = |load: &Load| {
        let goal = load.completed() + 211;
        wait::until("the load", || load.completed() >= goal);
    };
    go_on(&load);
    for _ in 0..3 {
        let offline = Offline::take();
        go_on(&load);
        let under_load = traced.snapshot();
        assert!(State::GAUGES.iter().all(|&state| {
            under_load.gauge(state).and_then(|gauge| gauge.current).is_none_or(|now| now >= 0)
        }));
        drop(offline);
        go_on(&load);
    }
    let _ = load.stop();
    let snapshot = traced.snapshot();
    if !snapshot.is_exact() {
        // A scan corrects losses that the tracer reported.
        traced.reconcile();
    }
    traced.compare().expect("what the processor had counted still counts");
}

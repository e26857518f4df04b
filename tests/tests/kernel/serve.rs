//! Tests `serve` on each kernel: the library, which counts families separately and scans after the
//! process has dropped its privileges, and the program as another user.

use std::{
    fs,
    sync::{Arc, mpsc},
};

use tcpstate::{
    aggregate::{MAX_AUDIT_CPU, Reconcile},
    probe::{Options, kernel::Kernel},
    report::{Minis, Provider},
    serve::{Settings, TracerHandle},
    view::metrics::Format,
};
use tcpstate_common::State;
use tcpstate_tests::{
    emulated::scaled,
    netns::Namespace,
    own,
    privileges::assert_serve_as_another_user,
    traced::{Traced, options},
    traffic::{Family, Listener, Mixed},
    truth, wait,
};

/// The capability set with only `CAP_BPF`. Kernels before 5.19 check CAP_BPF at each use of a map.
const LEAST: &str = "0000008000000000";
const NONE: &str = "0000000000000000";

/// The number of sockets of a family in a state, from the metrics text.
fn gauge(text: &str, state: State, family: &str) -> Option<u64> {
    let series =
        format!("tcpstate_connections{{state=\"{}\",family=\"{family}\"}} ", state.label());
    text.lines()
        .find_map(|line| line.strip_prefix(&series))
        .map(|count| count.parse().expect("a count"))
}

/// Returns the sum of all gauge errors, in sockets, for the states that a provider counts.
fn difference(text: &str, counts_requests: bool) -> u64 {
    let families = [("ipv4", Family::V4), ("ipv6", Family::V6)];
    let of_family = |(name, family): (&str, Family)| {
        let truth = truth::sockets_of(family);
        let off = |state: State| {
            let requests =
                if state == State::SynRecv && counts_requests { truth.requests } else { 0 };
            let there = truth.full[state] + truth.minis[state] + requests;
            gauge(text, state, name).map_or(0, |count| count.abs_diff(there))
        };
        State::GAUGES.into_iter().map(off).sum::<u64>()
    };
    families.into_iter().map(of_family).sum()
}

#[test]
fn serving_is_exact_without_privileges() {
    let _namespace = Namespace::enter();
    let mut idle = Traced::start();
    let counts_requests = idle.tracer.probe().provider(Minis::SynRecv) != Provider::None;
    let listener = Listener::open(Family::V6);
    let before = listener.pairs(17);
    let settings = Settings {
        options: Options { by_family: true, keep_scan_map: true, ..options() },
        reconcile: Reconcile::Auto,
        max_audit_cpu: MAX_AUDIT_CPU,
        drop_privileges: true,
        user: None,
        by: Vec::new(),
        max_series: 100,
        durations: false,
        delivery_stats: Arc::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (sender, reported) = mpsc::channel();
    let (tracer_handle, progress) = TracerHandle::start(settings, move |_| {
        let task = fs::read_link("/proc/thread-self").expect("procfs is mounted");
        sender.send(task).expect("somebody waits");
    })
    .expect("a thread can start");
    let started = runtime.block_on(progress.started).expect("the thread tells");
    started.unwrap_or_else(|error| panic!("{error}"));
    let task = reported.recv().expect("it was told");
    let status = fs::read_to_string(format!("/proc/{}/status", task.display())).expect("it runs");
    let is_old = Kernel::running().expect("uname").guards_each_bpf_call();
    for set in ["CapPrm", "CapEff"] {
        let line = status.lines().find(|line| line.starts_with(set)).expect("a set");
        let expected = if is_old { LEAST } else { NONE };
        assert!(line.ends_with(expected), "{line}");
    }
    let scrape = || {
        let reading = runtime.block_on(tracer_handle.scrape(None)).expect("a scrape");
        let text = reading.text(Format::Prometheus).concat();
        String::from_utf8(text).expect("metrics are text")
    };
    let mixed = Mixed::open(usize::try_from(scaled(2000).max(1000)).expect("it is small"));
    wait::grace_period();
    let text = scrape();
    let (off, lost) = (difference(&text, counts_requests), idle.uncounted());
    assert!(
        off <= 2 * lost || text.contains("\ntcpstate_exact 0\n"),
        "off by {off}, {lost} events were lost"
    );
    for _ in 0..2 {
        runtime.block_on(tracer_handle.scan()).expect("a scan takes no privilege");
        assert_eq!(difference(&scrape(), counts_requests), 0, "after a scan");
    }
    drop((mixed, before, tracer_handle));
    runtime.block_on(progress.ended).expect_err("nothing is ever sent");
}

#[test]
fn serving_as_another_user_keeps_what_map_reads_need() {
    if let Some(program) = own::program() {
        assert_serve_as_another_user(program);
    }
}

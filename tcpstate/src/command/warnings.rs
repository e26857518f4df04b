//! Warnings on stderr at the start and at the end of a run.

use crate::{
    error::Help as _,
    probe::{Error, Probe},
    report::{Minis, Missed, Snapshot},
};

/// Prints the limits that make gauges inexact, and the help. Prints nothing if all providers
/// observe every event.
pub(super) fn at_start(probe: &Probe) {
    let mut help_lines = probe.help_lines().to_vec();
    help_lines.dedup();
    if help_lines.is_empty() {
        return;
    }
    for minis in Minis::BOTH.into_iter().filter(|&minis| !probe.provider(minis).is_exact()) {
        let limits = probe.limits().iter().filter(|limit| limit.limits_gauges_of(minis));
        limits.for_each(|limit| eprintln!("tcpstate: limit: {limit}"));
    }
    for help in help_lines {
        eprintln!("help: {help}");
    }
}

/// Reports that a scan failed. The run continues.
pub(super) fn of_failed_scan(error: &Error) {
    eprintln!("tcpstate: {error}; the gauges are not corrected until a scan succeeds");
    eprintln!("help: {}", error.help());
}

/// Reports that a thread keeps CAP_BPF after a change of the user.
pub(super) fn kept() {
    eprintln!(
        "tcpstate: keeps CAP_BPF, because before Linux 5.19 each read of a map needs CAP_BPF"
    );
}

/// For each map that was full during the run, prints a warning and help on stderr.
pub(super) fn at_end(end: &Snapshot, max_scan_sockets: Option<u32>) {
    let Missed { unrecorded, unlisted, .. } = end.missed;
    let of_scans = end.map_full.saturating_sub(unrecorded + unlisted);
    if unrecorded > 0 {
        eprintln!(
            "tcpstate: {unrecorded} time-wait sockets did not fit into the map FIN_WAIT2: the states FIN_WAIT2 and TIME_WAIT may be wrong by this number"
        );
        eprintln!("help: decrease the sysctl net.ipv4.tcp_fin_timeout");
    }
    if unlisted > 0 {
        eprintln!(
            "tcpstate: {unlisted} events were in network namespaces that did not fit into the table"
        );
        eprintln!("help: increase --max-namespaces");
    }
    if of_scans > 0 {
        of_scan_map(of_scans, end.is_exact(), max_scan_sockets);
    }
}

fn of_scan_map(map_full: u64, is_exact: bool, max_scan_sockets: Option<u32>) {
    let since = if is_exact { ", and a later scan corrected the gauges" } else { "" };
    eprintln!("tcpstate: {map_full} sockets did not fit into a map{since}");
    match max_scan_sockets {
        Some(entries) => eprintln!(
            "help: increase --max-scan-sockets from {entries} to {} or more, or leave the flag out",
            u64::from(entries) + map_full
        ),
        None => eprintln!("help: nothing to do: the next scan has a map of twice the size"),
    }
}

/// Reports how many processes are missing from the process tree of `--only-it`.
pub(super) fn of_tree(probe: &Probe) {
    match probe.missed_forks() {
        Ok(0) => {}
        Ok(missed) => {
            eprintln!(
                "tcpstate: {missed} processes of the program were not followed: their sockets are missing"
            );
            eprintln!("help: use --comm or --cgroup instead of --only-it");
        }
        Err(error) => {
            eprintln!("tcpstate: {error}; sockets of some processes of the program may be missing");
            eprintln!("help: {}", error.help());
        }
    }
}

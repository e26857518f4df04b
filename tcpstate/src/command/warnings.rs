//! Warnings on stderr at the start and at the end of a run.

use crate::{probe::Probe, report::Minis};

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

/// Reports that a thread keeps CAP_BPF after a change of the user.
pub(super) fn kept() {
    eprintln!(
        "tcpstate: keeps CAP_BPF, because before Linux 5.19 each read of a map needs CAP_BPF"
    );
}

/// If the map of scans was full, prints a warning and help on stderr.
pub(super) fn at_end(map_full: u64, is_exact: bool, max_scan_sockets: Option<u32>) {
    if map_full == 0 {
        return;
    }
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

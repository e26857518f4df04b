//! What a run says on stderr beside its data: before the first line, and after the last.

use crate::{probe::Probe, report::Minis};

/// What keeps the gauges from being exact, and what would help. Nothing, where each event is seen.
pub(super) fn at_start(probe: &Probe) {
    let mut help_lines = probe.help_lines().to_vec();
    help_lines.dedup();
    if help_lines.is_empty() {
        return;
    }
    for minis in Minis::BOTH.into_iter().filter(|&minis| !probe.provider(minis).is_exact()) {
        let limits = probe.limits().iter().filter(|limit| limit.limits_gauges_of(minis));
        limits.for_each(|limit| eprintln!("tcpstate: less than exact: {limit}"));
    }
    for help in help_lines {
        eprintln!("help: {help}");
    }
}

/// That passes found their map full, if they did, and what would help.
pub(super) fn at_end(map_full: u64, is_exact: bool, max_scan_sockets: Option<u32>) {
    if map_full == 0 {
        return;
    }
    let since = if is_exact { ", and a later scan made up for it" } else { "" };
    eprintln!("tcpstate: a map was full for {map_full} sockets{since}");
    match max_scan_sockets {
        Some(entries) => eprintln!(
            "help: --max-scan-sockets {} or more, or without it: {entries} were too few",
            u64::from(entries) + map_full
        ),
        None => eprintln!("help: none needed: each scan makes twice the room after such a one"),
    }
}

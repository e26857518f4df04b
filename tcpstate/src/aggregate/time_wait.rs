//! Computes the numbers of existing, created and ended time-wait sockets.

use std::time::Duration;

use tcpstate_common::abi::Cause;

use crate::{
    report::{Exits, Provider, TimeWait},
    source::{Flows, KernelCounters, Reading},
};

/// Returns the counts of time-wait sockets from the BPF programs: the counts since the start and
/// the counts in an interval.
pub(super) fn counted(
    provider: Provider,
    sockets: i64,
    since: &Flows,
    (in_interval, interval): (&Flows, Duration),
) -> TimeWait {
    TimeWait {
        sockets: u64::try_from(sockets).ok(),
        limit: None,
        entries: Some(since.time_wait_entries()),
        exits: exits(provider, since),
        exits_in_interval: exits(provider, in_interval),
        overflows: None,
        entries_per_second: per_second(Some(in_interval.time_wait_entries()), interval),
        exits_per_second: per_second(Some(in_interval.time_wait_exits()), interval),
    }
}

/// For each cause, returns the number of time-wait sockets that ended. The provider
/// [`Provider::Timer`] recognizes only one cause, the expiry.
fn exits(provider: Provider, flows: &Flows) -> Exits {
    let [expired, reused, killed] =
        [Cause::Expired, Cause::Reused, Cause::Killed].map(|cause| flows.exits(cause));
    let has_causes = provider == Provider::Fentry;
    Exits {
        expired: Some(expired),
        reused: has_causes.then_some(reused),
        killed: has_causes.then_some(killed),
        other: Some(flows.time_wait_exits().saturating_sub(expired + reused + killed)),
    }
}

/// Adds the numbers that only the kernel's own counters contain: refused creations and the limit.
pub(super) fn with_limits(time_wait: TimeWait, reading: &Reading, origin: &Reading) -> TimeWait {
    TimeWait {
        limit: reading.kernel.whole(|kernel| kernel.time_wait_limit),
        overflows: growth(reading, origin, |kernel| kernel.time_wait_overflows),
        ..time_wait
    }
}

/// Returns the counts of time-wait sockets from the kernel's own counters. If no provider is
/// active, only the limit and the number of refused creations are known.
pub(super) fn polled(
    provider: Provider,
    reading: &Reading,
    origin: &Reading,
    interval_start: &Reading,
) -> TimeWait {
    let overflows = growth(reading, origin, |kernel| kernel.time_wait_overflows);
    let limit = reading.kernel.time_wait_limit;
    if provider == Provider::None {
        return TimeWait { limit, overflows, ..TimeWait::default() };
    }
    let interval = reading.at.monotonic.duration_since(interval_start.at.monotonic);
    let (entries, exits) = turnover(reading, origin);
    let (entries_in_interval, exits_in_interval) = turnover(reading, interval_start);
    let counts_births = reading.kernel.counts_births;
    let by_cause = |exits: Option<u64>| Exits {
        expired: exits.filter(|_| !counts_births),
        other: exits.filter(|_| counts_births),
        ..Exits::default()
    };
    TimeWait {
        sockets: reading.kernel.whole(|kernel| kernel.time_wait_sockets),
        limit,
        entries,
        exits: by_cause(exits),
        exits_in_interval: by_cause(exits_in_interval),
        overflows,
        entries_per_second: per_second(entries_in_interval, interval),
        exits_per_second: per_second(exits_in_interval, interval),
    }
}

/// Returns how many time-wait sockets were created and how many ended between two readings. If the
/// kernel's counters count only expired sockets, the number of created sockets is unknown.
fn turnover(reading: &Reading, earlier: &Reading) -> (Option<u64>, Option<u64>) {
    let counted = growth(reading, earlier, |kernel| kernel.time_wait_turnover);
    if !reading.kernel.counts_births {
        return (None, counted);
    }
    let exits = || {
        let sockets = |kernel: &KernelCounters| kernel.whole(|kernel| kernel.time_wait_sockets);
        let (now, then) = (sockets(&reading.kernel)?, sockets(&earlier.kernel)?);
        Some((then + counted?).saturating_sub(now))
    };
    (counted, exits())
}

fn growth(
    reading: &Reading,
    earlier: &Reading,
    counter: fn(&KernelCounters) -> Option<u64>,
) -> Option<u64> {
    Some(reading.kernel.whole(counter)?.saturating_sub(earlier.kernel.whole(counter)?))
}

fn per_second(count: Option<u64>, interval: Duration) -> Option<f64> {
    let seconds = interval.as_secs_f64();
    count.filter(|_| seconds > 0.0).map(|count| count as f64 / seconds)
}

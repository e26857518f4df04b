//! The features for hooks. `check` attaches each hook and reports whether the attempt succeeded.

use super::{Facts, Failure, Feature, Status, confinement::not_permitted};
use crate::{
    probe::ITERATOR,
    report::{Minis, Provider, Transitions},
};

pub(super) fn features(facts: &Facts) -> Vec<Feature> {
    let mut features: Vec<Feature> =
        Transitions::ALL.into_iter().map(|by| transitions(facts, by)).collect();
    features.push(iterator(facts));
    for minis in Minis::BOTH {
        features.extend([Provider::Fentry, Provider::Timer].map(|by| provider(facts, minis, by)));
    }
    features.extend([polled(facts), misses(facts), statistics(facts)]);
    features
}

fn transitions(facts: &Facts, by: Transitions) -> Feature {
    let id = by.name();
    let tried = facts.parts.iter().flat_map(|parts| &parts.transitions);
    let Some((_, attempt)) = tried.into_iter().find(|tried| tried.0 == by) else {
        return Feature::untested(id, &not_permitted(facts));
    };
    let detail = match by {
        Transitions::TpBtf => "transitions: loaded and attached",
        Transitions::RawTp => {
            "transitions: loaded and attached; this fallback costs more CPU time than tp_btf"
        }
        Transitions::Tracepoint => {
            let uncounted = !facts.kernel.counts_misses_of_tracepoints();
            let (status, detail) = if uncounted {
                (
                    Status::Degraded,
                    "before 6.12 the kernel does not count the events that it misses (judged by \
                     version)",
                )
            } else {
                (
                    Status::Ok,
                    "transitions: loaded and attached; this fallback misses more events than \
                     tp_btf",
                )
            };
            return match attempt {
                Ok(()) => Feature { id, status, detail: detail.into(), help: None },
                Err(failure) => Feature::missing(id, failure),
            };
        }
    };
    Feature::of(id, attempt, detail)
}

/// Returns the feature for the socket iterator. Every scan needs the iterator, so `trace` does not
/// start without the iterator.
fn iterator(facts: &Facts) -> Feature {
    let id = "iter_tcp";
    match &facts.whole {
        Ok(_) => Feature::ok(id, "walked all TCP sockets once"),
        Err(failure) if failure.program == Some(ITERATOR) => Feature::missing(id, failure),
        Err(failure) => Feature::untested(id, failure),
    }
}

fn provider(facts: &Facts, minis: Minis, by: Provider) -> Feature {
    let (id, detail) = match (minis, by) {
        (Minis::TimeWait, Provider::Fentry) => (
            "time_wait_fentry",
            "counts TIME_WAIT by hooks on kernel functions, with the reason of each exit",
        ),
        (Minis::TimeWait, _) => {
            ("time_wait_timer", "counts TIME_WAIT by timers; the only exit reason is expiry")
        }
        (Minis::SynRecv, Provider::Fentry) => {
            ("syn_recv_fentry", "counts half-open connections by hooks on kernel functions")
        }
        (Minis::SynRecv, _) => ("syn_recv_timer", "counts half-open connections by timers"),
    };
    match facts.provider(minis, by) {
        Some(attempt) => Feature::of(id, attempt, detail),
        None => Feature::untested(id, &not_permitted(facts)),
    }
}

fn polled(facts: &Facts) -> Feature {
    let id = "time_wait_polled";
    let counters = facts.counters;
    if counters.time_wait_sockets.is_none() || counters.time_wait_turnover.is_none() {
        let failure = Failure {
            cause: "cannot read /proc/net/sockstat or /proc/net/netstat".into(),
            help: "mount proc: mount -t proc proc /proc".into(),
            program: None,
        };
        return Feature::missing(id, &failure);
    }
    Feature::ok(
        id,
        "sockstat and TcpExt can be read: the last fallback for TIME_WAIT, which is not exact",
    )
}

fn misses(facts: &Facts) -> Feature {
    let id = "recursion_misses";
    match &facts.whole {
        Err(failure) => Feature::untested(id, failure),
        Ok(whole) if whole.counts_misses => {
            Feature::ok(id, "the kernel counts the program runs that it skips")
        }
        // A kernel before 5.12 may skip a run of a BPF program only at a classic tracepoint.
        Ok(_) => Feature::ok(
            id,
            "this kernel does not count skipped program runs; before 5.12 the kernel skips no run",
        ),
    }
}

fn statistics(facts: &Facts) -> Feature {
    Feature::of(
        "bpf_statistics",
        &facts.statistics,
        "the kernel can measure the time of BPF programs",
    )
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{
        super::facts::tests::{facts, with_parts},
        *,
    };
    use crate::probe::Error;

    #[test]
    fn hooks_are_untested_without_permission_and_name_the_capability() {
        let facts = facts("6.12.0");
        for feature in [
            transitions(&facts, Transitions::TpBtf),
            iterator(&facts),
            provider(&facts, Minis::SynRecv, Provider::Timer),
            misses(&facts),
        ] {
            assert_eq!(feature.status, Status::Untested, "{feature:?}");
            assert!(feature.detail.contains("CAP_BPF"), "{feature:?}");
        }
    }

    #[test]
    fn the_iterator_is_missing_only_if_the_kernel_refused_it() {
        let mut facts = with_parts("6.12.0");
        assert_eq!(iterator(&facts).status, Status::Ok);
        let source = Box::new(io::Error::from_raw_os_error(libc::EINVAL));
        facts.whole = Err(Error::Program { action: "load", program: ITERATOR, source }.into());
        assert_eq!(iterator(&facts).status, Status::Missing);
        facts.whole = Err(Error::Absent("CPU_SLOTS").into());
        assert_eq!(iterator(&facts).status, Status::Untested);
    }

    #[test]
    fn the_classic_tracepoint_is_degraded_on_older_kernels() {
        assert_eq!(
            transitions(&with_parts("6.1.0"), Transitions::Tracepoint).status,
            Status::Degraded
        );
        assert_eq!(transitions(&with_parts("6.12.0"), Transitions::Tracepoint).status, Status::Ok);
    }
}

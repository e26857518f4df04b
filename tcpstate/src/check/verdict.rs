//! The verdict on `trace`: exact, not exact, or not possible.

use super::{Facts, Feature, Status, Whole, proof};
use crate::report::{Minis, Provider, Transitions};

pub(super) fn trace(facts: &Facts) -> Feature {
    let id = "trace";
    let whole = match &facts.whole {
        Ok(whole) => whole,
        Err(failure) => return Feature::missing(id, failure),
    };
    let mut shortfalls = shortfalls(facts, whole);
    if let Some(Ok(live)) = &facts.live {
        shortfalls.extend(proof::faults(live));
    }
    if shortfalls.is_empty() {
        let Whole { transitions, time_wait, syn_recv, .. } = whole;
        let detail = format!(
            "exact: transitions by {}, TIME_WAIT by {}, SYN_RECV by {}",
            transitions.name(),
            time_wait.name(),
            syn_recv.name()
        );
        return Feature::ok(id, detail);
    }
    let mut help_lines = whole.help_lines.clone();
    help_lines.dedup();
    let help = (!help_lines.is_empty()).then(|| help_lines.join("; "));
    let detail = format!("not exact: {}", shortfalls.join("; "));
    Feature { id, status: Status::Degraded, detail, help }
}

/// Returns the reasons why `trace` may miss events without counting how many events it misses.
fn shortfalls(facts: &Facts, whole: &Whole) -> Vec<String> {
    let mut shortfalls = Vec::new();
    if whole.transitions == Transitions::Tracepoint && !facts.kernel.counts_misses_of_tracepoints()
    {
        shortfalls
            .push("the classic tracepoint does not count the transitions that it misses".into());
    }
    for (minis, provider) in [(Minis::TimeWait, whole.time_wait), (Minis::SynRecv, whole.syn_recv)]
    {
        match provider {
            Provider::Fentry | Provider::Timer => {}
            Provider::Polled => shortfalls.push(format!("{} is only polled", minis.name())),
            Provider::None => {
                shortfalls.push(format!("no hook sees {} mini sockets", minis.name()));
            }
        }
    }
    shortfalls
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            facts::tests::{facts, with_parts},
            is_exact,
        },
        *,
    };

    #[test]
    fn without_privilege_the_verdict_is_the_error_of_trace() {
        let facts = facts("6.12.0");
        let feature = trace(&facts);
        let failure = facts.whole.expect_err("it has no capabilities");
        assert_eq!(feature.status, Status::Missing);
        assert_eq!((feature.detail, feature.help), (failure.cause, Some(failure.help)));
    }

    #[test]
    fn timers_are_exact_and_polling_is_not() {
        let mut facts = with_parts("6.12.0");
        let whole = facts.whole.as_mut().expect("it may trace");
        (whole.time_wait, whole.syn_recv) = (Provider::Timer, Provider::Timer);
        assert!(is_exact(&[trace(&facts)]), "{:?}", trace(&facts));
        let whole = facts.whole.as_mut().expect("it may trace");
        whole.time_wait = Provider::Polled;
        whole.help_lines = vec!["fix it".into(), "fix it".into()];
        let feature = trace(&facts);
        assert!(!is_exact(std::slice::from_ref(&feature)), "{feature:?}");
        assert_eq!(feature.help.as_deref(), Some("fix it"));
        assert!(feature.detail.contains("time_wait is only polled"), "{feature:?}");
    }

    #[test]
    fn the_classic_tracepoint_is_exact_on_kernels_that_count_its_misses() {
        for (release, exact) in [("6.11.9", false), ("6.12.0", true)] {
            let mut facts = with_parts(release);
            facts.whole.as_mut().expect("it may trace").transitions = Transitions::Tracepoint;
            assert_eq!(trace(&facts).status == Status::Ok, exact, "{release}");
        }
    }
}

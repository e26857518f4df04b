//! The confinement of this process: user namespace, seccomp, lockdown, and hidden kernel files.

use super::{Facts, Feature, Status};
use crate::probe::{
    Error,
    confinement::{Lockdown, Suspect},
    privileges::COUNTING,
};

pub(super) fn features(facts: &Facts) -> Vec<Feature> {
    vec![
        user_namespace(facts),
        seccomp(facts),
        lockdown(facts),
        unprivileged(facts),
        Feature::of(
            "kallsyms",
            &facts.addresses,
            "kernel addresses are visible, so timers can be distinguished",
        ),
        Feature::of(
            "tracefs",
            &facts.record,
            "the record format of the classic tracepoint is readable",
        ),
    ]
}

fn user_namespace(facts: &Facts) -> Feature {
    if facts.confinement.user_namespace {
        return Feature::missing("user_namespace", &Error::UserNamespace.into());
    }
    Feature::ok("user_namespace", "the initial user namespace, where capabilities apply")
}

fn seccomp(facts: &Facts) -> Feature {
    let id = "seccomp";
    match (&facts.confinement.seccomp, &facts.whole) {
        (false, _) => Feature::ok(id, "no filter"),
        (true, Ok(_)) => Feature::ok(id, "a filter that allows bpf(2)"),
        (true, Err(failure)) if facts.parts.is_none() => Feature::untested(id, failure),
        (true, Err(failure)) => suspected(id, Suspect::Seccomp, &failure.cause),
    }
}

fn lockdown(facts: &Facts) -> Feature {
    let id = "lockdown";
    match facts.confinement.lockdown {
        None => Feature::ok(id, "no lockdown visible in /sys/kernel/security/lockdown"),
        Some(Lockdown::None) => Feature::ok(id, "none"),
        Some(Lockdown::Integrity) => {
            Feature::ok(id, "integrity, which lets BPF programs read kernel memory")
        }
        Some(Lockdown::Confidentiality) => Feature::wanting(
            id,
            Status::Missing,
            Suspect::Lockdown.to_string(),
            Suspect::Lockdown.help(),
        ),
    }
}

/// Returns the feature for one kind of confinement. The feature is missing if the error text
/// `cause` names `suspect` as the likely reason.
fn suspected(id: &'static str, suspect: Suspect, cause: &str) -> Feature {
    if cause.contains(&suspect.to_string()) {
        Feature::wanting(id, Status::Missing, cause, suspect.help())
    } else {
        Feature::ok(id, "a filter, without a sign that it refused a system call")
    }
}

fn unprivileged(facts: &Facts) -> Feature {
    let id = "unprivileged_bpf";
    let needs = "tracing programs always need capabilities";
    match facts.unprivileged_bpf {
        Some(setting) => {
            Feature::ok(id, format!("kernel.unprivileged_bpf_disabled is {setting}; {needs}"))
        }
        None => Feature::ok(id, format!("no kernel.unprivileged_bpf_disabled; {needs}")),
    }
}

/// Returns the cause and the advice for the features that this process may not try.
pub(super) fn not_permitted(facts: &Facts) -> super::Failure {
    match &facts.whole {
        Err(failure) => failure.clone(),
        Ok(_) => Error::Capability(COUNTING.to_vec()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Failure,
            facts::tests::{facts, with_parts},
        },
        *,
    };

    #[test]
    fn seccomp_is_missing_only_after_a_refusal() {
        let mut facts = with_parts("6.12.0");
        assert_eq!(seccomp(&facts).status, Status::Ok);
        facts.confinement.seccomp = true;
        assert_eq!(seccomp(&facts).status, Status::Ok, "{:?}", seccomp(&facts));
        let refused = |cause: String| Failure { cause, help: String::new(), program: None };
        facts.whole = Err(refused(format!("create maps: EPERM; {}", Suspect::Seccomp)));
        assert_eq!(seccomp(&facts).status, Status::Missing);
        facts.whole = Err(refused("kernel BTF has no field".into()));
        assert_eq!(seccomp(&facts).status, Status::Ok);
        facts.parts = None;
        assert_eq!(seccomp(&facts).status, Status::Untested);
    }

    #[test]
    fn only_lockdown_confidentiality_is_missing() {
        let mut facts = facts("6.12.0");
        for (level, status) in [
            (None, Status::Ok),
            (Some(Lockdown::None), Status::Ok),
            (Some(Lockdown::Integrity), Status::Ok),
            (Some(Lockdown::Confidentiality), Status::Missing),
        ] {
            facts.confinement.lockdown = level;
            assert_eq!(lockdown(&facts).status, status, "{level:?}");
        }
    }
}

//! The features for capabilities: whether this process has the capability, and why `tcpstate` needs
//! the capability.

use caps::Capability;

use super::{Facts, Feature, Status};
use crate::{
    probe::{Error, Hidden, grant, privileges::COUNTING},
    report::{Minis, Provider},
};

pub(super) fn features(facts: &Facts) -> Vec<Feature> {
    vec![
        counting(facts, "cap_bpf", Capability::CAP_BPF, "loads programs and creates maps"),
        counting(facts, "cap_perfmon", Capability::CAP_PERFMON, "lets programs read kernel memory"),
        syslog(facts),
        optional(
            facts,
            "cap_sys_admin",
            Capability::CAP_SYS_ADMIN,
            "other network namespaces, BPF statistics and check --live",
        ),
        optional(
            facts,
            "cap_dac_read_search",
            Capability::CAP_DAC_READ_SEARCH,
            "the classic tracepoint, the last fallback for transitions",
        ),
    ]
}

/// Returns the feature for a capability without which `trace` cannot count.
fn counting(facts: &Facts, id: &'static str, capability: Capability, purpose: &str) -> Feature {
    if facts.has(capability) {
        Feature::ok(id, format!("held: {purpose}"))
    } else if facts.has(Capability::CAP_SYS_ADMIN) {
        Feature::ok(id, format!("held through CAP_SYS_ADMIN: {purpose}"))
    } else if facts.confinement.user_namespace {
        Feature::missing(id, &Error::UserNamespace.into())
    } else {
        Feature::missing(id, &Error::Capability(vec![capability]).into())
    }
}

/// Returns the feature for CAP_SYSLOG. `trace` needs CAP_SYSLOG only if the timer hooks are the
/// only hooks for mini sockets that work.
fn syslog(facts: &Facts) -> Feature {
    let id = "cap_syslog";
    let serves = |minis| facts.provider(minis, Provider::Fentry).is_some_and(Result::is_ok);
    if facts.has(Capability::CAP_SYSLOG) {
        return Feature::ok(
            id,
            "held: shows kernel addresses, which are needed to distinguish timers",
        );
    }
    if facts.addresses.is_ok() || Minis::BOTH.into_iter().all(serves) {
        return Feature::ok(
            id,
            "not held and not needed: mini sockets are counted without CAP_SYSLOG",
        );
    }
    Feature::missing(id, &Error::Kallsyms(Hidden::FromThisProcess).into())
}

/// Returns the feature for a capability that `trace` does not need to count.
fn optional(facts: &Facts, id: &'static str, capability: Capability, purpose: &str) -> Feature {
    if facts.has(capability) {
        return Feature::ok(id, format!("held: {purpose}"));
    }
    let mut all = COUNTING.to_vec();
    all.push(capability);
    let detail = format!("not held; needed only for {purpose}");
    Feature::wanting(id, Status::Missing, detail, grant(&all))
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

    fn status_of(facts: &Facts, id: &str) -> Status {
        features(facts).into_iter().find(|feature| feature.id == id).expect(id).status
    }

    #[test]
    fn each_capability_is_checked_separately() {
        let mut facts = facts("6.12.0");
        for (id, capability) in
            [("cap_bpf", Capability::CAP_BPF), ("cap_perfmon", Capability::CAP_PERFMON)]
        {
            facts.capabilities = vec![capability];
            for other in ["cap_bpf", "cap_perfmon"] {
                let expected = if other == id { Status::Ok } else { Status::Missing };
                assert_eq!(status_of(&facts, other), expected, "{other} with {id}");
            }
        }
        facts.capabilities = vec![Capability::CAP_SYS_ADMIN];
        assert_eq!(status_of(&facts, "cap_bpf"), Status::Ok);
        facts.confinement.user_namespace = true;
        assert_eq!(status_of(&facts, "cap_bpf"), Status::Missing);
    }

    #[test]
    fn syslog_is_needed_if_only_timers_work() {
        let refused = || Failure { cause: "refused".into(), help: String::new(), program: None };
        let mut facts = with_parts("6.12.0");
        facts.capabilities = COUNTING.to_vec();
        facts.addresses = Err(refused());
        assert_eq!(status_of(&facts, "cap_syslog"), Status::Ok, "kernel functions can be hooked");
        for part in &mut facts.parts.as_mut().expect("they were tried").minis {
            if part.1 == Provider::Fentry {
                part.2 = Err(refused());
            }
        }
        assert_eq!(status_of(&facts, "cap_syslog"), Status::Missing, "only timers are left");
        facts.addresses = Ok(());
        assert_eq!(status_of(&facts, "cap_syslog"), Status::Ok, "addresses are visible");
    }
}

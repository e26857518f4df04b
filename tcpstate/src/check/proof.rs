//! The features that `--live` checks with real traffic in a private network namespace.

use super::{Checkpoint, Failure, Feature, Live, Status};

/// The BPF programs that the traffic of `--live` does not run. `tcp_abort` runs when `ss -K` aborts
/// a socket.
const NOT_PROVOKED: [&str; 1] = ["tcp_abort"];

const HELP: &str =
    "report the failed test with `uname -r` and the output of `tcpstate check --live -o json`";

pub(super) fn features(live: &Result<Live, Failure>) -> Vec<Feature> {
    let ids = ["live_transitions", "live_time_wait", "live_syn_recv", "live_gauges"];
    match live {
        Ok(live) => {
            let hooks = [&live.transitions, &live.time_wait, &live.syn_recv];
            let mut features: Vec<Feature> =
                ids.into_iter().zip(hooks).map(|(id, programs)| fired(id, programs)).collect();
            features.push(gauges(ids[3], &live.checkpoints));
            features
        }
        Err(failure) => ids.into_iter().map(|id| Feature::untested(id, failure)).collect(),
    }
}

/// Returns the reasons, found by `--live`, why `trace` is not exact.
pub(super) fn faults(live: &Live) -> Vec<String> {
    let dead = |programs| !dead(programs).is_empty();
    let mut faults = Vec::new();
    for (what, programs) in [
        ("transitions", &live.transitions),
        ("time_wait", &live.time_wait),
        ("syn_recv", &live.syn_recv),
    ] {
        if dead(programs) {
            faults.push(format!("a hook of {what} does not run"));
        }
    }
    if live.checkpoints.iter().any(|checkpoint| !checkpoint.differ.is_empty()) {
        faults.push("gauges differ from the kernel's table".into());
    }
    faults
}

fn dead(programs: &[(&'static str, u64)]) -> Vec<&'static str> {
    let never = programs.iter().filter(|(name, runs)| *runs == 0 && !NOT_PROVOKED.contains(name));
    never.map(|(name, _)| *name).collect()
}

fn fired(id: &'static str, programs: &[(&'static str, u64)]) -> Feature {
    if programs.is_empty() {
        let detail = "no program is attached, so no run was counted".into();
        return Feature { id, status: Status::Missing, detail, help: None };
    }
    let dead = dead(programs);
    if !dead.is_empty() {
        let detail = format!("attached, but did not run: {}", dead.join(", "));
        return Feature::wanting(id, Status::Missing, detail, HELP);
    }
    let runs = programs.iter().map(|(name, runs)| match runs {
        0 => format!("{name} not triggered"),
        _ => format!("{name} {runs}"),
    });
    Feature::ok(id, format!("runs: {}", runs.collect::<Vec<_>>().join(", ")))
}

fn gauges(id: &'static str, checkpoints: &[Checkpoint]) -> Feature {
    if let Some(wrong) = checkpoints.iter().find(|checkpoint| !checkpoint.differ.is_empty()) {
        let states = wrong.differ.iter().map(|(state, gauge, sockets)| {
            format!("{state} is {gauge}, but the kernel has {sockets}")
        });
        let detail = format!("{}: {}", wrong.label, states.collect::<Vec<_>>().join("; "));
        return Feature::wanting(id, Status::Missing, detail, HELP);
    }
    let all = checkpoints.len();
    let equal = format!("equal to /proc/net/tcp and tcp6 at all {all} checkpoints");
    let after_a_scan = checkpoints.iter().filter(|checkpoint| checkpoint.after_a_scan).count();
    if after_a_scan == 0 {
        return Feature::ok(id, equal);
    }
    let detail = format!(
        "{equal}, {after_a_scan} of them only after a scan: the kernel skipped some events"
    );
    Feature { id, status: Status::Degraded, detail, help: None }
}

#[cfg(test)]
mod tests {
    use tcpstate_common::State;

    use super::*;

    fn live() -> Live {
        let checkpoint = Checkpoint { label: "closed", differ: Vec::new(), after_a_scan: false };
        Live {
            transitions: vec![("tp_btf", 80)],
            time_wait: vec![("inet_twsk_kill", 4), ("tcp_abort", 0)],
            syn_recv: vec![("inet_ehash_insert", 8)],
            checkpoints: vec![checkpoint],
        }
    }

    fn statuses(live: Live) -> Vec<Status> {
        features(&Ok(live)).iter().map(|feature| feature.status).collect()
    }

    #[test]
    fn a_hook_that_never_ran_is_reported() {
        assert_eq!(statuses(live()), [Status::Ok; 4]);
        assert!(faults(&live()).is_empty());
        let mut dead = live();
        dead.time_wait[0].1 = 0;
        assert_eq!(faults(&dead), ["a hook of time_wait does not run"]);
        assert_eq!(statuses(dead), [Status::Ok, Status::Missing, Status::Ok, Status::Ok]);
    }

    #[test]
    fn a_wrong_gauge_is_named_and_one_that_a_scan_corrects_is_reported() {
        let mut corrected = live();
        corrected.checkpoints[0].after_a_scan = true;
        assert!(faults(&corrected).is_empty());
        assert_eq!(statuses(corrected)[3], Status::Degraded);
        let mut wrong = live();
        wrong.checkpoints[0].differ = vec![(State::TimeWait, 3, 4)];
        let feature = features(&Ok(wrong.clone())).remove(3);
        assert_eq!(feature.detail, "closed: TIME_WAIT is 3, but the kernel has 4");
        assert_eq!(faults(&wrong), ["gauges differ from the kernel's table"]);
    }
}

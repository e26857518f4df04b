//! Faults and changes of particular kernels, by the version alone: a distribution may have mended one, and its version
//! does not tell.

use super::{Facts, Feature, Status};

type Version = (u32, u32, u32);

pub(super) fn features(facts: &Facts) -> Vec<Feature> {
    vec![
        stopped_walk(facts),
        double_release(facts),
        nested_runs(facts),
        preemptible_programs(facts),
        time_wait_births(facts),
    ]
}

/// Where the kernel makes a walk of the iterator stop, and the reader ask again (`MAX_ITER_OBJECTS`).
const WALK: u64 = 1_000_000;

/// A walk that stops within a bucket of the socket table may skip sockets or show them twice when it goes on.
fn stopped_walk(facts: &Facts) -> Feature {
    const MENDED: Version = (6, 17, 0);
    let id = "iter_tcp_resume";
    if facts.kernel.version() >= MENDED {
        return Feature::ok(id, by_version("a walk that stops goes on where it stopped"));
    }
    if facts.sockets < WALK {
        let detail = "before 6.17 a walk that stops may skip or repeat sockets; ours stop once a million sockets, and here are fewer";
        return Feature::ok(id, by_version(detail));
    }
    let detail =
        "before 6.17 a walk that stops may skip or repeat sockets, and here are a million or more";
    Feature::wanting(id, Status::Degraded, by_version(detail), "use kernel 6.17 or newer")
}

/// The iterator gives up a socket that it holds twice: whoever iterates may bring the kernel down.
fn double_release(facts: &Facts) -> Feature {
    let id = "iter_tcp_release";
    let version = facts.kernel.version();
    let is_faulty = ((6, 17, 0)..=(6, 18, 41)).contains(&version)
        || ((6, 19, 0)..=(7, 1, 5)).contains(&version);
    if !is_faulty {
        return Feature::ok(id, by_version("no walk gives up a socket twice"));
    }
    let detail = "a walk over the sockets may give up one twice, a fault of 6.17 to 6.18.41 and 6.19 to 7.1.5";
    Feature::wanting(id, Status::Degraded, by_version(detail), "use kernel 6.18.42, 7.1.6 or newer")
}

fn nested_runs(facts: &Facts) -> Feature {
    let detail = if facts.kernel.programs_interrupt_themselves() {
        "before 6.1 a run may be interrupted by another, so counts are made by atomic additions"
    } else {
        "since 6.1 no run is interrupted by another: those are skipped, and counted as missed"
    };
    Feature::ok("nested_runs", by_version(detail))
}

fn preemptible_programs(facts: &Facts) -> Feature {
    const SINCE: Version = (7, 2, 0);
    let id = "preemptible_runs";
    if facts.kernel.version() < SINCE {
        return Feature::ok(id, by_version("no task is put off its CPU within a run"));
    }
    let detail = "since 7.2 a task may be put off its CPU within a run, so more events are missed at a time; they are counted, and a scan makes up for them";
    Feature { id, status: Status::Degraded, detail: by_version(detail), help: None }
}

fn time_wait_births(facts: &Facts) -> Feature {
    let id = "tcpext_tw";
    if facts.kernel.counts_time_wait_births() {
        return Feature::ok(id, by_version("since 5.18 TcpExt TW counts births"));
    }
    let detail = "before 5.18 TcpExt TW counts expiries: if polled, TIME_WAIT has no rate of entry";
    Feature::wanting(id, Status::Degraded, by_version(detail), "use kernel 5.18 or newer")
}

fn by_version(detail: &str) -> String {
    format!("{detail} (by the version alone)")
}

#[cfg(test)]
mod tests {
    use super::{super::facts::tests::facts, *};

    #[test]
    fn the_double_release_has_two_ranges() {
        for (release, status) in [
            ("6.16.12", Status::Ok),
            ("6.17.0-5-generic", Status::Degraded),
            ("6.18.41", Status::Degraded),
            ("6.18.42", Status::Ok),
            ("6.18.44-fc-v669", Status::Ok),
            ("6.19.0", Status::Degraded),
            ("7.1.5", Status::Degraded),
            ("7.1.6", Status::Ok),
            ("7.3.0", Status::Ok),
        ] {
            assert_eq!(double_release(&facts(release)).status, status, "{release}");
        }
    }

    #[test]
    fn a_stopped_walk_matters_with_a_million_sockets() {
        let mut facts = facts("6.12.117+deb13-amd64");
        assert_eq!(stopped_walk(&facts).status, Status::Ok);
        facts.sockets = WALK;
        assert_eq!(stopped_walk(&facts).status, Status::Degraded);
        facts.kernel = crate::probe::kernel::Kernel::from_release("6.17.1".into());
        assert_eq!(stopped_walk(&facts).status, Status::Ok);
    }

    #[test]
    fn what_follows_from_the_version_says_so() {
        for release in ["5.10.0", "6.1.0", "6.18.20", "7.2.1"] {
            for feature in features(&facts(release)) {
                assert!(feature.detail.ends_with("(by the version alone)"), "{feature:?}");
            }
        }
        assert_eq!(preemptible_programs(&facts("7.2.0")).status, Status::Degraded);
        assert_eq!(preemptible_programs(&facts("7.1.9")).status, Status::Ok);
        assert_eq!(time_wait_births(&facts("5.17.9")).status, Status::Degraded);
        assert_eq!(time_wait_births(&facts("5.18.0")).status, Status::Ok);
    }
}

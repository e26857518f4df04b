//! Kernel bugs and kernel changes that depend on the kernel version. Only the version number
//! decides whether a bug is reported. A distribution may have fixed a bug without a change of the
//! version number.

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

/// The number of sockets after which the kernel interrupts a walk of the socket iterator
/// (`MAX_ITER_OBJECTS`). The next read continues the walk.
const WALK: u64 = 1_000_000;

/// Returns the feature for interrupted walks of the socket iterator. If the kernel interrupts a
/// walk within a bucket of the socket table, the walk may skip or repeat sockets.
fn stopped_walk(facts: &Facts) -> Feature {
    const FIXED: Version = (6, 17, 0);
    let id = "iter_tcp_resume";
    if facts.kernel.version() >= FIXED {
        return Feature::ok(id, by_version("an interrupted walk continues at the right socket"));
    }
    if facts.sockets < WALK {
        let detail = "before 6.17 an interrupted walk may skip or repeat sockets; a walk is \
                      interrupted after a million sockets, and this system has fewer";
        return Feature::ok(id, by_version(detail));
    }
    let detail = "before 6.17 an interrupted walk may skip or repeat sockets; walks are \
                  interrupted on this system, because it has a million sockets or more";
    Feature::wanting(id, Status::Degraded, by_version(detail), "use kernel 6.17 or newer")
}

/// Returns the feature for a kernel bug in the socket iterator: a walk may release a socket twice,
/// which may crash the kernel.
fn double_release(facts: &Facts) -> Feature {
    let id = "iter_tcp_release";
    let version = facts.kernel.version();
    let is_faulty = ((6, 17, 0)..=(6, 18, 41)).contains(&version)
        || ((6, 19, 0)..=(7, 1, 5)).contains(&version);
    if !is_faulty {
        return Feature::ok(id, by_version("no walk releases a socket twice"));
    }
    let detail = "a walk may release a socket twice and crash the kernel; the kernels 6.17 to \
                  6.18.41 and 6.19 to 7.1.5 have this fault";
    Feature::wanting(id, Status::Degraded, by_version(detail), "use kernel 6.18.42, 7.1.6 or newer")
}

fn nested_runs(facts: &Facts) -> Feature {
    let detail = if facts.kernel.programs_interrupt_themselves() {
        "before 6.1 a program run may interrupt another run, so counters use atomic additions"
    } else {
        "since 6.1 the kernel skips a program run that would interrupt another, and counts the \
         skipped run as missed"
    };
    Feature::ok("nested_runs", by_version(detail))
}

fn preemptible_programs(facts: &Facts) -> Feature {
    const SINCE: Version = (7, 2, 0);
    let id = "preemptible_runs";
    if facts.kernel.version() < SINCE {
        return Feature::ok(id, by_version("no task is preempted during a program run"));
    }
    let detail = "since 7.2 a task may be preempted during a program run, so more events are \
                  missed at once; a scan corrects the gauges";
    Feature { id, status: Status::Degraded, detail: by_version(detail), help: None }
}

fn time_wait_births(facts: &Facts) -> Feature {
    let id = "tcpext_tw";
    if facts.kernel.counts_time_wait_births() {
        return Feature::ok(
            id,
            by_version("since 5.18 TcpExt TW counts time-wait sockets when they are created"),
        );
    }
    let detail = "before 5.18 TcpExt TW counts expiries, so tcpstate shows no entry rate if \
                  TIME_WAIT is only polled";
    Feature::wanting(id, Status::Degraded, by_version(detail), "use kernel 5.18 or newer")
}

fn by_version(detail: &str) -> String {
    format!("{detail} (judged by version)")
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
    fn an_interrupted_walk_matters_with_a_million_sockets() {
        let mut facts = facts("6.12.117+deb13-amd64");
        assert_eq!(stopped_walk(&facts).status, Status::Ok);
        facts.sockets = WALK;
        assert_eq!(stopped_walk(&facts).status, Status::Degraded);
        facts.kernel = crate::probe::kernel::Kernel::from_release("6.17.1".into());
        assert_eq!(stopped_walk(&facts).status, Status::Ok);
    }

    #[test]
    fn details_say_that_they_are_judged_by_version() {
        for release in ["5.10.0", "6.1.0", "6.18.20", "7.2.1"] {
            for feature in features(&facts(release)) {
                assert!(feature.detail.ends_with("(judged by version)"), "{feature:?}");
            }
        }
        assert_eq!(preemptible_programs(&facts("7.2.0")).status, Status::Degraded);
        assert_eq!(preemptible_programs(&facts("7.1.9")).status, Status::Ok);
        assert_eq!(time_wait_births(&facts("5.17.9")).status, Status::Degraded);
        assert_eq!(time_wait_births(&facts("5.18.0")).status, Status::Ok);
    }
}

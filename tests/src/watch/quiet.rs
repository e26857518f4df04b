//! Finds snapshots that say that they are exact although a gauge is wrong.

use std::time::{Duration, Instant};

use tcpstate::{
    aggregate::Reconcile,
    report::{Gauge, Snapshot},
};

use super::scope::{Comparison, Scope, Truth};
use crate::emulated::is_emulated;

/// The time in which each tracer of an emulated machine has made an audit.
const EMULATED: Duration = Duration::from_secs(20);

/// The snapshots of all tracers while no socket changed its state, and the truth at that time.
#[derive(Debug)]
pub struct Quiet {
    pub(super) truth: Truth,
    /// The inode of the thread's namespace.
    pub(super) namespace: u64,
    pub(super) began: Instant,
    /// Whether each tracer that scans must have an exact and right snapshot.
    pub(super) must_be_exact: bool,
    pub(super) seen: Vec<Seen>,
}

/// A snapshot, and the time before and after it was taken.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) snapshot: Snapshot,
    /// Whether a namespace could not be entered. A tracer of all namespaces is then not exact.
    pub(super) is_hidden: bool,
}

/// The snapshots of one tracer.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) scope: Scope,
    pub(super) policy: Reconcile,
    pub(super) sightings: Vec<Sighting>,
}

impl Quiet {
    /// Asserts that each snapshot is right or says that it may be wrong.
    ///
    /// * If a snapshot says that it is exact, each gauge equals the truth. Snapshots within
    ///   `tolerance` after the last change of a socket are excepted. A tracer of all namespaces has
    ///   a tolerance of at least one second, because it makes no audit before. On an emulated
    ///   machine no audit is cheap, so the tolerance is longer.
    /// * If a snapshot reports a bound of the error, no gauge has a larger error.
    /// * Each tracer that scans has an exact and right snapshot if the caller of
    ///   [`Watch::rest`](super::Watch::rest) gave a time, unless the tracer's hooks do not see all
    ///   sockets, or a namespace cannot be entered.
    ///
    /// If sockets of other namespaces changed their states, the tracers of all namespaces had no
    /// rest. The function then asserts nothing of these tracers.
    ///
    /// If `is_affected` returns true for a scope, the function also asserts that the scope's tracer
    /// that never scans has a wrong gauge. Without a wrong gauge the test would prove nothing.
    ///
    /// # Panics
    /// Panics if a condition does not hold. The panic message has one line for each fault.
    pub fn assert_honest(&self, tolerance: Duration, is_affected: impl Fn(Scope) -> bool) {
        const OF_ALL: Duration = Duration::from_secs(1);
        let tolerance = if is_emulated() { tolerance.max(EMULATED) } else { tolerance };
        let has_traffic_elsewhere =
            self.seen.iter().any(|seen| seen.has_traffic_elsewhere(self.namespace));
        let mut faults = Vec::new();
        for seen in &self.seen {
            let judged = seen.sightings.iter().map(|sighting| self.judge(seen.scope, sighting));
            let judged: Vec<Judged> = judged.collect();
            let name = format!("{:?}, {:?}", seen.scope, seen.policy);
            println!("{name}: {}", summary(&judged));
            if has_traffic_elsewhere && seen.scope == Scope::All {
                println!("{name}: not compared, because other namespaces have traffic");
                continue;
            }
            let has_lost = judged.iter().any(|it| it.error > 0 || it.is_replaced);
            let must_lose = seen.policy == Reconcile::Off && is_affected(seen.scope);
            assert!(has_lost || !must_lose, "{name}: no gauge is wrong, so nothing was lost");
            let must_be_exact = self.must_be_exact && seen.policy != Reconcile::Off;
            let least = if seen.scope == Scope::All { OF_ALL } else { Duration::ZERO };
            let found = faults_of(&judged, must_be_exact, tolerance.max(least));
            faults.extend(found.into_iter().map(|fault| format!("{name}: {fault}")));
        }
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    }

    fn judge(&self, scope: Scope, sighting: &Sighting) -> Judged {
        let Sighting { began, snapshot, is_hidden, .. } = sighting;
        let compared = scope.compare(snapshot, &self.truth);
        let different = compared.iter().filter(|it| !it.is_right());
        Judged {
            after: began.duration_since(self.began),
            is_exact: snapshot.is_exact(),
            sees_all: snapshot.sees_all && !is_hidden,
            is_replaced: snapshot.attached.is_some(),
            bound: snapshot.unreconciled,
            error: compared.iter().map(|it| it.error()).max().unwrap_or(0),
            differences: different.map(Comparison::to_string).collect(),
            scans: snapshot.reconciles,
        }
    }
}

impl Seen {
    /// Returns whether sockets of other namespaces changed their states.
    fn has_traffic_elsewhere(&self, own: u64) -> bool {
        let elsewhere = |sighting: &Sighting| -> Vec<(u64, [Gauge; 10])> {
            let rows = sighting.snapshot.namespaces.iter().flatten();
            rows.filter(|row| row.netns != own).map(|row| (row.netns, row.states)).collect()
        };
        self.sightings.windows(2).any(|pair| elsewhere(&pair[0]) != elsewhere(&pair[1]))
    }
}

/// A snapshot compared with the truth.
#[derive(Clone, Debug)]
struct Judged {
    /// The time since the last change of a socket.
    after: Duration,
    is_exact: bool,
    sees_all: bool,
    is_replaced: bool,
    /// The bound of the error that the snapshot reports; `None` if the error is unknown.
    bound: Option<u64>,
    /// The largest error of a gauge.
    error: u64,
    differences: Vec<String>,
    scans: u64,
}

impl Judged {
    fn is_right(&self) -> bool {
        self.is_exact && self.differences.is_empty()
    }

    fn is_wrong(&self) -> bool {
        self.is_exact && !self.differences.is_empty()
    }

    /// Returns whether the snapshot reports a bound that is smaller than the error.
    fn exceeds_bound(&self) -> bool {
        !self.is_exact && self.sees_all && self.bound.is_some_and(|bound| bound < self.error)
    }
}

fn faults_of(judged: &[Judged], must_be_exact: bool, tolerance: Duration) -> Vec<String> {
    let mut faults = Vec::new();
    let all = judged.len();
    let wrong = || judged.iter().filter(|it| it.is_wrong() && it.after >= tolerance);
    if let Some(first) = wrong().next() {
        let (number, differences) = (wrong().count(), first.differences.join("; "));
        faults.push(format!("{number} of {all} are exact and wrong: {differences}"));
    }
    let exceeding = || judged.iter().filter(|it| it.exceeds_bound());
    if let Some(Judged { bound: Some(bound), error, .. }) = exceeding().next() {
        let number = exceeding().count();
        faults.push(format!(
            "{number} of {all} have a bound such as {bound} with an error of {error}"
        ));
    }
    let sees_all = judged.iter().all(|it| it.sees_all);
    if must_be_exact && sees_all && !judged.iter().any(Judged::is_right) {
        faults.push(format!("none of {all} is exact and right"));
    }
    faults
}

/// Returns what the tracer found, and when.
fn summary(judged: &[Judged]) -> String {
    let after = |it: Option<&Judged>| {
        it.map_or_else(|| "never".to_owned(), |it| format!("at {:.1} s", it.after.as_secs_f64()))
    };
    let wrong = after(judged.iter().rfind(|it| it.is_wrong()));
    let right = after(judged.iter().find(|it| it.is_right()));
    let (all, scans) = (judged.len(), judged.last().map_or(0, |it| it.scans));
    let times = format!("exact and wrong last {wrong}, exact and right first {right}");
    format!("{all} snapshots, {scans} scans, {times}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONCE: Duration = Duration::from_millis(100);

    fn judged(is_exact: bool, bound: Option<u64>, error: u64) -> Judged {
        let differences = (error > 0).then(|| format!("off by {error}"));
        Judged {
            after: ONCE,
            is_exact,
            sees_all: true,
            is_replaced: false,
            bound,
            error,
            differences: differences.into_iter().collect(),
            scans: 0,
        }
    }

    fn faults(judged: &[Judged], must_be_exact: bool) -> usize {
        faults_of(judged, must_be_exact, Duration::ZERO).len()
    }

    #[test]
    fn snapshots_that_are_exact_and_wrong_are_faults() {
        let right = judged(true, Some(0), 0);
        let wrong = judged(true, Some(0), 3);
        assert_eq!(faults(std::slice::from_ref(&right), true), 0);
        assert_eq!(faults(&[wrong.clone(), right.clone()], true), 1);
        assert_eq!(faults(std::slice::from_ref(&wrong), true), 2, "never right");
        let tolerated = faults_of(&[wrong, right], true, 2 * ONCE);
        assert!(tolerated.is_empty(), "{tolerated:?}");
    }

    #[test]
    fn bounds_below_the_error_are_faults() {
        let of = |bound| faults(&[judged(false, bound, 3)], false);
        assert_eq!((of(Some(3)), of(None), of(Some(2))), (0, 0, 1));
    }

    #[test]
    fn tracers_that_scan_must_be_exact_unless_their_hooks_are_blind() {
        let inexact = judged(false, None, 3);
        assert_eq!(faults(std::slice::from_ref(&inexact), true), 1);
        assert_eq!(faults(std::slice::from_ref(&inexact), false), 0);
        let blind = Judged { sees_all: false, ..inexact };
        assert_eq!(faults(&[blind], true), 0);
    }
}

//! Decides when to audit: when to compare the gauges with the kernel's sockets, although no loss is
//! known.
//!
//! The kernel counts some missed events. Sums of sockets prove others. No count and no sum shows a
//! lost move from one state to another, or a lost request socket. An audit finds both.

use std::time::{Duration, Instant};

/// The default of the largest share of one CPU that audits use while sockets keep changing: 0.1 %.
pub const MAX_AUDIT_CPU: f64 = 0.001;

/// The minimum time between two audits under traffic, and between two audits without a change.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// An audit of at most this CPU time is made for each snapshot after which the sockets are still. A
/// snapshot itself costs about as much.
const CHEAP: Duration = Duration::from_millis(3);

/// The maximum CPU time of the extra audit in a pause of the traffic.
const MAX_EXTRA: Duration = Duration::from_millis(100);

/// Extra audits use at most this share of one CPU.
const SHARE_OF_EXTRA: f64 = 0.02;

/// The CPU time that extra audits may use at once after a time without extra audits.
const BURST: Duration = MAX_EXTRA;

/// The time after which a time-wait socket or a request socket has ended, if nothing unusual
/// happens. The timeout of a time-wait socket is 60 s. With the default of 5 retransmissions, a
/// request socket ends after 63 s.
const BOUNDED_LIFE: Duration = Duration::from_secs(70);

/// The way to make an audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Compare the gauges with a list of all sockets. This is possible only while no socket
    /// changes.
    List,
    /// Scan all sockets, because sockets are changing.
    Scan,
}

/// How long no event was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Motion {
    /// An event was counted in the last 10 ms.
    Moving,
    /// No event was counted for the last 10 ms.
    Still,
    /// No event was counted since the last look, half a second ago.
    Quiet,
}

impl Motion {
    pub(super) fn new(is_still: bool, is_quiet: bool) -> Self {
        match (is_still, is_quiet) {
            (false, _) => Self::Moving,
            (true, false) => Self::Still,
            (true, true) => Self::Quiet,
        }
    }
}

/// The values that determine whether an audit is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    pub(super) motion: Motion,
    /// Sockets changed since the last audit or scan, or a gauge may be wrong.
    pub(super) is_unchecked: bool,
    /// Sockets of a state with a bounded life outlived the bound.
    pub(super) is_overdue: bool,
    /// The number of sockets that the gauges show.
    pub(super) sockets: u64,
}

/// The audits of one run.
#[derive(Clone, Debug)]
pub(super) struct Audits {
    max_cpu: f64,
    /// The number of completed audits.
    total: u64,
    /// When the gauges were last compared with the kernel's sockets, by an audit or by a scan.
    checked: Instant,
    /// Whether an audit, or a scan after the first scan, was completed.
    is_audited: bool,
    list: Price,
    scan: Price,
    /// When an audit was last tried, and the CPU time of the attempt.
    last: (Instant, Duration),
    /// The CPU time that extra audits may use, at the time of `last`.
    left: Duration,
    /// The last list was useless, because sockets changed meanwhile.
    list_failed: bool,
}

/// The CPU time of the last audit of one kind, and the number of sockets at that time.
#[derive(Clone, Copy, Debug)]
struct Price {
    cost: Duration,
    sockets: u64,
}

impl Price {
    /// Predicts the cost for another number of sockets. A part of the cost does not depend on the
    /// number of sockets.
    fn predicted(self, sockets: u64) -> Duration {
        /// The number of sockets that cost as much as a walk over empty tables.
        const EMPTY: u64 = 400;
        self.cost.mul_f64((sockets + EMPTY) as f64 / (self.sockets + EMPTY) as f64)
    }
}

impl Audits {
    /// Begins with the first scan, which has just ended.
    pub(super) fn new(now: Instant, cost: Duration, sockets: u64) -> Self {
        /// A scan costs at least this many times as much as a list of the same sockets.
        const LISTS: u32 = 4;
        Self {
            max_cpu: MAX_AUDIT_CPU,
            total: 0,
            checked: now,
            is_audited: false,
            list: Price { cost: cost / LISTS, sockets },
            scan: Price { cost, sockets },
            // The first scan does not count as an audit.
            last: (now, Duration::ZERO),
            left: BURST,
            list_failed: false,
        }
    }

    /// Sets the largest share of one CPU that audits use. With 0, no audit is made.
    pub(super) fn limit(&mut self, max_cpu: f64) {
        self.max_cpu = max_cpu;
    }

    /// Returns whether audits are made.
    pub(super) fn are_on(&self) -> bool {
        self.max_cpu > 0.0
    }

    /// Returns the way to make the audit that is due, or `None` if no audit is due.
    pub(super) fn due(&self, situation: &Situation, now: Instant) -> Option<Way> {
        if !self.are_on() {
            return None;
        }
        let (end, spent) = self.last;
        let since = now.saturating_duration_since(end);
        let list = self.list.predicted(situation.sockets);
        let scan = self.scan.predicted(situation.sockets);
        let is_still = situation.motion >= Motion::Still;
        if is_still && situation.is_unchecked {
            let is_quiet = situation.motion == Motion::Quiet;
            let is_extra = list <= CHEAP || is_quiet && list <= MAX_EXTRA;
            if is_extra && list <= self.left_at(now) {
                return Some(Way::List);
            }
        }
        let (way, cost) =
            if is_still && !self.list_failed { (Way::List, list) } else { (Way::Scan, scan) };
        let share = if situation.is_overdue { 0.01_f64.max(self.max_cpu) } else { self.max_cpu };
        let pause = spent.max(cost).div_f64(share).max(MIN_PAUSE);
        (since >= pause).then_some(way)
    }

    /// Returns whether a gauge that has just come to rest is compared with the kernel's sockets
    /// soon, and until then must not be called exact.
    pub(super) fn is_pending(&self, sockets: u64) -> bool {
        self.are_on() && !self.list_failed && self.list.predicted(sockets) <= CHEAP
    }

    /// Returns the CPU time that extra audits may use now.
    fn left_at(&self, now: Instant) -> Duration {
        let since = now.saturating_duration_since(self.last.0);
        BURST.min(self.left + since.mul_f64(SHARE_OF_EXTRA))
    }

    /// Notes a list, and whether the list was useful.
    pub(super) fn listed(&mut self, now: Instant, cost: Duration, sockets: u64, is_useful: bool) {
        self.list = Price { cost, sockets };
        self.left = self.left_at(now).saturating_sub(cost);
        self.last = (now, cost);
        self.list_failed = !is_useful;
        if is_useful {
            self.total += 1;
            self.check(now);
        }
    }

    /// Notes a scan, which has the effect of an audit.
    pub(super) fn scanned(&mut self, now: Instant, cost: Duration, sockets: u64, is_audit: bool) {
        self.scan = Price { cost, sockets };
        self.left = self.left_at(now);
        self.last = (now, cost);
        self.list_failed = false;
        self.total += u64::from(is_audit);
        self.check(now);
    }

    fn check(&mut self, now: Instant) {
        (self.checked, self.is_audited) = (now, true);
    }

    /// Returns the number of audits, and the time since the gauges were last compared with the
    /// kernel's sockets. The time is `None` if the gauges were compared only at the start.
    pub(super) fn done(&self, now: Instant) -> (u64, Option<Duration>) {
        let since = now.saturating_duration_since(self.checked);
        (self.total, self.is_audited.then_some(since))
    }

    /// Returns whether sockets with a bounded life must have ended by now. `last_birth` is the time
    /// when the last of them was born.
    pub(super) fn is_overdue(&self, last_birth: Instant, now: Instant) -> bool {
        let end = last_birth + BOUNDED_LIFE;
        self.checked < end && end <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOVING: Situation =
        Situation { motion: Motion::Moving, is_unchecked: true, is_overdue: false, sockets: 0 };
    const STILL: Situation = Situation { motion: Motion::Still, ..MOVING };
    const QUIET: Situation = Situation { motion: Motion::Quiet, ..MOVING };
    const CHECKED: Situation = Situation { is_unchecked: false, ..QUIET };

    fn audits(now: Instant, list: Duration, scan: Duration) -> Audits {
        let mut audits = Audits::new(now, scan, 0);
        audits.scanned(now, scan, 0, false);
        audits.listed(now, list, 0, true);
        audits
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn under_traffic_a_scan_waits_a_thousand_times_its_cost() {
        let now = Instant::now();
        let audits = audits(now, ms(1), ms(5));
        assert_eq!(audits.due(&MOVING, now + ms(4999)), None);
        assert_eq!(audits.due(&MOVING, now + ms(5000)), Some(Way::Scan));
    }

    #[test]
    fn without_a_change_a_list_waits_a_thousand_times_its_cost() {
        let now = Instant::now();
        let audits = audits(now, ms(3), ms(5));
        assert_eq!(audits.due(&CHECKED, now + ms(2999)), None);
        assert_eq!(audits.due(&CHECKED, now + ms(3000)), Some(Way::List));
    }

    #[test]
    fn cheap_lists_are_made_whenever_the_sockets_come_to_rest() {
        let now = Instant::now();
        let mut cheap = audits(now, ms(2), ms(5));
        for _ in 0..49 {
            assert_eq!(cheap.due(&STILL, now), Some(Way::List));
            cheap.listed(now, ms(2), 0, true);
        }
        assert_eq!(cheap.due(&STILL, now + ms(99)), None, "the burst is over");
        assert_eq!(cheap.due(&STILL, now + ms(100)), Some(Way::List));
        assert!(cheap.is_pending(0));
        let dear = audits(now, ms(80), ms(90));
        assert_eq!(dear.due(&STILL, now + ms(10_000)), None);
        assert!(!dear.is_pending(0));
        assert_eq!(dear.due(&QUIET, now + ms(4000)), Some(Way::List), "one extra in a pause");
        let dearer = audits(now, ms(120), ms(130));
        assert_eq!(dearer.due(&QUIET, now + ms(100_000)), None);
    }

    #[test]
    fn more_sockets_are_predicted_to_cost_more() {
        let now = Instant::now();
        let audits = audits(now, ms(1), ms(5));
        let many = Situation { sockets: 1_000_000, ..STILL };
        assert_eq!(audits.due(&many, now + ms(10_000)), None);
        assert!(!audits.is_pending(1_000_000));
    }

    #[test]
    fn after_a_useless_list_the_next_audit_is_a_scan() {
        let now = Instant::now();
        let mut audits = audits(now, ms(1), ms(5));
        audits.listed(now, ms(1), 0, false);
        assert_eq!(audits.due(&CHECKED, now + ms(5000)), Some(Way::Scan));
        assert_eq!(audits.done(now), (1, Some(Duration::ZERO)));
    }

    #[test]
    fn sockets_that_outlive_their_bound_ask_for_one_early_audit() {
        let birth = Instant::now();
        let now = birth + Duration::from_secs(60);
        let mut audits = audits(now, ms(200), ms(300));
        assert!(!audits.is_overdue(birth, now + ms(9_999)));
        let later = now + ms(20_000);
        assert!(audits.is_overdue(birth, later));
        let overdue = Situation { is_overdue: true, ..MOVING };
        assert_eq!(audits.due(&overdue, now + ms(30_000)), Some(Way::Scan));
        assert_eq!(audits.due(&MOVING, now + ms(30_000)), None);
        audits.scanned(later, ms(300), 0, true);
        assert!(!audits.is_overdue(birth, later), "it has been looked into");
    }

    #[test]
    fn with_a_budget_of_zero_there_is_no_audit() {
        let now = Instant::now();
        let mut audits = audits(now, ms(1), ms(5));
        audits.limit(0.0);
        assert_eq!(audits.due(&QUIET, now + Duration::from_secs(3600)), None);
        assert!(!audits.is_pending(0));
    }
}

//! Finds hooks that are attached but never fire.
//!
//! Some compilers inline a function into every caller, but keep a copy of the function. A hook on
//! this unused copy attaches, but never fires. The kernel's own counters reveal a hook that never
//! fires. The kernel's counters are sufficient even if the counters cover only one of the counted
//! namespaces. If the counters show events of one namespace, but the hook observed no event of any
//! namespace, the hook never fires.

use tcpstate_common::State;

use crate::{
    report::Minis,
    source::{Flows, KernelCounters, Reading},
};

/// If a hook observed no socket and the kernel counted at least this number of sockets, the hook
/// never fires. A smaller number can be a coincidence, because the kernel's counter files are read
/// one after the other.
const MIN_UNSEEN: u64 = 10;

/// If the hooks of one kind of mini sockets never fire, returns the text that says so.
///
/// `since` is the reading at which the hooks were attached. The reading `before` is earlier than
/// the reading `now`. The kernel counters of `before` were read before the cut of `now`.
pub(super) fn of(
    minis: Minis,
    since: &Reading,
    before: &Reading,
    now: &Reading,
) -> Option<&'static str> {
    if before.at.monotonic < since.at.monotonic {
        return None;
    }
    let counted = now.counts.flows.since(&since.counts.flows);
    let (came, went) = observed(minis, &counted);
    let (births, ends) = known(minis, &since.kernel, &before.kernel);
    if came == 0 && births >= MIN_UNSEEN {
        Some("its hooks never fired, but such sockets appeared")
    } else if went == 0 && ends >= MIN_UNSEEN {
        Some("its hooks never fired, but such sockets ended")
    } else {
        None
    }
}

/// Returns whether nothing proves that the hooks of one kind of mini sockets fire: the hooks
/// observed no birth or no end since they were attached, and the kernel's counters have moved since
/// all gauges were right.
///
/// A hook that never fires must not be believed, so the gauges are then not exact. `since` is the
/// reading at which the hooks were attached. `right` are the kernel's counters when all gauges
/// equalled the kernel's sockets.
pub(super) fn is_unproved(
    minis: Minis,
    since: &Reading,
    right: &KernelCounters,
    now: &Reading,
) -> bool {
    let counted = now.counts.flows.since(&since.counts.flows);
    let (came, went) = observed(minis, &counted);
    let (births, ends) = known(minis, right, &now.kernel);
    // A request socket that is older than tcpstate completes without a birth.
    let has_births = births > 0 && (minis == Minis::TimeWait || went == 0);
    (came == 0 && has_births) || (went == 0 && ends > 0)
}

/// Returns how many births and ends of mini sockets the hooks observed.
fn observed(minis: Minis, counted: &Flows) -> (u64, u64) {
    match minis {
        Minis::TimeWait => (counted.time_wait_entries(), counted.time_wait_exits()),
        Minis::SynRecv => {
            let flow = counted.minis(State::SynRecv);
            (flow.entered, flow.left)
        }
    }
}

/// Returns how many mini sockets were created and how many ended, according to the kernel's
/// counters.
fn known(minis: Minis, then: &KernelCounters, now: &KernelCounters) -> (u64, u64) {
    let growth = |of: fn(&KernelCounters) -> Option<u64>| {
        of(now).zip(of(then)).map_or(0, |(now, then)| now.saturating_sub(then))
    };
    match minis {
        Minis::TimeWait => {
            let turnover = growth(|kernel| kernel.time_wait_turnover);
            let risen = growth(|kernel| kernel.time_wait_sockets);
            let sockets = |kernel: &KernelCounters| kernel.time_wait_sockets.unwrap_or(0);
            if now.counts_births {
                // The counters are read one after the other. With the counter that was read before
                // the sockets, a socket born meanwhile does not count as an end.
                let before = now.time_wait_turnover_before.zip(then.time_wait_turnover);
                let before = before.map_or(0, |(now, then)| now.saturating_sub(then));
                (turnover, (before + sockets(then)).saturating_sub(sockets(now)))
            } else {
                (risen, turnover)
            }
        }
        Minis::SynRecv => {
            let opens = growth(|kernel| kernel.passive_opens);
            (opens, opens)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(sockets: u64, turnover: u64) -> KernelCounters {
        KernelCounters {
            counts_births: true,
            time_wait_sockets: Some(sockets),
            time_wait_turnover: Some(turnover),
            time_wait_turnover_before: Some(turnover),
            passive_opens: Some(turnover),
            ..KernelCounters::default()
        }
    }

    #[test]
    fn births_and_ends_follow_from_the_kernels_counters() {
        // 20 sockets were created and 3 of these sockets remain, so 17 sockets ended.
        assert_eq!(known(Minis::TimeWait, &kernel(5, 100), &kernel(8, 120)), (20, 17));
        // Five sockets were born while the counters were read.
        let busy = KernelCounters { time_wait_turnover: Some(125), ..kernel(8, 120) };
        assert_eq!(known(Minis::TimeWait, &kernel(5, 100), &busy), (25, 17));
        assert_eq!(known(Minis::TimeWait, &busy, &busy).1, 0);
        let old = KernelCounters { counts_births: false, ..kernel(8, 120) };
        assert_eq!(known(Minis::TimeWait, &kernel(5, 100), &old), (3, 20));
        assert_eq!(known(Minis::SynRecv, &kernel(5, 100), &kernel(8, 120)), (20, 20));
        assert_eq!(known(Minis::TimeWait, &KernelCounters::default(), &kernel(8, 120)).0, 0);
    }
}

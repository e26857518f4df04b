//! Compares gauges with the kernel's list of sockets. The comparison is valid only if no socket
//! changes state while the kernel's list is read.

use tcpstate_common::{State, abi::STATE_SLOTS};

use super::providers::Providers;
use crate::report::{Difference, Gauge, Verdict};

/// Compares the gauges that the attached hooks observe completely. `listed` has the kernel's state
/// number as its index.
pub(super) fn compare(
    gauges: &[Gauge; 10],
    providers: Providers,
    listed: &[u64; STATE_SLOTS],
) -> Verdict {
    let is_fully_observed = |state: State| match state {
        State::SynRecv => providers.syn_recv.is_exact(),
        State::FinWait2 | State::TimeWait => providers.time_wait.is_exact(),
        _ => true,
    };
    let differences = State::GAUGES.iter().zip(gauges).filter_map(|(&state, gauge)| {
        let (current, listed) = (gauge.current?, listed[state.number()].cast_signed());
        let differs = current != listed && is_fully_observed(state);
        differs.then_some(Difference { state, current, listed })
    });
    let differences: Vec<_> = differences.collect();
    if differences.is_empty() { Verdict::Equal } else { Verdict::Differs(differences) }
}

/// Returns the largest difference between a gauge and the kernel's list. `listed` has the kernel's
/// state number as its index. Gauges that the hooks observe only in part are not compared.
pub(super) fn largest_difference(
    gauges: &[Gauge; 10],
    providers: Providers,
    listed: &[u64; STATE_SLOTS],
) -> u64 {
    let Verdict::Differs(differences) = compare(gauges, providers, listed) else { return 0 };
    let sizes = differences.iter().map(|difference| difference.current.abs_diff(difference.listed));
    sizes.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Provider;

    #[test]
    fn partly_hidden_states_are_not_compared() {
        let exact = Providers { time_wait: Provider::Timer, syn_recv: Provider::Timer };
        let hidden = Providers { time_wait: Provider::Polled, syn_recv: Provider::None };
        let mut listed = [0; STATE_SLOTS];
        let gauges = [Gauge { current: Some(0), ..Gauge::default() }; 10];
        assert_eq!(compare(&gauges, exact, &listed), Verdict::Equal);
        listed[State::FinWait2.number()] = 3;
        assert_eq!(compare(&gauges, hidden, &listed), Verdict::Equal);
        let difference = Difference { state: State::FinWait2, current: 0, listed: 3 };
        assert_eq!(compare(&gauges, exact, &listed), Verdict::Differs(vec![difference]));
        listed[State::Listen.number()] = 1;
        let difference = Difference { state: State::Listen, current: 0, listed: 1 };
        assert_eq!(compare(&gauges, hidden, &listed), Verdict::Differs(vec![difference]));
    }
}

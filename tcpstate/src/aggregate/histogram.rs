//! Converts the histograms of the BPF map to report histograms. A histogram of a report says what
//! the durations measure. The module performs no I/O.

use std::collections::BTreeMap;

use tcpstate_common::State;

use crate::{
    report::{Group, Histogram, Histograms, Of, Tally},
    source::{Tallies, Timed},
};

/// Returns the histograms of durations that ended since the last snapshot.
pub(super) fn of_interval(timed: &Timed) -> Histograms {
    of_tallies(timed, &timed.recent)
}

/// Returns the histograms of durations that ended since the start.
pub(super) fn of_run(timed: &Timed) -> Histograms {
    of_tallies(timed, &timed.total)
}

fn of_tallies(timed: &Timed, tallies: &Tallies) -> Histograms {
    let Timed { by, is_filtered, untimed, .. } = *timed;
    Histograms { by, all: histograms(tallies), untimed, is_filtered }
}

fn histograms(tallies: &Tallies) -> Vec<Histogram> {
    let mut sums: BTreeMap<(Of, &Option<Group>), Tally> = BTreeMap::new();
    for ((group, slot), tally) in tallies {
        for of in Of::of_slot(*slot) {
            sums.entry((of, group)).or_default().add(tally);
        }
    }
    let histogram = |((of, group), tally): ((Of, &Option<Group>), Tally)| Histogram {
        of,
        group: group.clone(),
        tally,
    };
    let mut all: Vec<Histogram> = sums.into_iter().map(histogram).collect();
    let size = |histogram: &Histogram| histogram.tally.count() + histogram.tally.unknown;
    // The group `other` is always the last group.
    all.sort_by_cached_key(|histogram| {
        let is_other = histogram.group == Some(Group::Other);
        (order(histogram.of), is_other, std::cmp::Reverse(size(histogram)), histogram.group.clone())
    });
    all
}

/// Returns the sort key: first the durations that span several states, then states in the order of
/// a connection, then transitions.
fn order(of: Of) -> (u8, usize, usize) {
    let position = |state: State| {
        State::GAUGES.iter().position(|&gauge| gauge == state).unwrap_or(State::GAUGES.len())
    };
    match of {
        Of::ConnectClient => (0, 0, 0),
        Of::ConnectServer => (0, 1, 0),
        Of::Lifetime => (1, 0, 0),
        Of::TimeWaitHold => (2, 0, 0),
        Of::State(state, kind) => (3, position(state), kind as usize),
        Of::Transition(from, to) => (4, position(from), position(to)),
        Of::OtherTransitions => (5, 0, 0),
    }
}

#[cfg(test)]
mod tests {
    use tcpstate_common::histogram::{SLOT_LIFETIME, slot_of_pair};

    use super::*;
    use crate::report::SocketKind;

    #[test]
    fn histogram_of_a_state_sums_the_transitions_out_of_it() {
        let slot = |from: State, to: State| slot_of_pair(from.number(), to.number());
        let tallies = Tallies::from([
            ((None, slot(State::SynSent, State::Established)), Tally::from_nanos(&[100, 200], 1)),
            ((None, slot(State::SynSent, State::Close)), Tally::from_nanos(&[300], 0)),
        ]);
        let all = histograms(&tallies);
        let shape: Vec<_> = all
            .iter()
            .map(|histogram| (histogram.of, histogram.tally.count(), histogram.tally.unknown))
            .collect();
        assert_eq!(
            shape,
            [
                (Of::ConnectClient, 2, 1),
                (Of::State(State::SynSent, SocketKind::Full), 3, 1),
                (Of::Transition(State::SynSent, State::Established), 2, 1),
                (Of::Transition(State::SynSent, State::Close), 1, 0),
            ]
        );
    }

    #[test]
    fn groups_are_sorted_by_size_and_other_is_last() {
        let of = |group, unknown| ((Some(group), SLOT_LIFETIME), Tally::from_nanos(&[1], unknown));
        let tallies = Tallies::from([
            of(Group::Other, 90),
            of(Group::Port(1), 1),
            of(Group::Port(2), 7),
            of(Group::None, 0),
        ]);
        let groups: Vec<_> =
            histograms(&tallies).into_iter().filter_map(|histogram| histogram.group).collect();
        assert_eq!(groups, [Group::Port(2), Group::Port(1), Group::None, Group::Other]);
    }
}

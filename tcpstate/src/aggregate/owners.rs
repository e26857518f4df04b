//! Counts by owner: adds up the rows that have the same values, and computes the changes in an
//! interval.

use std::collections::HashMap;

use tcpstate_common::State;

use crate::{
    report::{Gauge, OwnerCounts, OwnerGroup, OwnerKind, Owners},
    source::{OwnerReading, RowReading},
};

/// Returns the counts by owner. `gauges` are the numbers of all sockets in each state. The interval
/// began at the reading `earlier`.
pub(super) fn show(
    now: &OwnerReading,
    earlier: Option<&OwnerReading>,
    gauges: &[Gauge; State::GAUGES.len()],
) -> Owners {
    let mut before: HashMap<u64, OwnerCounts> = HashMap::new();
    for row in earlier.into_iter().flat_map(|earlier| &earlier.rows) {
        before.insert(row.id, row.counts);
    }
    let mut groups: Vec<OwnerGroup> = Vec::new();
    let mut places: HashMap<&OwnerKind, usize> = HashMap::new();
    for row in &now.rows {
        let interval = row.counts.since(&before.remove(&row.id).unwrap_or_default());
        let states = states_of(row);
        let place = *places.entry(&row.kind).or_insert_with(|| {
            groups.push(OwnerGroup {
                kind: (*row.kind).clone(),
                states: Some([0; State::GAUGES.len()]),
                total: OwnerCounts::default(),
                interval: OwnerCounts::default(),
                likely_owner: None,
            });
            groups.len() - 1
        });
        let group = &mut groups[place];
        group.likely_owner = group.likely_owner.take().or_else(|| row.likely.clone());
        group.total.add(&row.counts);
        group.interval.add(&interval);
        for (sum, count) in group.states.iter_mut().flatten().zip(states) {
            *sum += count;
        }
    }
    groups.push(gone(now, earlier, &before));
    find_unknown(&mut groups, gauges);
    Owners {
        by: now.by.clone(),
        groups,
        accepted: now.accepted,
        not_accepted: now.waiting,
        without_room: now.without_room,
        missed: now.untracked,
    }
}

/// Returns the number of sockets in each state. The CPUs are read one after the other, so the sum
/// can be below 0 for a moment.
pub(super) fn states_of(row: &RowReading) -> [u64; State::GAUGES.len()] {
    State::GAUGES.map(|state| u64::try_from(row.live[state.number()]).unwrap_or(0))
}

/// Returns the counts of the owners that have gone. `left` are the earlier counts of the owners
/// that have no row any more. They are no part of the interval.
fn gone(
    now: &OwnerReading,
    earlier: Option<&OwnerReading>,
    left: &HashMap<u64, OwnerCounts>,
) -> OwnerGroup {
    let mut before = earlier.map_or_else(OwnerCounts::default, |earlier| earlier.gone);
    for counts in left.values() {
        before.add(counts);
    }
    OwnerGroup {
        kind: OwnerKind::Gone,
        states: None,
        total: now.gone,
        interval: now.gone.since(&before),
        likely_owner: None,
    }
}

/// Sets the states of the unknown owners: all sockets that no other group has. The programs do not
/// count the sockets that existed before the start and whose owner is unknown.
fn find_unknown(groups: &mut [OwnerGroup], gauges: &[Gauge; State::GAUGES.len()]) {
    let known = groups.iter().filter(|group| group.kind != OwnerKind::Unknown);
    let rest = rest(gauges, known.filter_map(|group| group.states));
    for group in groups.iter_mut().filter(|group| group.kind == OwnerKind::Unknown) {
        group.states = Some(rest);
    }
}

/// Returns the sockets that are left of all sockets without the known sockets.
pub(super) fn rest(
    gauges: &[Gauge; State::GAUGES.len()],
    known: impl Iterator<Item = [u64; State::GAUGES.len()]>,
) -> [u64; State::GAUGES.len()] {
    let mut rest = gauges.map(|gauge| u64::try_from(gauge.current.unwrap_or(0)).unwrap_or(0));
    for states in known {
        for (rest, count) in rest.iter_mut().zip(states) {
            *rest = rest.saturating_sub(count);
        }
    }
    rest
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use tcpstate_common::abi::STATE_SLOTS;

    use super::*;
    use crate::report::{Key, key::Value};

    pub(in crate::aggregate) fn row(
        id: u64,
        kind: OwnerKind,
        opened: u64,
        established: i64,
    ) -> RowReading {
        let mut live = [0; STATE_SLOTS];
        live[State::Established.number()] = established;
        let counts = OwnerCounts { opened, ..OwnerCounts::default() };
        RowReading { id, kind: Arc::new(kind), counts, live, likely: None, has_ended: false }
    }

    fn port(port: u16) -> OwnerKind {
        OwnerKind::Group(vec![Value::Port(port)])
    }

    fn reading(rows: Vec<RowReading>, gone: u64) -> OwnerReading {
        let gone = OwnerCounts { opened: gone, ..OwnerCounts::default() };
        OwnerReading { by: vec![Key::RemotePort], rows, gone, ..OwnerReading::default() }
    }

    pub(in crate::aggregate) fn gauges(established: i64) -> [Gauge; State::GAUGES.len()] {
        State::GAUGES.map(|state| {
            let current = if state == State::Established { established } else { 0 };
            Gauge { current: Some(current), ..Gauge::default() }
        })
    }

    /// Returns the total and the interval of `opened`, and the sockets in ESTABLISHED.
    fn of(owners: &Owners, kind: &OwnerKind) -> (u64, u64, Option<u64>) {
        let group = owners.groups.iter().find(|group| group.kind == *kind).expect("a group");
        let established = State::GAUGES.iter().position(|&state| state == State::Established);
        let slot = established.expect("a gauge");
        (group.total.opened, group.interval.opened, group.states.map(|states| states[slot]))
    }

    #[test]
    fn rows_with_the_same_values_are_one_group() {
        let now = reading(vec![row(2, port(80), 5, 1), row(3, port(80), 7, 2)], 0);
        let owners = show(&now, None, &gauges(3));
        assert_eq!(of(&owners, &port(80)), (12, 12, Some(3)));
    }

    #[test]
    fn owners_that_go_are_no_part_of_an_interval() {
        let earlier = reading(vec![row(2, port(80), 5, 1), row(3, port(81), 7, 0)], 100);
        let now = reading(vec![row(2, port(80), 6, 1)], 108);
        let owners = show(&now, Some(&earlier), &gauges(1));
        assert_eq!(of(&owners, &port(80)), (6, 1, Some(1)));
        // The row of port 81 had counted one more socket before it was given away.
        assert_eq!(of(&owners, &OwnerKind::Gone), (108, 1, None));
    }

    #[test]
    fn sockets_of_no_group_are_unknown() {
        let rows = vec![row(0, OwnerKind::Unknown, 1, -4), row(2, port(80), 5, 3)];
        let owners = show(&reading(rows, 0), None, &gauges(10));
        assert_eq!(of(&owners, &OwnerKind::Unknown), (1, 1, Some(7)));
    }
}

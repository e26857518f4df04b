//! The groups of a snapshot: the order in which groups are shown, and the sum of the groups that
//! are not shown.

mod cells;
mod csv;
mod json;
mod keys;
mod table;

use std::cmp::{Ordering, Reverse};

use tcpstate_common::State;

pub(super) use self::{
    csv::{header, write_rows},
    json::{key, line},
    table::{Space, lines},
};
use crate::report::{Column, OwnerCounts, OwnerGroup, OwnerKind, Owners, Process, key::Value};

/// The order of groups, and how many groups are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupOrder {
    /// The number that is compared. The group with the largest number is first.
    pub sort: SortBy,
    /// The maximum number of groups, or `None` to show all groups.
    pub top: Option<usize>,
}

impl GroupOrder {
    /// The default of [`Self::top`].
    pub const TOP: usize = 20;
}

impl Default for GroupOrder {
    fn default() -> Self {
        Self { sort: SortBy::Rate(Column::TimeWaitEntries), top: Some(Self::TOP) }
    }
}

/// The number by which groups are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortBy {
    /// A count per second, over the interval. In the end report the interval is the whole run.
    Rate(Column),
    /// The number of sockets in a state now.
    Sockets(State),
}

/// The time that the counts of a row cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// The interval of the snapshot.
    Interval,
    /// The whole run.
    Run,
}

type States = [u64; State::GAUGES.len()];

/// A group, or the sum of several groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row<'a> {
    pub(super) kind: &'a OwnerKind,
    pub(super) states: Option<States>,
    /// The counts since the start.
    pub(super) total: OwnerCounts,
    /// The counts of the interval, or of the whole run in the end report.
    pub(super) recent: OwnerCounts,
    pub(super) likely_owner: Option<&'a Process>,
    /// The number of groups that are summed in this row because they are not shown.
    pub(super) hidden: usize,
}

static OTHER: OwnerKind = OwnerKind::Other;
static UNKNOWN: OwnerKind = OwnerKind::Unknown;
static GONE: OwnerKind = OwnerKind::Gone;

impl<'a> Row<'a> {
    fn of(group: &'a OwnerGroup, span: Span) -> Self {
        Self {
            kind: &group.kind,
            states: group.states,
            total: group.total,
            recent: match span {
                Span::Interval => group.interval,
                Span::Run => group.total,
            },
            likely_owner: group.likely_owner.as_ref(),
            hidden: 0,
        }
    }

    fn empty(kind: &'a OwnerKind) -> Self {
        let counts = OwnerCounts::default();
        Self { kind, states: None, total: counts, recent: counts, likely_owner: None, hidden: 0 }
    }

    fn add(&mut self, other: &Self) {
        self.states = match (self.states, other.states) {
            (Some(mine), Some(theirs)) => {
                Some(std::array::from_fn(|state| mine[state].saturating_add(theirs[state])))
            }
            (mine, theirs) => mine.or(theirs),
        };
        self.total.add(&other.total);
        self.recent.add(&other.recent);
        self.hidden += other.hidden;
    }

    /// Returns whether the row has a count or a socket.
    fn has_anything(&self) -> bool {
        self.sockets() > 0 || Column::ALL.iter().any(|&column| self.total.get(column) > 0)
    }

    /// Returns the number of sockets in all states.
    fn sockets(&self) -> u64 {
        self.states.iter().flatten().fold(0, |sum, sockets| sum.saturating_add(*sockets))
    }

    /// Returns the number of sockets in a state, if the row has sockets.
    pub(super) fn sockets_in(&self, state: State) -> Option<u64> {
        let place = State::GAUGES.iter().position(|&gauge| gauge == state)?;
        self.states.map(|states| states[place])
    }

    /// Returns the values of a group. The other rows have none.
    fn values(&self) -> &[Value] {
        values(self.kind).unwrap_or_default()
    }

    /// Compares two rows: the first row is the row that is shown first. Rows with equal numbers are
    /// sorted by their other numbers and by their values, so that the order does not change from
    /// one frame to the next without a reason.
    fn order(&self, other: &Self, sort: SortBy) -> Ordering {
        let numbers = |row: &Self| {
            let (first, second) = match sort {
                SortBy::Rate(column) => (row.recent.get(column), row.total.get(column)),
                SortBy::Sockets(state) => (row.sockets_in(state).unwrap_or(0), 0),
            };
            Reverse((first, second, row.sockets()))
        };
        numbers(self).cmp(&numbers(other)).then_with(|| keys::order(self.values(), other.values()))
    }
}

/// Returns at most `order.top` groups, then the rows `other`, `unknown` and `gone` if they have
/// anything. The groups that are not shown are added to `other`, so that the sums of all rows do
/// not depend on the number of shown groups.
pub(super) fn rows(owners: &Owners, span: Span, order: GroupOrder) -> Vec<Row<'_>> {
    let mut rows = Vec::with_capacity(owners.groups.len());
    let [mut other, mut unknown, mut gone] = [&OTHER, &UNKNOWN, &GONE].map(Row::empty);
    for group in &owners.groups {
        let row = Row::of(group, span);
        match group.kind {
            OwnerKind::Group(_) if row.has_anything() => rows.push(row),
            OwnerKind::Group(_) => {}
            OwnerKind::Other => other.add(&row),
            OwnerKind::Unknown => unknown.add(&row),
            OwnerKind::Gone => gone.add(&row),
        }
    }
    let compare = |one: &Row<'_>, two: &Row<'_>| one.order(two, order.sort);
    if let Some(top) = order.top.filter(|&top| top < rows.len()) {
        // A host can have many more groups than it shows, so only the shown groups are sorted.
        rows.select_nth_unstable_by(top, compare);
        for mut hidden in rows.drain(top..) {
            hidden.hidden = 1;
            other.add(&hidden);
        }
    }
    rows.sort_unstable_by(compare);
    rows.extend([other, unknown, gone].into_iter().filter(Row::has_anything));
    rows
}

/// Returns the values of a group; the other rows have none.
fn values(kind: &OwnerKind) -> Option<&[Value]> {
    match kind {
        OwnerKind::Group(values) => Some(values),
        OwnerKind::Other | OwnerKind::Unknown | OwnerKind::Gone => None,
    }
}

#[cfg(test)]
mod tests;

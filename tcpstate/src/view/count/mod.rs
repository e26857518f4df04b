//! A [`Count`] as text, one file for each form of output.

mod csv;
mod json;
mod rows;
mod table;

use std::io::{self, Write};

use tcpstate_common::State;

pub use self::{csv::Csv, json::Json, rows::Rows, table::Table};
use crate::report::{
    count::{Count, Groups, States, total},
    key::Value,
};

/// A form of output for counts.
pub trait CountView {
    /// Writes one count.
    fn show(&mut self, count: &Count, out: &mut dyn Write) -> io::Result<()>;
}

/// Returns the rows of a table: a text for each key, and the number of sockets in each state.
/// Groups are first, then sockets without a group, then the sum of the groups that are not shown.
fn rows(groups: &Groups, text: fn(&Value) -> String) -> Vec<(Vec<String>, &States)> {
    let named = groups
        .rows
        .iter()
        .map(|group| (group.values.iter().map(text).collect::<Vec<_>>(), &group.states));
    let label = |label: &str| {
        let others = groups.by.iter().skip(1).map(|_| "-".to_owned());
        std::iter::once(label.to_owned()).chain(others).collect::<Vec<_>>()
    };
    let without = groups.without.iter().map(|(lack, states)| (label(lack.name()), states));
    let other = &groups.other.states;
    let other = (total(other) > 0).then(|| (label("other"), other));
    named.chain(without).chain(other).collect()
}

/// Returns each state and the number of sockets in the state.
fn by_state(counts: &[u64; 10]) -> impl Iterator<Item = (State, u64)> {
    State::GAUGES.into_iter().zip(*counts)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::report::{
        Key, Process,
        count::{Group, Lack, Other, Place},
    };

    pub(super) fn plain() -> Count {
        Count {
            time: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            netns: Place::One(4_026_531_840),
            states: [2, 0, 1, 497, 0, 3, 0, 0, 0, 46_807],
            groups: None,
        }
    }

    pub(super) fn grouped(by: &[Key], rows: Vec<(Vec<Value>, [u64; 10])>) -> Count {
        let rows = rows.into_iter().map(|(values, states)| Group { values, states }).collect();
        let other = Other { states: [0, 0, 0, 5, 0, 0, 0, 0, 0, 2], groups: 3, beyond: 0 };
        let groups = Groups { by: by.to_vec(), rows, without: Vec::new(), other };
        Count { groups: Some(groups), ..plain() }
    }

    pub(super) fn process(name: &str) -> Value {
        Value::Process(Process { pid: 7, name: name.into() })
    }

    /// Returns counts grouped by process: one process has escape sequences in its name, and some
    /// sockets have no process.
    pub(super) fn processes() -> Count {
        let rows = vec![(vec![process("ev\u{1b}[2J\til")], [2, 0, 0, 490, 0, 0, 0, 0, 0, 0])];
        let mut count = grouped(&[Key::Process], rows);
        count.groups.as_mut().expect("it has groups").without = vec![
            (Lack::None, [0, 0, 1, 0, 0, 3, 0, 0, 0, 46_805]),
            (Lack::ClosedMeanwhile, [0, 0, 0, 0, 0, 0, 0, 0, 1, 0]),
            (Lack::Unknown, [0, 0, 0, 2, 0, 0, 0, 0, 0, 0]),
        ];
        count
    }

    /// Returns counts grouped by two keys.
    pub(super) fn pairs() -> Count {
        let address = Value::Address([10, 0, 0, 1].into());
        let rows = vec![
            (vec![process("a"), address], [0, 0, 0, 490, 0, 0, 0, 0, 0, 0]),
            (vec![process("b"), Value::None], [2, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ];
        let mut count = grouped(&[Key::Process, Key::Remote], rows);
        count.groups.as_mut().expect("it has groups").without =
            vec![(Lack::None, [0, 0, 0, 0, 0, 0, 0, 0, 0, 9])];
        count
    }

    pub(super) fn shown(view: &mut dyn CountView, count: &Count) -> String {
        let mut text = Vec::new();
        view.show(count, &mut text).expect("memory takes all");
        String::from_utf8(text).expect("views write UTF-8")
    }
}

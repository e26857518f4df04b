//! A [`Count`] as text, one file for each form of output.

mod csv;
mod json;
mod rows;
mod table;

use std::io::{self, Write};

use tcpstate_common::State;

pub use self::{csv::Csv, json::Json, rows::Rows, table::Table};
use crate::{
    report::count::{Count, Key, Name},
    text::escaped,
};

/// A form of output for counts.
pub trait CountView {
    /// Writes one count.
    fn show(&mut self, count: &Count, out: &mut dyn Write) -> io::Result<()>;
}

/// Returns the key of a group as text.
fn name(name: &Name) -> String {
    match name {
        Key::Port(port) => port.to_string(),
        Key::Address(address) => address.to_string(),
        Key::Process(process) => escaped(format!("{}[{}]", process.name, process.pid)),
        Key::Uid(uid) => uid.to_string(),
        Key::Cgroup(cgroup) => match &cgroup.path {
            Some(path) => escaped(path),
            None => format!("id {}", cgroup.id),
        },
        Key::State(state) => state.name().to_owned(),
        Key::None => "none".to_owned(),
        Key::Unknown => "unknown".to_owned(),
    }
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
        Process,
        count::{By, Cgroup, Group, Groups, Other},
    };

    pub(super) fn plain() -> Count {
        Count {
            time: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            netns: Some(4_026_531_840),
            states: [2, 0, 1, 497, 0, 3, 0, 0, 0, 46_807],
            groups: None,
        }
    }

    pub(super) fn grouped(by: By, rows: Vec<(Name, [u64; 10])>) -> Count {
        let rows = rows.into_iter().map(|(name, states)| Group { name, states }).collect();
        let other = Other { states: [0, 0, 0, 5, 0, 0, 0, 0, 0, 2], groups: 3, beyond: 0 };
        Count { groups: Some(Groups { by, rows, other }), ..plain() }
    }

    /// Returns counts grouped by process: one process has escape sequences in its name, and two
    /// groups are `none` and `unknown`.
    pub(super) fn processes() -> Count {
        let process = Process { pid: 7, name: "ev\u{1b}[2J\til".into() };
        let rows = vec![
            (Key::Process(process), [2, 0, 0, 490, 0, 0, 0, 0, 0, 0]),
            (Key::None, [0, 0, 1, 0, 0, 3, 0, 0, 0, 46_805]),
            (Key::Unknown, [0, 0, 0, 2, 0, 0, 0, 0, 0, 0]),
        ];
        grouped(By::Process, rows)
    }

    pub(super) fn shown(view: &mut dyn CountView, count: &Count) -> String {
        let mut text = Vec::new();
        view.show(count, &mut text).expect("memory takes all");
        String::from_utf8(text).expect("views write UTF-8")
    }

    #[test]
    fn names_are_short_and_escaped() {
        let cgroup = |path: Option<&str>| {
            name(&Key::Cgroup(Cgroup { id: 77, path: path.map(str::to_owned) }))
        };
        assert_eq!(cgroup(Some("/system.slice/a\u{1b}b")), "/system.slice/a\\u{1b}b");
        assert_eq!(cgroup(None), "id 77");
        assert_eq!(name(&Key::Address([10, 0, 0, 1].into())), "10.0.0.1");
        assert_eq!(name(&Key::State(State::TimeWait)), "TIME_WAIT");
    }
}

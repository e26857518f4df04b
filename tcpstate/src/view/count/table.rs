//! A count for people: aligned columns and a total.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

use super::{CountView, by_state, name};
use crate::{
    report::count::{Count, Groups, States, total},
    view::{Size, line::end_of},
};

/// The maximum width of the column of groups on a terminal. An IPv6 address fits into this width.
const WIDEST: usize = 40;

/// The width of the column of totals, including the gaps on both sides.
const SOCKETS: usize = 13;

/// Writes aligned tables with an empty line between them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Table {
    is_later: bool,
    /// The size of the terminal; `None` in a pipe, where lines have any length.
    size: Option<fn() -> Size>,
}

impl Table {
    /// Makes the lines fit into a terminal. `size` returns the size of the terminal.
    #[must_use]
    pub fn on_terminal(size: fn() -> Size) -> Self {
        Self { is_later: false, size: Some(size) }
    }
}

impl CountView for Table {
    fn show(&mut self, count: &Count, out: &mut dyn Write) -> io::Result<()> {
        if std::mem::replace(&mut self.is_later, true) {
            writeln!(out)?;
        }
        match &count.groups {
            Some(groups) => {
                let columns = self.size.map(|size| usize::from(size().columns));
                show_groups(groups, total(&count.states), columns, out)
            }
            None => show_states(&count.states, out),
        }
    }
}

fn show_states(states: &States, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{:<12}  {:>12}", "STATE", "SOCKETS")?;
    for (state, sockets) in by_state(states) {
        writeln!(out, "{state:<12}  {sockets:>12}")?;
    }
    writeln!(out, "{:<12}  {:>12}", "total", total(states))
}

fn show_groups(
    groups: &Groups,
    all: u64,
    columns: Option<usize>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut rows: Vec<(String, States)> =
        groups.rows.iter().map(|group| (name(&group.name), group.states)).collect();
    if total(&groups.other.states) > 0 {
        rows.push(("other".into(), groups.other.states));
    }
    let heading = groups.by.name().to_uppercase();
    let names = rows.iter().map(|(name, _)| name.as_str()).chain([heading.as_str(), "total"]);
    let longest = names.map(UnicodeWidthStr::width).max().unwrap_or(0);
    let width = longest.min(columns.map_or(WIDEST, |columns| WIDEST.max(columns / 2)));
    writeln!(out, "{heading:<width$}  {:>9}  STATES", "SOCKETS")?;
    for (name, states) in &rows {
        // In a pipe, a long name is not cut, so the row of a long name is longer than the other
        // rows.
        let name = if columns.is_some() { end_of(name, width) } else { name.clone() };
        let fill = width.saturating_sub(name.width());
        let room = columns.map(|columns| columns.saturating_sub(width + SOCKETS));
        let states_in_words = in_words(states, room);
        writeln!(out, "{name}{:fill$}  {:>9}  {states_in_words}", "", total(states))?;
    }
    writeln!(out, "{:<width$}  {all:>9}", "total")
}

/// Returns as text the states that have sockets, and the number of sockets in each state. The state
/// with the most sockets is first. If not all states fit into `room` columns, the text ends with
/// the number of states left out.
fn in_words(states: &States, room: Option<usize>) -> String {
    let mut present: Vec<_> = by_state(states).filter(|(_, sockets)| *sockets > 0).collect();
    present.sort_by_key(|(_, sockets)| std::cmp::Reverse(*sockets));
    let words: Vec<String> =
        present.iter().map(|(state, sockets)| format!("{state} {sockets}")).collect();
    let text = |shown: usize| match words.len() - shown {
        0 => words.join(", "),
        hidden if shown == 0 => format!("{hidden} states"),
        hidden => format!("{}, +{hidden} more", words[..shown].join(", ")),
    };
    let fits = |shown: &usize| room.is_none_or(|room| text(*shown).len() <= room);
    text((0..=words.len()).rev().find(fits).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{grouped, plain, processes, shown},
        *,
    };
    use crate::report::count::{By, Cgroup, Key};

    #[test]
    fn states_are_aligned_and_end_with_a_total() {
        let text = shown(&mut Table::default(), &plain());
        assert_eq!(text.lines().count(), 12);
        assert!(
            text.starts_with("STATE              SOCKETS\nLISTEN                   2\n"),
            "{text}"
        );
        assert!(
            text.ends_with("TIME_WAIT            46807\ntotal                47310\n"),
            "{text}"
        );
    }

    #[test]
    fn a_long_name_and_many_states_fit_into_80_columns() {
        let path = |end: &str| Cgroup {
            id: 1,
            path: Some(format!("/kubepods.slice/kubepods-burstable.slice/pod-{end}")),
        };
        let rows = vec![
            (Key::Cgroup(path("first")), [1, 2, 3, 4000, 5, 6, 7, 8, 9, 10]),
            (Key::Cgroup(path("second")), [0, 0, 0, 4, 0, 0, 0, 0, 0, 0]),
        ];
        let count = grouped(By::Cgroup, rows);
        let size = || Size { columns: 80, rows: 24 };
        let text = shown(&mut Table::on_terminal(size), &count);
        let expected = "\
CGROUP                                      SOCKETS  STATES
~lice/kubepods-burstable.slice/pod-first       4051  ESTABLISHED 4000, +9 more
~ice/kubepods-burstable.slice/pod-second          4  ESTABLISHED 4
other                                             7  ESTABLISHED 5, TIME_WAIT 2
total                                         47310
";
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        let piped = shown(&mut Table::default(), &count);
        assert!(piped.contains("/kubepods.slice/kubepods-burstable.slice/pod-first  "), "{piped}");
        assert!(piped.contains("FIN_WAIT1 5, SYN_RECV 3, SYN_SENT 2, LISTEN 1\n"), "{piped}");
    }

    #[test]
    fn groups_have_their_states() {
        let expected = "\
PROCESS               SOCKETS  STATES
ev\\u{1b}[2J\\til[7]        492  ESTABLISHED 490, LISTEN 2
none                    46809  TIME_WAIT 46805, FIN_WAIT2 3, SYN_RECV 1
unknown                     2  ESTABLISHED 2
other                       7  ESTABLISHED 5, TIME_WAIT 2
total                   47310
";
        assert_eq!(shown(&mut Table::default(), &processes()), expected);
    }
}

//! A count for people: aligned columns and a total.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

use super::{super::values::short_text, CountView, by_state, rows};
use crate::{
    report::count::{Count, Groups, States, total},
    view::{Size, line::end_of},
};

/// The maximum width of the column of groups on a terminal. An IPv6 address fits into this width.
const WIDEST: usize = 40;

/// The width that each column of groups has at least, if its texts are long enough.
const NARROWEST: usize = 8;

/// The width of the gap between two columns.
const GAP: usize = 2;

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
    let rows = rows(groups, short_text);
    let headings: Vec<String> = groups.by.iter().map(|key| key.name().to_uppercase()).collect();
    let room = columns.map_or(WIDEST, |columns| WIDEST.max(columns / 2));
    let widths = widths(&headings, &rows, room);
    // The total is in the column of sockets, so the texts before it may be wider than the columns.
    let width = widths.iter().sum::<usize>() + GAP * (widths.len() - 1);
    let text = |texts: &[String]| {
        let cells = texts.iter().zip(&widths).map(|(text, &width)| {
            // In a pipe, a long text is not cut, so its row is longer than the other rows.
            let text = if columns.is_some() { end_of(text, width) } else { text.clone() };
            let fill = width.saturating_sub(text.width());
            format!("{text}{:fill$}", "")
        });
        cells.collect::<Vec<_>>().join("  ")
    };
    writeln!(out, "{}  {:>9}  STATES", text(&headings), "SOCKETS")?;
    for (values, states) in &rows {
        let room = columns.map(|columns| columns.saturating_sub(width + SOCKETS));
        writeln!(out, "{}  {:>9}  {}", text(values), total(states), in_words(states, room))?;
    }
    writeln!(out, "{:<width$}  {all:>9}", "total")
}

/// Returns the width of each column of keys. If all columns together need more than `room`, the
/// widest columns become narrower.
fn widths(headings: &[String], rows: &[(Vec<String>, &States)], room: usize) -> Vec<usize> {
    let widest = |column: usize| {
        let texts = rows.iter().map(|(values, _)| &values[column]);
        texts.chain([&headings[column]]).map(|text| text.width()).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..headings.len()).map(widest).collect();
    if let Some(first) = widths.first_mut() {
        *first = (*first).max("total".len());
    }
    let room = room.saturating_sub(GAP * (widths.len() - 1));
    while widths.iter().sum::<usize>() > room.max(NARROWEST * widths.len()) {
        let Some(widest) = widths.iter_mut().max() else { break };
        *widest -= 1;
    }
    widths
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
        super::tests::{grouped, pairs, plain, processes, shown},
        *,
    };
    use crate::report::{Cgroup, Key, key::Value};

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
        let path = |end: &str| {
            let path = format!("/kubepods.slice/kubepods-burstable.slice/pod-{end}");
            vec![Value::Cgroup(Cgroup::from(path))]
        };
        let rows = vec![
            (path("first"), [1, 2, 3, 4000, 5, 6, 7, 8, 9, 10]),
            (path("second"), [0, 0, 0, 4, 0, 0, 0, 0, 0, 0]),
        ];
        let count = grouped(&[Key::Cgroup], rows);
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
closed meanwhile            1  LAST_ACK 1
unknown                     2  ESTABLISHED 2
other                       7  ESTABLISHED 5, TIME_WAIT 2
total                   47310
";
        assert_eq!(shown(&mut Table::default(), &processes()), expected);
    }

    #[test]
    fn groups_of_two_keys_have_two_columns() {
        let expected = "\
PROCESS  REMOTE      SOCKETS  STATES
a[7]     10.0.0.1        490  ESTABLISHED 490
b[7]     -                 2  LISTEN 2
none     -                 9  TIME_WAIT 9
other    -                 7  ESTABLISHED 5, TIME_WAIT 2
total                  47310
";
        assert_eq!(shown(&mut Table::default(), &pairs()), expected);
    }

    #[test]
    fn the_widest_columns_become_narrower() {
        let texts = |texts: [&str; 3]| texts.map(str::to_owned).to_vec();
        let headings = texts(["CGROUP", "REMOTE", "STATE"]);
        let long = "x".repeat(100);
        let states = States::default();
        let rows = [(texts([&long, "2001:db8::1234", "TIME_WAIT"]), &states)];
        assert_eq!(widths(&headings, &rows, 40), [14, 13, 9]);
        assert_eq!(widths(&headings, &rows, 200), [100, 14, 9]);
        assert_eq!(widths(&headings, &rows, 10), [8, 8, 8]);
    }
}

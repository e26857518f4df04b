//! For people: aligned, with a total.

use std::io::{self, Write};

use super::{CountView, by_state, name};
use crate::report::count::{Count, Groups, States, total};

/// The widest that the first column of groups gets, so that a row of few states stays within 80 columns.
const WIDEST: usize = 40;

/// Writes an aligned table; tables are parted by an empty line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Table {
    is_later: bool,
}

impl CountView for Table {
    fn show(&mut self, count: &Count, out: &mut dyn Write) -> io::Result<()> {
        if std::mem::replace(&mut self.is_later, true) {
            writeln!(out)?;
        }
        match &count.groups {
            Some(groups) => show_groups(groups, total(&count.states), out),
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

fn show_groups(groups: &Groups, all: u64, out: &mut dyn Write) -> io::Result<()> {
    let mut rows: Vec<(String, States)> =
        groups.rows.iter().map(|group| (name(&group.name), group.states)).collect();
    if total(&groups.other.states) > 0 {
        rows.push(("other".into(), groups.other.states));
    }
    let heading = groups.by.name().to_uppercase();
    let names = rows.iter().map(|(name, _)| name.as_str()).chain([heading.as_str(), "total"]);
    let width = names.map(|name| name.chars().count()).max().unwrap_or(0).min(WIDEST);
    writeln!(out, "{heading:<width$}  {:>9}  STATES", "SOCKETS")?;
    for (name, states) in &rows {
        writeln!(out, "{name:<width$}  {:>9}  {}", total(states), in_words(states))?;
    }
    writeln!(out, "{:<width$}  {all:>9}", "total")
}

/// The states that there are, the most frequent first.
fn in_words(states: &States) -> String {
    let mut present: Vec<_> = by_state(states).filter(|(_, sockets)| *sockets > 0).collect();
    present.sort_by_key(|(_, sockets)| std::cmp::Reverse(*sockets));
    let words = present.iter().map(|(state, sockets)| format!("{state} {sockets}"));
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{plain, processes, shown},
        *,
    };

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
    fn groups_tell_their_states() {
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

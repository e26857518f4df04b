//! Text for people: one line of at most 80 columns for each network namespace.

use std::{cmp::Reverse, fmt::Write as _};

use tcpstate_common::State;

use super::{line::shortened, number::UNKNOWN};
use crate::{
    report::{Gauge, NamespaceRow},
    text::escaped,
};

/// The headings of the columns with their states. Each of the most common states has a column, and
/// all other states share one column.
const SHOWN: [(&str, &[State]); 7] = [
    ("TOTAL", &State::GAUGES),
    ("LISTEN", &[State::Listen]),
    ("SYN_*", &[State::SynSent, State::SynRecv]),
    ("ESTAB", &[State::Established]),
    ("FIN_*", &[State::FinWait1, State::FinWait2, State::Closing, State::LastAck]),
    ("CLOSE_W", &[State::CloseWait]),
    ("TIME_W", &[State::TimeWait]),
];

/// The maximum width of the name or the inode number of a namespace.
const NAME: usize = 24;

/// Returns a heading, and a line for each namespace, largest first. A namespace is shown by its
/// name, or by its inode number if it has no name.
pub(super) fn lines(rows: &[NamespaceRow]) -> Vec<String> {
    let mut heading = format!("{:<NAME$}", "NAMESPACE");
    for (title, _) in SHOWN {
        write!(heading, "{title:>8}").expect("a string accepts every write");
    }
    let mut rows: Vec<&NamespaceRow> = rows.iter().collect();
    let known = |row: &NamespaceRow| row.states.iter().filter_map(|gauge| gauge.current).sum();
    rows.sort_by_key(|row| (Reverse::<i64>(known(row)), row.netns));
    [heading].into_iter().chain(rows.into_iter().map(line)).collect()
}

fn line(row: &NamespaceRow) -> String {
    let gone = if row.is_gone { " (gone)" } else { "" };
    let name = row.name.as_ref().map_or_else(|| row.netns.to_string(), escaped);
    let name = format!("{}{gone}", shortened(&name, NAME - gone.len()));
    let mut line = format!("{name:<NAME$}");
    for (_, states) in SHOWN {
        let count = sum(&row.states, states);
        let count = count.map_or_else(|| UNKNOWN.to_owned(), |count| count.to_string());
        write!(line, "{count:>8}").expect("a string accepts every write");
    }
    line
}

/// Returns the total number of sockets in the given states. Returns `None` if one of the gauges is
/// unknown.
fn sum(gauges: &[Gauge; 10], states: &[State]) -> Option<i64> {
    let of = |state: &State| {
        let slot = State::GAUGES.iter().position(|gauge| gauge == state)?;
        gauges[slot].current
    };
    states.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::TimeWait;

    fn row(netns: u64, name: Option<&str>, current: i64) -> NamespaceRow {
        let gauge = Gauge { current: Some(current), ..Gauge::default() };
        NamespaceRow {
            netns,
            name: name.map(str::to_owned),
            is_gone: false,
            states: [gauge; 10],
            time_wait: TimeWait::default(),
        }
    }

    #[test]
    fn a_line_has_at_most_80_columns_for_any_name() {
        let long = "a\u{1b}[2Jb\nc and many more characters than fit";
        let gone = NamespaceRow { is_gone: true, ..row(2, Some(long), 123_456) };
        let lines = lines(&[row(4_026_531_840, None, 123_456), row(1, Some(long), 123_456), gone]);
        assert!(lines.iter().all(|line| line.len() <= 80), "{lines:?}");
        assert!(lines[1].starts_with("a\\u{1b}[2Jb\\nc and many~ "), "{lines:?}");
        assert!(lines[2].starts_with("a\\u{1b}[2Jb\\nc a~ (gone) "), "{lines:?}");
        assert!(lines[3].starts_with("4026531840 "), "{lines:?}");
        assert!(lines[3].ends_with(" 123456"), "{lines:?}");
    }

    #[test]
    fn the_largest_namespace_comes_first() {
        let lines = lines(&[row(1, Some("small"), 1), row(2, Some("large"), 2)]);
        assert!(lines[1].starts_with("large") && lines[2].starts_with("small"), "{lines:?}");
    }

    #[test]
    fn a_total_with_an_unknown_part_is_unknown() {
        let mut row = row(1, None, 5);
        row.states[9].current = None;
        let line = &lines(&[row])[1];
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words, ["1", "-", "5", "10", "5", "20", "5", "-"]);
    }
}

//! Counts for spreadsheets: a heading, then a row for each state, or for each group and state.

use std::io::{self, Write};

use csv::WriterBuilder;

use super::{
    super::{json::times, values},
    CountView, by_state, rows,
};
use crate::{
    report::{
        Key,
        count::{Count, Place},
    },
    text::cell,
};

/// Writes CSV with one heading.
#[derive(Clone, Copy, Debug, Default)]
pub struct Csv {
    is_later: bool,
}

impl CountView for Csv {
    fn show(&mut self, count: &Count, out: &mut dyn Write) -> io::Result<()> {
        let mut csv = WriterBuilder::new().from_writer(out);
        // The column of states shows the key `state`.
        let by = count.groups.iter().flat_map(|groups| groups.by.iter().enumerate());
        let by: Vec<(usize, &Key)> = by.filter(|(_, key)| **key != Key::State).collect();
        if !std::mem::replace(&mut self.is_later, true) {
            let keys = by.iter().map(|(_, key)| key.label());
            csv.write_record(["time", "netns"].into_iter().chain(keys).chain(["state", "count"]))?;
        }
        let (time, _) = times(count.time);
        let netns = match count.netns {
            Place::One(inode) => inode.to_string(),
            Place::All => "all".to_owned(),
            Place::Unknown => String::new(),
        };
        let mut row = |group: &[String], state: &str, sockets: u64| {
            let before = [time.as_str(), netns.as_str()].into_iter();
            let group = group.iter().map(String::as_str);
            csv.write_record(before.chain(group).chain([state, sockets.to_string().as_str()]))
        };
        match &count.groups {
            Some(groups) if !by.is_empty() => {
                for (values, states) in rows(groups, values::text) {
                    let values: Vec<String> = by.iter().map(|&(at, _)| text(&values[at])).collect();
                    for (state, sockets) in by_state(states).filter(|(_, sockets)| *sockets > 0) {
                        row(&values, state.label(), sockets)?;
                    }
                }
            }
            _ => {
                for (state, sockets) in by_state(&count.states) {
                    row(&[], state.label(), sockets)?;
                }
            }
        }
        csv.flush()
    }
}

/// A text that is absent is an empty cell.
fn text(value: &str) -> String {
    if value == "-" { String::new() } else { cell(value) }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{grouped, pairs, plain, process, shown},
        *,
    };
    use crate::report::key::Value;

    #[test]
    fn csv_has_one_heading_and_rows_for_zeros() {
        let mut csv = Csv::default();
        let first = shown(&mut csv, &plain());
        assert!(
            first.starts_with(
                "time,netns,state,count\n2023-11-14T22:13:20.123Z,4026531840,listen,2\n"
            ),
            "{first}"
        );
        assert_eq!(first.lines().count(), 11);
        assert_eq!(shown(&mut csv, &plain()).lines().count(), 10);
    }

    #[test]
    fn groups_are_a_column_with_quotes_where_needed() {
        let rows = vec![(vec![process("a,\"b")], [0, 0, 0, 490, 0, 0, 0, 0, 0, 0])];
        let count = grouped(&[Key::Process], rows);
        assert_eq!(
            shown(&mut Csv::default(), &count),
            "time,netns,process,state,count\n\
             2023-11-14T22:13:20.123Z,4026531840,\"a,\"\"b[7]\",established,490\n\
             2023-11-14T22:13:20.123Z,4026531840,other,established,5\n\
             2023-11-14T22:13:20.123Z,4026531840,other,time_wait,2\n"
        );
    }

    #[test]
    fn each_key_except_the_state_is_a_column() {
        let text = shown(&mut Csv::default(), &pairs());
        assert!(text.starts_with("time,netns,process,remote,state,count\n"), "{text}");
        assert!(text.contains(",4026531840,a[7],10.0.0.1,established,490\n"), "{text}");
        assert!(text.contains(",none,,time_wait,9\n"), "{text}");
        let value = vec![Value::Port(80), Value::State(tcpstate_common::State::Listen)];
        let rows = vec![(value, [3, 0, 0, 0, 0, 0, 0, 0, 0, 0])];
        let count = grouped(&[Key::LocalPort, Key::State], rows);
        let text = shown(&mut Csv::default(), &count);
        assert!(text.starts_with("time,netns,local_port,state,count\n"), "{text}");
        assert!(text.contains(",4026531840,80,listen,3\n"), "{text}");
    }
}

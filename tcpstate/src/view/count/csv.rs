//! Counts for spreadsheets: a heading, then a row for each state, or for each group and state.

use std::io::{self, Write};

use csv::WriterBuilder;

use super::{super::json::times, CountView, by_state, name};
use crate::{report::count::Count, text::cell};

/// Writes CSV with one heading.
#[derive(Clone, Copy, Debug, Default)]
pub struct Csv {
    is_later: bool,
}

impl CountView for Csv {
    fn show(&mut self, count: &Count, out: &mut dyn Write) -> io::Result<()> {
        let mut csv = WriterBuilder::new().from_writer(out);
        let by = count.groups.as_ref().map(|groups| groups.by.label());
        // If the groups are states, the second column for the state is left out.
        let by = by.filter(|&by| by != "state");
        if !std::mem::replace(&mut self.is_later, true) {
            csv.write_record(["time", "netns"].into_iter().chain(by).chain(["state", "count"]))?;
        }
        let (time, _) = times(count.time);
        let netns = count.netns.map(|inode| inode.to_string()).unwrap_or_default();
        let mut row = |group: Option<&str>, state: &str, sockets: u64| {
            let before = [time.as_str(), netns.as_str()].into_iter().chain(group);
            csv.write_record(before.chain([state, sockets.to_string().as_str()]))
        };
        match (&count.groups, by) {
            (Some(groups), Some(_)) => {
                let named =
                    groups.rows.iter().map(|group| (cell(name(&group.name)), &group.states));
                for (name, states) in named.chain([("other".into(), &groups.other.states)]) {
                    for (state, sockets) in by_state(states).filter(|(_, sockets)| *sockets > 0) {
                        row(Some(&name), state.label(), sockets)?;
                    }
                }
            }
            _ => {
                for (state, sockets) in by_state(&count.states) {
                    row(None, state.label(), sockets)?;
                }
            }
        }
        csv.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{grouped, plain, shown},
        *,
    };
    use crate::report::{
        Process,
        count::{By, Key},
    };

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
        let process = Process { pid: 7, name: "a,\"b".into() };
        let count =
            grouped(By::Process, vec![(Key::Process(process), [0, 0, 0, 490, 0, 0, 0, 0, 0, 0])]);
        assert_eq!(
            shown(&mut Csv::default(), &count),
            "time,netns,process,state,count\n\
             2023-11-14T22:13:20.123Z,4026531840,\"a,\"\"b[7]\",established,490\n\
             2023-11-14T22:13:20.123Z,4026531840,other,established,5\n\
             2023-11-14T22:13:20.123Z,4026531840,other,time_wait,2\n"
        );
    }
}

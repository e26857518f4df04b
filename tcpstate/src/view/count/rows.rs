//! Counts for shell scripts, instead of `netstat | awk`: `STATE<TAB>count` for all ten states, or a
//! row for each group.

use std::io::{self, Write};

use super::{super::values::text, CountView, by_state, rows};
use crate::report::count::{Count, total};

/// Writes rows that have two columns and no heading. An empty line separates two counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rows {
    is_later: bool,
}

impl CountView for Rows {
    fn show(&mut self, count: &Count, out: &mut dyn Write) -> io::Result<()> {
        if std::mem::replace(&mut self.is_later, true) {
            writeln!(out)?;
        }
        let Some(groups) = &count.groups else {
            return by_state(&count.states)
                .try_for_each(|(state, sockets)| writeln!(out, "{state}\t{sockets}"));
        };
        rows(groups, text).into_iter().try_for_each(|(values, states)| {
            writeln!(out, "{}\t{}", values.join("\t"), total(states))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{pairs, plain, processes, shown},
        *,
    };

    #[test]
    fn ten_rows_with_zeros_and_an_empty_line_before_the_next_ten() {
        let mut rows = Rows::default();
        let ten = "LISTEN\t2\nSYN_SENT\t0\nSYN_RECV\t1\nESTABLISHED\t497\nFIN_WAIT1\t0\nFIN_WAIT2\t3\n\
                   CLOSE_WAIT\t0\nCLOSING\t0\nLAST_ACK\t0\nTIME_WAIT\t46807\n";
        assert_eq!(shown(&mut rows, &plain()), ten);
        assert_eq!(shown(&mut rows, &plain()), format!("\n{ten}"));
    }

    #[test]
    fn names_of_groups_are_escaped_in_rows() {
        assert_eq!(
            shown(&mut Rows::default(), &processes()),
            "ev\\u{1b}[2J\\til[7]\t492\nnone\t46809\nclosed meanwhile\t1\nunknown\t2\nother\t7\n"
        );
    }

    #[test]
    fn groups_of_two_keys_have_a_column_for_each_key() {
        assert_eq!(
            shown(&mut Rows::default(), &pairs()),
            "a[7]\t10.0.0.1\t490\nb[7]\t-\t2\nnone\t-\t9\nother\t-\t7\n"
        );
    }
}

//! For people: a line for each network namespace, within 80 columns.

use std::io::{self, Write};

use tcpstate_common::State;

use crate::{
    report::{Gauge, NamespaceRow},
    text::escaped,
};

/// Columns: the states of which there are most, the others together.
const SHOWN: [(&str, &[State]); 6] = [
    ("LISTEN", &[State::Listen]),
    ("SYN*", &[State::SynSent, State::SynRecv]),
    ("ESTAB", &[State::Established]),
    ("FIN*", &[State::FinWait1, State::FinWait2, State::Closing, State::LastAck]),
    ("CLOSE_W", &[State::CloseWait]),
    ("TIME_W", &[State::TimeWait]),
];

/// Of a name, before it is cut off.
const NAME_WIDTH: usize = 18;

/// Writes the lines, after one with what they are.
pub(super) fn show(rows: &[NamespaceRow], out: &mut dyn Write) -> io::Result<()> {
    write!(out, "\n{:<11} {:<NAME_WIDTH$}", "NAMESPACE", "NAME")?;
    for (title, _) in SHOWN {
        write!(out, " {title:>7}")?;
    }
    writeln!(out)?;
    for row in rows {
        let name = row.name.as_ref().map_or_else(|| "-".to_owned(), |name| cut_off(escaped(name)));
        write!(out, "{:<11} {name:<NAME_WIDTH$}", row.netns)?;
        for (_, states) in SHOWN {
            let shown = sum(&row.states, states);
            write!(out, " {:>7}", shown.map_or_else(|| "-".to_owned(), |count| count.to_string()))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Sockets in these states, if all of them can be seen.
fn sum(gauges: &[Gauge; 10], states: &[State]) -> Option<i64> {
    let of = |state: &State| {
        let slot = State::GAUGES.iter().position(|gauge| gauge == state)?;
        gauges[slot].current
    };
    states.iter().map(of).sum()
}

fn cut_off(name: String) -> String {
    if name.chars().count() <= NAME_WIDTH {
        return name;
    }
    let begin: String = name.chars().take(NAME_WIDTH - 1).collect();
    begin + "~"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::TimeWait;

    #[test]
    fn a_line_has_80_columns_whatever_the_name_is() {
        let gauge = Gauge { current: Some(123_456), ..Gauge::default() };
        let row = |name: Option<&str>| NamespaceRow {
            netns: 4_026_531_840,
            name: name.map(str::to_owned),
            is_gone: false,
            states: [gauge; 10],
            time_wait: TimeWait::default(),
        };
        let rows = [row(None), row(Some("a\u{1b}[2Jb\nc and a good deal more of it"))];
        let mut out = Vec::new();
        show(&rows, &mut out).expect("memory takes everything");
        let text = String::from_utf8(out).expect("it is text");
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert!(text.contains(" a\\u{1b}[2Jb\\nc an~ "), "{text}");
        assert!(text.lines().nth(2).is_some_and(|line| line.ends_with(" 123456")), "{text}");
    }
}

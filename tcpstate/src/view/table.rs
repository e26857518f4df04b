//! For people, in a pipe or a file: a plain block of lines an interval, within 80 columns, and the whole run at the end.

use std::io::{self, Write};

use super::{
    View,
    block::{self, COST_NOTE, Columns},
    line::{Line, Tone},
    namespaces,
    number::clock,
    summary,
};
use crate::{
    report::{Attached, Report, Snapshot, Start},
    text::escaped,
};

/// Writes plain text.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// How the run began, and what serves by now.
    start: Option<Start>,
}

const WIDTH: usize = 80;

impl View for Table {
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        match report {
            Report::Start(start) => {
                let kernel = escaped(&start.kernel);
                writeln!(out, "{}, kernel {kernel}", block::scope_in_words(start.netns))?;
                show_in_place(&start.attached, out)?;
                self.start = Some(start.clone());
                Ok(())
            }
            Report::Snapshot(snapshot) => {
                if let (Some(start), Some(attached)) = (&mut self.start, &snapshot.attached) {
                    writeln!(out)?;
                    show_in_place(attached, out)?;
                    start.attached = attached.clone();
                }
                writeln!(out)?;
                for line in lines(snapshot) {
                    line.write(false, out)?;
                    writeln!(out)?;
                }
                snapshot.namespaces.as_ref().map_or(Ok(()), |rows| namespaces::show(rows, out))
            }
            Report::End(end) => {
                let Some(start) = &self.start else { return Ok(()) };
                writeln!(out)?;
                summary::write(start, end, out)?;
                end.namespaces.as_ref().map_or(Ok(()), |rows| namespaces::show(rows, out))
            }
        }
    }
}

fn show_in_place(attached: &Attached, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", block::hooks_in_words(attached.hooks))?;
    summary::write_limits(&attached.limits, out)
}

fn lines(snapshot: &Snapshot) -> Vec<Line> {
    let time = (Tone::Plain, clock(snapshot.time));
    let words =
        [time].into_iter().chain(block::accuracy(snapshot)).chain(block::cost_of_all(snapshot));
    let mut lines = vec![Line::of_words(0, words, WIDTH), Columns::NUMBERS.heading()];
    lines.extend(block::rows(snapshot).iter().map(|row| Columns::NUMBERS.row(row, "")));
    for words in [block::fullness(&snapshot.time_wait), block::exits(snapshot)] {
        lines.extend((!words.is_empty()).then(|| Line::of_words(2, words, WIDTH)));
    }
    lines.extend(block::costs(snapshot));
    if !snapshot.cost.is_empty() {
        lines.push(Line::of(Tone::Faint, COST_NOTE));
    }
    lines
}

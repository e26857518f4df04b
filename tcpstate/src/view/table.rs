//! Plain text for people, in a pipe or a file: a block of lines at each interval and a summary at
//! the end, at most 80 columns wide.

use std::io::{self, Write};

use super::{
    View,
    block::{self, COST_NOTE, Columns},
    groups::{self, GroupOrder, Space, Span},
    line::{Line, Tone},
    moves::{Move, legend, list, moves},
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
    /// The report from the start of the run. When a snapshot reports other hooks, the view replaces
    /// the hooks in the start report.
    start: Option<Start>,
    order: GroupOrder,
}

const WIDTH: usize = 80;

impl View for Table {
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        match report {
            Report::Start(_) | Report::Snapshot(_) => self.show_block(report, out),
            Report::End(end) => {
                self.show_summary(end, out)?;
                self.show_limits(out)
            }
        }
    }
}

impl Table {
    /// Creates a table that shows groups in this order.
    #[must_use]
    pub fn new(order: GroupOrder) -> Self {
        Self { start: None, order }
    }

    /// Writes the report of the start or a snapshot. For the end report, this function writes
    /// nothing.
    pub(super) fn show_block(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        match report {
            Report::Start(start) => {
                let kernel = escaped(&start.kernel);
                writeln!(out, "{}, kernel {kernel}", block::scope_in_words(start.netns))?;
                show_attached(&start.attached, out)?;
                self.start = Some(start.clone());
                Ok(())
            }
            Report::Snapshot(snapshot) => {
                if let (Some(start), Some(attached)) = (&mut self.start, &snapshot.attached) {
                    writeln!(out)?;
                    show_attached(attached, out)?;
                    start.attached = attached.clone();
                }
                writeln!(out)?;
                for line in lines(snapshot, self.order) {
                    line.write(false, out)?;
                    writeln!(out)?;
                }
                Ok(())
            }
            Report::End(_) => Ok(()),
        }
    }

    /// Writes the summary without the limits.
    pub(super) fn show_summary(&self, end: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
        let Some(start) = &self.start else { return Ok(()) };
        writeln!(out)?;
        summary::write(start, end, summary::Space { height: None, order: self.order }, out)
    }

    /// Writes the limits, which come last.
    pub(super) fn show_limits(&self, out: &mut dyn Write) -> io::Result<()> {
        let Some(start) = &self.start else { return Ok(()) };
        summary::write_limits(&start.attached.limits, out)
    }
}

/// Writes the active hooks, and how many limits the run has.
fn show_attached(attached: &Attached, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", block::hooks_in_words(attached.hooks))?;
    let limits = block::limits_in_short(&attached.limits);
    limits.map_or(Ok(()), |limits| writeln!(out, "{limits}"))
}

fn lines(snapshot: &Snapshot, order: GroupOrder) -> Vec<Line> {
    let time = (Tone::Plain, clock(snapshot.time));
    let words =
        [time].into_iter().chain(block::accuracy(snapshot)).chain(block::cost_of_all(snapshot));
    let mut lines = vec![Line::of_words(0, words, WIDTH), Columns::NUMBERS.heading()];
    lines.extend(block::rows(snapshot).iter().map(|row| Columns::NUMBERS.row(row, "")));
    for words in [block::fullness(&snapshot.time_wait), block::exits(snapshot)] {
        lines.extend((!words.is_empty()).then(|| Line::of_words(2, words, WIDTH)));
    }
    let space = Space { width: WIDTH, height: None };
    if let Some(owners) = &snapshot.owners {
        // The empty lines separate the groups from the gauges and from the transitions.
        lines.push(Line::default());
        let seconds = snapshot.interval.as_secs_f64();
        lines.extend(groups::lines(owners, seconds, Span::Interval, order, space));
        lines.push(Line::default());
    }
    lines.extend(transitions(snapshot).into_iter().map(|line| Line::of(Tone::Plain, line)));
    lines.extend(block::costs(snapshot));
    if !snapshot.cost.is_empty() {
        lines.push(Line::of(Tone::Faint, COST_NOTE));
    }
    if let Some(rows) = &snapshot.namespaces {
        lines.push(Line::default());
        lines.extend(namespaces::lines(rows).into_iter().map(|line| Line::of(Tone::Plain, line)));
    }
    lines
}

/// Returns the list of transitions in the interval. The list is empty if no socket moved.
fn transitions(snapshot: &Snapshot) -> Vec<String> {
    let mut moves = moves(snapshot);
    moves.retain(|Move { in_interval, .. }| *in_interval != 0);
    let mut lines = list(&moves, snapshot.interval.as_secs_f64());
    let legend = legend(&moves);
    if !legend.is_empty() {
        lines.push(legend);
    }
    lines
}

//! The matrix of transitions: the share of each pair of states as a map, and a bar for each pair.
//! The matrix is readable without colours, and at most 80 columns wide.

use std::io::{self, Write};

use tcpstate_common::State;

use super::{
    Size, TerminalCaps, View,
    line::{Line, Tone},
    moves::{Move, begin, end, legend, moves, name, sorted},
    number::{clock, decimal, duration, grouped, or_unknown, percent, rate},
    repaint::paint,
};
use crate::report::{Report, Snapshot};

/// The width of a bar in columns.
const BAR: usize = 18;

/// The width of the column with the names of the states that sockets left.
const FROM: usize = 12;

/// The width of a cell in columns, including the gap before the cell.
const CELL: usize = 6;

/// The shades from the lowest to the highest level, for terminals without colours.
const SHADES: [char; 5] = [' ', '.', ':', '*', '#'];

/// Returns the name of a state in five characters, so that all states fit into 80 columns.
const fn short(state: Option<State>) -> &'static str {
    match state {
        Some(State::Listen) => "LISTN",
        Some(State::SynSent) => "SYN_S",
        Some(State::SynRecv) => "SYN_R",
        Some(State::Established) => "ESTAB",
        Some(State::FinWait1) => "FIN_1",
        Some(State::FinWait2) => "FIN_2",
        Some(State::CloseWait) => "CLS_W",
        Some(State::Closing) => "CLSNG",
        Some(State::LastAck) => "LST_A",
        Some(State::TimeWait) => "TIM_W",
        Some(State::Close) => "CLOSE",
        Some(State::NewSynRecv) => "NEW_S",
        Some(State::BoundInactive) => "BOUND",
        None => "unkn.",
    }
}

/// Returns the matrix of an interval: a title, a map and bars. If `size` is `None`, nothing is left
/// out.
pub(super) fn lines(snapshot: &Snapshot, size: Option<Size>) -> Vec<Line> {
    let mut pairs = moves(snapshot);
    pairs.retain(|pair| pair.in_interval > 0);
    let all = pairs.iter().map(|pair| pair.in_interval.unsigned_abs()).sum();
    let seconds = snapshot.interval.as_secs_f64();
    let per_second = or_unknown(rate(all, seconds), decimal);
    let title =
        format!("transitions {}, {per_second}/s, in {}", grouped(all), duration(snapshot.interval));
    let mut lines = vec![Line::of(Tone::Strong, title)];
    if pairs.is_empty() {
        return lines;
    }
    let columns = size.map_or(usize::MAX, |size| size.columns.into());
    // One line above the matrix shows the time of the snapshot.
    let room = size.map_or(usize::MAX, |size| size.frame_rows() - 1);
    let map = map(&pairs, all, columns);
    let room_for_bars = room.saturating_sub(lines.len() + map.len() + 2);
    // A map is shown only if there is space for a heading and one bar below it.
    let has_map = room_for_bars >= 2;
    if has_map {
        lines.push(Line::default());
        lines.extend(map);
        lines.push(Line::default());
    }
    let room = room.saturating_sub(lines.len());
    lines.extend(bars(&pairs, all, seconds, room, has_map));
    lines
}

/// Returns the map: a row for each state that sockets left, and a column for each state that
/// sockets entered. Each cell shows which percentage of all transitions went between the two states
/// of the cell.
fn map(pairs: &[Move], all: u64, columns: usize) -> Vec<Line> {
    let to = sorted(pairs.iter().map(|pair| pair.to), end);
    let fitting = (columns.saturating_sub(FROM) / CELL).min(to.len());
    let (to, hidden) = to.split_at(fitting);
    let mut heading = Line::of(Tone::Strong, format!("{:<FROM$}", "% OF ALL"));
    for &state in to {
        heading.push(Tone::Strong, format!(" {:>5}", short(state)));
    }
    let row = |from| {
        let mut line = Line::of(Tone::Plain, format!("{:<FROM$}", name(from)));
        for &to in to {
            let of_pair = pairs.iter().filter(|pair| (pair.from, pair.to) == (from, to));
            let count: u64 = of_pair.map(|pair| pair.in_interval.unsigned_abs()).sum();
            let (tone, cell) = cell(count as f64 / all as f64);
            line.push(Tone::Plain, " ");
            line.push(tone, cell);
        }
        line
    };
    let from = sorted(pairs.iter().map(|pair| pair.from), begin);
    let mut lines: Vec<Line> = [heading].into_iter().chain(from.into_iter().map(row)).collect();
    if !hidden.is_empty() {
        let hidden: Vec<&str> = hidden.iter().map(|&state| name(state)).collect();
        let text = format!("columns that do not fit: {}", hidden.join(", "));
        let wrapped = super::line::wrapped(&text, columns.max(20));
        lines.extend(wrapped.into_iter().map(|line| Line::of(Tone::Faint, line)));
    }
    lines
}

/// Returns a cell: a shade and the share in percent, or blanks for a pair that did not occur.
fn cell(share: f64) -> (Tone, String) {
    // If twenty pairs are equally frequent, the share of each pair is only 5 %. The shares at which
    // the next darker shade begins are therefore low.
    let level = match share {
        ..=0.0 => return (Tone::Faint, " ".repeat(CELL - 1)),
        ..0.01 => 1_u8,
        ..0.08 => 2,
        ..0.2 => 3,
        _ => 4,
    };
    let percent = share * 100.0;
    let number = match percent {
        ..0.1 => "<.1".to_owned(),
        ..9.95 => format!("{percent:.1}"),
        _ => format!("{percent:.0}"),
    };
    (Tone::Heat(level), format!("{} {number:>3}", SHADES[usize::from(level)]))
}

/// Returns a line for each pair of states, with its count, rate and share. If not all lines fit,
/// the lines of the least frequent pairs are left out.
fn bars(pairs: &[Move], all: u64, seconds: f64, room: usize, has_map: bool) -> Vec<Line> {
    let legend = legend(pairs);
    let has_legend = !legend.is_empty();
    let needed = 1 + pairs.len() + usize::from(has_legend);
    let mut shown: Vec<&Move> = pairs.iter().collect();
    let mut last = has_legend.then_some(legend);
    if needed > room {
        let fitting = room.saturating_sub(2);
        let mut by_count = shown.clone();
        by_count.sort_by_key(|pair| std::cmp::Reverse(pair.in_interval));
        by_count.truncate(fitting);
        shown.retain(|pair| by_count.contains(pair));
        let place = if has_map { "the map has their shares" } else { "no room for the map" };
        last = Some(match pairs.len() - shown.len() {
            1 => format!("and 1 more transition ({place})"),
            hidden => format!("and {hidden} more transitions ({place})"),
        });
    }
    let heading =
        format!("{:<11} {:<13} {:>11} {:>10} {:>8}", "FROM", "TO", "COUNT", "COUNT/s", "SHARE");
    let most = pairs.iter().map(|pair| pair.in_interval.unsigned_abs()).max().unwrap_or(1);
    let lines = shown.into_iter().map(|pair| bar(pair, most, all, seconds));
    let mut lines: Vec<Line> = [Line::of(Tone::Strong, heading)].into_iter().chain(lines).collect();
    lines.extend(last.map(|text| Line::of(Tone::Faint, text)));
    lines
}

fn bar(pair: &Move, most: u64, all: u64, seconds: f64) -> Line {
    let count = pair.in_interval.unsigned_abs();
    let text = format!(
        "{:<11} {:<13} {:>11} {:>10} {:>8}  ",
        name(pair.from),
        format!("{}{}", name(pair.to), pair.kind.mark()),
        grouped(count),
        or_unknown(rate(count, seconds), decimal),
        percent(count as f64 / all as f64),
    );
    let mut line = Line::of(Tone::Plain, text);
    line.push(Tone::Good, super::hist::bar(count, most, BAR).trim_end());
    line
}

/// Writes a matrix at the end of each interval, and a matrix of the whole run at the end. On a
/// terminal, each matrix is painted over the previous matrix.
pub struct Heat {
    /// The capabilities of the terminal, if stdout is one.
    caps: Option<TerminalCaps>,
    /// A function that returns the size of the terminal. The view calls this function for each
    /// frame.
    size: Box<dyn Fn() -> Size + Send>,
}

impl Heat {
    /// Creates a view for a terminal with these capabilities, or for a pipe if `caps` is `None`.
    /// `size` returns the size of the terminal.
    pub fn new(caps: Option<TerminalCaps>, size: impl Fn() -> Size + Send + 'static) -> Self {
        Self { caps, size: Box::new(size) }
    }

    fn paint(&self, lines: Vec<Line>, size: Size, out: &mut dyn Write) -> io::Result<()> {
        let coloured = self.caps.is_some_and(|caps| caps.coloured);
        paint(lines, size, coloured, out)
    }

    fn write(&self, lines: &[Line], out: &mut dyn Write) -> io::Result<()> {
        let coloured = self.caps.is_some_and(|caps| caps.coloured);
        for line in lines {
            line.write(coloured, out)?;
            writeln!(out)?;
        }
        Ok(())
    }
}

impl View for Heat {
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        let size = self.caps.map(|_| (self.size)());
        match (report, size) {
            // Scroll the earlier text of the terminal off the screen, so that no matrix overwrites
            // this text.
            (Report::Start(_), Some(size)) => write!(out, "{}", "\n".repeat(size.rows.into())),
            (Report::Start(_), None) => Ok(()),
            (Report::Snapshot(snapshot), size) => {
                let time = Line::of(Tone::Strong, clock(snapshot.time));
                let mut block = vec![time];
                block.extend(lines(snapshot, size));
                if let Some(size) = size {
                    return self.paint(block, size, out);
                }
                self.write(&block, out)?;
                writeln!(out)
            }
            (Report::End(end), size) => {
                if let Some(size) = size {
                    self.paint(Vec::new(), size, out)?;
                }
                writeln!(out, "whole run, until {}", clock(end.time))?;
                // The matrix of the whole run may scroll, so only the width of the terminal limits
                // it.
                let size = size.map(|Size { columns, .. }| Size { columns, rows: u16::MAX });
                self.write(&lines(end, size), out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_five_columns_wide_for_any_share() {
        for (share, text) in [
            (0.0, "     "),
            (0.000_01, ". <.1"),
            (0.004, ". 0.4"),
            (0.05, ": 5.0"),
            (0.099_7, "*  10"),
            (0.125, "*  12"),
            (1.0, "# 100"),
        ] {
            assert_eq!(cell(share).1, text);
        }
    }

    #[test]
    fn all_states_fit_into_80_columns() {
        // The columns of the map are all states with a gauge, and CLOSE.
        let to = State::GAUGES.len() + 1;
        assert!(FROM + to * CELL <= 80);
        assert!(State::ALL.iter().all(|&state| short(Some(state)).len() == 5));
    }
}

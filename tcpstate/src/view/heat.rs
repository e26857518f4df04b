//! The transition histogram: how often each pair of states occurred, as a map of shares and as bars; within 80 columns,
//! readable without colour.

use std::io::{self, Write};

use tcpstate_common::State;

use super::{
    Size, TerminalCaps, View,
    line::{Line, Tone},
    matrix::{begin, end, sorted},
    number::{UNKNOWN, clock, decimal, duration, grouped, or_unknown, percent, rate},
    repaint::paint,
};
use crate::report::{Report, Snapshot, Transition};

/// Columns of a bar.
const BAR: usize = 20;

/// From nothing to all, where there is no colour.
const SHADES: [char; 5] = [' ', '.', ':', '*', '#'];

/// What a column is called: five characters, so that all states fit.
const fn short(state: State) -> &'static str {
    match state {
        State::Listen => "LISTN",
        State::SynSent => "SYN_S",
        State::SynRecv => "SYN_R",
        State::Established => "ESTAB",
        State::FinWait1 => "FIN_1",
        State::FinWait2 => "FIN_2",
        State::CloseWait => "CLS_W",
        State::Closing => "CLSNG",
        State::LastAck => "LST_A",
        State::TimeWait => "TIM_W",
        State::Close => "CLOSE",
        State::NewSynRecv => "NEW_S",
        State::BoundInactive => "BOUND",
    }
}

/// The matrix of an interval, as lines.
pub(super) fn lines(snapshot: &Snapshot) -> Vec<Line> {
    let mut pairs: Vec<Transition> =
        snapshot.transitions.iter().filter(|pair| pair.in_interval > 0).copied().collect();
    pairs.sort_by_key(|pair| (begin(pair.from), end(pair.to)));
    let all: u64 = pairs.iter().map(|pair| pair.in_interval).sum();
    let seconds = snapshot.interval.as_secs_f64();
    let per_second = or_unknown(rate(all, seconds), decimal);
    let title =
        format!("transitions {}, {per_second}/s, in {}", grouped(all), duration(snapshot.interval));
    let mut lines = vec![Line::of(Tone::Strong, title)];
    if pairs.is_empty() {
        return lines;
    }
    lines.push(Line::default());
    lines.extend(map(&pairs, all));
    lines.push(Line::default());
    lines.extend(bars(&pairs, all, seconds));
    lines
}

/// A row for each state that was left, a column for each that was entered; the share of all transitions.
fn map(pairs: &[Transition], all: u64) -> Vec<Line> {
    let to = sorted(pairs.iter().map(|pair| pair.to), end);
    let mut heading = Line::of(Tone::Strong, format!("{:<12}", "% OF ALL"));
    for &state in &to {
        heading.push(Tone::Strong, format!(" {:>5}", short(state)));
    }
    let row = |from: State| {
        let mut line = Line::of(Tone::Plain, format!("{:<12}", from.name()));
        for &to in &to {
            line.push(Tone::Plain, " ");
            let pair = pairs.iter().find(|pair| (pair.from, pair.to) == (from, to));
            let (tone, cell) = pair.map_or((Tone::Faint, format!("{UNKNOWN:>5}")), |pair| {
                cell(pair.in_interval as f64 / all as f64)
            });
            line.push(tone, if pair.is_some() { cell } else { "     ".to_owned() });
        }
        line
    };
    let from = sorted(pairs.iter().map(|pair| pair.from), begin);
    [heading].into_iter().chain(from.into_iter().map(row)).collect()
}

/// A share of all: a shade, and the number.
fn cell(share: f64) -> (Tone, String) {
    // A pair has 5 % of all where twenty are as frequent; few are, so the steps are close.
    let level = match share {
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

/// Each pair with its count, rate and share.
fn bars(pairs: &[Transition], all: u64, seconds: f64) -> Vec<Line> {
    let most = pairs.iter().map(|pair| pair.in_interval).max().unwrap_or(1);
    let heading =
        format!("{:<11} {:<12} {:>11} {:>10} {:>8}", "FROM", "TO", "COUNT", "COUNT/s", "SHARE");
    let bar = |pair: &Transition| {
        let count = pair.in_interval;
        let text = format!(
            "{:<11} {:<12} {:>11} {:>10} {:>8}  ",
            pair.from.name(),
            pair.to.name(),
            grouped(count),
            or_unknown(rate(count, seconds), decimal),
            percent(count as f64 / all as f64),
        );
        let mut line = Line::of(Tone::Plain, text);
        line.push(Tone::Good, super::hist::bar(count, most, BAR).trim_end());
        line
    };
    [Line::of(Tone::Strong, heading)].into_iter().chain(pairs.iter().map(bar)).collect()
}

/// Writes a map an interval, and one of the whole run at the end; on a terminal each over the one before.
pub struct Heat {
    /// Of the terminal, if it is one.
    caps: Option<TerminalCaps>,
    /// Asked at each frame.
    size: Box<dyn Fn() -> Size + Send>,
}

impl Heat {
    /// For a terminal of this caps, whose size can be asked, or for a pipe.
    pub fn new(caps: Option<TerminalCaps>, size: impl Fn() -> Size + Send + 'static) -> Self {
        Self { caps, size: Box::new(size) }
    }

    fn paint(&self, lines: Vec<Line>, out: &mut dyn Write) -> io::Result<()> {
        let coloured = self.caps.is_some_and(|caps| caps.coloured);
        paint(lines, (self.size)(), coloured, out)
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
        let is_terminal = self.caps.is_some();
        match report {
            // What is there scrolls away instead of being painted over.
            Report::Start(_) if is_terminal => {
                write!(out, "{}", "\n".repeat(usize::from((self.size)().rows)))
            }
            Report::Start(_) => Ok(()),
            Report::Snapshot(snapshot) => {
                let time = Line::of(Tone::Strong, clock(snapshot.time));
                let mut block = vec![time];
                block.extend(lines(snapshot));
                if is_terminal {
                    return self.paint(block, out);
                }
                self.write(&block, out)?;
                writeln!(out)
            }
            Report::End(end) => {
                if is_terminal {
                    self.paint(Vec::new(), out)?;
                }
                writeln!(out, "the whole run, up to {}", clock(end.time))?;
                self.write(&lines(end), out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_five_columns_wide_whatever_its_share() {
        for (share, text) in [
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
        let to = State::GAUGES.len() + 1;
        assert!(12 + to * 6 <= 80);
        assert!(State::ALL.iter().all(|&state| short(state).len() == 5));
    }
}

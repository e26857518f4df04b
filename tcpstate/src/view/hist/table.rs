//! Histograms for people: the matrix, a line of percentiles for each histogram, and bars. The text
//! fits into 80 columns. On a wider terminal and in a pipe, long names of groups get more columns.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::Duration,
};

use tcpstate_common::histogram::bucket_of;
use unicode_width::UnicodeWidthStr as _;

use super::{Section, by_label, chosen, group_text, is_mostly_unknown};
use crate::{
    report::{Histogram, Histograms, Limit, Of, Report, Snapshot, SocketKind, Tally},
    text::escaped,
    view::{
        Size, TerminalCaps, View, block, heat,
        line::{Line, Tone, end_of, wrapped},
        number::{UNKNOWN, clock, duration, grouped, or_unknown, span},
        summary,
    },
};

/// The maximum width of a bar in columns, similar to the bars of bcc and bpftrace.
const BAR: usize = 40;
/// The usual width of a label in columns. If a group name is longer and the output is wide enough,
/// the label is wider.
const LABEL: usize = 22;
/// The maximum width of a label in columns. A longer label is on a separate line. Labels can
/// contain text of a hostile recording.
const MAX_LABEL: usize = 200;
/// The width in columns of a line whose label has the usual width.
const WIDTH: usize = 80;

/// Writes plain text, with colours on terminals that support colours.
#[derive(Clone, Debug)]
pub struct HistTable {
    sections: Vec<Section>,
    /// The sections whose histograms are also shown as bars.
    bars: Vec<Section>,
    coloured: bool,
    /// The size of the terminal; `None` in a pipe.
    size: Option<fn() -> Size>,
    /// The limits of the run: the events that the active hooks cannot observe.
    limits: Vec<Limit>,
}

impl HistTable {
    /// Creates a view that shows the given sections. The histograms of transitions have bars only
    /// if the user chose the section of transitions, because the bars of states show the same
    /// durations.
    #[must_use]
    pub fn new(named: Option<Vec<Section>>, caps: Option<TerminalCaps>) -> Self {
        let mut bars = named.clone().unwrap_or_else(|| Section::ALL.to_vec());
        if named.is_none() {
            bars.retain(|&section| section != Section::Transition);
        }
        let sections = named.unwrap_or_else(|| Section::ALL.to_vec());
        let coloured = caps.is_some_and(|caps| caps.coloured);
        Self { sections, bars, coloured, size: None, limits: Vec::new() }
    }

    /// Makes the lines fit into a terminal. `size` returns the size of the terminal.
    #[must_use]
    pub fn on_terminal(self, size: fn() -> Size) -> Self {
        Self { size: Some(size), ..self }
    }

    fn write(&self, lines: impl IntoIterator<Item = Line>, out: &mut dyn Write) -> io::Result<()> {
        for line in lines {
            line.write(self.coloured, out)?;
            writeln!(out)?;
        }
        Ok(())
    }

    fn block(&self, snapshot: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
        let Some(histograms) = &snapshot.histograms else { return Ok(()) };
        if self.sections.contains(&Section::Matrix) && !histograms.is_filtered {
            self.write(heat::lines(snapshot, self.size_of_matrix()), out)?;
            writeln!(out)?;
        }
        let chosen: Vec<&Histogram> = chosen(&histograms.all, &self.sections).collect();
        if chosen.is_empty() {
            let has_durations = self.sections.iter().any(|&section| section != Section::Matrix);
            return if has_durations { writeln!(out, "nothing ended") } else { Ok(()) };
        }
        if histograms.by.is_some() {
            return self.groups(histograms, &chosen, out);
        }
        let rows: Vec<_> =
            chosen.iter().map(|&histogram| (title(histogram.of), histogram)).collect();
        self.rows("DURATION OF", &rows, out)?;
        for histogram in chosen {
            let tally = &histogram.tally;
            let has_bars = self.bars.contains(&Section::of(histogram.of));
            if has_bars && tally.count() > 0 && !is_mostly_unknown(tally) {
                writeln!(out)?;
                self.write(bars(histogram), out)?;
            }
        }
        Ok(())
    }

    /// Returns the size that limits the matrix. The matrix may scroll, so only the width of the
    /// terminal limits the matrix.
    fn size_of_matrix(&self) -> Option<Size> {
        self.size.map(|size| Size { rows: u16::MAX, ..size() })
    }

    /// Writes for each kind of duration a title and a line for each group of sockets.
    fn groups(
        &self,
        histograms: &Histograms,
        chosen: &[&Histogram],
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let by = histograms.by.map(by_label).unwrap_or_default();
        for (at, of_one) in chosen.chunk_by(|one, other| one.of == other.of).enumerate() {
            if at > 0 {
                writeln!(out)?;
            }
            let title = format!("{} by {}", long_title(of_one[0].of), by.replace('_', " "));
            self.write([Line::of(Tone::Strong, title)], out)?;
            let label = |histogram: &Histogram| {
                let group = histogram.group.as_ref().and_then(group_text);
                group.map_or_else(|| UNKNOWN.to_owned(), escaped)
            };
            let rows: Vec<_> =
                of_one.iter().map(|&histogram| (label(histogram), histogram)).collect();
            self.rows(&by.to_uppercase(), &rows, out)?;
        }
        Ok(())
    }

    /// Writes a heading and a line for each histogram. Then writes a sentence for each histogram
    /// without percentiles.
    fn rows(
        &self,
        title: &str,
        rows: &[(String, &Histogram)],
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let longest = rows.iter().map(|(label, _)| label.width()).max().unwrap_or(0);
        let longest = longest.clamp(LABEL, MAX_LABEL);
        let columns = self.size.map(|size| usize::from(size().columns));
        let width =
            columns.map_or(longest, |columns| longest.min(LABEL + columns.saturating_sub(WIDTH)));
        self.write([heading(title, width)], out)?;
        for (label, histogram) in rows {
            // A label that is too long is on a separate line.
            let label = end_of(label, columns.unwrap_or(usize::MAX));
            if label.width() <= width {
                self.write([row(&label, width, histogram)], out)?;
            } else {
                self.write([Line::of(Tone::Plain, label), row("", width, histogram)], out)?;
            }
        }
        let unknown: Vec<String> = rows
            .iter()
            .filter(|(_, histogram)| is_mostly_unknown(&histogram.tally))
            .map(|(label, histogram)| {
                let group = if histogram.group.is_some() { "group " } else { "" };
                unknown(&format!("{group}{label}"), &histogram.tally)
            })
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let reason = "A duration is unknown if its start was not observed, usually because the \
                      socket existed before tcpstate started.";
        for text in unknown.iter().map(String::as_str).chain([reason]) {
            self.write(
                wrapped(text, WIDTH).into_iter().map(|line| Line::of(Tone::Plain, line)),
                out,
            )?;
        }
        Ok(())
    }

    fn untimed(&self, histograms: &Histograms, out: &mut dyn Write) -> io::Result<()> {
        let untimed = histograms.untimed;
        let words = [
            ("missed", untimed.missed),
            ("untracked sockets", untimed.untracked),
            ("untracked mini sockets", untimed.untracked_minis),
            ("durations without their group", untimed.group_errors),
        ];
        let words = words.into_iter().enumerate().filter(|&(at, (_, count))| at == 0 || count > 0);
        let words = words.map(|(_, (what, count))| {
            let tone = if count > 0 { Tone::Warning } else { Tone::Plain };
            (tone, format!("{what} {}", grouped(count)))
        });
        self.write([Line::of_words(0, words, WIDTH)], out)
    }
}

impl View for HistTable {
    fn show(&mut self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        match report {
            Report::Start(start) => {
                let (scope, kernel) = (block::scope_in_words(start.netns), escaped(&start.kernel));
                writeln!(out, "{scope}, kernel {kernel}")?;
                self.limits.clone_from(&start.attached.limits);
                if let Some(limits) = block::limits_in_short(&self.limits) {
                    writeln!(out, "{limits}")?;
                }
                writeln!(out, "timing states; Ctrl-C ends the run")
            }
            Report::Snapshot(snapshot) => {
                if let Some(attached) = &snapshot.attached {
                    self.limits.clone_from(&attached.limits);
                }
                writeln!(out, "\n{}", clock(snapshot.time))?;
                self.block(snapshot, out)
            }
            Report::End(end) => {
                writeln!(out, "\n{}  whole run, {}", clock(end.time), duration(end.elapsed))?;
                self.block(end, out)?;
                writeln!(out)?;
                end.histograms.as_ref().map_or(Ok(()), |all| self.untimed(all, out))?;
                summary::write_limits(&self.limits, out)
            }
        }
    }
}

/// Returns the sentence that explains why a histogram has no percentiles.
fn unknown(label: &str, tally: &Tally) -> String {
    let all = grouped(tally.unknown.saturating_add(tally.count()));
    let unknown = grouped(tally.unknown);
    format!("{label}: {unknown} of {all} durations are unknown; percentiles are not shown")
}

fn heading(label: &str, width: usize) -> Line {
    Line::of(
        Tone::Strong,
        format!(
            "{label:<width$}{:>9}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}",
            "COUNT", "UNKNOWN", "MEAN", "P50", "P90", "P99", "MAX"
        ),
    )
}

/// Writes a histogram as one line. The line does not show the minimum. The view shows the minimum
/// above the bars.
fn row(label: &str, width: usize, histogram: &Histogram) -> Line {
    let tally = &histogram.tally;
    let fill = width.saturating_sub(label.width());
    let mut line = Line::of(Tone::Plain, format!("{label}{:fill$}", ""));
    line.push(Tone::Strong, format!("{:>9}", tally.count()));
    let tone = if tally.unknown > 0 { Tone::Plain } else { Tone::Faint };
    line.push(tone, format!("{:>8}", tally.unknown));
    let times = [
        histogram.mean(),
        histogram.percentile(50),
        histogram.percentile(90),
        histogram.percentile(99),
        tally.longest,
    ];
    for time in times.map(|time| time.filter(|_| !is_mostly_unknown(tally))) {
        line.push(Tone::Plain, format!("{:>8}", or_unknown(time, span)));
    }
    line
}

/// Returns a heading, and a bar for each octave between the minimum and the maximum.
fn bars(histogram: &Histogram) -> Vec<Line> {
    let tally = &histogram.tally;
    let title = format!(
        "{}: {}, unknown {}",
        long_title(histogram.of),
        grouped(tally.count()),
        grouped(tally.unknown)
    );
    let times = [
        ("min", tally.shortest),
        ("mean", histogram.mean()),
        ("p50", histogram.percentile(50)),
        ("p90", histogram.percentile(90)),
        ("p99", histogram.percentile(99)),
        ("max", tally.longest),
    ];
    let times = times.map(|(name, time)| format!("{name} {}", or_unknown(time, span)));
    let mut lines = vec![Line::of(Tone::Strong, title), Line::of(Tone::Plain, times.join("  "))];
    let octaves = octaves(histogram);
    let most = octaves.values().copied().max().unwrap_or(1);
    let (Some(&first), Some(&last)) = (octaves.keys().next(), octaves.keys().last()) else {
        return lines;
    };
    for octave in first..=last {
        let count = octaves.get(&octave).copied().unwrap_or(0);
        let (above, up_to) = ends(octave);
        let mut line =
            Line::of(Tone::Plain, format!("({above:>7}, {up_to:>7}] {:>12} |", grouped(count)));
        line.push(Tone::Good, bar(count, most, BAR));
        line.push(Tone::Plain, "|");
        lines.push(line);
    }
    lines
}

/// The number of buckets in an octave. The upper bound of the first octave is 256 ns.
const OCTAVE: usize = 8;

fn octaves(histogram: &Histogram) -> BTreeMap<usize, u64> {
    let mut octaves = BTreeMap::new();
    for (bucket, count) in histogram.tally.buckets() {
        *octaves.entry(bucket / OCTAVE).or_default() += count;
    }
    octaves
}

/// Returns the lower and the upper bound of an octave as text.
fn ends(octave: usize) -> (String, String) {
    use tcpstate_common::histogram::{bucket_begin, bucket_end};
    let above = bucket_begin(octave * OCTAVE);
    let is_last = octave * OCTAVE >= bucket_of(u64::MAX);
    let up_to = if is_last { None } else { bucket_end(octave * OCTAVE + OCTAVE - 1) };
    let text = |ns| span(Duration::from_nanos(ns));
    (text(above), up_to.map_or_else(String::new, text))
}

/// Returns a bar whose length is in proportion to `count`. The bar of `count == most` has `columns`
/// columns. The bar of a count above 0 has at least one `@`.
pub(in crate::view) fn bar(count: u64, most: u64, columns: usize) -> String {
    let rounded = (u128::from(count) * columns as u128 * 2 + u128::from(most))
        .checked_div(2 * u128::from(most))
        .and_then(|filled| usize::try_from(filled).ok());
    let least = usize::from(count > 0);
    let filled = rounded.unwrap_or_default().clamp(least, columns);
    format!("{:<columns$}", "@".repeat(filled))
}

/// Returns the kind of a duration as a short label.
fn title(of: Of) -> String {
    match of {
        Of::State(state, SocketKind::Full) => state.name().to_owned(),
        Of::State(state, SocketKind::Mini) => format!("{state}, mini"),
        Of::Transition(from, to) => format!("{from}>{to}"),
        Of::OtherTransitions => "other transitions".to_owned(),
        Of::ConnectClient => "connect, client".to_owned(),
        Of::ConnectServer => "connect, server".to_owned(),
        Of::Lifetime => "lifetime".to_owned(),
        Of::TimeWaitHold => "TIME_WAIT hold".to_owned(),
    }
}

/// Returns the kind of a duration as a title.
fn long_title(of: Of) -> String {
    match of {
        Of::State(state, SocketKind::Full) => format!("time in {state}"),
        Of::State(state, SocketKind::Mini) => format!("time in {state}, mini sockets"),
        Of::Transition(from, to) => format!("time in {from} before {to}"),
        Of::OtherTransitions => "time before other transitions".to_owned(),
        Of::ConnectClient => "connect() to ESTABLISHED, as client".to_owned(),
        Of::ConnectServer => "SYN to ESTABLISHED, as server".to_owned(),
        Of::Lifetime => "life of connections".to_owned(),
        Of::TimeWaitHold => "life of time-wait sockets, FIN_WAIT2 included".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_in_proportion_and_has_a_mark_for_every_count_above_0() {
        assert_eq!(bar(10, 10, 4), "@@@@");
        assert_eq!(bar(5, 10, 4), "@@  ");
        assert_eq!(bar(1, 1_000_000, 4), "@   ");
        assert_eq!(bar(0, 10, 4), "    ");
        assert_eq!(bar(0, 0, 4), "    ");
    }

    #[test]
    fn each_octave_begins_where_the_previous_octave_ends() {
        for octave in 1..45 {
            assert_eq!(ends(octave - 1).1, ends(octave).0);
        }
        assert_eq!(ends(0), ("0 ns".to_owned(), "256 ns".to_owned()));
        assert_eq!(ends(bucket_of(u64::MAX) / OCTAVE).1, "");
    }

    #[test]
    fn every_label_fits_its_column() {
        use tcpstate_common::{State, histogram::PAIRS};
        let pairs = PAIRS.into_iter().map(|(from, to)| Of::Transition(from, to));
        let states = State::GAUGES.into_iter().map(|state| Of::State(state, SocketKind::Mini));
        for of in pairs.chain(states) {
            assert!(title(of).len() <= LABEL, "{}", title(of));
        }
    }
}

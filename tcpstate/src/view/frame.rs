//! Chooses the lines of a frame that fit into the height of the terminal.

use super::line::{Line, Tone};

/// The importance of a line. The ranks are sorted from the most important to the least important
/// rank. Lines of the first rank are left out last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Status,
    Heading,
    /// The counts by owner.
    Groups,
    /// A gauge. A gauge with a smaller number is more important.
    Gauge(usize),
    TimeWait,
    Title,
    Limit,
    Namespaces,
    Blank,
    /// All lines of this rank are shown, or none.
    Cost,
    /// All lines of this rank are shown, or none.
    Transitions,
}

/// The lines of a frame, in the order in which they are shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    lines: Vec<(Rank, Line)>,
}

impl Frame {
    /// Returns the number of lines.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Adds a line at the end.
    pub(super) fn add(&mut self, rank: Rank, line: Line) {
        self.lines.push((rank, line));
    }

    /// Returns the most important lines that fit into `height` lines. If namespaces or transitions
    /// are left out, a line reports this.
    pub(super) fn into_lines(self, height: usize) -> impl Iterator<Item = Line> {
        let mut ranks: Vec<Rank> = self.lines.iter().map(|&(rank, _)| rank).collect();
        ranks.sort_unstable();
        let (mut used, mut kept) = (0, Vec::new());
        for group in ranks.chunk_by(PartialEq::eq) {
            let (count, note) = fit(group[0], group.len(), used, height);
            used += count + usize::from(note.is_some());
            kept.push((group[0], count, note));
        }
        self.lines.into_iter().filter_map(move |(rank, line)| {
            let (_, count, note) = kept.iter_mut().find(|(kept, ..)| *kept == rank)?;
            match count.checked_sub(1) {
                Some(rest) => {
                    *count = rest;
                    Some(line)
                }
                None => note.take(),
            }
        })
    }
}

/// Returns how many lines of a rank are shown, and the line that reports the lines left out.
fn fit(rank: Rank, lines: usize, used: usize, height: usize) -> (usize, Option<Line>) {
    let room = height - used;
    if lines <= room {
        return (lines, None);
    }
    let text = match rank {
        _ if room == 0 => return (0, None),
        Rank::Namespaces => {
            // The first line is the heading, which is useless without a namespace below it.
            let shown = if room > 2 { room - 1 } else { 0 };
            let hidden = lines - shown.max(1);
            let (and, more) = if shown > 0 { ("and ", "more ") } else { ("", "") };
            let plural = if hidden == 1 { "" } else { "s" };
            let note = format!("{and}{hidden} {more}namespace{plural}");
            return (shown, Some(Line::of(Tone::Faint, note)));
        }
        // The terminal needs one more line for the cursor, which is not part of the frame.
        Rank::Transitions => {
            format!("transitions: not shown; they need a terminal of {} lines", used + lines + 1)
        }
        Rank::Cost => return (0, None),
        _ => return (room, None),
    };
    (0, Some(Line::of(Tone::Faint, text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a frame with one line for each rank. Returns the text of the lines that fit into
    /// `height`.
    fn kept(ranks: &[Rank], height: usize) -> Vec<String> {
        let mut frame = Frame::default();
        for (at, &rank) in ranks.iter().enumerate() {
            frame.add(rank, Line::of(Tone::Plain, at.to_string()));
        }
        let text = |line: Line| {
            let mut text = Vec::new();
            line.write(false, &mut text).expect("a vector accepts every write");
            String::from_utf8(text).expect("it is UTF-8")
        };
        frame.into_lines(height).map(text).collect()
    }

    #[test]
    fn the_least_important_lines_are_left_out_and_the_order_stays() {
        let ranks = [
            Rank::Title,
            Rank::Heading,
            Rank::Gauge(1),
            Rank::Gauge(0),
            Rank::Status,
            Rank::Cost,
            Rank::Cost,
        ];
        assert_eq!(kept(&ranks, 7), ["0", "1", "2", "3", "4", "5", "6"]);
        // All lines of the cost are shown, or none.
        assert_eq!(kept(&ranks, 6), ["0", "1", "2", "3", "4"]);
        assert_eq!(kept(&ranks, 4), ["1", "2", "3", "4"]);
        assert_eq!(kept(&ranks, 3), ["1", "3", "4"]);
        assert_eq!(kept(&ranks, 1), ["4"]);
    }

    #[test]
    fn namespaces_that_do_not_fit_are_counted() {
        let mut ranks = vec![Rank::Status];
        ranks.extend([Rank::Namespaces; 5]);
        assert_eq!(kept(&ranks, 6), ["0", "1", "2", "3", "4", "5"]);
        assert_eq!(kept(&ranks, 5), ["0", "1", "2", "3", "and 2 more namespaces"]);
        assert_eq!(kept(&ranks, 4), ["0", "1", "2", "and 3 more namespaces"]);
        assert_eq!(kept(&ranks, 3), ["0", "4 namespaces"]);
        assert_eq!(kept(&ranks, 1), ["0"]);
    }

    #[test]
    fn transitions_that_do_not_fit_are_announced() {
        let ranks = [Rank::Status, Rank::Transitions, Rank::Transitions, Rank::Transitions];
        assert_eq!(kept(&ranks, 4), ["0", "1", "2", "3"]);
        let note = "transitions: not shown; they need a terminal of 5 lines";
        assert_eq!(kept(&ranks, 3), ["0", note]);
        assert_eq!(kept(&ranks, 1), ["0"]);
    }
}

//! What stays of a frame when there are fewer lines than it has.

use super::line::Line;

/// How much a line matters: the first stay longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Status,
    Heading,
    /// A gauge; the smaller the number, the longer it stays.
    Gauge(usize),
    TimeWait,
    Title,
    Limit,
    Blank,
    Cost,
    Transitions,
}

impl Rank {
    /// Whether these lines say nothing unless all are there.
    const fn is_whole(self) -> bool {
        matches!(self, Self::Cost | Self::Transitions)
    }
}

/// Lines in the order in which they are shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    lines: Vec<(Rank, Line)>,
}

impl Frame {
    /// Adds a line at the end.
    pub(super) fn add(&mut self, rank: Rank, line: Line) {
        self.lines.push((rank, line));
    }

    /// So many of the lines, and of those the ones that matter most.
    pub(super) fn into_lines(self, mut room: usize) -> impl Iterator<Item = Line> {
        let mut ranks: Vec<Rank> = self.lines.iter().map(|&(rank, _)| rank).collect();
        ranks.sort_unstable();
        let mut kept = Vec::new();
        for group in ranks.chunk_by(PartialEq::eq) {
            let rank = group[0];
            let fitting = group.len().min(room);
            let count = if rank.is_whole() && fitting < group.len() { 0 } else { fitting };
            kept.push((rank, count));
            room -= count;
        }
        self.lines.into_iter().filter_map(move |(rank, line)| {
            let (_, left) = kept.iter_mut().find(|(kept, _)| *kept == rank)?;
            *left = left.checked_sub(1)?;
            Some(line)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_least_goes_first_and_the_order_stays() {
        let ranks = [
            Rank::Title,
            Rank::Heading,
            Rank::Gauge(1),
            Rank::Gauge(0),
            Rank::Status,
            Rank::Cost,
            Rank::Cost,
        ];
        let kept = |room| {
            let mut frame = Frame::default();
            for rank in ranks {
                let columns = ranks.iter().position(|&other| other == rank).unwrap_or(0);
                frame.add(
                    rank,
                    Line::of_words(columns, [(super::super::line::Tone::Plain, String::new())], 80),
                );
            }
            frame.into_lines(room).map(|line| line.width()).collect::<Vec<_>>()
        };
        assert_eq!(kept(7), [0, 1, 2, 3, 4, 5, 5]);
        // One of two costs would say nothing.
        assert_eq!(kept(6), [0, 1, 2, 3, 4]);
        assert_eq!(kept(4), [1, 2, 3, 4]);
        assert_eq!(kept(3), [1, 3, 4]);
        assert_eq!(kept(1), [4]);
    }
}

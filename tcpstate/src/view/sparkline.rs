//! The last readings of a gauge, a character each.

/// From zero up: for terminals that take UTF-8, and for others.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII: [char; 8] = ['_', '.', ':', '-', '=', '+', '*', '#'];

/// The newest `width` readings, the newest last, in proportion to the largest of them. Zero, and only zero, is the lowest
/// mark; an unknown reading is a blank.
pub(super) fn sparkline(
    readings: impl DoubleEndedIterator<Item = Option<i64>>,
    width: usize,
    unicode: bool,
) -> String {
    let marks = if unicode { BLOCKS } else { ASCII };
    let shown: Vec<_> = readings.rev().take(width).collect();
    let largest = shown.iter().flatten().copied().max().unwrap_or(0).max(1);
    let mark = |reading: Option<i64>| {
        let Some(reading) = reading else { return ' ' };
        let highest = marks.len() - 1;
        let height = reading.max(0) as f64 / largest as f64 * highest as f64;
        // In no case above the last: nothing is larger than the largest.
        let level = (1..=highest).rev().find(|&level| height > level as f64 - 1.0);
        marks[level.unwrap_or(0)]
    };
    shown.into_iter().rev().map(mark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(readings: &[i64], width: usize) -> String {
        sparkline(readings.iter().map(|&reading| Some(reading)), width, true)
    }

    #[test]
    fn readings_are_in_proportion_and_only_zero_is_lowest() {
        assert_eq!(of(&[0, 1, 35, 70], 4), "▁▂▅█");
        assert_eq!(of(&[46_807; 3], 3), "███");
        assert_eq!(of(&[0, 0], 2), "▁▁");
    }

    #[test]
    fn the_newest_come_last_and_push_out_the_oldest() {
        assert_eq!(of(&[9, 9, 0], 5), "██▁");
        assert_eq!(of(&[9, 9, 0], 2), "█▁");
        assert_eq!(sparkline([Some(0), None, Some(7)].into_iter(), 3, false), "_ #");
    }
}

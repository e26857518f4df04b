//! Sparklines: the last readings of a gauge, one character for each reading.

/// The marks of the eight levels, lowest first, for terminals with UTF-8.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The marks of the eight levels, lowest first, for terminals without UTF-8.
const ASCII: [char; 8] = ['_', '.', ':', '-', '=', '+', '*', '#'];

/// Returns the newest `width` readings as characters, newest last. The level of a character is the
/// reading in proportion to the largest shown reading. Only a reading of 0 has the lowest mark. An
/// unknown reading is shown as a blank.
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
        // The level is at most `highest`, because `height` is at most `highest`.
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
    fn readings_are_in_proportion_and_only_zero_has_the_lowest_mark() {
        assert_eq!(of(&[0, 1, 35, 70], 4), "▁▂▅█");
        assert_eq!(of(&[46_807; 3], 3), "███");
        assert_eq!(of(&[0, 0], 2), "▁▁");
    }

    #[test]
    fn the_newest_readings_come_last() {
        assert_eq!(of(&[9, 9, 0], 5), "██▁");
        assert_eq!(of(&[9, 9, 0], 2), "█▁");
        assert_eq!(sparkline([Some(0), None, Some(7)].into_iter(), 3, false), "_ #");
    }
}

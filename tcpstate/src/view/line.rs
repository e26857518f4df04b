//! A line of text whose parts have tones. The line is written to a terminal or a file, with or
//! without colours.

use std::io::{self, Write};

use anstyle::{Ansi256Color, AnsiColor, Color, Style};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The meaning of a part of a line. A terminal may show the meaning as a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    /// A heading or a count.
    Strong,
    /// An unimportant part, such as a zero.
    Faint,
    /// A good result.
    Good,
    /// A warning.
    Warning,
    /// An error or a loss.
    Bad,
    /// A level from 0 to 4, for heat maps.
    Heat(u8),
}

impl Tone {
    const fn style(self) -> Style {
        match self {
            Self::Plain | Self::Heat(0) => Style::new(),
            Self::Strong => Style::new().bold(),
            Self::Faint => Style::new().dimmed(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Warning => AnsiColor::Yellow.on_default().bold(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            // Four of the 216 colours of most terminals, each with a readable text colour.
            Self::Heat(1) => heat(17, 15),
            Self::Heat(2) => heat(54, 15),
            Self::Heat(3) => heat(166, 16),
            Self::Heat(_) => heat(220, 16),
        }
    }
}

const fn heat(background: u8, text: u8) -> Style {
    Style::new()
        .bg_color(Some(Color::Ansi256(Ansi256Color(background))))
        .fg_color(Some(Color::Ansi256(Ansi256Color(text))))
}

/// A line of text. The caller must escape the text.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    parts: Vec<(Tone, String)>,
}

/// The gap between two words of a line.
const GAP: &str = "  ";

impl Line {
    /// Creates a line with one part.
    pub(super) fn of(tone: Tone, text: impl Into<String>) -> Self {
        Self { parts: vec![(tone, text.into())] }
    }

    /// Creates a line with an indent and the words that fit into `width`. The line always has the
    /// first word, even if this word does not fit.
    pub(super) fn of_words(
        indent: usize,
        words: impl IntoIterator<Item = (Tone, String)>,
        width: usize,
    ) -> Self {
        let mut line = Self::default();
        let mut taken = indent;
        for (tone, word) in words {
            let lead = if line.parts.is_empty() { " ".repeat(indent) } else { GAP.to_owned() };
            let gap = if line.parts.is_empty() { 0 } else { GAP.len() };
            if !line.parts.is_empty() && taken + gap + word.width() > width {
                break;
            }
            taken += gap + word.width();
            line.push(Tone::Plain, lead);
            line.push(tone, word);
        }
        line
    }

    /// Adds a part at the end.
    pub(super) fn push(&mut self, tone: Tone, text: impl Into<String>) {
        self.parts.push((tone, text.into()));
    }

    /// Returns the width of the line in columns.
    pub(super) fn width(&self) -> usize {
        self.parts.iter().map(|(_, text)| text.width()).sum()
    }

    /// Returns the line, cut to a number of columns. If something was cut, the last column is `>`.
    pub(super) fn cropped(mut self, columns: usize) -> Self {
        if self.width() <= columns {
            return self;
        }
        let mut taken = 0;
        let mut fits = |c: &char| {
            taken += c.width().unwrap_or(0);
            // The last column is reserved for the mark `>`.
            taken < columns
        };
        for (_, text) in &mut self.parts {
            *text = text.chars().take_while(&mut fits).collect();
        }
        self.push(Tone::Faint, ">");
        self
    }

    /// Writes the line without a line end, with or without colours.
    pub(super) fn write(&self, coloured: bool, out: &mut dyn Write) -> io::Result<()> {
        for (tone, text) in &self.parts {
            let style = if coloured { tone.style() } else { Style::new() };
            write!(out, "{style}{text}{style:#}")?;
        }
        Ok(())
    }
}

/// Wraps a text between words. All lines except the first line are indented.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let options = textwrap::Options::new(width).subsequent_indent("  ");
    textwrap::wrap(text, options).into_iter().map(String::from).collect()
}

/// Returns the beginning of a text in at most `width` columns. If something was cut, the last
/// character is `~`.
pub(super) fn shortened(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    fitting(text.chars(), width).chain(['~']).collect()
}

/// Returns the end of a text in at most `width` columns. If something was cut, the first character
/// is `~`.
pub(super) fn end_of(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut end: Vec<char> = fitting(text.chars().rev(), width).collect();
    end.push('~');
    end.into_iter().rev().collect()
}

/// Returns the longest beginning of the text that leaves at least one column of `width` free.
fn fitting(characters: impl Iterator<Item = char>, width: usize) -> impl Iterator<Item = char> {
    let mut used = 0;
    characters.take_while(move |c| {
        used += c.width().unwrap_or(0);
        used < width
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &Line) -> String {
        let mut text = Vec::new();
        line.write(false, &mut text).expect("a vector takes all");
        String::from_utf8(text).expect("it is UTF-8")
    }

    #[test]
    fn words_that_do_not_fit_are_left_out() {
        let words = || ["exact", "missed 0", "scans 0"].map(|word| (Tone::Plain, word.to_owned()));
        assert_eq!(text(&Line::of_words(0, words(), 24)), "exact  missed 0  scans 0");
        assert_eq!(text(&Line::of_words(0, words(), 23)), "exact  missed 0");
        assert_eq!(text(&Line::of_words(2, words(), 17)), "  exact  missed 0");
        assert_eq!(text(&Line::of_words(2, words(), 3)), "  exact");
    }

    #[test]
    fn a_cut_line_has_a_mark_and_no_half_of_a_wide_character() {
        let mut line = Line::of(Tone::Strong, "ab\u{4f60}");
        line.push(Tone::Plain, "cd");
        assert_eq!(line.width(), 6);
        assert_eq!(text(&line.clone().cropped(6)), "ab\u{4f60}cd");
        assert_eq!(text(&line.clone().cropped(5)), "ab\u{4f60}>");
        assert_eq!(text(&line.clone().cropped(4)), "ab>");
        assert_eq!(text(&line.cropped(1)), ">");
    }

    #[test]
    fn a_shortened_text_keeps_its_beginning_or_its_end() {
        assert_eq!((shortened("abcd", 4), end_of("abcd", 4)), ("abcd".into(), "abcd".into()));
        assert_eq!((shortened("abcde", 4), end_of("abcde", 4)), ("abc~".into(), "~cde".into()));
        assert_eq!(shortened("a\u{4f60}\u{4f60}b", 4), "a\u{4f60}~");
    }

    #[test]
    fn each_colour_is_reset() {
        let mut out = Vec::new();
        Line::of(Tone::Good, "exact").write(true, &mut out).expect("a vector takes all");
        assert_eq!(out, b"\x1b[32mexact\x1b[0m");
    }
}

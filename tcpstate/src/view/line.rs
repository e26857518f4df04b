//! A line of text whose parts have a tone, and its way to a terminal or to a file.

use std::io::{self, Write};

use anstyle::{Ansi256Color, AnsiColor, Color, Style};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// What a part of a line means, which a terminal may show by colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    /// Headings, and what is counted.
    Strong,
    /// Of no baseline: a zero.
    Faint,
    /// All is well.
    Good,
    /// Worth a caps.
    Warning,
    /// Wrong.
    Bad,
    /// How much of something there is, from 0 to 4: for heat maps.
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
            // From the 216 colours of most terminals, with text that can be read on each.
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

/// A line. Its text has been made safe before it comes here.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    parts: Vec<(Tone, String)>,
}

/// Between two words of a line.
const GAP: &str = "  ";

impl Line {
    /// With one part.
    pub(super) fn of(tone: Tone, text: impl Into<String>) -> Self {
        Self { parts: vec![(tone, text.into())] }
    }

    /// Words side by side after an indent, as many as fit.
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

    /// Columns that it takes.
    pub(super) fn width(&self) -> usize {
        self.parts.iter().map(|(_, text)| text.width()).sum()
    }

    /// Cut to so many columns; what is cut off shows by a mark.
    pub(super) fn cropped(mut self, columns: usize) -> Self {
        if self.width() <= columns {
            return self;
        }
        let mut taken = 0;
        let mut fits = |c: &char| {
            taken += c.width().unwrap_or(0);
            // The mark needs a column too.
            taken < columns
        };
        for (_, text) in &mut self.parts {
            *text = text.chars().take_while(&mut fits).collect();
        }
        self.push(Tone::Faint, ">");
        self
    }

    /// Writes it without a line end: with colours, or its text alone.
    pub(super) fn write(&self, coloured: bool, out: &mut dyn Write) -> io::Result<()> {
        for (tone, text) in &self.parts {
            let style = if coloured { tone.style() } else { Style::new() };
            write!(out, "{style}{text}{style:#}")?;
        }
        Ok(())
    }
}

/// Text in lines of whole words; all but the first are indented.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let options = textwrap::Options::new(width).subsequent_indent("  ");
    textwrap::wrap(text, options).into_iter().map(String::from).collect()
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
    fn words_that_do_not_fit_are_left_out_whole() {
        let words = || ["exact", "missed 0", "scans 0"].map(|word| (Tone::Plain, word.to_owned()));
        assert_eq!(text(&Line::of_words(0, words(), 24)), "exact  missed 0  scans 0");
        assert_eq!(text(&Line::of_words(0, words(), 23)), "exact  missed 0");
        assert_eq!(text(&Line::of_words(2, words(), 17)), "  exact  missed 0");
        assert_eq!(text(&Line::of_words(2, words(), 3)), "  exact");
    }

    #[test]
    fn a_cut_line_shows_that_it_is_cut_and_never_halves_a_wide_character() {
        let mut line = Line::of(Tone::Strong, "ab\u{4f60}");
        line.push(Tone::Plain, "cd");
        assert_eq!(line.width(), 6);
        assert_eq!(text(&line.clone().cropped(6)), "ab\u{4f60}cd");
        assert_eq!(text(&line.clone().cropped(5)), "ab\u{4f60}>");
        assert_eq!(text(&line.clone().cropped(4)), "ab>");
        assert_eq!(text(&line.cropped(1)), ">");
    }

    #[test]
    fn colour_ends_where_it_began() {
        let mut out = Vec::new();
        Line::of(Tone::Good, "exact").write(true, &mut out).expect("a vector takes all");
        assert_eq!(out, b"\x1b[32mexact\x1b[0m");
    }
}

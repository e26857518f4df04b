//! Paints a frame over the previous frame. Each line is overwritten without being erased first, so
//! that the terminal does not flicker.

use std::io::{self, Write};

use super::line::{Line, Tone};

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// The number of characters that fit into a line.
    pub columns: u16,
    /// The number of lines of the terminal.
    pub rows: u16,
}

impl Size {
    /// Returns the maximum number of lines of a frame. The last line of the terminal is reserved
    /// for the cursor.
    pub(super) fn frame_rows(self) -> usize {
        usize::from(self.rows).max(2) - 1
    }
}

/// The sequences that begin and end "synchronized output", in which a terminal shows the whole
/// frame in one step. Terminals without this feature ignore both sequences.
const BEGIN_FRAME: &str = "\x1b[?2026h";
const END_FRAME: &str = "\x1b[?2026l";
/// Moves the cursor to the top left corner.
pub(super) const HOME: &str = "\x1b[H";
pub(super) const ERASE_BELOW: &str = "\x1b[J";
const ERASE_REST_OF_LINE: &str = "\x1b[K";

/// Paints the lines that fit, and erases everything else on the terminal.
pub(super) fn paint(
    lines: impl IntoIterator<Item = Line>,
    size: Size,
    coloured: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let columns = usize::from(size.columns);
    write!(out, "{BEGIN_FRAME}{HOME}")?;
    for line in lines.into_iter().take(size.frame_rows()) {
        let line = line.cropped(columns);
        line.write(coloured, out)?;
        // If a line fills the terminal's width, `ERASE_REST_OF_LINE` would erase the last character
        // of the line.
        let erase = if line.width() < columns { ERASE_REST_OF_LINE } else { "" };
        write!(out, "{erase}\r\n")?;
    }
    write!(out, "{ERASE_BELOW}{END_FRAME}")
}

/// Paints the text of a view as one frame, without colours.
pub fn repaint(text: &[u8], size: Size, out: &mut dyn Write) -> io::Result<()> {
    let text = String::from_utf8_lossy(text.trim_ascii());
    paint(text.lines().map(|line| Line::of(Tone::Plain, line)), size, false, out)
}

/// Returns the text after a frame, without the sequences that replace the frame.
#[must_use]
pub fn without_painting(text: &[u8]) -> &[u8] {
    let sequences = [BEGIN_FRAME, HOME, ERASE_BELOW, END_FRAME];
    sequences
        .iter()
        .fold(text, |text, sequence| text.strip_prefix(sequence.as_bytes()).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_after_a_frame_does_not_move_the_cursor() {
        for text in ["\x1b[H\x1b[Jend\n", "\x1b[?2026h\x1b[H\x1b[J\x1b[?2026lend\n", "end\n"] {
            assert_eq!(without_painting(text.as_bytes()), b"end\n");
        }
    }

    #[test]
    fn lines_are_overwritten_and_the_rest_is_erased() {
        let mut painted = Vec::new();
        repaint(b"\none\ntwenty\nthree\n", Size { columns: 5, rows: 3 }, &mut painted)
            .expect("memory");
        let painted = String::from_utf8(painted).expect("text");
        assert_eq!(painted, "\x1b[?2026h\x1b[Hone\x1b[K\r\ntwen>\r\n\x1b[J\x1b[?2026l");
    }
}

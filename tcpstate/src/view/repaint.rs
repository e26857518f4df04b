//! A frame on a terminal, painted over the one before: each line is overwritten, not erased first, so that nothing flickers.

use std::io::{self, Write};

use super::line::{Line, Tone};

/// A terminal's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Characters of a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

impl Size {
    /// Lines of a frame: one line is the cursor's.
    pub(super) fn frame_rows(self) -> usize {
        usize::from(self.rows).max(2) - 1
    }
}

/// Terminals that know it show the frame at once ("synchronized output"); others ignore it.
const BEGIN_FRAME: &str = "\x1b[?2026h";
const END_FRAME: &str = "\x1b[?2026l";
/// To the top left corner.
pub(super) const HOME: &str = "\x1b[H";
pub(super) const ERASE_BELOW: &str = "\x1b[J";
const ERASE_REST_OF_LINE: &str = "\x1b[K";

/// Paints as many of these lines as there is room for; nothing of what was there stays.
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
        // Behind the last column it would erase the last character.
        let erase = if line.width() < columns { ERASE_REST_OF_LINE } else { "" };
        write!(out, "{erase}\r\n")?;
    }
    write!(out, "{ERASE_BELOW}{END_FRAME}")
}

/// Paints a view's text.
pub fn repaint(text: &[u8], size: Size, out: &mut dyn Write) -> io::Result<()> {
    let text = String::from_utf8_lossy(text.trim_ascii());
    paint(text.lines().map(|line| Line::of(Tone::Plain, line)), size, false, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_overwrite_and_the_rest_is_cleared() {
        let mut painted = Vec::new();
        repaint(b"\none\ntwenty\nthree\n", Size { columns: 5, rows: 3 }, &mut painted)
            .expect("memory");
        let painted = String::from_utf8(painted).expect("text");
        assert_eq!(painted, "\x1b[?2026h\x1b[Hone\x1b[K\r\ntwen>\r\n\x1b[J\x1b[?2026l");
    }
}

//! A block of lines on a terminal, over the block before: without flicker, for each line is overwritten, not erased first.

use terminal_size::{Height, terminal_size};

/// Rows of a terminal that does not say.
const ROWS: usize = 24;

// Escape sequences of every terminal since the VT100.
const HOME: &str = "\x1b[H";
const CLEAR_TO_END_OF_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
/// Lines that are too long are cut instead of wrapped.
const WRAP_OFF: &str = "\x1b[?7l";
const WRAP_ON: &str = "\x1b[?7h";

/// The text from the top of the screen, as much of it as there are rows; nothing of what was there stays.
#[must_use]
pub fn repaint(text: &[u8]) -> Vec<u8> {
    let rows = terminal_size().map_or(ROWS, |(_, Height(rows))| rows.into());
    paint(text, rows)
}

fn paint(text: &[u8], rows: usize) -> Vec<u8> {
    // The cursor needs a row of its own.
    let most = rows.saturating_sub(1).max(1);
    let text = text.trim_ascii();
    let mut painted = [HOME, WRAP_OFF].concat().into_bytes();
    for line in text.split(|&byte| byte == b'\n').take(most) {
        painted.extend_from_slice(line);
        painted.extend_from_slice(CLEAR_TO_END_OF_LINE.as_bytes());
        painted.push(b'\n');
    }
    painted.extend_from_slice([CLEAR_BELOW, WRAP_ON].concat().as_bytes());
    painted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_overwrite_and_the_rest_is_cleared() {
        let painted = String::from_utf8(paint(b"\none\ntwo\nthree\n", 3)).expect("text");
        assert_eq!(painted, "\x1b[H\x1b[?7lone\x1b[K\ntwo\x1b[K\n\x1b[J\x1b[?7h");
    }
}

//! Text from outside (names of processes, cgroups): nothing in it may steer the terminal or forge a line.

use std::fmt::Write as _;

/// The text with control characters and those that turn the direction of writing as `\u{1b}`.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() || is_invisible(letter) {
            write!(escaped, "{}", letter.escape_unicode()).expect("a string takes all");
        } else {
            escaped.push(letter);
        }
    }
    escaped
}

/// Format characters: of no width, or changing the order of what follows.
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_spelled_out() {
        assert_eq!(escape("nginx: worker é"), "nginx: worker é");
        assert_eq!(escape("a\u{1b}[2Jb\tc\n"), "a\\u{1b}[2Jb\\u{9}c\\u{a}");
        assert_eq!(escape("\u{9b}31m\u{202e}x"), "\\u{9b}31m\\u{202e}x");
    }
}

//! Text that others have chosen: names of namespaces and processes, a kernel's release, what a library says of an error.
//!
//! It may hold escape sequences for the terminal, line ends, or no UTF-8 at all, and is shown so that it can do nothing.

use std::{borrow::Cow, ffi::OsStr, fmt::Write as _, os::unix::ffi::OsStrExt as _};

/// The text with everything escaped that is not plainly visible: controls, invisible and unassigned characters, bytes that
/// are no UTF-8. Not the backslash, so that what has been made safe stays as it is.
#[must_use]
pub(crate) fn escaped(text: impl AsRef<OsStr>) -> String {
    let mut safe = String::new();
    for chunk in text.as_ref().as_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            if is_plain(character) {
                safe.push(character);
            } else {
                safe.extend(character.escape_debug());
            }
        }
        for byte in chunk.invalid() {
            write!(safe, "\\x{byte:02x}").expect("a string takes everything");
        }
    }
    safe
}

/// As a string, for machines: bytes that are no UTF-8 become `\xff`.
#[must_use]
pub(crate) fn readable(text: &OsStr) -> Cow<'_, str> {
    if let Some(text) = text.to_str() {
        return text.into();
    }
    let mut readable = String::new();
    for chunk in text.as_bytes().utf8_chunks() {
        readable.push_str(chunk.valid());
        readable.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    readable.into()
}

/// Whether a character is seen as what it is, and does nothing.
pub(crate) fn is_plain(character: char) -> bool {
    // Most are, and need no table; of the others, what Rust's own debug output leaves as it is.
    matches!(character, ' '..='~') || character.escape_debug().len() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_act_on_a_terminal_or_deceive_is_escaped() {
        for (text, shown) in [
            (&b"6.1.0-56-cloud-amd64"[..], "6.1.0-56-cloud-amd64"),
            ("café \u{4f60}\u{597d}".as_bytes(), "café \u{4f60}\u{597d}"),
            (b"it's \"here\"", "it's \"here\""),
            (b"\x1b[2J\x1b]0;owned\x07", r"\u{1b}[2J\u{1b}]0;owned\u{7}"),
            (b"two\nlines\r\0", r"two\nlines\r\0"),
            (br"C:\x1b", r"C:\x1b"),
            (b"\xff\xfe ok \xe2\x28", r"\xff\xfe ok \xe2("),
            // The one-byte CSI, and what turns the direction of writing.
            ("\u{9b}31m \u{202e}txt".as_bytes(), r"\u{9b}31m \u{202e}txt"),
        ] {
            assert_eq!(escaped(OsStr::from_bytes(text)), shown);
        }
    }

    #[test]
    fn bytes_that_are_no_text_become_text() {
        let text = OsStr::from_bytes(b"a\x1b[31m\xff\n\xc3\xa4");
        assert_eq!(readable(text), "a\u{1b}[31m\\xff\n\u{e4}");
    }
}

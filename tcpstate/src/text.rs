//! Escapes text from outside: names of namespaces and processes, the kernel's release, and error
//! messages of libraries.
//!
//! Text from outside can contain terminal escape sequences, line ends or invalid UTF-8. The escaped
//! text has no effect on a terminal.

use std::{borrow::Cow, ffi::OsStr, fmt::Write as _, os::unix::ffi::OsStrExt as _, sync::OnceLock};

/// Escapes all characters that are not plainly visible: control characters, invisible and
/// unassigned characters, and invalid UTF-8. A backslash is not escaped, so escaping a text twice
/// has no further effect.
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

/// Escapes text for a cell of a CSV file. A spreadsheet treats a cell that begins with one of these
/// characters as a formula, so an apostrophe precedes the text. Tabs and line ends are escaped.
#[must_use]
pub(crate) fn cell(text: impl AsRef<OsStr>) -> String {
    let mut cell = escaped(text);
    if cell.starts_with(['=', '+', '-', '@']) {
        cell.insert(0, '\'');
    }
    cell
}

/// Converts text to a string for machine-readable output. Bytes that are not valid UTF-8 become
/// `\xff`.
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

/// Returns whether a character is visible and has no effect on a terminal.
pub(crate) fn is_plain(character: char) -> bool {
    // For printable ASCII characters, the function needs no table.
    matches!(character, ' '..='~') || is_plain_by_table(character)
}

/// The number of characters in a page of the table.
const PAGE: u32 = 256;

/// Looks up a character in a table, which is filled page by page. Without the table, each character
/// takes 140 ns, and a hostile recording can make a view print millions of characters.
fn is_plain_by_table(character: char) -> bool {
    static PAGES: [OnceLock<[bool; PAGE as usize]>; (char::MAX as u32 / PAGE) as usize + 1] =
        [const { OnceLock::new() }; _];
    let (page, place) = (character as u32 / PAGE, character as u32 % PAGE);
    let fill = || {
        std::array::from_fn(|place| {
            let number = page * PAGE + u32::try_from(place).expect("a page is small");
            // A character is plain if the debug output of Rust does not escape the character.
            char::from_u32(number).is_some_and(|character| character.escape_debug().len() == 1)
        })
    };
    PAGES[page as usize].get_or_init(fill)[place as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_characters_are_escaped() {
        for (text, shown) in [
            (&b"6.1.0-56-cloud-amd64"[..], "6.1.0-56-cloud-amd64"),
            ("café \u{4f60}\u{597d}".as_bytes(), "café \u{4f60}\u{597d}"),
            (b"it's \"here\"", "it's \"here\""),
            (b"\x1b[2J\x1b]0;owned\x07", r"\u{1b}[2J\u{1b}]0;owned\u{7}"),
            (b"two\nlines\r\0", r"two\nlines\r\0"),
            (br"C:\x1b", r"C:\x1b"),
            (b"\xff\xfe ok \xe2\x28", r"\xff\xfe ok \xe2("),
            // The text contains the control character CSI (U+009B), and the character that reverses
            // the direction of text (U+202E).
            ("\u{9b}31m \u{202e}txt".as_bytes(), r"\u{9b}31m \u{202e}txt"),
        ] {
            assert_eq!(escaped(OsStr::from_bytes(text)), shown);
        }
    }

    #[test]
    fn table_has_every_character() {
        for character in '\0'..=char::MAX {
            let is_printed = character.escape_debug().len() == 1;
            assert_eq!(is_plain(character), is_printed || matches!(character, ' '..='~'));
        }
    }

    #[test]
    fn cells_are_no_formulas() {
        for (text, shown) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", r"\t=1"),
            ("\r=1", r"\r=1"),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            assert_eq!(cell(text), shown);
        }
    }

    #[test]
    fn invalid_utf8_becomes_readable_text() {
        let text = OsStr::from_bytes(b"a\x1b[31m\xff\n\xc3\xa4");
        assert_eq!(readable(text), "a\u{1b}[31m\\xff\n\u{e4}");
    }
}

//! Text from outside: names that others chose, with whatever bytes they liked.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

/// As it can be shown on a terminal, on one line: control characters and what is no UTF-8 become `\u{1b}`, `\xff`.
pub(crate) fn escaped(text: impl AsRef<OsStr>) -> String {
    readable(text.as_ref())
        .chars()
        .flat_map(|char| {
            let is_harmless = !char.is_control() && !is_direction(char);
            let escape = (!is_harmless).then(|| char.escape_default());
            escape.into_iter().flatten().chain(is_harmless.then_some(char))
        })
        .collect()
}

/// As a string: what is no UTF-8 becomes `\xff`.
pub(crate) fn readable(text: &OsStr) -> String {
    let mut readable = String::new();
    for chunk in text.as_bytes().utf8_chunks() {
        readable.push_str(chunk.valid());
        readable.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    readable
}

/// Characters that turn the direction of writing, and so the meaning of the line around them.
fn is_direction(char: char) -> bool {
    matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_bytes_and_broken_utf_8_are_escaped() {
        let text = OsStr::from_bytes(b"a\x1b[31m\xff\n\xc3\xa4");
        assert_eq!(escaped(text), "a\\u{1b}[31m\\xff\\n\u{e4}");
        assert_eq!(readable(text), "a\u{1b}[31m\\xff\n\u{e4}");
        assert_eq!(escaped("x\u{202e}y"), "x\\u{202e}y");
    }
}

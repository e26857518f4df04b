//! Writes JSON lines of at most 16 KiB. Log drivers split longer lines: Docker at 16 KiB, journald
//! at 48 KiB.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Serializer, Value, ser::Formatter};

use crate::text::is_plain;

/// The maximum size of a line in bytes, with the line end.
pub(super) const MAX_LINE: usize = 16 << 10;

/// A list with more rows does not fit into a line.
const MAX_ROWS: usize = 256;

/// Writes an object as one line.
pub(super) fn write_line(line: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    let mut text = Vec::new();
    serialize(line, &mut text)?;
    out.write_all(&text)
}

/// Adds a list to a line, if the line stays short enough. Returns whether the list was added. Each
/// row of the list is also a line of its own, for readers of all sizes of lists.
pub(super) fn add_list<T>(
    line: &mut Value,
    key: &str,
    rows: &[T],
    row: impl Fn(&T) -> Value,
) -> io::Result<bool> {
    if rows.len() > MAX_ROWS {
        return Ok(false);
    }
    let list: Value = rows.iter().map(row).collect();
    // The key needs two quotation marks, a colon and a comma.
    if length(line)? + key.len() + 4 + length(&list)? > MAX_LINE {
        return Ok(false);
    }
    line[key] = list;
    Ok(true)
}

/// Returns the size of a line in bytes, with the line end.
pub(super) fn length(line: &Value) -> io::Result<usize> {
    let mut text = Vec::new();
    serialize(line, &mut text)?;
    Ok(text.len())
}

/// Appends a JSON object and a line end to a buffer. Serializing an object makes many small writes.
/// Small writes to a `Vec` are much faster than to a `dyn Write`.
pub(super) fn serialize(line: &impl Serialize, text: &mut Vec<u8>) -> io::Result<()> {
    line.serialize(&mut Serializer::with_formatter(&mut *text, Visible))?;
    text.push(b'\n');
    Ok(())
}

/// Writes compact JSON and escapes control characters and invisible characters, so that a terminal
/// does not act on them. A JSON parser decodes the escaped text to the original text.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W>(&mut self, out: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + Write,
    {
        // The loop has no early exit, so the compiler can test many bytes in one instruction.
        if fragment.bytes().fold(true, |is_plain, byte| is_plain & matches!(byte, b' '..=b'~')) {
            return out.write_all(fragment.as_bytes());
        }
        let mut written = 0;
        for (at, character) in fragment.char_indices().filter(|&(_, c)| !is_plain(c)) {
            out.write_all(&fragment.as_bytes()[written..at])?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            written = at + character.len_utf8();
        }
        out.write_all(&fragment.as_bytes()[written..])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn list_is_added_only_if_the_line_stays_short() {
        let mut added = 0;
        for size in 0..2000 {
            let mut line = json!({ "type": "test" });
            let is_added = add_list(&mut line, "rows", &vec![(); size], |()| json!("0123456789"));
            if is_added.expect("memory takes all") {
                assert_eq!(line["rows"].as_array().map(Vec::len), Some(size));
                added = added.max(size);
            } else {
                assert!(line.get("rows").is_none());
            }
            assert!(length(&line).expect("memory takes all") <= MAX_LINE);
        }
        assert_eq!(added, MAX_ROWS);
        let mut line = json!({ "type": "test" });
        let long = "\u{1b}".repeat(MAX_LINE / 6 - 4);
        let row = |(): &()| json!(long);
        assert!(!add_list(&mut line, "rows", &[()], row).expect("memory takes all"));
    }
}

//! Writes JSON lines of at most 16 KiB. Log drivers split longer lines: Docker at 16 KiB, journald
//! at 48 KiB.
//!
//! Texts from outside, such as the path of a cgroup, may have any length and any characters. If a
//! line would be too long, its long texts are cut. If the line is still too long, its long lists
//! are cut too, and the line has `"lists_cut": true`. Only a recording that another program made
//! has such lists.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{
    Serializer, Value,
    ser::{CharEscape, Formatter},
};

use crate::text::is_plain;

/// The version of the JSON lines. The version increases when the meaning of a key changes.
pub(super) const VERSION: u32 = 1;

/// The maximum size of a line in bytes, with the line end.
pub(super) const MAX_LINE: usize = 16 << 10;

/// A list with more rows does not fit into a line.
const MAX_ROWS: usize = 256;

/// The maximum sizes in bytes of the texts of a line that would be too long. The first size with
/// which the line is short enough is used.
const MAX_TEXTS: [usize; 7] = [4096, 2048, 1024, 512, 256, 128, 64];

/// The maximum lengths of the lists of a line that is too long although its texts are cut.
const MAX_LISTS: [usize; 4] = [64, 16, 4, 0];

/// The end of a text that was cut.
const ELLIPSIS: &str = "…";

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

/// Returns the size of a line in bytes, with the line end. If the line is too long, long texts
/// count as if they were cut.
pub(super) fn length(line: &Value) -> io::Result<usize> {
    let mut text = Vec::new();
    append(line, Visible, &mut text)?;
    if text.len() > MAX_LINE {
        text.clear();
        append(line, Cut::to(MAX_TEXTS[0]), &mut text)?;
    }
    Ok(text.len())
}

/// Appends a JSON object and a line end to a buffer. If the line is too long, long texts are cut,
/// and then long lists.
pub(super) fn serialize(line: &impl Serialize, text: &mut Vec<u8>) -> io::Result<()> {
    let start = text.len();
    append(line, Visible, text)?;
    for max in MAX_TEXTS {
        if text.len() - start <= MAX_LINE {
            return Ok(());
        }
        text.truncate(start);
        append(line, Cut::to(max), text)?;
    }
    if text.len() - start <= MAX_LINE {
        return Ok(());
    }
    let mut line = serde_json::to_value(line)?;
    line["lists_cut"] = true.into();
    for max in MAX_LISTS {
        cut_lists(&mut line, max);
        text.truncate(start);
        append(&line, Cut::to(MAX_TEXTS[MAX_TEXTS.len() - 1]), text)?;
        if text.len() - start <= MAX_LINE {
            break;
        }
    }
    Ok(())
}

/// Removes the elements of each list after the first `max`.
fn cut_lists(value: &mut Value, max: usize) {
    match value {
        Value::Array(list) => {
            list.truncate(max);
            for element in list {
                cut_lists(element, max);
            }
        }
        Value::Object(fields) => {
            for field in fields.values_mut() {
                cut_lists(field, max);
            }
        }
        _ => {}
    }
}

/// Calls `write` to append a line to a buffer. The argument of `write` is the maximum size of a
/// text, or `None` if texts are not cut. If the line is too long, `write` is called again with
/// smaller maximum sizes.
pub(super) fn append_short(text: &mut Vec<u8>, mut write: impl FnMut(&mut Vec<u8>, Option<usize>)) {
    let start = text.len();
    write(text, None);
    for max in MAX_TEXTS {
        if text.len() - start <= MAX_LINE {
            return;
        }
        text.truncate(start);
        write(text, Some(max));
    }
}

/// Appends a text in quotation marks. If `max` is given, the text is cut to this size in bytes.
pub(super) fn append_text(text: &str, max: Option<usize>, out: &mut Vec<u8>) {
    let written = match max {
        None => text.serialize(&mut Serializer::with_formatter(out, Visible)),
        Some(max) => text.serialize(&mut Serializer::with_formatter(out, Cut::to(max))),
    };
    written.expect("a vector accepts every text");
}

/// Serializing an object makes many small writes. Small writes to a `Vec` are much faster than to a
/// `dyn Write`.
fn append(line: &impl Serialize, formatter: impl Formatter, text: &mut Vec<u8>) -> io::Result<()> {
    line.serialize(&mut Serializer::with_formatter(&mut *text, formatter))?;
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

/// Writes JSON as [`Visible`] does, but cuts texts. Keys stay whole.
struct Cut {
    /// The maximum size of a text in bytes, escapes included and the ellipsis not included.
    max: usize,
    /// The size that is left for the current text. `None` if the text was cut.
    left: Option<usize>,
    is_key: bool,
    /// The escaped form of a character.
    escaped: Vec<u8>,
}

impl Cut {
    fn to(max: usize) -> Self {
        Self { max, left: None, is_key: false, escaped: Vec::new() }
    }

    /// Writes `escaped` if the current text has space for it.
    fn write_escaped<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        let Some(left) = self.left else { return Ok(()) };
        self.left = left.checked_sub(self.escaped.len());
        let is_cut = self.left.is_none();
        out.write_all(if is_cut { ELLIPSIS.as_bytes() } else { &self.escaped })
    }
}

impl Formatter for Cut {
    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.is_key = true;
        if first { Ok(()) } else { out.write_all(b",") }
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.is_key = false;
        Ok(())
    }

    fn begin_string<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.left = Some(if self.is_key { usize::MAX } else { self.max });
        out.write_all(b"\"")
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for character in fragment.chars() {
            if self.left.is_none() {
                break;
            }
            self.escaped.clear();
            let mut bytes = [0; 4];
            let character = character.encode_utf8(&mut bytes);
            Visible.write_string_fragment(&mut self.escaped, character)?;
            self.write_escaped(out)?;
        }
        Ok(())
    }

    fn write_char_escape<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        self.escaped.clear();
        Visible.write_char_escape(&mut self.escaped, escape)?;
        self.write_escaped(out)
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
        let row = |(): &()| json!("\u{1b}".repeat(MAX_LINE));
        let rows = [(); 5];
        assert!(!add_list(&mut line, "rows", &rows, row).expect("memory takes all"));
    }

    fn written(line: &Value) -> String {
        let mut text = Vec::new();
        serialize(line, &mut text).expect("memory takes all");
        String::from_utf8(text).expect("JSON is UTF-8")
    }

    #[test]
    fn long_texts_are_cut_and_the_rest_of_the_line_stays() {
        for character in ["a", "\u{1}", "\n", "\"", "\\", "é", "\u{202e}", "\u{1f980}", "\u{e0001}"]
        {
            for (texts, length) in [(1, MAX_LINE), (5, 4096), (200, 512)] {
                let long: Vec<String> = vec![character.repeat(length); texts];
                let key = "k".repeat(100);
                let line = json!({ "type": "test", "long": long, &key: 1, "short": "whole" });
                let text = written(&line);
                assert!(text.len() <= MAX_LINE, "{character:?} {texts}: {}", text.len());
                let read: Value = serde_json::from_str(&text).expect("JSON");
                assert_eq!((&read[&key], &read["short"]), (&json!(1), &json!("whole")));
                for cut in read["long"].as_array().expect("a list") {
                    let kept = cut.as_str().and_then(|cut| cut.strip_suffix(ELLIPSIS));
                    let kept = kept.expect("the text was cut");
                    assert!(!kept.is_empty() && kept.replace(character, "").is_empty(), "{kept:?}");
                }
            }
        }
    }

    #[test]
    fn long_lists_are_cut_only_if_cut_texts_do_not_suffice() {
        let of = |length: usize| written(&json!({ "short": [1, 2], "long": vec!["x"; length] }));
        let whole: Value = serde_json::from_str(&of(4000)).expect("JSON");
        assert_eq!(whole["long"].as_array().map(Vec::len), Some(4000));
        assert!(whole.get("lists_cut").is_none());
        let cut: Value = serde_json::from_str(&of(5000)).expect("JSON");
        assert_eq!(cut["long"].as_array().map(Vec::len), Some(MAX_LISTS[0]));
        assert_eq!((&cut["lists_cut"], &cut["short"]), (&json!(true), &json!([1, 2])));
        let deep = json!({ "lists": vec![vec![vec!["\n".repeat(100); 20]; 20]; 20] });
        let text = written(&deep);
        assert!(text.len() <= MAX_LINE && text.contains("lists_cut"), "{}", text.len());
    }

    #[test]
    fn texts_of_short_lines_stay_whole() {
        let whole = "\u{1}".repeat((MAX_LINE - 20) / 6);
        assert_eq!(
            serde_json::from_str::<Value>(&written(&json!({ "a": whole }))).ok(),
            Some(json!({ "a": whole }))
        );
        let most = json!({ "a": "x".repeat(MAX_LINE - 9) });
        assert_eq!(written(&most), format!("{most}\n"));
    }
}

//! Appends the fields of a JSON object to a buffer, without a tree of values. The bytes are equal
//! to the bytes that [`json_lines`](super::json_lines) writes for an object with the same fields.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use serde::Serialize;

use super::json_lines::append_text;
use crate::text::readable;

/// The start of a field after another field: a comma, the name in quotation marks and a colon.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}
pub(super) use key;

/// Appends fields to a line. The argument `key` of each function is the result of the macro
/// [`key`].
pub(super) struct Fields<'a> {
    pub(super) line: &'a mut Vec<u8>,
    /// The maximum size in bytes of a text. `None` if texts are not cut.
    pub(super) max_text: Option<usize>,
}

impl Fields<'_> {
    /// Appends bytes that are JSON.
    pub(super) fn json(&mut self, json: &[u8]) {
        self.line.extend_from_slice(json);
    }

    /// Appends a number, or null.
    pub(super) fn number(&mut self, key: &str, number: Option<impl Serialize>) {
        self.json(key.as_bytes());
        match number {
            Some(number) => self.push_number(number),
            None => self.json(b"null"),
        }
    }

    /// Appends a number without a key.
    pub(super) fn push_number(&mut self, number: impl Serialize) {
        serde_json::to_writer(&mut *self.line, &number).expect("a vector accepts every number");
    }

    /// Appends a number as a text, or null. Many programs store JSON numbers as floats, which have
    /// fewer than 64 bits.
    pub(super) fn number_text(&mut self, key: &str, number: Option<u64>) {
        self.json(key.as_bytes());
        match number {
            Some(number) => {
                self.json(b"\"");
                self.push_number(number);
                self.json(b"\"");
            }
            None => self.json(b"null"),
        }
    }

    /// Appends a name that consists of characters that need no escape, or null.
    pub(super) fn name(&mut self, key: &str, name: Option<&'static str>) {
        self.json(key.as_bytes());
        match name {
            Some(name) => {
                self.json(b"\"");
                self.json(name.as_bytes());
                self.json(b"\"");
            }
            None => self.json(b"null"),
        }
    }

    /// Appends a text from outside, or null.
    pub(super) fn text(&mut self, key: &str, text: Option<&OsStr>) {
        self.json(key.as_bytes());
        match text {
            Some(text) => self.push_text(text),
            None => self.json(b"null"),
        }
    }

    fn push_text(&mut self, text: &OsStr) {
        let bytes = text.as_bytes();
        // The loop has no early exit, so the compiler can test many bytes in one instruction.
        let is_plain = bytes.iter().fold(true, |is_plain, byte| is_plain & needs_no_escape(*byte));
        if is_plain && self.max_text.is_none() {
            self.json(b"\"");
            self.json(bytes);
            self.json(b"\"");
        } else {
            append_text(&readable(text), self.max_text, self.line);
        }
    }
}

/// Returns whether JSON lines contain this byte of a text unchanged.
fn needs_no_escape(byte: u8) -> bool {
    matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~')
}

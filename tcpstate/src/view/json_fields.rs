//! Appends the fields of a JSON object to a buffer, without a tree of values. The bytes are equal
//! to the bytes that [`json_lines`](super::json_lines) writes for an object with the same fields.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, time::Duration};

use super::{
    digits::{append_float, append_integer, append_seconds},
    json_lines::append_text,
};
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
    #[inline]
    pub(super) fn json(&mut self, json: &[u8]) {
        self.line.extend_from_slice(json);
    }

    /// Appends a number, or null.
    #[inline]
    pub(super) fn number(&mut self, key: &str, number: Option<impl Into<u64>>) {
        self.json(key.as_bytes());
        match number {
            Some(number) => append_integer(number.into(), self.line),
            None => self.json(b"null"),
        }
    }

    /// Appends a number that is not infinite.
    #[inline]
    pub(super) fn float(&mut self, key: &str, number: f64) {
        self.json(key.as_bytes());
        append_float(number, self.line);
    }

    /// Appends a duration in seconds, or null.
    #[inline]
    pub(super) fn seconds(&mut self, key: &str, duration: Option<Duration>) {
        self.json(key.as_bytes());
        match duration {
            Some(duration) => append_seconds(duration, self.line),
            None => self.json(b"null"),
        }
    }

    /// Appends a number as a text, or null. Many programs store JSON numbers as floats, which have
    /// fewer than 64 bits.
    #[inline]
    pub(super) fn number_text(&mut self, key: &str, number: Option<u64>) {
        self.json(key.as_bytes());
        match number {
            Some(number) => {
                self.json(b"\"");
                append_integer(number, self.line);
                self.json(b"\"");
            }
            None => self.json(b"null"),
        }
    }

    /// Appends a name that consists of characters that need no escape, or null.
    #[inline]
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
    #[inline]
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

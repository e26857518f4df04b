//! The fuzzed function for command lines.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    time::{Instant, SystemTime},
};

use super::{duration, parse, usage};
use crate::{error::Help as _, explain, text::is_plain};

/// Parses a command line whose words are separated by zero bytes. Asserts that error messages
/// contain no control characters for a terminal.
pub(crate) fn command_line(bytes: &[u8]) {
    let words = bytes.split(|&byte| byte == 0).map(OsStr::from_bytes);
    let line = [OsStr::new("tcpstate")].into_iter().chain(words.clone()).map(OsString::from);
    let line: Vec<OsString> = line.collect();
    if let Err(error) = parse(line.iter().cloned())
        && let Some(lines) = usage::lines(&error, &line)
    {
        for line in lines {
            assert!(line.chars().all(is_plain), "{line:?} can act");
        }
    }
    let words: Vec<&str> = words.filter_map(OsStr::to_str).collect();
    for word in &words {
        if let Ok(duration) = duration::parse(word) {
            assert!(Instant::now().checked_add(duration).is_some(), "{word} is past all time");
            assert!(SystemTime::now().checked_add(duration).is_some(), "{word} is past all time");
        }
    }
    if let Err(error) = explain::answer(&words) {
        assert!(!error.to_string().is_empty() && !error.help().is_empty());
    }
}

//! The entry points of the fuzzer for this folder.

use std::path::Path;

use super::{holders, sysctl_files::SysctlFiles};

/// Parses bytes as a sysctl file.
pub(crate) fn settings(bytes: &[u8]) {
    let text = &*String::from_utf8_lossy(bytes);
    let mut files = SysctlFiles::default();
    files.parse(Path::new("sysctl.conf"), text);
    assert!(files.lines.len() + files.problems.len() <= text.lines().count());
    for line in &files.lines {
        let effective = files.effective(&line.key).expect("there is a line for it");
        assert!(effective.number >= line.number && !line.key.is_empty());
    }
}

/// Parses bytes as `/proc/PID/limits`.
pub(crate) fn limits(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    holders::limit(text);
}

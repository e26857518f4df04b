//! The functions of this module that the fuzzer calls.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

use super::{KernelCounters, owners};

/// Parses small files from which tcpstate reads one line or one word.
pub(crate) fn kernel_files(bytes: &[u8]) {
    owners::inode(Path::new(OsStr::from_bytes(bytes)));
    let Ok(text) = str::from_utf8(bytes) else { return };
    KernelCounters::parse(text, text, text);
}

//! What of this the fuzzer tries.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

use super::{KernelCounters, owners};

/// Small files of which a line or a word is wanted.
pub(crate) fn kernel_files(bytes: &[u8]) {
    owners::inode(Path::new(OsStr::from_bytes(bytes)));
    let Ok(text) = str::from_utf8(bytes) else { return };
    KernelCounters::parse(text, text, text);
}

//! Reads the kernel's counters and sysctls in /proc. All other modules read the kernel's counters
//! and sysctls through this module.

pub mod counters;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
pub mod pids;
pub mod sysctl;
pub mod time;
pub mod users;

use std::{io, path::Path};

use crate::files;

/// Reads a small file as text, and replaces invalid UTF-8.
pub fn text(path: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&files::bytes(path)?).into_owned())
}

/// Reads a file of the calling thread's network namespace. The network namespace of a thread may
/// differ from the network namespace of the thread's process.
pub fn net(file: &str) -> io::Result<String> {
    text(&Path::new("/proc/thread-self/net").join(file))
}

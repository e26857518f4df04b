//! Reads the kernel's counters and sysctls in /proc. All other modules read the kernel's counters
//! and sysctls through this module. The module imports only the standard library.

pub mod counters;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
pub mod sysctl;

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// The maximum size in bytes of a file that this module reads. All files that this module reads are
/// shorter than the maximum.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads a small file as text, and replaces invalid UTF-8.
pub fn text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than 1 MiB"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads a file of the calling thread's network namespace. The network namespace of a thread may
/// differ from the network namespace of the thread's process.
pub fn net(file: &str) -> io::Result<String> {
    text(&Path::new("/proc/thread-self/net").join(file))
}

//! The one reader of the kernel's counters and settings in /proc. It stands at the bottom: everything that asks for one of
//! them asks here, and it imports the standard library only.

pub mod counters;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
pub mod sysctl;

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// Files of these kinds are short; what is longer is not one of them.
const LONGEST: u64 = 1 << 20;

/// Reads a small file, whatever bytes are in it.
pub fn text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than 1 MiB"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads a file of the calling thread's network namespace, which may be another one than its process's.
pub fn net(file: &str) -> io::Result<String> {
    text(&Path::new("/proc/thread-self/net").join(file))
}

//! The help lines of errors whose cause is a limit of open files.

use std::io;

use nix::errno::Errno;

/// Returns the help line of an error, if a limit of open files is the cause.
#[must_use]
pub fn help_of_limit(error: &io::Error) -> Option<&'static str> {
    error.raw_os_error().map(Errno::from_raw).and_then(help_of_errno)
}

/// Returns the help line of an error number, if a limit of open files is the cause.
pub(super) fn help_of_errno(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::EMFILE => Some("raise the limit of open files (ulimit -n 1024)"),
        Errno::ENFILE => Some("raise the number of open files of the system (sysctl fs.file-max)"),
        _ => None,
    }
}

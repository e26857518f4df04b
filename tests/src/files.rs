//! A thread's own table of files, and the limit on open files.
//!
//! Threads share one, with one limit; and a process that is being started has a copy of it until it runs its program,
//! which keeps every socket open that is closed in the meantime.

use std::io::Error;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors after standard error.
const FIRST: libc::c_uint = 3;

/// Gives this thread a table that is its own, with standard input and output only.
///
/// For a thread that has just begun: what it was given as descriptors is closed to it.
///
/// # Panics
/// Before Linux 5.9.
pub fn own_table() {
    // SAFETY: closes descriptors in the new table alone, and all owners of descriptors are in threads with the old one.
    let result = unsafe {
        libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE)
    };
    assert_eq!(result, 0, "close_range: {}", Error::last_os_error());
}

/// Lifts this process's limit on open files as far as the hard limit. Systemd sets the soft limit to 1024, which is
/// fewer than the sockets of most traffic here.
///
/// # Panics
/// Never: every process may do that.
pub fn lift_limit() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("every process has this limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("up to the hard limit everyone may go");
}

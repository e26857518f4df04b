//! Gives a thread a separate file table, and raises the limit on open files.
//!
//! The threads of a process share one file table with one limit. Between fork and exec, a new
//! process also has a copy of the file table. If a thread closes a socket between fork and exec of
//! a new process, the descriptor in the new process keeps the socket open.

use std::io::Error;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The first descriptor after standard error.
const FIRST: libc::c_uint = 3;

/// Gives this thread a separate file table that contains only stdin, stdout and stderr.
///
/// Call this function at the start of a thread, because it closes all other descriptors of the
/// thread.
///
/// # Panics
/// Panics on kernels before Linux 5.9, which lack `close_range`.
pub fn own_table() {
    // SAFETY: the call closes descriptors only in the new table. The Rust values that own
    // descriptors are in other threads, which keep the old table.
    let result = unsafe {
        libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE)
    };
    assert_eq!(result, 0, "close_range: {}", Error::last_os_error());
}

/// Raises this process's soft limit on open files to the hard limit. systemd sets the soft limit to
/// 1024, which is lower than the number of sockets in most tests.
///
/// # Panics
/// Never panics: every process may raise its soft limit.
pub fn lift_limit() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("every process has this limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("up to the hard limit everyone may go");
}

//! Makes the process independent of the limits and the environment of its caller, as far as
//! possible. A limit that cannot be changed is an error with help.
//!
//! A program that a subcommand starts inherits limits, ignored signals and the environment.
//! [`restore`] restores the values of the caller in the process that executes the program.

use std::{
    borrow::Cow, env, ffi::OsString, fmt, io, os::unix::net::UnixStream, ptr, sync::OnceLock,
};

use nix::sys::{
    resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t, setrlimit},
    signal::{SigHandler, Signal, signal},
};

use crate::error::{Help, MORE_PROCESSES};

/// The size of the main thread's stack in bytes, as on most systems.
const STACK: rlim_t = 8 << 20;
/// The smallest sufficient limit of the stack in bytes. Arguments and variables of the environment
/// take at most a quarter of the stack.
const MIN_STACK: rlim_t = 9 << 18;
/// The size of the stack that is reserved at the start, in bytes. `trace` and `hist` use 1.4 MiB in
/// a build without optimisation.
const RESERVED_STACK: usize = 3 << 19;
/// The number of files that the runtime and the handlers of signals open. The library of the
/// runtime panics if it cannot open a file.
const FILES_OF_RUNTIME: usize = 12;

/// A limit of this process that is too small.
#[derive(Debug)]
pub(super) enum Error {
    /// The stack of the main thread. The number is the limit in bytes.
    Stack(rlim_t),
    /// The address space, which has no room for the stack of the main thread.
    StackMemory(io::Error),
    /// The number of threads or processes of the user or the cgroup.
    Thread(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stack(bytes) => {
                write!(f, "cannot start tcpstate: the stack is limited to {} KiB", bytes / 1024)
            }
            Self::StackMemory(error) => {
                write!(f, "cannot reserve memory for the stack: {error}")
            }
            Self::Thread(error) => write!(f, "cannot start a thread: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl Help for Error {
    fn help(&self) -> Cow<'static, str> {
        match self {
            Self::Stack(_) => "raise the limit of the stack (ulimit -s 8192)".into(),
            Self::StackMemory(_) => {
                "raise the limit of memory (ulimit -v unlimited, or the limit of the cgroup)".into()
            }
            Self::Thread(_) => MORE_PROCESSES.into(),
        }
    }
}

/// The values of the caller that [`prepare`] changes.
struct Inherited {
    /// The soft and the hard limit of the stack.
    stack: Option<(rlim_t, rlim_t)>,
    /// The value of `RUST_MIN_STACK`.
    min_stack: Option<OsString>,
    /// Whether SIGXFSZ was ignored.
    ignores_file_size: bool,
}

static INHERITED: OnceLock<Inherited> = OnceLock::new();

/// The variable that sets the size of the stacks of all threads.
const MIN_STACK_VARIABLE: &str = "RUST_MIN_STACK";

/// Prepares the process. The caller must have no second thread, and must use little stack.
pub(super) fn prepare() -> Result<(), Error> {
    let stack = getrlimit(Resource::RLIMIT_STACK).ok();
    enlarge_stack()?;
    reserve_stack().map_err(Error::StackMemory)?;
    let min_stack = env::var_os(MIN_STACK_VARIABLE);
    // SAFETY: no other thread exists.
    unsafe {
        // A small value would make the stacks of all threads too small.
        env::remove_var(MIN_STACK_VARIABLE);
    }
    let ignores_file_size = ignore_file_size_signal();
    INHERITED.get_or_init(|| Inherited { stack, min_stack, ignores_file_size });
    Ok(())
}

/// Restores the values that [`prepare`] has changed, in a child process that executes a program.
/// The process must have one thread.
pub(super) fn restore() {
    let Some(inherited) = INHERITED.get() else { return };
    if let Some(value) = &inherited.min_stack {
        // SAFETY: no other thread exists.
        unsafe { env::set_var(MIN_STACK_VARIABLE, value) };
    }
    if !inherited.ignores_file_size {
        // SAFETY: the default disposition runs no code.
        let _ = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigDfl) };
    }
    if let Some((soft, hard)) = inherited.stack {
        // If the call fails, the program has a larger limit than the caller.
        let _ = setrlimit(Resource::RLIMIT_STACK, soft, hard);
    }
}

/// Raises the limit of the main thread's stack. The kernel reads the limit whenever the stack
/// grows.
fn enlarge_stack() -> Result<(), Error> {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_STACK) else { return Ok(()) };
    if soft >= STACK {
        return Ok(());
    }
    // Only root may raise the hard limit.
    let _ = setrlimit(Resource::RLIMIT_STACK, STACK.min(hard), hard);
    let _ = setrlimit(Resource::RLIMIT_STACK, STACK, STACK.max(hard));
    match getrlimit(Resource::RLIMIT_STACK) {
        Ok((soft, _)) if soft < MIN_STACK => Err(Error::Stack(soft)),
        _ => Ok(()),
    }
}

/// Makes the stack so large that it need not grow later. If the limit of the address space
/// (`ulimit -v`) has no room for a stack that grows, the kernel ends the process with SIGSEGV.
fn reserve_stack() -> io::Result<()> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: the kernel chooses an unused address.
    let room = unsafe { libc::mmap(ptr::null_mut(), RESERVED_STACK, access, kind, -1, 0) };
    if room == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: nothing refers to this memory.
    unsafe { libc::munmap(room, RESERVED_STACK) };
    let top = 0_u8;
    let lowest = (&raw const top).addr() - RESERVED_STACK;
    // SAFETY: the limit of the stack and the address space have room, and no other thread takes the
    // room. The kernel maps the stack down to this address. No function uses this part of the stack
    // yet, and only this page is charged.
    unsafe { ptr::with_exposed_provenance_mut::<u8>(lowest).write_volatile(0) };
    Ok(())
}

/// Makes a write beyond the limit of file sizes fail with an error, instead of ending the process.
/// Returns whether the caller ignored the signal.
fn ignore_file_size_signal() -> bool {
    // SAFETY: the disposition `SigIgn` runs no code.
    let before = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) };
    matches!(before, Ok(SigHandler::SigIgn))
}

/// Raises the soft limit of open files to `files`, or as far as the hard limit allows.
pub(super) fn allow_files(files: rlim_t) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft != RLIM_INFINITY && soft < files {
        // If the call fails, the process works with fewer connections.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, files.min(hard), hard);
    }
}

/// Checks that the process may open the files that the runtime needs.
pub(super) fn check_files() -> io::Result<()> {
    let pairs: io::Result<Vec<_>> = (0..FILES_OF_RUNTIME / 2).map(|_| UnixStream::pair()).collect();
    pairs.map(drop)
}

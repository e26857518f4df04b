//! The command line tool. All code of the tool is in the library, except the allocator, which a
//! library must not choose.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    io::Write as _,
    process::ExitCode,
};

/// The allocator of the system. If no memory is left, the process prints an error and exits with
/// status 2, instead of the signal SIGABRT.
struct Memory;

#[global_allocator]
static MEMORY: Memory = Memory;

// SAFETY: all calls go to the allocator of the system, which fulfils the contract. The functions
// return no null pointer, because the process exits instead.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller fulfils the contract.
        checked(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller fulfils the contract.
        checked(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller fulfils the contract.
        checked(unsafe { System.realloc(memory, layout, size) }, size)
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller fulfils the contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Returns the allocated memory, or ends the process. The function allocates no memory.
fn checked(memory: *mut u8, bytes: usize) -> *mut u8 {
    if memory.is_null() {
        let mut text = [0; 192];
        let mut rest = &mut text[..];
        // The text fits in the buffer.
        let _ = write!(
            rest,
            "tcpstate: cannot allocate {bytes} bytes: no memory is left\nhelp: raise the limit of \
             memory (ulimit -v unlimited, or the limit of the cgroup)\n"
        );
        let length = 192 - rest.len();
        // SAFETY: the buffer has `length` bytes. `_exit` runs no code of this process.
        unsafe {
            libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), length);
            libc::_exit(2)
        }
    }
    memory
}

fn main() -> ExitCode {
    tcpstate::command::run()
}

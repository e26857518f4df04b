//! Defines an allocator that limits the memory of a fuzz target. The limit grows with the length of
//! the input. The limit detects a parser that allocates as many bytes as a number in the input
//! says.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    process,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// The memory limit in bytes for an empty input.
const FIXED: usize = 16 << 20;
/// The number of bytes that each byte of the input adds to the memory limit.
const FOR_A_BYTE: usize = 64;

/// An allocator that counts the held memory and passes all calls on to the system's allocator. The
/// count is exact, because fuzz targets have no threads, and libFuzzer uses another allocator.
struct Counting {
    held: AtomicUsize,
    most: AtomicUsize,
}

#[global_allocator]
static COUNTING: Counting =
    Counting { held: AtomicUsize::new(0), most: AtomicUsize::new(usize::MAX) };

/// Runs a fuzz target on an input of `input` bytes. If the target holds too much memory, the
/// process aborts, and libFuzzer reports a crash.
pub(super) fn limited(input: usize, target: impl FnOnce()) {
    // Do not count the memory that was allocated before the call, for example data that is created
    // only once.
    let before = COUNTING.held.load(Relaxed);
    COUNTING.most.store(before + FIXED + FOR_A_BYTE * input, Relaxed);
    target();
    COUNTING.most.store(usize::MAX, Relaxed);
}

/// Runs a function without the memory limit.
pub(super) fn unlimited(work: impl FnOnce()) {
    let most = COUNTING.most.swap(usize::MAX, Relaxed);
    work();
    COUNTING.most.store(most, Relaxed);
}

// SAFETY: every call is passed on unchanged to the system's allocator, which meets the requirements
// of `GlobalAlloc`. The code that counts the bytes does not access the allocated memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = self.held.fetch_add(layout.size(), Relaxed) + layout.size();
        if held > self.most.load(Relaxed) {
            unlimited(|| eprintln!("holds {held} bytes, {} of them asked for now", layout.size()));
            process::abort();
        }
        // SAFETY: the caller meets the requirements of `GlobalAlloc::alloc`, and `System.alloc` has
        // the same requirements.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        self.held.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller meets the requirements of `System.dealloc`. This allocator gets all
        // memory from `System.alloc`, so `memory` is from `System.alloc` too.
        unsafe { System.dealloc(memory, layout) }
    }
}

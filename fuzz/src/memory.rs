//! An allocator that bounds the memory of a target by the length of its input. So a number in the
//! input cannot become the size of an allocation.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    process,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// The memory that a target may hold for any input, in bytes.
const FIXED: usize = 16 << 20;
/// The additional memory for each byte of the input, in bytes.
const FOR_A_BYTE: usize = 64;

/// Counts memory and passes all calls on to the system's allocator. Targets have no threads, and
/// libFuzzer uses another allocator.
struct Counting {
    held: AtomicUsize,
    most: AtomicUsize,
}

#[global_allocator]
static COUNTING: Counting =
    Counting { held: AtomicUsize::new(0), most: AtomicUsize::new(usize::MAX) };

/// Runs a target on an input of this length. If the target holds too much memory, the process ends,
/// and libFuzzer reports a crash.
pub(super) fn limited(input: usize, target: impl FnOnce()) {
    // Memory from before the call does not count: state of libFuzzer, and data that is created
    // once.
    let before = COUNTING.held.load(Relaxed);
    COUNTING.most.store(before + FIXED + FOR_A_BYTE * input, Relaxed);
    target();
    COUNTING.most.store(usize::MAX, Relaxed);
}

/// Runs work whose memory does not count.
pub(super) fn unlimited(work: impl FnOnce()) {
    let most = COUNTING.most.swap(usize::MAX, Relaxed);
    work();
    COUNTING.most.store(most, Relaxed);
}

// SAFETY: every call is passed on unchanged to the system's allocator. Nothing else accesses its
// memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = self.held.fetch_add(layout.size(), Relaxed) + layout.size();
        if held > self.most.load(Relaxed) {
            unlimited(|| eprintln!("holds {held} bytes, {} of them asked for now", layout.size()));
            process::abort();
        }
        // SAFETY: the caller meets the requirements of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        self.held.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller meets the requirements of the system's allocator. `memory` came from
        // `System.alloc`, as all memory of this allocator does.
        unsafe { System.dealloc(memory, layout) }
    }
}

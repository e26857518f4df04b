//! What a target holds at one time is bounded by the length of its input: a number in it must not become a size.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    process,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// What a target may hold whatever its input.
const FIXED: usize = 16 << 20;
/// What it may hold besides, for each byte of its input.
const FOR_A_BYTE: usize = 64;

/// Counts, and passes on to the system. Targets have no threads, and libFuzzer allocates elsewhere.
struct Counting {
    held: AtomicUsize,
    most: AtomicUsize,
}

#[global_allocator]
static COUNTING: Counting =
    Counting { held: AtomicUsize::new(0), most: AtomicUsize::new(usize::MAX) };

/// Runs a target on an input of that length; if it holds too much, the process ends, which libFuzzer takes for a crash.
pub(super) fn limited(input: usize, target: impl FnOnce()) {
    // What was there before stays: libFuzzer's own state of ours, and what is made once.
    let before = COUNTING.held.load(Relaxed);
    COUNTING.most.store(before + FIXED + FOR_A_BYTE * input, Relaxed);
    target();
    COUNTING.most.store(usize::MAX, Relaxed);
}

/// Does something that does not count.
pub(super) fn unlimited(work: impl FnOnce()) {
    let most = COUNTING.most.swap(usize::MAX, Relaxed);
    work();
    COUNTING.most.store(most, Relaxed);
}

// SAFETY: every call is passed on to the system's allocator as it is, and nothing else touches its memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = self.held.fetch_add(layout.size(), Relaxed) + layout.size();
        if held > self.most.load(Relaxed) {
            unlimited(|| eprintln!("holds {held} bytes, {} of them asked for now", layout.size()));
            process::abort();
        }
        // SAFETY: the caller keeps the promises that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        self.held.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above; `memory` came from `System.alloc`, as all of ours does.
        unsafe { System.dealloc(memory, layout) }
    }
}

//! An allocator that counts: how many bytes of the heap are in use, how many were at most, and how often some were taken.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// See the module.
pub struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static TIMES: AtomicUsize = AtomicUsize::new(0);

fn took(bytes: usize) {
    let used = USED.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(used, Relaxed);
    TIMES.fetch_add(1, Relaxed);
}

// SAFETY: every call is handed on to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promises hold for the system's allocator, too.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above; `at` came from there.
        unsafe { System.dealloc(at, layout) }
    }
}

/// Bytes in use now.
pub fn used() -> usize {
    USED.load(Relaxed)
}

/// How often memory was taken so far.
pub fn times() -> usize {
    TIMES.load(Relaxed)
}

/// The most bytes in use since the last call.
pub fn take_peak() -> usize {
    PEAK.swap(used(), Relaxed)
}

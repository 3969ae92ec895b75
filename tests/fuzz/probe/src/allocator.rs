//! An allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, with a count of what each thread takes and gives back.
#[derive(Debug)]
pub struct Counting;

/// What a piece of code took, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// The largest single allocation.
    pub largest: usize,
    /// The most that was held at any instant beyond what was held before.
    pub peak: usize,
    /// What is still held; negative if more was given back than taken.
    pub kept: isize,
}

/// Runs `code` and says what its thread allocated meanwhile. Counts nothing unless [`Counting`] is the program's allocator. Calls don't
/// nest: the outer one would see the peak of what came after the inner one only.
pub fn measure<R>(code: impl FnOnce() -> R) -> (R, Memory) {
    let before = LIVE.get();
    PEAK.set(before);
    LARGEST.set(0);
    let result = code();
    let memory = Memory {
        largest: LARGEST.get(),
        peak: usize::try_from(PEAK.get().saturating_sub(before)).unwrap_or(0),
        kept: LIVE.get().saturating_sub(before),
    };
    (result, memory)
}

thread_local! {
    // Without destructors, so that they can be used from within the allocator at any time.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

fn taken(bytes: usize) {
    let live = LIVE.get().wrapping_add_unsigned(bytes);
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
    LARGEST.set(LARGEST.get().max(bytes));
}

fn given_back(bytes: usize) {
    LIVE.set(LIVE.get().wrapping_sub_unsigned(bytes));
}

// SAFETY: every call goes to the system's allocator as it came; counting touches thread-local cells only, and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        taken(size);
        given_back(layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        given_back(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

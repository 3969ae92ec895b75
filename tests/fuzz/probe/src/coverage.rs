//! The compiler's coverage counters: a byte for each edge of the control flow, in code built with
//! `-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-inline-8bit-counters`.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Access to the counters. They belong to the whole process, so only a process with a single thread can make sense of them.
#[derive(Debug)]
pub struct Coverage {
    start: *mut u8,
    len: usize,
}

impl Coverage {
    /// The counters, if any code was built with them.
    pub fn get() -> Option<Self> {
        let (start, end) = (START.load(Ordering::Relaxed), END.load(Ordering::Relaxed));
        let len = end.addr().checked_sub(start.addr()).filter(|len| *len > 0)?;
        Some(Self { start, len })
    }

    /// How many edges there are.
    pub fn edges(&self) -> usize {
        self.len
    }

    /// Sets all to 0.
    pub fn reset(&mut self) {
        // SAFETY: the section is there as long as the process, and written to by plain increments of this same thread.
        unsafe { ptr::write_bytes(self.start, 0, self.len) }
    }

    /// Calls `hit` with the number and count of each edge that was passed.
    pub fn read(&self, mut hit: impl FnMut(usize, u8)) {
        const WORD: usize = size_of::<u64>();
        let mut at = 0;
        while at < self.len {
            let left = self.len - at;
            // SAFETY: `at + WORD` is within the section; reads are unaligned and of plain bytes.
            if left >= WORD && unsafe { self.start.add(at).cast::<u64>().read_unaligned() } == 0 {
                at += WORD;
                continue;
            }
            for index in at..at + left.min(WORD) {
                // SAFETY: `index` is within the section.
                let count = unsafe { self.start.add(index).read() };
                if count > 0 {
                    hit(index, count);
                }
            }
            at += WORD;
        }
    }
}

static START: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static END: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());

/// Called by the start-up code of every instrumented module, each time with the same section of the whole program.
// SAFETY: the name is reserved for just this, and the program has no other definition of it.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, end: *mut u8) {
    START.store(start, Ordering::Relaxed);
    END.store(end, Ordering::Relaxed);
}

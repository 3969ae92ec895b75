//! The attackers; see `ilp_examples::hostile`.

use ilp_examples::hostile::HeapMeter;
use peak_alloc::PeakAlloc;
use std::process::ExitCode;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

fn main() -> ExitCode {
    let heap = HeapMeter { now: || HEAP.current_usage(), peak: || HEAP.peak_usage(), reset: || HEAP.reset_peak_usage() };
    ilp_examples::hostile::main(&heap)
}

//! What the fuzz targets measure with. The only `unsafe` code of the workspace, and never part of a product.

mod allocator;
mod coverage;

pub use allocator::{Counting, Memory, measure};
pub use coverage::Coverage;

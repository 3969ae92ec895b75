//! What joins an [`ilp_core`] connector to the outside, one module each behind a feature.
//!
//! | feature | module | |
//! |---|---|---|
//! | `clp` | [`clp`] | peers over the Common Ledger Protocol: the link, a listener, a dialler |

#[cfg(feature = "clp")]
pub mod clp;

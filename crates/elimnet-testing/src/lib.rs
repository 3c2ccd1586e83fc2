//! What the tests of several crates share: weights from a formula, golden files, tolerances, the shared data folder.
//!
//! Unpublished. The golden files under `golden/` are written by the pinned scripts in `reference/` at the root of the
//! repository; [`formula`] evaluates the same weights as they do, so that none are shipped.

pub mod formula;
pub mod golden;
pub mod shared;
pub mod tolerance;

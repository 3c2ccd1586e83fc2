//! What runs showed, side by side: the seed's four tables.

mod run;
mod tables;

pub use run::{Origin, ReportError, RunResult, TIMING_FILE, Timing};
pub use tables::{Comparison, comparisons};

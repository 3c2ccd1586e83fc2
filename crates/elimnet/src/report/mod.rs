//! What runs showed: the seed's four tables, and a page to look at.
//!
//! - `run`, `detail`, `environment`, `findings`: what directories say.
//! - `tables`: runs side by side, as Markdown.
//! - `markup`, `chart`, `page`: from that to one HTML file with its charts drawn in it.

mod chart;
mod detail;
mod document;
mod environment;
mod findings;
mod markup;
mod number;
mod page;
mod run;
mod tables;

pub use detail::{RunDetail, Uncut};
pub use document::{REPORT_FILE, Report, write_report};
pub use environment::{ENVIRONMENT_FILE, Environment};
pub use findings::{ELIMINATION_FILE, Findings, SCAN_FILE};
pub use run::{Origin, ReportError, RunResult, TIMING_FILE, Timing};
pub use tables::{Comparison, comparisons};

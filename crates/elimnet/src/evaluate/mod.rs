//! How good a network is on labelled images.

mod metrics;

pub use metrics::{ClassMetrics, Confusion};

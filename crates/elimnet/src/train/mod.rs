//! Training: loss, schedule, initial tensors, the loop, and the run directory that survives a kill.

mod initialize;
mod loss;
mod random;
mod schedule;

pub use initialize::initial_tensors;
pub use loss::{CrossEntropy, LossValue, Targets};
pub use schedule::{OneCycle, Rates, Schedule};

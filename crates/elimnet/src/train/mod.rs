//! Training: loss, schedule, initial tensors, the loop, and the run directory that survives a kill.
//!
//! [`fit`] starts a [`Job`] and [`resume`] goes on with one. What a step draws is a function of the seed, the epoch and
//! the step; what an epoch shows is a function of the seed and the epoch; the checkpoint holds everything else. So a run
//! that was killed and resumed ends with the very bits of one that was not.
//!
//! A training whose classifier already knows something validates it before the first step: epoch 0, which competes for the best
//! model, so that no training ends below its start.

mod config;
mod error;
mod fit;
mod initialize;
mod job;
mod judge;
mod loss;
mod observer;
mod progress;
mod rates;
mod run;
mod schedule;
mod session;
mod snapshot;
mod start;
mod summary;
mod tensorboard;

pub use config::{
    CheckpointEvery, ConfigError, Difference, Distillation, OptimizerConfig, Select, TrainConfig,
};
pub use error::TrainError;
pub(crate) use fit::trial;
pub use fit::{fit, resume};
pub use initialize::initial_tensors;
pub use job::{Job, Outcome, Setup};
pub(crate) use loss::log_softmax;
pub use loss::{CrossEntropy, Imitation, LossValue, Targets};
pub use observer::{Observer, Phase, Started, StepReport};
pub use progress::{Clock, EpochRecord, Progress, Scores};
pub use run::{NewRun, RunDirectory, RunRecord};
pub use schedule::{OneCycle, Rates, Schedule};
pub(crate) use session::Trial;
pub use start::{Head, StartingTensors};
pub use summary::{Summary, TestScores};
pub use tensorboard::TensorBoard;

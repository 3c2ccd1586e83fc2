use std::io;
use std::path::PathBuf;

use elimnet_arch::{EliminateError, ShapeError};
use elimnet_engine::EngineError;

use super::config::{ConfigError, Difference};
use crate::data::DataError;
use crate::evaluate::EvaluateError;
use crate::model::ModelError;
use crate::weights::WeightsError;

/// Why a training could not start, go on or end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A setting is out of its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The cut up to which to freeze does not exist.
    #[error(transparent)]
    Cut(#[from] EliminateError),
    /// The images do not fit the network.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The engine can't do what it is asked for.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An image could not be had.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Starting weights do not fit, or a checkpoint can't be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The best model can't be saved or read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The operating system refused; the message names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// There is nothing to train on or nothing to choose the best epoch by.
    #[error("there are no {split} images")]
    NoImages {
        /// Which split is empty.
        split: &'static str,
    },
    /// The network puts out another number of classes than the data have.
    #[error("network `{network}` has {outputs} outputs, but the data have {classes} classes")]
    Classes {
        /// Name of the network.
        network: String,
        /// Its outputs.
        outputs: usize,
        /// Classes of the data.
        classes: usize,
    },
    /// The network to be imitated has other classes than the data.
    #[error("the teacher `{}` knows the classes {knows}, but the data have {expected}", path.display())]
    Teacher {
        /// Its model file.
        path: PathBuf,
        /// Its classes.
        knows: String,
        /// Those of the data.
        expected: String,
    },
    /// A batch normalisation would get a single value a channel, whose variance is not defined.
    #[error("batch normalisation in block `{block}` sees one pixel of each image, and a batch has one image")]
    SingleValue {
        /// Name of the block.
        block: String,
    },
    /// The training blew up.
    #[error("the {what} is not finite in epoch {epoch}, step {step} (learning rate {learning_rate:.3e})")]
    NotFinite {
        /// What was measured.
        what: &'static str,
        /// The epoch, from 1.
        epoch: usize,
        /// The step in the epoch, from 1.
        step: usize,
        /// Rate of the head there.
        learning_rate: f64,
    },
    /// A folder that is not a run.
    #[error("`{}` is not a run directory: it has no `{missing}`", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// The file that every run has.
        missing: &'static str,
    },
    /// A file of the run can't be understood.
    #[error("`{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A checkpoint lacks something that every checkpoint has.
    #[error("`{}` is not a checkpoint of a training: it has no `{missing}`", path.display())]
    NotACheckpoint {
        /// The file.
        path: PathBuf,
        /// What is missing.
        missing: String,
    },
    /// The run is over.
    #[error("the run `{}` is finished", path.display())]
    Finished {
        /// The run directory.
        path: PathBuf,
    },
    /// A run can only go on as it began.
    #[error("the run `{}` began with other settings: {}", path.display(), list(differences))]
    Differs {
        /// The run directory.
        path: PathBuf,
        /// What is not as it was.
        differences: Vec<Difference>,
    },
    /// The saved model does not compute what the trained one does.
    #[error("`{}` was written, but the network read back from it gives other logits", path.display())]
    ReadBack {
        /// The file.
        path: PathBuf,
    },
}

fn list(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl TrainError {
    /// What the user can do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Weights(error) => error.hint(),
            Self::Model(error) => error.hint(),
            Self::NotFinite { .. } => Some(
                "lower the learning rate or clip the gradients (clip_norm); the last checkpoint is from before".to_owned(),
            ),
            Self::SingleValue { .. } => {
                Some("use batches of two images or more, larger images, or a cut with more pixels".to_owned())
            }
            Self::Classes { classes, .. } => Some(format!("give the network {classes} classes")),
            Self::Differs { .. } => Some("resume with the settings of the run, or start a new one".to_owned()),
            Self::Finished { path } => {
                Some(format!("its results are in {}", path.join("summary.json").display()))
            }
            Self::ReadBack { .. } => Some("the disk or the memory may be faulty".to_owned()),
            _ => None,
        }
    }
}

impl From<EvaluateError> for TrainError {
    fn from(error: EvaluateError) -> Self {
        match error {
            EvaluateError::Data(error) => Self::Data(error),
            EvaluateError::Engine(error) => Self::Engine(error),
        }
    }
}

use elimnet_arch::{EliminateError, ShapeError};
use elimnet_engine::EngineError;

use crate::data::DataError;
use crate::evaluate::EvaluateError;
use crate::model::ModelError;
use crate::train::TrainError;

/// Why a scan or an elimination stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// An image could not be had.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The engine can't do what it is asked for.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The images do not fit the network.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// There is no such cut, block to drop or tail.
    #[error(transparent)]
    Eliminate(#[from] EliminateError),
    /// A fine-tune failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A fine-tuned network can't be read back.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The operating system refused; the message names the file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A split that is needed has no images.
    #[error("there are no {split} images")]
    NoImages {
        /// Which one.
        split: &'static str,
    },
    /// There is nothing to cut.
    #[error("`{network}` has no blocks that could be eliminated")]
    NoTrunk {
        /// Name of the network.
        network: String,
    },
    /// Features that are not numbers have no probe.
    #[error("`{network}` gives features after block `{block}` that are not finite")]
    NotFinite {
        /// Name of the network.
        network: String,
        /// Name of the block.
        block: String,
    },
    /// A probe can't be its classifier.
    #[error(
        "the classifier of `{network}` is not one Linear on pooled features, so no probe can take its place"
    )]
    NotLinear {
        /// Name of the network.
        network: String,
    },
    /// The user stopped it.
    #[error("interrupted")]
    Interrupted,
}

impl ScanError {
    /// What the user can do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Train(error) => error.hint(),
            Self::Model(error) => error.hint(),
            Self::NotFinite { .. } => {
                Some("the weights may be damaged, or not be this network's; try others".to_owned())
            }
            Self::NoImages { .. } => Some("give data with images to train and to validate on".to_owned()),
            Self::NoTrunk { .. } => Some("give a network with convolutions below its pooling".to_owned()),
            Self::NotLinear { .. } => Some(
                "cut the network (NAME@CUT): then its classifier is one; or start from a fresh head"
                    .to_owned(),
            ),
            Self::Eliminate(_) => Some("`elimnet cuts NETWORK` lists what there is".to_owned()),
            _ => None,
        }
    }
}

impl From<EvaluateError> for ScanError {
    fn from(error: EvaluateError) -> Self {
        match error {
            EvaluateError::Data(error) => Self::Data(error),
            EvaluateError::Engine(error) => Self::Engine(error),
        }
    }
}

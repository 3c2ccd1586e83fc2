//! What a run directory says about how good and how fast its network is.

use std::path::{Path, PathBuf};

use elimnet_arch::{Network, zoo};
use serde::{Deserialize, Serialize};

use crate::model::{ModelError, Provenance, model_file, read_card};
use crate::train::{Scores, Summary, TrainError};

/// Name of the file in a run directory that holds its [`Timing`].
pub const TIMING_FILE: &str = "inference.json";

/// One row of the tables.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunResult {
    /// Name of the run: its directory's.
    pub run: String,
    /// Name of the network.
    pub model: String,
    /// How its weights came to be.
    pub origin: Origin,
    /// Trained numbers.
    pub parameters: usize,
    /// Torch modules.
    pub layers: usize,
    /// Epochs that were trained.
    pub epochs: usize,
    /// On the training images; nothing where no epoch was better than the start.
    pub train: Option<Scores>,
    /// On the validation images.
    pub validation: Scores,
    /// On the test images.
    pub test: Option<Scores>,
    /// What `elimnet inference` measured, if it has been run.
    pub timing: Option<Timing>,
}

/// How the weights of a run came to be; it decides which tables the run is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A pretrained network as it is.
    Pretrained,
    /// A pretrained network without its top blocks.
    Eliminated,
    /// Random weights, whatever the network (the seed's "Empty").
    Scratch,
}

/// How long a network took for a folder of images: the seed's timing record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Name of the device.
    pub device: String,
    /// Type that it stored activations as, `f32` or `bf16`; absent in records of old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// Threads that computed.
    pub threads: usize,
    /// Images at once.
    pub batch_size: usize,
    /// Side of the images in pixels.
    pub image_size: usize,
    /// Images in the folder.
    pub images: usize,
    /// Seconds of processor time, all threads together, that the network took for all images, after warm-up.
    pub cpu_seconds: f64,
    /// Seconds by the clock that the network took on its device for all images, after warm-up.
    pub device_seconds: f64,
    /// `device_seconds` over `images`.
    pub seconds_per_image: f64,
    /// Seconds by the clock for everything: reading, decoding, preparing, the network.
    pub total_seconds: f64,
}

/// Why a directory gives no record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file can't be read; the message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The run's model can't be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file of the run can't be read or understood.
    #[error(transparent)]
    Run(#[from] TrainError),
    /// The run has not ended: it has no summary yet.
    #[error("`{}` has no `summary.json`, so its training has not ended", run.display())]
    Unfinished {
        /// The run's directory.
        run: PathBuf,
    },
    /// A file is not what it should be.
    #[error("`{}` is not valid", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl ReportError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Model(error) => error.hint(),
            Self::Run(error) => error.hint(),
            Self::Unfinished { run } => Some(format!("go on with: elimnet train --resume {}", run.display())),
            _ => None,
        }
    }
}

impl RunResult {
    /// Reads a run directory.
    ///
    /// # Errors
    /// If it is not the directory of a run that has ended.
    pub fn read(directory: &Path) -> Result<Self, ReportError> {
        let directory = fs_err::canonicalize(directory)?; // exp/latest is named after what it points at
        let summary = read_json::<Summary>(&directory.join("summary.json"))?
            .ok_or_else(|| ReportError::Unfinished { run: directory.clone() })?;
        let card = read_card(&model_file(&directory)?)?;
        Ok(Self {
            run: directory.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            model: summary.model,
            origin: Origin::of(&card.network, &card.weights_from),
            parameters: summary.parameters,
            layers: summary.layers,
            epochs: summary.epochs,
            train: summary.train,
            validation: summary.validation,
            test: summary.test.map(|test| Scores {
                loss: test.loss,
                accuracy: test.accuracy,
                macro_f1: test.macro_f1,
            }),
            timing: read_json(&directory.join(TIMING_FILE))?,
        })
    }
}

impl Origin {
    /// Decides by whether there were weights, and whether the pretrained network has blocks that `network` lacks.
    pub fn of(network: &Network, weights_from: &Provenance) -> Self {
        if *weights_from == Provenance::Scratch {
            return Self::Scratch;
        }
        let uncut = network.pretrained_as.as_deref().and_then(|name| zoo::by_name(name, network.classes()));
        let kept = |name: &str| network.blocks.iter().any(|block| block.name == name);
        match uncut {
            Some(uncut) if uncut.blocks.iter().any(|block| !kept(&block.name)) => Self::Eliminated,
            _ => Self::Pretrained,
        }
    }
}

pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, ReportError> {
    if !path.exists() {
        return Ok(None);
    }
    let text = fs_err::read_to_string(path)?;
    let malformed = |source| ReportError::Malformed { path: path.to_owned(), source };
    serde_json::from_str(&text).map(Some).map_err(malformed)
}

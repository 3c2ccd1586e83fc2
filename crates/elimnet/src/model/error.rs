use std::path::PathBuf;

use elimnet_arch::{EliminateError, NetworkError, zoo};

use crate::weights::WeightsError;

/// Why a model could not be found, read or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The operating system refused; the message names the file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The file's tensors can't be read or written, or are not those of its network.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A safetensors file that elimnet did not write.
    #[error("`{}` does not say which network its tensors belong to", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A file of another version of elimnet.
    #[error("`{}` has model format {found}, expected {expected}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Version in the file.
        found: String,
        /// Version that is understood.
        expected: &'static str,
    },
    /// The metadata lack an entry.
    #[error("`{}` has no `{key}` in its metadata", path.display())]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// Key of the entry.
        key: &'static str,
    },
    /// An entry of the metadata is not what it should be.
    #[error("`{}`: `{key}` in its metadata is not valid", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Key of the entry.
        key: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The network in the metadata contradicts itself.
    #[error("`{}`: its network is not valid", path.display())]
    Network {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<NetworkError>,
    },
    /// There are not as many class names as the network has outputs.
    #[error("`{}` names {names} classes, but its network has {outputs} outputs", path.display())]
    Classes {
        /// The file.
        path: PathBuf,
        /// Number of names.
        names: usize,
        /// Number of outputs.
        outputs: usize,
    },
    /// Images can't be prepared as the metadata say.
    #[error("`{}` has images of {image_size} pixels a side, mean {mean:?}, std {std:?}", path.display())]
    Preprocessing {
        /// The file.
        path: PathBuf,
        /// Side of the images; 1 to 65536 are possible.
        image_size: usize,
        /// Has to be finite.
        mean: [f32; 3],
        /// Has to be finite and positive.
        std: [f32; 3],
    },
    /// A YAML file that is not a network.
    #[error(transparent)]
    Yaml(#[from] elimnet_arch::yaml::YamlError),
    /// The network has no such cut.
    #[error(transparent)]
    Cut(#[from] EliminateError),
    /// Neither a network of the zoo nor a file nor a run.
    #[error("`{text}` is neither a network of the zoo nor a file or run directory")]
    Unknown {
        /// What was asked for.
        text: String,
        /// Names of the zoo that look alike, best first; all of them where none does.
        nearest: Vec<String>,
    },
    /// A path with nothing at its end.
    #[error("`{}` does not exist", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// A directory that is not a run.
    #[error("`{}` is a directory without `best.safetensors`, so not a finished run", path.display())]
    NotARun {
        /// The directory.
        path: PathBuf,
        /// Whether it is a run, interrupted before its first epoch was over.
        resumable: bool,
    },
    /// A file of a kind that is not a model.
    #[error("`{}` is not a model: expected a .yaml or .safetensors file, or a run directory", path.display())]
    Extension {
        /// The file.
        path: PathBuf,
    },
}

impl ModelError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Weights(error) => error.hint(),
            Self::Yaml(error) => {
                error.hint().or_else(|| Some("see configs/model/ for examples of the language".to_owned()))
            }
            Self::Foreign { path } => Some(format!(
                "name the network that the tensors belong to: --model NAME --weights {}",
                path.display()
            )),
            Self::Format { .. } => Some(
                "the file was written by another version of elimnet; use that version, or train again"
                    .to_owned(),
            ),
            Self::Unknown { nearest, .. } => Some(format!(
                "the nearest names are {}; a YAML file, a .safetensors file or a run directory works too",
                nearest.join(", ")
            )),
            Self::NotARun { path, resumable: true } => {
                Some(format!("go on with it: elimnet train --resume {}", path.display()))
            }
            Self::NotARun { .. } => {
                Some("`elimnet train` makes run directories, in exp/ by default".to_owned())
            }
            Self::Missing { .. } => Some(format!("check the path; the zoo has {}", zoo::NAMES.join(", "))),
            Self::Cut(EliminateError::UnknownCut { .. }) => {
                Some("name one of these, or its output channels, or # and its index".to_owned())
            }
            Self::Extension { path } => {
                Some(format!("to use a checkpoint as it is: --model NAME --weights {}", path.display()))
            }
            Self::MissingKey { .. }
            | Self::Value { .. }
            | Self::Network { .. }
            | Self::Classes { .. }
            | Self::Preprocessing { .. } => {
                Some("the file is damaged or was changed by another tool; train or copy it again".to_owned())
            }
            _ => None,
        }
    }
}

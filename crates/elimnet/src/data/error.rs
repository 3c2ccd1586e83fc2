//! What can be wrong with a data set.

use std::fmt;
use std::io;
use std::path::PathBuf;

use elimnet_arch::yaml::YamlError;

use super::decode::DecodeError;

/// A file that is not part of any split, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedFile {
    /// The file.
    pub path: PathBuf,
    /// Why, in words.
    pub reason: String,
    /// Which of the two kinds it is.
    pub kind: SkipKind,
}

/// The difference between litter and a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipKind {
    /// Neither by name nor by content an image (or hidden): nobody misses it.
    NotAnImage,
    /// Should be an image and can't be decoded. Too many of these are an error.
    Undecodable,
}

impl fmt::Display for SkippedFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path.display(), self.reason)
    }
}

/// Why a data set can't be opened or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The path does not exist.
    #[error("there is no data at `{path}`")]
    Missing {
        /// What was asked for.
        path: PathBuf,
    },
    /// A file or folder can't be read; the message of the operating system, with the path.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// A folder has nothing that could be a data set.
    #[error("`{path}` holds no {expected}")]
    Empty {
        /// The folder.
        path: PathBuf,
        /// What was looked for.
        expected: &'static str,
    },
    /// There is a test or validation folder and none to train on.
    #[error("`{path}` has a folder `{found}` but no folder `train`")]
    NoTrain {
        /// The root of the data set.
        path: PathBuf,
        /// The folder that is there.
        found: String,
    },
    /// A class folder without a single usable image.
    #[error("class `{class}` has no usable image in the {split} split")]
    EmptyClass {
        /// Name of the class.
        class: String,
        /// Name of the split.
        split: &'static str,
    },
    /// A class that the network would never learn.
    #[error("class `{class}` is in the {split} split but not among the classes to train on ({})", known.join(", "))]
    UnknownClass {
        /// Name of the class.
        class: String,
        /// Where it was found.
        split: &'static str,
        /// Classes of the training split.
        known: Vec<String>,
    },
    /// Fewer than two classes.
    #[error("there is nothing to tell apart: {found} class found, at least 2 are needed")]
    OneClass {
        /// Number of classes.
        found: usize,
    },
    /// A class has too few images to give one to each split.
    #[error("class `{class}` has {found} image(s), at least {needed} are needed to {purpose}")]
    TooFewImages {
        /// Name of the class.
        class: String,
        /// How many it has.
        found: usize,
        /// How many it would need.
        needed: usize,
        /// What they are needed for.
        purpose: &'static str,
    },
    /// More files than tolerated can't be decoded.
    #[error("{} of {total} image files can't be decoded, more than the {:.0} % that are tolerated:{}", undecodable.len(), tolerated * 100.0, first_few(undecodable))]
    TooManyUndecodable {
        /// All of them.
        undecodable: Vec<SkippedFile>,
        /// Number of image files looked at.
        total: usize,
        /// The share that is tolerated, in 0..1.
        tolerated: f64,
    },
    /// An image that could be decoded when the data set was opened (or was never checked) now can't.
    #[error("can't decode `{path}`: {source}")]
    Decode {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// A file of a binary data set breaks its format.
    #[error("`{path}` is not a valid {format} file: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Name of the format.
        format: &'static str,
        /// What was expected and what was found.
        reason: String,
    },
    /// A data YAML that can't be understood.
    #[error("{}:{line}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A data YAML that is not YAML, or has what no data YAML needs.
    #[error(transparent)]
    Yaml(Box<YamlError>),
    /// A policy that does not exist.
    #[error("there is no augmentation policy `{name}`; there are {}", super::policy::NAMES.join(", "))]
    UnknownPolicy {
        /// What was asked for.
        name: String,
    },
    /// A saved split names a sample that is no longer there.
    #[error(
        "the saved {split} split names `{name}`, which is not in `{path}` (any more, or can't be decoded)"
    )]
    SplitChanged {
        /// Name of the split.
        split: &'static str,
        /// Name of the sample.
        name: String,
        /// Root of the data set.
        path: PathBuf,
    },
    /// A share that is not between 0 and 1.
    #[error("the validation ratio is {found}, it must lie between 0 and 0.8")]
    Ratio {
        /// What was asked for.
        found: f32,
    },
}

impl DataError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Missing { .. } => {
                "give a folder of images, or a data YAML whose DATA_PATH is relative to the working directory or to the YAML"
            }
            Self::Empty { .. } => {
                "expected ROOT/train/CLASS/*.jpg, ROOT/CLASS/*.jpg, IDX files (*-ubyte, *-ubyte.gz) or CIFAR-10 batches (*.bin)"
            }
            Self::NoTrain { .. } => "put the images to learn from into ROOT/train/CLASS/",
            Self::EmptyClass { .. } => "add images to the class or remove its folder",
            Self::UnknownClass { .. } => "class folders must have the same names in every split",
            Self::OneClass { .. } => "make one folder of images for each class",
            Self::TooFewImages { .. } => {
                "add images to the class, or make the folders train, val and test yourself"
            }
            Self::TooManyUndecodable { .. } => {
                "remove or replace the files, or raise the tolerated share (--tolerate)"
            }
            Self::Decode { .. } => "the file changed after the data set was opened; replace or remove it",
            Self::Format { .. } => "the file may be cut off: download it again",
            Self::Config { .. } | Self::Yaml(_) => "see configs/data/ for examples",
            Self::UnknownPolicy { .. } => "set AUG_TRAIN and AUG_TEST to one of these",
            Self::SplitChanged { .. } => "restore the file, or start a new run, which makes a new split",
            Self::Ratio { .. } => "set VAL_RATIO to, say, 0.15",
            Self::Read(_) => return None,
        })
    }
}

/// The first three, one a line, and how many more.
fn first_few(files: &[SkippedFile]) -> String {
    let shown: String = files.iter().take(3).map(|file| format!("\n  {file}")).collect();
    match files.len().saturating_sub(3) {
        0 => shown,
        more => format!("{shown}\n  and {more} more"),
    }
}

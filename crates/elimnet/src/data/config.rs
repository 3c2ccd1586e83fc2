//! What a data YAML says: the seed's keys.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::data_file::Keys;
use super::error::DataError;
use super::policy::Policy;

/// What kind of files a data set consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DatasetKind {
    /// Image files in a folder a class.
    Folder,
    /// Fashion-MNIST in IDX files; its ten classes have names.
    FashionMnist,
    /// MNIST or anything else in four IDX files; classes are called `0`, `1`, ...
    Mnist,
    /// CIFAR-10's binary version.
    Cifar10,
}

impl DatasetKind {
    /// What `path` looks like: CIFAR-10 batches, IDX files (Fashion-MNIST if a folder of the path says so), else folders.
    pub fn detect(path: &Path) -> Self {
        if super::cifar10::folder(path).is_some() {
            return Self::Cifar10;
        }
        if !super::idx::is_folder_of(path) {
            return Self::Folder;
        }
        if plain_letters(&path.to_string_lossy()).contains("fashion") {
            Self::FashionMnist
        } else {
            Self::Mnist
        }
    }

    /// The kind that the value of DATASET names; any other name is one of a folder or is to be detected.
    fn named(name: &str) -> Option<Self> {
        match plain_letters(name).as_str() {
            "fashionmnist" => Some(Self::FashionMnist),
            "mnist" => Some(Self::Mnist),
            "cifar10" => Some(Self::Cifar10),
            _ => None,
        }
    }
}

/// Lower-case letters and digits alone, so that `Fashion-MNIST` and `FASHION_MNIST` are one.
fn plain_letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// A data set and how to train on it.
#[derive(Clone, Debug, PartialEq)]
pub struct DataConfig {
    /// Root folder of the data (DATA_PATH).
    pub data_path: PathBuf,
    /// Name of the data set (DATASET), else of its folder.
    pub name: String,
    /// Kind of its files.
    pub dataset: DatasetKind,
    /// Side of the square images that the network sees (IMG_SIZE).
    pub image_size: usize,
    /// What happens to images for training (AUG_TRAIN, AUG_TRAIN_PARAMS).
    pub augment_train: Policy,
    /// What happens to images for validation and test (AUG_TEST, AUG_TEST_PARAMS).
    pub augment_test: Policy,
    /// Images in a step (BATCH_SIZE).
    pub batch_size: usize,
    /// Passes over the training images (EPOCHS).
    pub epochs: usize,
    /// Share of the images to validate on where the data have no validation split of their own (VAL_RATIO); 0.15 where
    /// it is `None`.
    pub validation_ratio: Option<f32>,
    /// Highest learning rate (INIT_LR).
    pub learning_rate: f32,
    /// Whether to compute in 16 bits where the device can (FP16).
    pub half_precision: bool,
}

impl DataConfig {
    /// The defaults for a folder of images: the seed's for TACO, but for 20 epochs.
    pub fn new(data_path: PathBuf) -> Self {
        let name = data_path.file_name().unwrap_or(data_path.as_os_str()).to_string_lossy().into_owned();
        Self {
            dataset: DatasetKind::detect(&data_path),
            data_path,
            name,
            image_size: 224,
            augment_train: Policy::SimpleAugmentTrain,
            augment_test: Policy::SimpleAugmentTest,
            batch_size: 64,
            epochs: 20,
            validation_ratio: None,
            learning_rate: 0.01,
            half_precision: false,
        }
    }

    /// Reads a data YAML, or takes the defaults for a folder.
    ///
    /// # Errors
    /// If `path` does not exist, the YAML is wrong, or the data it names do not exist.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        if path.is_dir() {
            return Ok(Self::new(path.to_owned()));
        }
        if !path.exists() {
            return Err(DataError::Missing { path: path.to_owned() });
        }
        let mut config = Self::parse(&fs_err::read_to_string(path)?, path)?;
        config.data_path = located(&config.data_path, path)?;
        let file = config.data_path.clone();
        config.dataset = DatasetKind::named(&config.name).unwrap_or_else(|| DatasetKind::detect(&file));
        Ok(config)
    }

    /// Reads the text of a data YAML; nothing is looked up on disk but the kind of the data. `path` is for messages.
    ///
    /// # Errors
    /// If the text is not a valid data YAML.
    pub fn parse(text: &str, path: &Path) -> Result<Self, DataError> {
        let keys = Keys::read(text, path)?;
        let default = Self::new(PathBuf::from(keys.required_text("DATA_PATH")?));
        let name = keys.text("DATASET")?.unwrap_or(default.name);
        Ok(Self {
            dataset: DatasetKind::named(&name).unwrap_or(default.dataset),
            name,
            image_size: keys.count("IMG_SIZE", 4096)?.unwrap_or(default.image_size),
            augment_train: keys.policy("AUG_TRAIN", "AUG_TRAIN_PARAMS")?.unwrap_or(default.augment_train),
            augment_test: keys.policy("AUG_TEST", "AUG_TEST_PARAMS")?.unwrap_or(default.augment_test),
            batch_size: keys.count("BATCH_SIZE", 1 << 16)?.unwrap_or(default.batch_size),
            epochs: keys.count("EPOCHS", 1_000_000)?.unwrap_or(default.epochs),
            validation_ratio: keys.number("VAL_RATIO", 0.0..0.8)?,
            learning_rate: keys.number("INIT_LR", 0.0..1000.0)?.unwrap_or(default.learning_rate),
            half_precision: keys.truth("FP16")?.unwrap_or(default.half_precision),
            data_path: default.data_path,
        })
    }

    /// The text of a data YAML that reads back as this configuration.
    pub fn to_yaml(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut lines = vec![
            format!("DATA_PATH: {}", quoted(&self.data_path.to_string_lossy())),
            format!("DATASET: {}", quoted(&self.name)),
            format!("IMG_SIZE: {}", self.image_size),
        ];
        for (key, policy) in [("AUG_TRAIN", &self.augment_train), ("AUG_TEST", &self.augment_test)] {
            lines.push(format!("{key}: {}", policy.name()));
            lines.push(format!("{key}_PARAMS: {}", policy.parameters()));
        }
        lines.push(format!("BATCH_SIZE: {}", self.batch_size));
        lines.push(format!("EPOCHS: {}", self.epochs));
        lines.extend(self.validation_ratio.map(|ratio| format!("VAL_RATIO: {ratio}")));
        lines.push(format!("INIT_LR: {}", self.learning_rate));
        lines.push(format!("FP16: {}", self.half_precision));
        lines.join("\n") + "\n"
    }
}

/// A relative DATA_PATH is taken from the working directory (as the seed does), then from the YAML's folder.
fn located(data_path: &Path, yaml: &Path) -> Result<PathBuf, DataError> {
    let beside = yaml.parent().unwrap_or(Path::new("")).join(data_path);
    [data_path, &beside]
        .into_iter()
        .find(|candidate| candidate.exists())
        .map(Path::to_owned)
        .ok_or_else(|| DataError::Missing { path: data_path.to_owned() })
}

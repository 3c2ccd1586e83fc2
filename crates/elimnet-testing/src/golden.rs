//! Readers of the golden files in `golden/`, which `reference/*.py` wrote.

mod facts;
mod logits;
mod metrics;
mod tensors;
mod train_step;
mod yaml_modules;

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

pub use facts::{BatchNorm, CutFacts, Facts, FamilyFacts};
pub use logits::{LogitGoldens, Logits, block_features};
pub use metrics::{Classification, Descent, Loss, MetricGoldens, OneCycle};
pub use tensors::{Tensor, tensors};
pub use train_step::{Checksum, TrainStep, Whole};
pub use yaml_modules::{YamlModules, YamlNet, YamlTrunk};

/// The path of a golden file.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

/// Parses a golden JSON file.
///
/// # Panics
/// If it is missing or is not what `T` says.
#[must_use]
pub fn json<T: DeserializeOwned>(name: &str) -> T {
    let text = fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("golden/{name}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("golden/{name}: {error}"))
}

//! What a model file says about itself.

use std::collections::BTreeMap;

use elimnet_arch::Network;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::ModelError;
use crate::data::Preprocessing;

/// Version of the metadata's layout that this crate writes, and the only one that it reads.
pub(crate) const FORMAT: &str = "1";

/// Side of the largest images that a file may ask for.
const LARGEST_IMAGE: usize = 1 << 16;

/// Everything but the tensors that is needed to use a model, and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelCard {
    /// The network as data.
    pub network: Network,
    /// Name of the last kept block where the network was cut (`layer2.1`).
    pub cut: Option<String>,
    /// Class names, in the order of the logits.
    pub classes: Vec<String>,
    /// How an image file becomes the network's input.
    pub preprocessing: Preprocessing,
    /// What the weights were before training.
    pub weights_from: Provenance,
    /// Results by name, accuracies and F1 in 0..1: `validation.macro_f1`.
    pub metrics: BTreeMap<String, f64>,
    /// Seed of the training.
    pub seed: u64,
    /// Version of elimnet that wrote the file.
    pub tool_version: String,
}

/// Where a training started from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Provenance {
    /// Random initialisation.
    Scratch,
    /// A checkpoint file.
    File {
        /// Its name without the directory.
        file: String,
        /// Its SHA-256 in hexadecimal.
        sha256: String,
    },
}

impl std::fmt::Display for Provenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Scratch => f.write_str("scratch"),
            Self::File { file, sha256 } => write!(f, "{file} (sha256 {})", sha256.get(..8).unwrap_or(sha256)),
        }
    }
}

impl ModelCard {
    /// The card as the metadata of a safetensors file: texts, JSON where they are more than a text.
    pub fn to_metadata(&self) -> BTreeMap<String, String> {
        let mut metadata = BTreeMap::from([
            ("elimnet.format".to_owned(), FORMAT.to_owned()),
            ("elimnet.network".to_owned(), json(&self.network)),
            ("elimnet.classes".to_owned(), json(&self.classes)),
            ("elimnet.preprocessing".to_owned(), json(&self.preprocessing)),
            ("elimnet.weights_from".to_owned(), json(&self.weights_from)),
            ("elimnet.metrics".to_owned(), json(&self.metrics)),
            ("elimnet.seed".to_owned(), json(&self.seed)),
            ("elimnet.tool_version".to_owned(), self.tool_version.clone()),
            // transformers and timm refuse a file without it.
            ("format".to_owned(), "pt".to_owned()),
        ]);
        metadata.extend(self.cut.clone().map(|cut| ("elimnet.cut".to_owned(), cut)));
        metadata
    }

    /// The card in the metadata of `path`.
    ///
    /// # Errors
    /// If the metadata are not elimnet's, of another version, incomplete, or contradict themselves; `path` is what the
    /// errors call the file.
    pub fn from_metadata(
        metadata: &BTreeMap<String, String>,
        path: &std::path::Path,
    ) -> Result<Self, ModelError> {
        let fields = Fields { metadata, path };
        let Some(format) = metadata.get("elimnet.format") else {
            return Err(ModelError::Foreign { path: path.to_owned() });
        };
        if format != FORMAT {
            return Err(ModelError::Format {
                path: path.to_owned(),
                found: format.clone(),
                expected: FORMAT,
            });
        }
        let card = Self {
            network: fields.json("elimnet.network")?,
            cut: metadata.get("elimnet.cut").cloned(),
            classes: fields.json("elimnet.classes")?,
            preprocessing: fields.json("elimnet.preprocessing")?,
            weights_from: fields.json("elimnet.weights_from")?,
            metrics: fields.json("elimnet.metrics")?,
            seed: fields.json("elimnet.seed")?,
            tool_version: fields.text("elimnet.tool_version")?.to_owned(),
        };
        card.check(path)?;
        Ok(card)
    }

    /// Checks that the network is sound, that it has an output for every class, and that images can be prepared.
    pub(crate) fn check(&self, path: &std::path::Path) -> Result<(), ModelError> {
        self.network
            .validate()
            .map_err(|source| ModelError::Network { path: path.to_owned(), source: Box::new(source) })?;
        let outputs = self.network.classes();
        if outputs != self.classes.len() {
            return Err(ModelError::Classes { path: path.to_owned(), names: self.classes.len(), outputs });
        }
        let Preprocessing { image_size, mean, std, .. } = &self.preprocessing;
        let sound = (1..=LARGEST_IMAGE).contains(image_size)
            && mean.iter().all(|mean| mean.is_finite())
            && std.iter().all(|std| std.is_finite() && *std > 0.0);
        if !sound {
            return Err(ModelError::Preprocessing {
                path: path.to_owned(),
                image_size: *image_size,
                mean: *mean,
                std: *std,
            });
        }
        Ok(())
    }
}

struct Fields<'a> {
    metadata: &'a BTreeMap<String, String>,
    path: &'a std::path::Path,
}

impl Fields<'_> {
    fn text(&self, key: &'static str) -> Result<&str, ModelError> {
        let missing = || ModelError::MissingKey { path: self.path.to_owned(), key };
        self.metadata.get(key).map(String::as_str).ok_or_else(missing)
    }

    fn json<T: DeserializeOwned>(&self, key: &'static str) -> Result<T, ModelError> {
        serde_json::from_str(self.text(key)?).map_err(|source| ModelError::Value {
            path: self.path.to_owned(),
            key,
            source,
        })
    }
}

/// # Panics
/// Never: everything in a card has text keys, and numbers that JSON lacks become `null`.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("a card is representable as JSON")
}

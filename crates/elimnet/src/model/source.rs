//! What a user types for MODEL.

use std::path::{Path, PathBuf};

use elimnet_arch::yaml::{self, ModelFile};
use elimnet_arch::{Network, zoo};

use super::error::ModelError;
use super::file::{Model, load_model, read_card};
use super::nearest::nearest;

/// Classes of the zoo's networks where nothing else is asked for: ImageNet's.
const IMAGENET_CLASSES: usize = 1000;

/// A model that was named: where it comes from, and where it is to be cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSource {
    /// Where the network comes from.
    pub base: ModelBase,
    /// Address of the cut (see [`Network::find_cut`]).
    pub cut: Option<String>,
}

/// Where a network comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelBase {
    /// The zoo; the name is one of [`zoo::NAMES`].
    Zoo(String),
    /// A YAML file.
    Yaml(PathBuf),
    /// A model file.
    File(PathBuf),
    /// The best model of a run.
    Run {
        /// The run's directory.
        directory: PathBuf,
        /// Its model file.
        file: PathBuf,
    },
}

impl ModelSource {
    /// The network, cut where the source says so, with the number of classes that its source has (the zoo: 1000).
    ///
    /// # Errors
    /// If a file can't be read or is not a network, or there is no such cut.
    pub fn network(&self) -> Result<Network, ModelError> {
        let network = match &self.base {
            ModelBase::Zoo(name) => zoo::by_name(name, IMAGENET_CLASSES).ok_or_else(|| unknown(name))?,
            ModelBase::Yaml(path) => read_yaml(path)?.network,
            ModelBase::File(file) | ModelBase::Run { file, .. } => read_card(file)?.network,
        };
        match &self.cut {
            Some(cut) => Ok(network.cut_at(cut)?),
            None => Ok(network),
        }
    }

    /// The model with its tensors, where the source is a model file or a run; `None` for the zoo and YAML, which have
    /// no tensors of their own. The cut is left to the caller.
    ///
    /// # Errors
    /// As [`load_model`].
    pub fn model(&self) -> Result<Option<Model>, ModelError> {
        self.file().map(load_model).transpose()
    }

    /// Name of the zoo network whose pretrained weights the source asks for: of the zoo always, of YAML where it says so,
    /// of a model file never, for it has weights of its own.
    ///
    /// # Errors
    /// If a YAML file can't be read.
    pub fn wants_pretrained(&self) -> Result<Option<String>, ModelError> {
        match &self.base {
            ModelBase::Zoo(name) => Ok(Some(name.clone())),
            ModelBase::Yaml(path) => {
                let file = read_yaml(path)?;
                Ok(file.network.pretrained_as.filter(|_| file.pretrained))
            }
            ModelBase::File(_) | ModelBase::Run { .. } => Ok(None),
        }
    }

    /// The model file that the source names, if it names one.
    pub fn file(&self) -> Option<&Path> {
        match &self.base {
            ModelBase::File(file) | ModelBase::Run { file, .. } => Some(file),
            ModelBase::Zoo(_) | ModelBase::Yaml(_) => None,
        }
    }
}

/// What `text` names: a network of the zoo, a YAML file, a model file or a run directory, each also with `@CUT` behind it.
///
/// A name of the zoo wins over a file of that name; write `./resnet18` for the file.
///
/// # Errors
/// If there is no such thing. The networks themselves are not read yet.
pub fn resolve(text: &str) -> Result<ModelSource, ModelError> {
    if let Some(base) = find_base(text)? {
        return Ok(ModelSource { base, cut: None });
    }
    if let Some((name, cut)) = text.rsplit_once('@')
        && let Some(base) = find_base(name)?
    {
        return Ok(ModelSource { base, cut: Some(cut.to_owned()) });
    }
    if looks_like_path(text) {
        return Err(ModelError::Missing { path: text.into() });
    }
    Err(unknown(text.rsplit_once('@').map_or(text, |(name, _)| name)))
}

fn looks_like_path(text: &str) -> bool {
    text.contains(std::path::is_separator)
        || [".yaml", ".yml", ".safetensors"].iter().any(|end| text.ends_with(end))
}

/// The model file that a run directory or a model file's path stands for.
///
/// # Errors
/// If a directory has no `best.safetensors`.
pub fn model_file(path: &Path) -> Result<PathBuf, ModelError> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let file = path.join("best.safetensors");
    if file.is_file() {
        Ok(file)
    } else {
        Err(ModelError::NotARun { path: path.to_owned(), resumable: path.join("run.json").is_file() })
    }
}

fn find_base(text: &str) -> Result<Option<ModelBase>, ModelError> {
    if zoo::NAMES.contains(&text) {
        return Ok(Some(ModelBase::Zoo(text.to_owned())));
    }
    let path = PathBuf::from(text);
    if path.is_dir() {
        return Ok(Some(ModelBase::Run { file: model_file(&path)?, directory: path }));
    }
    if !path.exists() {
        return Ok(None);
    }
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("yaml" | "yml") => Ok(Some(ModelBase::Yaml(path))),
        Some("safetensors") => Ok(Some(ModelBase::File(path))),
        _ => Err(ModelError::Extension { path }),
    }
}

fn unknown(text: &str) -> ModelError {
    ModelError::Unknown { text: text.to_owned(), nearest: nearest(text, zoo::NAMES) }
}

fn read_yaml(path: &Path) -> Result<ModelFile, ModelError> {
    let text = fs_err::read_to_string(path)?;
    Ok(yaml::parse(&text, &path.display().to_string())?)
}

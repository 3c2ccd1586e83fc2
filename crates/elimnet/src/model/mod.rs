//! Models as files: a network, its tensors, and everything needed to use them, in one self-describing file.
//!
//! A model file is a `.safetensors` file whose tensors carry torchvision's names (so PyTorch loads an uncut one) and
//! whose metadata carry a [`ModelCard`]: the network as data, the class names in order, the preprocessing, where the
//! weights came from. [`resolve`] turns what a user types for MODEL (a zoo name, `name@cut`, a YAML file, a run
//! directory, a model file) into a [`ModelSource`].
//!
//! Rejected: a second file beside the weights (it gets lost, and then the class order is wrong in production).

mod card;
mod error;
mod file;
mod nearest;
mod source;

pub use card::{ModelCard, Provenance};
pub use error::ModelError;
pub use file::{Model, load_model, read_card, save_model};
pub use nearest::nearest;
pub use source::{ModelBase, ModelSource, model_file, resolve};

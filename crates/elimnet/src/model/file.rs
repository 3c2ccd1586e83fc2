//! Model files: saving and loading, with every check that an untrusted file needs.

use std::path::Path;

use elimnet_arch::Network;
use elimnet_engine::NamedTensor;

use super::card::ModelCard;
use super::error::ModelError;
use crate::weights::{
    Allowance, Checkpoint, ExpectedTensor, Format, Tensor, match_tensors, read_checkpoint, write_safetensors,
};

/// A network that can be run: its card and its tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What the file says about itself.
    pub card: ModelCard,
    /// All tensors, named, ordered and shaped as [`Network::tensors`] has them.
    pub tensors: Vec<NamedTensor>,
}

/// Writes a model file; it appears whole or not at all.
///
/// # Errors
/// If the tensors are not exactly those of the card's network, there is not one class name for each output, or the file
/// can't be written; then nothing has changed on the disk.
pub fn save_model(path: &Path, card: &ModelCard, tensors: &[NamedTensor]) -> Result<(), ModelError> {
    card.check(path)?;
    let by_name = |tensor: &NamedTensor| {
        (tensor.name.clone(), Tensor { shape: tensor.shape.clone(), values: tensor.values.clone() })
    };
    let checkpoint = Checkpoint {
        tensors: tensors.iter().map(by_name).collect(),
        metadata: card.to_metadata(),
        format: Format::Safetensors,
    };
    check_tensors(&card.network, &checkpoint, path)?;
    Ok(write_safetensors(path, &checkpoint.tensors, &checkpoint.metadata)?)
}

/// Reads a model file.
///
/// # Errors
/// If the file can't be read, is not a model file of this version, or contradicts itself: an unsound network, tensors
/// that are not exactly the network's, another number of class names than outputs.
pub fn load_model(path: &Path) -> Result<Model, ModelError> {
    let checkpoint = read_checkpoint(path)?;
    let card = ModelCard::from_metadata(&checkpoint.metadata, path)?;
    check_tensors(&card.network, &checkpoint, path)?;
    let mut tensors = checkpoint.tensors;
    let in_order = card.network.tensors().into_iter().map(|spec| {
        // Only a batch counter can be absent here, and nothing computes with it.
        let found = tensors.remove(&spec.name);
        let values = found.map_or_else(|| vec![0.0; spec.len()], |tensor| tensor.values);
        NamedTensor { name: spec.name, shape: spec.shape, values }
    });
    Ok(Model { tensors: in_order.collect(), card })
}

/// Reads what a model file says about itself.
///
/// # Errors
/// As [`load_model`].
pub fn read_card(path: &Path) -> Result<ModelCard, ModelError> {
    Ok(load_model(path)?.card)
}

/// Checks that the tensors of `checkpoint` are exactly those of `network`.
fn check_tensors(network: &Network, checkpoint: &Checkpoint, path: &Path) -> Result<(), ModelError> {
    let specs = network.tensors();
    let expected: Vec<_> =
        specs.iter().map(|spec| ExpectedTensor { name: &spec.name, shape: &spec.shape }).collect();
    match_tensors(checkpoint, &expected, &Allowance::none()).into_result(path)?;
    Ok(())
}

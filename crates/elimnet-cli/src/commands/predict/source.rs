//! The network that predicts: a model file, or a network of the zoo with a checkpoint as it is.

use std::path::Path;

use elimnet::data::Preprocessing;
use elimnet::model::{self, load_model, model_file};
use elimnet::predict::Classifier;
use elimnet::weights::{Allowance, Checkpoint, ExpectedTensor, match_tensors, read_checkpoint};
use elimnet_arch::Network;
use elimnet_engine::{Device, NamedTensor};

use crate::args::PredictArgs;
use crate::commands::train::checkpoint_file;
use crate::commands::weights::fetch;
use crate::failure::hinted;

/// Opens a run directory or a model file.
pub(crate) fn open_model(text: &str, device: &dyn Device) -> anyhow::Result<Classifier> {
    let source = model::resolve(text)?;
    let Some(file) = source.file() else {
        return Err(hinted(
            format!("`{text}` is a network without weights"),
            format!("give a run or model file, or: --model {text} --weights FILE"),
        ));
    };
    if let Some(cut) = &source.cut {
        return Err(hinted(
            format!("a model that is cut at `{cut}` has no trained head"),
            format!("train one: elimnet train --model {text} --data DATA"),
        ));
    }
    Ok(Classifier::new(&load_model(&model_file(file)?)?, device)?)
}

/// A network with a checkpoint of exactly its tensors; the checkpoint says how many classes there are.
pub(crate) fn pretrained(
    args: &PredictArgs,
    model: &str,
    weights: &str,
    device: &dyn Device,
) -> anyhow::Result<Classifier> {
    let network = model::resolve(model)?.network()?;
    let path = match (weights, &network.pretrained_as) {
        ("imagenet", Some(name)) => fetch(name)?,
        _ => checkpoint_file(weights)?,
    };
    let checkpoint = read_checkpoint(&path)?;
    let network = match classes_of(&network, &checkpoint) {
        Some(classes) => network.with_classes(classes),
        None => network,
    };
    let classes = class_names(args.classes_file.as_deref(), network.classes())?;
    let preprocessing = Preprocessing::new(args.image_size.map_or(224, |size| size as usize));
    let tensors = exactly(&network, checkpoint, &path)?;
    Ok(Classifier::from_parts(&network, &tensors, classes, preprocessing, device)?)
}

/// Outputs of the checkpoint's classifier.
fn classes_of(network: &Network, checkpoint: &Checkpoint) -> Option<usize> {
    let classifier = network.classifier_tensors();
    let weight = classifier.iter().find_map(|name| checkpoint.tensors.get(name))?;
    weight.shape.first().copied().filter(|&classes| classes > 0)
}

fn exactly(network: &Network, checkpoint: Checkpoint, path: &Path) -> anyhow::Result<Vec<NamedTensor>> {
    let specs = network.tensors();
    let expected: Vec<_> =
        specs.iter().map(|spec| ExpectedTensor { name: &spec.name, shape: &spec.shape }).collect();
    match_tensors(&checkpoint, &expected, &Allowance::none()).into_result(path)?;
    let mut tensors = checkpoint.tensors;
    let in_order = specs.into_iter().map(|spec| {
        // Only a batch counter can be absent here, and nothing computes with it.
        let values = tensors.remove(&spec.name).map_or_else(|| vec![0.0; spec.len()], |found| found.values);
        NamedTensor { name: spec.name, shape: spec.shape, values }
    });
    Ok(in_order.collect())
}

fn class_names(file: Option<&Path>, classes: usize) -> anyhow::Result<Vec<String>> {
    let Some(file) = file else { return Ok((0..classes).map(|class| class.to_string()).collect()) };
    let text = fs_err::read_to_string(file)?;
    let names: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if names.len() != classes {
        return Err(hinted(
            format!("`{}` names {} classes, but the weights have {classes}", file.display(), names.len()),
            "the file has one name a line, in the order of the network's outputs",
        ));
    }
    Ok(names)
}

//! The weights that a training starts from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use elimnet::model::{ModelSource, Provenance, load_model};
use elimnet::train::{Head, StartingTensors};
use elimnet::weights::{Checkpoint, Format, Tensor, read_checkpoint, sha256_of_file};
use elimnet_arch::Network;

use crate::commands::weights::fetch;
use crate::failure::{hinted, with_hint};
use crate::progress::say;

/// Weights that were found, but not read yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Located {
    /// None: random ones.
    Scratch,
    /// A checkpoint of the network, or of the pretrained one that it was cut from.
    Checkpoint(PathBuf),
    /// The model file that the network itself comes from.
    Own(PathBuf),
}

/// The tensors to start from and what they were.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) tensors: StartingTensors,
    pub(crate) weights_from: Provenance,
}

/// Finds the weights that `--weights` names, or those that MODEL itself asks for.
pub(crate) fn locate(
    source: &ModelSource,
    network: &Network,
    weights: Option<&str>,
) -> anyhow::Result<Located> {
    match (weights, source.file(), source.wants_pretrained()?) {
        (Some("none"), _, _) | (None, None, None) => Ok(Located::Scratch),
        (Some("imagenet"), _, _) => match &network.pretrained_as {
            Some(name) => imagenet(name),
            None => Err(hinted(
                format!("`{}` has no pretrained trunk", network.name),
                "give a checkpoint with --weights FILE, or train from scratch with --weights none",
            )),
        },
        (Some(file), _, _) => checkpoint_file(file).map(Located::Checkpoint),
        (None, Some(file), _) => Ok(Located::Own(file.to_owned())),
        (None, None, Some(name)) => imagenet(&name),
    }
}

/// The file that `--weights` names.
pub(crate) fn checkpoint_file(name: &str) -> anyhow::Result<PathBuf> {
    let path = PathBuf::from(name);
    if path.exists() {
        return Ok(path);
    }
    Err(hinted(
        format!("there is no file `{name}`"),
        "--weights takes a .pth or .safetensors file, or `imagenet`; `elimnet train` also takes `none`",
    ))
}

fn imagenet(network: &str) -> anyhow::Result<Located> {
    let found = fetch(network).map_err(|error| with_hint(error, "or train from scratch with --weights none"));
    Ok(Located::Checkpoint(found?))
}

impl Located {
    /// Reads the weights and says what became of them.
    pub(crate) fn read(
        &self,
        source: &ModelSource,
        network: &Network,
        classes: &[String],
        seed: u64,
    ) -> anyhow::Result<Start> {
        let path = match self {
            Self::Scratch => {
                say("weights   none: training from scratch");
                let tensors = StartingTensors::scratch(network, seed);
                return Ok(Start { tensors, weights_from: Provenance::Scratch });
            }
            Self::Checkpoint(path) | Self::Own(path) => path,
        };
        let (tensors, left_out) = match self {
            Self::Own(path) => own(source, path, network, classes, seed)?,
            _ => pretrained(&read_checkpoint(path)?, path, network, seed)?,
        };
        say(&format!("weights   {}: {}", path.display(), outcome(&tensors, &left_out)));
        let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let weights_from = Provenance::File { file, sha256: sha256_of_file(path)? };
        Ok(Start { tensors, weights_from })
    }
}

type TensorsAndLeftOut = (StartingTensors, Vec<String>);

fn pretrained(
    checkpoint: &Checkpoint,
    path: &Path,
    network: &Network,
    seed: u64,
) -> anyhow::Result<TensorsAndLeftOut> {
    let tensors = StartingTensors::pretrained(network, checkpoint, path, seed)?;
    let kept = |name: &String| tensors.tensors.iter().any(|tensor| tensor.name == *name);
    let left_out = checkpoint.tensors.keys().filter(|name| !kept(name)).cloned().collect();
    Ok((tensors, left_out))
}

/// The tensors of the model file that the network comes from: all of them where nothing was cut and the classes are the
/// same, else its trunk as far as it is kept.
fn own(
    source: &ModelSource,
    path: &Path,
    network: &Network,
    classes: &[String],
    seed: u64,
) -> anyhow::Result<TensorsAndLeftOut> {
    let model = load_model(path)?;
    if source.cut.is_none() && model.card.classes == classes {
        let start =
            StartingTensors { tensors: model.tensors, fresh: Vec::new(), head: Head::Kept, rival: None };
        return Ok((start, Vec::new()));
    }
    let trunk: Vec<String> = network
        .tensors()
        .into_iter()
        .filter(|spec| spec.block < network.blocks.len())
        .map(|spec| spec.name)
        .collect();
    let (kept, left_out): (Vec<_>, Vec<_>) =
        model.tensors.into_iter().partition(|tensor| trunk.contains(&tensor.name));
    let named = kept.into_iter().map(|t| (t.name, Tensor { shape: t.shape, values: t.values }));
    let checkpoint =
        Checkpoint { tensors: named.collect(), metadata: BTreeMap::new(), format: Format::Safetensors };
    let (tensors, _) = pretrained(&checkpoint, path, network, seed)?;
    Ok((tensors, left_out.into_iter().map(|tensor| tensor.name).collect()))
}

/// `loaded 60 tensors, new: fc.weight, fc.bias; eliminated: layer3.*, layer4.* (60 tensors)`.
fn outcome(tensors: &StartingTensors, left_out: &[String]) -> String {
    let mut text = format!("loaded {} tensors", tensors.tensors.len() - tensors.fresh.len());
    if !tensors.fresh.is_empty() {
        text += &format!(", new: {}", tensors.fresh.join(", "));
    }
    // A classifier that was replaced is new, not eliminated.
    let eliminated: Vec<&String> = left_out.iter().filter(|name| !tensors.fresh.contains(name)).collect();
    if !eliminated.is_empty() {
        text += &format!("; eliminated: {} ({} tensors)", groups(&eliminated).join(", "), eliminated.len());
    }
    text
}

/// Names by what they have in common, `layer4.*` or `features.5.*`, numbers in their order.
fn groups(names: &[&String]) -> Vec<String> {
    let group = |name: &&String| {
        let mut parts = name.split('.');
        let first = parts.next().unwrap_or_default().to_owned();
        let block: Option<usize> =
            parts.next().filter(|_| first == "features").and_then(|part| part.parse().ok());
        (first, block)
    };
    let groups: BTreeSet<_> = names.iter().map(group).collect();
    let text = |(first, block): (String, Option<usize>)| match block {
        Some(block) => format!("{first}.{block}.*"),
        None => format!("{first}.*"),
    };
    groups.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_names_what_is_new_and_what_is_gone() {
        let tensor = |name: &str| elimnet_engine::NamedTensor {
            name: name.to_owned(),
            shape: vec![],
            values: vec![0.0],
        };
        let tensors = StartingTensors {
            tensors: ["conv1.weight", "fc.weight", "fc.bias"].map(tensor).to_vec(),
            fresh: vec!["fc.weight".to_owned(), "fc.bias".to_owned()],
            head: Head::Fresh,
            rival: None,
        };
        let left_out = ["layer3.0.conv1.weight", "layer3.0.bn1.bias", "layer4.1.conv2.weight"];
        let left_out = left_out.map(str::to_owned);
        assert_eq!(
            outcome(&tensors, &left_out),
            "loaded 1 tensors, new: fc.weight, fc.bias; eliminated: layer3.*, layer4.* (3 tensors)"
        );
        let whole = StartingTensors { fresh: Vec::new(), ..tensors };
        assert_eq!(outcome(&whole, &[]), "loaded 3 tensors");
    }

    #[test]
    fn features_are_grouped_by_block() {
        let names = ["classifier.3.bias", "features.10.0.weight", "features.5.1.weight", "features.5.2.bias"];
        let names = names.map(str::to_owned);
        let found = groups(&names.iter().collect::<Vec<_>>());
        assert_eq!(found, ["classifier.*", "features.5.*", "features.10.*"]);
    }
}

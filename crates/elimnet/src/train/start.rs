//! The weights that a training starts from.

use std::collections::HashSet;
use std::path::Path;

use elimnet_arch::{Network, TensorKind, zoo};
use elimnet_engine::NamedTensor;
use serde::{Deserialize, Serialize};

use super::initialize::{initial_tensor, initial_tensors};
use crate::weights::{Allowance, Checkpoint, ExpectedTensor, LoadReport, WeightsError, match_tensors};

/// All tensors of a network before the first step, and which of them were drawn from the seed.
#[derive(Clone, Debug, PartialEq)]
pub struct StartingTensors {
    /// Named, ordered and shaped as [`Network::tensors`] has them.
    pub tensors: Vec<NamedTensor>,
    /// Names of those that came from the seed although there was a checkpoint; empty for a training from scratch.
    pub fresh: Vec<String>,
    /// Where the classifier came from.
    pub head: Head,
    /// Tensors that are not trained but may be the best, as the start may: a probe with the statistics that it was fitted to, where
    /// the start has those of the training images.
    pub rival: Option<Vec<NamedTensor>>,
}

/// What the classifier is before the first step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// Drawn from the seed, at least in part: it knows nothing yet.
    #[default]
    Fresh,
    /// That of the weights.
    Kept,
    /// A logistic probe of the frozen features.
    Probe,
}

impl StartingTensors {
    /// Everything from the seed.
    #[must_use]
    pub fn scratch(network: &Network, seed: u64) -> Self {
        Self { tensors: initial_tensors(network, seed), fresh: Vec::new(), head: Head::Fresh, rival: None }
    }

    /// The trunk from a checkpoint; from the seed what the checkpoint can't have: the classifier where it has other
    /// classes or sits on a cut trunk, and blocks that the pretrained network never had.
    ///
    /// `path` is where the checkpoint came from, for messages.
    ///
    /// # Errors
    /// [`WeightsError::Mismatch`] with every tensor of the trunk that is missing or has another shape, and every tensor
    /// of the checkpoint that neither the network nor the pretrained one it was cut from has.
    pub fn pretrained(
        network: &Network,
        checkpoint: &Checkpoint,
        path: &Path,
        seed: u64,
    ) -> Result<Self, WeightsError> {
        let specs = network.tensors();
        let expected: Vec<ExpectedTensor<'_>> =
            specs.iter().map(|spec| ExpectedTensor { name: &spec.name, shape: &spec.shape }).collect();
        let whole = PretrainedNames::of(network);
        let report = match_tensors(checkpoint, &expected, &whole.allowance(network)).into_result(path)?;
        let loaded = whole.kept(network, &report);
        let (tensors, fresh) = fill(network, checkpoint, &loaded, seed);
        let drawn = network.classifier_tensors().iter().any(|name| fresh.contains(name));
        Ok(Self { tensors, fresh, head: if drawn { Head::Fresh } else { Head::Kept }, rival: None })
    }
}

/// Which tensors the checkpoint of a network's family has.
struct PretrainedNames {
    /// Names in the uncut network; empty for a network of no family.
    all: HashSet<String>,
    /// Whether parts of its trunk are cut off.
    is_cut: bool,
}

impl PretrainedNames {
    fn of(network: &Network) -> Self {
        let classes = network.classes();
        let whole = network.pretrained_as.as_deref().and_then(|name| zoo::by_name(name, classes));
        let Some(whole) = whole else { return Self { all: HashSet::new(), is_cut: false } };
        let kept: HashSet<String> = names(network).collect();
        let trunk = whole.blocks.len();
        let is_cut =
            whole.tensors().iter().any(|tensor| tensor.block < trunk && !kept.contains(&tensor.name));
        Self { all: names(&whole).collect(), is_cut }
    }

    fn allowance(&self, network: &Network) -> Allowance {
        let own: HashSet<String> = names(network).collect();
        let eliminated = self.all.iter().filter(|name| !own.contains(*name)).cloned();
        let allowance = eliminated.fold(Allowance::none(), Allowance::eliminated);
        let added = own.iter().filter(|name| !self.all.is_empty() && !self.all.contains(*name)).cloned();
        network.classifier_tensors().into_iter().chain(added).fold(allowance, Allowance::replaced)
    }

    /// The tensors to take from the checkpoint: a classifier that fits by chance does not belong on a cut trunk.
    fn kept<'a>(&self, network: &Network, report: &'a LoadReport) -> HashSet<&'a str> {
        let classifier: HashSet<String> = network.classifier_tensors().into_iter().collect();
        let replaced_in_part = report.replaced.iter().any(|name| classifier.contains(name));
        let fresh = |name: &str| (self.is_cut || replaced_in_part) && classifier.contains(name);
        report.loaded.iter().map(String::as_str).filter(|name| !fresh(name)).collect()
    }
}

fn names(network: &Network) -> impl Iterator<Item = String> + use<> {
    network.tensors().into_iter().map(|tensor| tensor.name)
}

/// Takes `loaded` from the checkpoint and everything else from the seed; names the latter.
fn fill(
    network: &Network,
    checkpoint: &Checkpoint,
    loaded: &HashSet<&str>,
    seed: u64,
) -> (Vec<NamedTensor>, Vec<String>) {
    let mut fresh = Vec::new();
    let mut tensors = Vec::new();
    for spec in network.tensors() {
        let source = checkpoint.tensors.get(&spec.name).filter(|_| loaded.contains(spec.name.as_str()));
        if source.is_none() && spec.kind != TensorKind::BatchesTracked {
            fresh.push(spec.name.clone());
        }
        tensors.push(match source {
            Some(source) => NamedTensor { name: spec.name, shape: spec.shape, values: source.values.clone() },
            None => initial_tensor(network, &spec, seed),
        });
    }
    (tensors, fresh)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{Format, Tensor};

    fn checkpoint(network: &Network) -> Checkpoint {
        let tensors = initial_tensors(network, 99).into_iter();
        let tensors = tensors.map(|tensor| {
            let values = tensor.values.iter().map(|value| value + 0.5).collect();
            (tensor.name, Tensor { shape: tensor.shape, values })
        });
        Checkpoint { tensors: tensors.collect(), metadata: Default::default(), format: Format::Safetensors }
    }

    fn start(network: &Network, checkpoint: &Checkpoint) -> Result<StartingTensors, WeightsError> {
        StartingTensors::pretrained(network, checkpoint, Path::new("resnet18.pth"), 7)
    }

    /// Names of the tensors that are not the checkpoint's.
    fn drawn(network: &Network, checkpoint: &Checkpoint) -> Vec<String> {
        let start = start(network, checkpoint).unwrap();
        let is_fresh = network.classifier_tensors().iter().any(|name| start.fresh.contains(name));
        assert_eq!(start.head == Head::Fresh, is_fresh);
        let of_seed = initial_tensors(network, 7);
        let differs = |tensor: &&NamedTensor| {
            checkpoint.tensors.get(&tensor.name).is_none_or(|source| source.values != tensor.values)
        };
        let drawn: Vec<String> =
            start.tensors.iter().filter(differs).map(|tensor| tensor.name.clone()).collect();
        assert_eq!(drawn, start.fresh, "what was drawn is named");
        for tensor in &start.tensors {
            let seeded = of_seed.iter().find(|seeded| seeded.name == tensor.name);
            assert_eq!(drawn.contains(&tensor.name), seeded == Some(tensor), "{}", tensor.name);
        }
        drawn
    }

    const CLASSIFIER: [&str; 2] = ["fc.weight", "fc.bias"];

    #[test]
    fn an_uncut_network_of_the_same_classes_takes_everything() {
        let network = zoo::resnet18(10);
        assert!(drawn(&network, &checkpoint(&network)).is_empty());
    }

    #[test]
    fn other_classes_draw_a_classifier() {
        assert_eq!(drawn(&zoo::resnet18(6), &checkpoint(&zoo::resnet18(10))), CLASSIFIER);
    }

    #[test]
    fn a_cut_draws_a_classifier_even_where_the_old_one_fits() {
        let whole = zoo::resnet18(10);
        for address in ["layer2.1", "layer4.0"] {
            let cut = whole.cut_at(address).unwrap();
            assert_eq!(drawn(&cut, &checkpoint(&whole)), CLASSIFIER, "{address}");
        }
    }

    #[test]
    fn every_family_draws_its_classifier_and_nothing_else() {
        for name in zoo::NAMES {
            let whole = zoo::by_name(name, 10).unwrap();
            // The large ones are VGG's linear layers, which every cut eliminates.
            let specs = whole.tensors().into_iter().filter(|spec| spec.len() < 5_000_000);
            let zeros = specs
                .map(|spec| (spec.name.clone(), Tensor { values: vec![0.0; spec.len()], shape: spec.shape }));
            let metadata = Default::default();
            let checkpoint = Checkpoint { tensors: zeros.collect(), metadata, format: Format::Safetensors };
            for index in [0, whole.blocks.len() / 2, whole.blocks.len() - 2] {
                let cut = whole.cut_after(index).with_classes(6);
                let start = start(&cut, &checkpoint).unwrap();
                assert_eq!(start.fresh, cut.classifier_tensors(), "{name} after block {index}");
                assert_eq!(start.tensors.len(), cut.tensors().len());
            }
        }
    }

    #[test]
    fn a_network_of_no_family_has_to_fit_but_for_its_classifier() {
        let plain = |classes| Network { pretrained_as: None, ..zoo::resnet18(classes) };
        assert_eq!(drawn(&plain(6), &checkpoint(&plain(10))), CLASSIFIER);
        let cut = plain(6).cut_at("layer3.1").unwrap();
        assert!(matches!(start(&cut, &checkpoint(&plain(10))), Err(WeightsError::Mismatch { .. })));
    }

    #[test]
    fn nothing_of_the_trunk_is_ever_drawn() {
        let network = zoo::resnet18(6);
        let whole = zoo::resnet18(10);
        let name = "layer3.0.bn1.weight";
        let mut missing = checkpoint(&whole);
        missing.tensors.remove(name);
        let mut misshapen = checkpoint(&whole);
        misshapen.tensors.insert(name.to_owned(), Tensor { shape: vec![1], values: vec![0.0] });
        let mut foreign = checkpoint(&whole);
        foreign.tensors.insert("layer9.weight".to_owned(), Tensor { shape: vec![1], values: vec![0.0] });
        for checkpoint in [missing, misshapen, foreign] {
            match start(&network, &checkpoint) {
                Err(WeightsError::Mismatch { report, .. }) => assert!(!report.is_clean()),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn counters_of_old_checkpoints_may_be_missing() {
        let network = zoo::resnet18(10);
        let mut old = checkpoint(&network);
        old.tensors.retain(|name, _| !name.ends_with("num_batches_tracked"));
        assert!(start(&network, &old).unwrap().fresh.is_empty());
    }
}

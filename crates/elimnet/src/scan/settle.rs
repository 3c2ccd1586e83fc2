//! A start for fine-tunes in which head and trunk agree.
//!
//! Training normalises by each batch's own statistics, and the running ones follow within some dozen steps. A probe was fitted
//! to features under the pretrained statistics, so a fine-tune that starts from it first loses what it knew: on TrashNet the
//! macro-F1 of resnet18@layer2.0 fell from 0.71 to 0.45 in two epochs at a rate that hardly moves a weight. So the
//! statistics come to those of the user's images before the first step, and the probe is fitted once more.
//!
//! # Source
//! Li et al., *Revisiting Batch Normalization For Practical Domain Adaptation*, 2016 (AdaBN).

use std::sync::atomic::Ordering;

use elimnet_arch::TensorKind;
use elimnet_engine::{Engine, Matrix, Optimizer, Training};

use super::backbone::Backbone;
use super::error::ScanError;
use super::features::{Pictures, append, labels};
use super::probe::{LinearHead, fit_probe};
use super::run::Place;
use super::tune::FineTune;
use crate::data::{Order, Policy};
use crate::train::{Head, StartingTensors};

/// Most batches that the statistics are taken from: running ones of the usual momentum 0.1 have then forgotten the pretrained.
const BATCHES: usize = 64;

/// As [`Backbone::start`] from the probe `head`, with the running statistics of batch norms, and then the head, fitted to the
/// training images; a network without batch norms starts from `head` itself.
pub(crate) fn settled_start(
    wanted: &FineTune<'_>,
    head: &LinearHead,
    augment_train: Policy,
    batch_size: usize,
    place: &Place<'_>,
) -> Result<StartingTensors, ScanError> {
    let FineTune { backbone, network, preprocessing, policy, seed, .. } = *wanted;
    let start = backbone.start(network, Some(head), seed);
    let has_norms = network.tensors().iter().any(|spec| spec.kind == TensorKind::RunningMean);
    // A fresh classifier has nothing to lose.
    if !has_norms || start.head == Head::Fresh {
        return Ok(start);
    }
    let dataset = place.dataset;
    let mut engine = place.device.load(network)?;
    engine.set_tensors(&start.tensors)?;
    let pictures = Pictures { dataset, preprocessing, policy: augment_train, batch_size, workers: 0 };
    follow_statistics(engine.as_mut(), network.all_blocks().count(), &pictures, place)?;
    let pictures = Pictures { policy, ..pictures };
    let last = network.blocks.len() - 1;
    let mut features = Matrix::default();
    for batch in pictures.loader(&dataset.train).epoch(0, Order::Sequential) {
        stop_if_interrupted(place)?;
        let rows = engine.features(&batch?.images, &[last])?;
        rows.into_iter().for_each(|rows| append(&mut features, rows, dataset.train.len()));
    }
    let probe = fit_probe(&features, &labels(&dataset.train), dataset.classes.len(), seed);
    let settled = Backbone { tensors: engine.tensors(), ..backbone.clone() };
    Ok(settled.start(network, Some(&probe.head), seed))
}

/// Runs training batches forward, as a training would, without a step.
fn follow_statistics(
    engine: &mut dyn Engine,
    blocks: usize,
    pictures: &Pictures<'_>,
    place: &Place<'_>,
) -> Result<(), ScanError> {
    engine.start_training(&Training {
        optimizer: Optimizer::Sgd { nesterov: false },
        frozen_blocks: 0,
        groups: vec![0; blocks],
        average_decay: None,
    })?;
    let batches = pictures.loader(&pictures.dataset.train).epoch(0, Order::Shuffled).take(BATCHES);
    for (number, batch) in batches.enumerate() {
        stop_if_interrupted(place)?;
        engine.forward(&batch?.images, number as u64)?;
    }
    Ok(())
}

fn stop_if_interrupted(place: &Place<'_>) -> Result<(), ScanError> {
    match place.interrupt.load(Ordering::Relaxed) {
        true => Err(ScanError::Interrupted),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::AtomicBool;

    use elimnet_arch::{Activation, BatchNorm, BlockBuilder, Conv2d, Network, Value, zoo};
    use elimnet_cpu::CpuDevice;
    use elimnet_engine::{Matrix, NamedTensor};

    use super::*;
    use crate::data::{Dataset, Image, LabeledImage, Preprocessing};
    use crate::model::Provenance;
    use crate::train::initial_tensors;

    const SIDE: usize = 8;

    /// A convolution, with a batch norm behind it if `with_norm`.
    fn network(with_norm: bool) -> Network {
        let mut stem = BlockBuilder::new("stem", "Conv");
        let mut x = stem.conv("conv", Conv2d::square(3, 8, 3, 1), Value::INPUT);
        if with_norm {
            x = stem.batch_norm("norm", BatchNorm { channels: 8, eps: 1e-5, momentum: 0.1 }, x);
        }
        stem.activation("relu", Activation::Relu, x);
        Network { blocks: vec![stem.build()], pretrained_as: None, ..zoo::resnet18(2) }.cut_after(0)
    }

    /// Dark and bright pictures.
    fn dataset() -> Dataset {
        let picture = |number: usize| {
            let values =
                (0..SIDE * SIDE * 3).map(|at| (60 + 80 * (number % 2) + (at * 31 + number * 7) % 29) as u8);
            LabeledImage { image: Image::new(SIDE, SIDE, values.collect()), label: number % 2 }
        };
        let split = |numbers: std::ops::Range<usize>| numbers.map(picture).collect();
        let classes = ["dark", "bright"].map(str::to_owned).to_vec();
        Dataset::from_images(classes, [split(0..160), split(160..168), split(168..176)])
    }

    /// What a fine-tune starts from, plainly and settled.
    fn starts(network: &Network) -> [Vec<NamedTensor>; 2] {
        let tensors = initial_tensors(network, 5);
        let backbone = Backbone {
            name: "net".into(),
            network: network.clone(),
            tensors,
            weights_from: Provenance::Scratch,
        };
        let head = LinearHead { weight: Matrix::new(2, 8, vec![0.25; 16]), bias: vec![0.5, -0.5] };
        let (preprocessing, policy) = (Preprocessing::new(SIDE), Policy::SimpleAugmentTest);
        let wanted = FineTune {
            backbone: &backbone,
            network,
            head: Some(&head),
            preprocessing: &preprocessing,
            policy,
            epochs: 1,
            seed: 0,
            root: Path::new("."),
            purpose: "test",
        };
        let (dataset, device, interrupt) = (dataset(), CpuDevice::new(2), AtomicBool::new(false));
        let place = Place { dataset: &dataset, device: &device, events: &mut |_| {}, interrupt: &interrupt };
        let settled = settled_start(&wanted, &head, policy, 4, &place).unwrap();
        [backbone.start(network, Some(&head), 0).tensors, settled.tensors]
    }

    fn named<'a>(tensors: &'a [NamedTensor], name: &str) -> &'a [f32] {
        let found = tensors.iter().find(|tensor| tensor.name.ends_with(name));
        &found.unwrap_or_else(|| panic!("{name} in {tensors:?}")).values
    }

    #[test]
    fn statistics_are_those_of_the_images_and_weights_stay() {
        let network = network(true);
        let [plain, settled] = starts(&network);
        assert_eq!(named(&plain, "conv.weight"), named(&settled, "conv.weight"));
        assert_eq!(named(&plain, "norm.weight"), named(&settled, "norm.weight"));
        assert_eq!(named(&plain, "running_mean"), [0.0; 8], "those of a fresh batch norm");
        assert!(named(&settled, "running_mean").iter().all(|mean| *mean != 0.0));
        let change = |name| named(&plain, name).iter().zip(named(&settled, name)).any(|(a, b)| a != b);
        assert!(change("running_var") && change("fc.weight") && change("fc.bias"));
    }

    #[test]
    fn a_network_without_batch_norms_starts_from_the_probe_itself() {
        let [plain, settled] = starts(&network(false));
        assert_eq!(plain, settled);
    }
}

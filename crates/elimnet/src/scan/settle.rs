//! A start for fine-tunes in which head and trunk agree.
//!
//! Training normalises by each batch's own statistics, and the running ones follow within some dozen steps. A probe was fitted
//! to features under the pretrained statistics, so a fine-tune that starts from it first loses what it knew: on TrashNet the
//! macro-F1 of resnet18@layer2.0 fell from 0.71 to 0.45 in two epochs at a rate that hardly moves a weight. So the
//! statistics come to those of the user's images before the first step, and the probe is fitted once more.
//!
//! These are statistics of augmented images. Where augmentation takes much of the image away, what they make of whole images is
//! worse than before, and may stay so: the probe on the pretrained statistics competes with all epochs, as the start's rival.
//!
//! # Source
//! Li et al., *Revisiting Batch Normalization For Practical Domain Adaptation*, 2016 (AdaBN).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::Ordering;

use elimnet_arch::{Network, Op, TensorKind};
use elimnet_engine::{Engine, Matrix, NamedTensor, Training};

use super::backbone;
use super::error::ScanError;
use super::features::{Pictures, append, labels};
use super::probe::{LinearHead, fit_probe};
use super::record::CutRecord;
use super::run::{Place, Scan};
use super::tune::FineTuning;
use crate::data::{Order, Policy, Preprocessing};
use crate::train::{Head, Setup, StartingTensors};

/// Most batches that the statistics are taken from: running ones of the usual momentum 0.1 have then forgotten the pretrained.
const BATCHES: usize = 64;

/// How the training images reach the network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exposure<'a> {
    pub(crate) preprocessing: &'a Preprocessing,
    /// What happens to them in training: what the statistics are of.
    pub(crate) augment_train: Policy,
    /// What happens to test images: what the probe is fitted to.
    pub(crate) policy: Policy,
    pub(crate) batch_size: usize,
    pub(crate) workers: usize,
    /// Lowest blocks that keep their statistics, too.
    pub(crate) frozen_blocks: usize,
}

/// Tensors whose batch norms have the statistics of the training images, and what blocks then make of these.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    tensors: Vec<NamedTensor>,
    /// Pooled features of the training images after each of the blocks that were asked for.
    features: Vec<Matrix>,
}

/// Settled trunks of one scan, kept for further fine-tunes.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettledTrunks {
    /// That of all plain cuts, as far up as it was needed: what a block does is the same with any blocks above it.
    plain: Option<Settled>,
    /// Those of candidates without a block or with a tail, by their line and the seed of what is fresh in them.
    others: HashMap<(usize, u64), Settled>,
}

/// Replaces the classifier of `start` by a logistic probe of the frozen features of the training images, after the batch
/// norms took their statistics from these.
///
/// # Errors
/// [`ScanError::NotLinear`] where the classifier is more than one Linear on pooled features; if an image can't be had or
/// the place is interrupted.
pub fn probe_head(
    setup: &Setup,
    mut start: StartingTensors,
    place: &Place<'_>,
) -> Result<StartingTensors, ScanError> {
    let Setup { network, config, .. } = setup;
    if !has_linear_head(network) {
        return Err(ScanError::NotLinear { network: network.name.clone() });
    }
    let exposure = Exposure {
        preprocessing: &setup.preprocessing,
        augment_train: setup.augment_train,
        policy: setup.augment_test,
        batch_size: config.batch_size,
        workers: config.workers.unwrap_or(0),
        frozen_blocks: config.frozen_blocks(network)?,
    };
    let last = network.blocks.len() - 1;
    let classifier = network.classifier_tensors();
    let probed = |settled: Settled| {
        let head = settled.probe(0, place, config.seed);
        let mut tensors = settled.tensors;
        for tensor in tensors.iter_mut().filter(|tensor| classifier.contains(&tensor.name)) {
            tensor.values =
                head.tensor(tensor).expect("a classifier that is one Linear has the probe's shapes");
        }
        tensors
    };
    if has_norms(network) {
        start.rival = Some(probed(Settled::unsettled(network, &start.tensors, &[last], exposure, place)?));
    }
    start.tensors = probed(Settled::new(network, &start.tensors, &[last], exposure, place)?);
    start.fresh.retain(|name| !classifier.contains(name));
    Ok(StartingTensors { head: Head::Probe, ..start })
}

/// Whether pooled features become logits by one Linear.
fn has_linear_head(network: &Network) -> bool {
    let mut linears = 0;
    let passes = network.head.iter().flat_map(|block| &block.layers).all(|layer| match layer.op {
        Op::Linear(_) => {
            linears += 1;
            true
        }
        Op::GlobalAvgPool
        | Op::AdaptiveAvgPool { height: 1, width: 1 }
        | Op::Flatten
        | Op::Dropout { .. } => true,
        _ => false,
    });
    let is_pooled = |op: &Op| matches!(op, Op::GlobalAvgPool | Op::AdaptiveAvgPool { .. });
    let first = network.head.iter().flat_map(|block| &block.layers).next();
    passes && linears == 1 && first.is_some_and(|layer| is_pooled(&layer.op))
}

impl Scan {
    /// What `network` starts from, which is the candidate `line` or the uncut network above it.
    ///
    /// As [`Backbone::start`] from the candidate's probe, with the running statistics of batch norms, and then the head, fitted
    /// to the training images; the probe itself is its rival. A network without batch norms starts from the probe itself.
    pub(crate) fn start(
        &mut self,
        line: usize,
        network: &Network,
        how: &FineTuning<'_>,
        seed: u64,
        place: &Place<'_>,
    ) -> Result<StartingTensors, ScanError> {
        let start = how.backbone.start(network, Some(&self.candidates[line].head), seed);
        // A fresh classifier has nothing to lose.
        if !has_norms(network) || start.head == Head::Fresh {
            return Ok(start);
        }
        let CutRecord { index, .. } = self.record.cuts[line];
        let (settled, at) = if self.record.cuts[line].is_plain() {
            (self.settled_up_to(index, how, place)?, index)
        } else {
            let settled = match self.settled.others.entry((line, seed)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    let (last, exposure) = (network.blocks.len() - 1, how.exposure(network)?);
                    unknown.insert(Settled::new(network, &start.tensors, &[last], exposure, place)?)
                }
            };
            (&*settled, 0)
        };
        let head = settled.probe(at, place, seed);
        let settled = backbone::start(&settled.tensors, network, Some(&head), seed);
        Ok(StartingTensors { rival: Some(start.tensors), ..settled })
    }

    /// Settles the trunk at once for all plain cuts up to block `index`; a trunk without batch norms has nothing to settle.
    pub(crate) fn settle_up_to(
        &mut self,
        index: usize,
        how: &FineTuning<'_>,
        place: &Place<'_>,
    ) -> Result<(), ScanError> {
        if has_norms(&how.backbone.network.cut_after(index)) {
            self.settled_up_to(index, how, place)?;
        }
        Ok(())
    }

    fn settled_up_to(
        &mut self,
        index: usize,
        how: &FineTuning<'_>,
        place: &Place<'_>,
    ) -> Result<&Settled, ScanError> {
        let known = self.settled.plain.take().filter(|settled| settled.features.len() > index);
        let settled = match known {
            Some(settled) => settled,
            None => {
                let trunk = how.backbone.network.cut_after(index);
                let tensors = how.backbone.start(&trunk, None, 0).tensors;
                let blocks: Vec<usize> = (0..=index).collect();
                Settled::new(&trunk, &tensors, &blocks, how.exposure(&trunk)?, place)?
            }
        };
        Ok(self.settled.plain.insert(settled))
    }
}

fn has_norms(network: &Network) -> bool {
    network.tensors().iter().any(|spec| spec.kind == TensorKind::RunningMean)
}

impl Settled {
    fn new(
        network: &Network,
        tensors: &[NamedTensor],
        blocks: &[usize],
        exposure: Exposure<'_>,
        place: &Place<'_>,
    ) -> Result<Self, ScanError> {
        let mut engine = loaded(network, tensors, place)?;
        if has_norms(network) {
            follow_statistics(engine.as_mut(), exposure, place)?;
        }
        Self::of(engine.as_mut(), blocks, exposure, place)
    }

    /// The same with the statistics as they were.
    fn unsettled(
        network: &Network,
        tensors: &[NamedTensor],
        blocks: &[usize],
        exposure: Exposure<'_>,
        place: &Place<'_>,
    ) -> Result<Self, ScanError> {
        Self::of(loaded(network, tensors, place)?.as_mut(), blocks, exposure, place)
    }

    fn of(
        engine: &mut dyn Engine,
        blocks: &[usize],
        exposure: Exposure<'_>,
        place: &Place<'_>,
    ) -> Result<Self, ScanError> {
        let Exposure { preprocessing, policy, batch_size, workers, .. } = exposure;
        let dataset = place.dataset;
        let mut features = vec![Matrix::default(); blocks.len()];
        let pictures = Pictures { dataset, preprocessing, policy, batch_size, workers };
        for batch in pictures.loader(&dataset.train).epoch(0, Order::Sequential) {
            stop_if_interrupted(place)?;
            let rows = engine.features(&batch?.images, blocks)?;
            features.iter_mut().zip(rows).for_each(|(all, rows)| append(all, rows, dataset.train.len()));
        }
        let is_finite = |features: &Matrix| features.values.iter().all(|value| value.is_finite());
        match features.iter().zip(blocks).find(|(features, _)| !is_finite(features)) {
            None => Ok(Self { tensors: engine.tensors(), features }),
            Some((_, &block)) => {
                let network = engine.network();
                let block = network.blocks[block].name.clone();
                Err(ScanError::NotFinite { network: network.name.clone(), block })
            }
        }
    }

    /// The probe on the features after the `number`-th block that was asked for.
    fn probe(&self, number: usize, place: &Place<'_>, seed: u64) -> LinearHead {
        let dataset = place.dataset;
        fit_probe(&self.features[number], &labels(&dataset.train), dataset.classes.len(), seed).head
    }
}

fn loaded(
    network: &Network,
    tensors: &[NamedTensor],
    place: &Place<'_>,
) -> Result<Box<dyn Engine>, ScanError> {
    let mut engine = place.device.load(network)?;
    engine.set_tensors(tensors)?;
    Ok(engine)
}

/// Runs training batches forward, as a training would, without a step.
fn follow_statistics(
    engine: &mut dyn Engine,
    exposure: Exposure<'_>,
    place: &Place<'_>,
) -> Result<(), ScanError> {
    let Exposure { preprocessing, augment_train: policy, batch_size, workers, frozen_blocks, .. } = exposure;
    let blocks = engine.network().all_blocks().count();
    engine.start_training(&Training { frozen_blocks, ..Training::plain(blocks) })?;
    let dataset = place.dataset;
    let pictures = Pictures { dataset, preprocessing, policy, batch_size, workers };
    let batches = pictures.loader(&dataset.train).epoch(0, Order::Shuffled).take(BATCHES);
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
    use std::sync::atomic::AtomicBool;

    use elimnet_arch::{Activation, BatchNorm, BlockBuilder, Conv2d, Network, Value, zoo};
    use elimnet_cpu::CpuDevice;
    use elimnet_engine::{Matrix, NamedTensor};

    use super::*;
    use crate::data::{Dataset, Image, LabeledImage, Preprocessing};
    use crate::model::Provenance;
    use crate::scan::{Backbone, ScanOptions, scan};
    use crate::train::{TrainConfig, initial_tensors};

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

    fn backbone(network: &Network) -> Backbone {
        let tensors = initial_tensors(network, 5);
        Backbone { name: "net".into(), network: network.clone(), tensors, weights_from: Provenance::Scratch }
    }

    /// What fine-tunes of the cuts after these blocks start from, one after the other.
    fn settled(network: &Network, head: Option<&LinearHead>, blocks: &[usize]) -> Vec<StartingTensors> {
        let (dataset, device, interrupt) = (dataset(), CpuDevice::new(2), AtomicBool::new(false));
        let mut place =
            Place { dataset: &dataset, device: &device, events: &mut |_| {}, interrupt: &interrupt };
        let (backbone, options) = (backbone(network), ScanOptions::new(SIDE));
        let mut scanned = scan(&backbone, &options, &mut place).unwrap();
        let config = TrainConfig { batch_size: 4, ..TrainConfig::default() };
        let augment_train = Policy::SimpleAugmentTest;
        let how = FineTuning { backbone: &backbone, options: &options, config: &config, augment_train };
        let mut start = |&block: &usize| {
            if let Some(head) = head {
                scanned.candidates[block].head = head.clone();
            }
            scanned.start(block, &network.cut_after(block), &how, 0, &place).unwrap()
        };
        blocks.iter().map(&mut start).collect()
    }

    /// What a fine-tune starts from, plainly and settled.
    fn starts(network: &Network) -> [Vec<NamedTensor>; 2] {
        let head = LinearHead { weight: Matrix::new(2, 8, vec![0.25; 16]), bias: vec![0.5, -0.5] };
        let plain = backbone(network).start(network, Some(&head), 0);
        [plain, settled(network, Some(&head), &[0]).remove(0)].map(|start| start.tensors)
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

    #[test]
    fn a_trunk_that_was_settled_further_up_gives_the_same_start() {
        let mut network = network(true);
        let mut top = BlockBuilder::new("top", "Conv");
        let x = top.conv("top_conv", Conv2d::square(8, 8, 3, 1), Value::INPUT);
        top.batch_norm("top_norm", BatchNorm { channels: 8, eps: 1e-5, momentum: 0.1 }, x);
        network.blocks.push(top.build());
        let [low, high] = &settled(&network, None, &[0, 1])[..] else { panic!("two") };
        let shared = settled(&network, None, &[1, 0]);
        assert_eq!([low, high], [&shared[1], &shared[0]]);
        assert_eq!((low.head, high.head), (Head::Probe, Head::Probe));
        assert_ne!(named(&low.tensors, "fc.weight"), named(&high.tensors, "fc.weight"));
    }

    #[test]
    fn one_linear_on_pooled_features_can_be_a_probe() {
        for (name, expected) in [
            ("resnet18", true),
            ("efficientnet_b0", true),
            ("mobilenet_v2", true),
            ("mnasnet1_0", true),
            ("mobilenet_v3_large", false),
            ("mobilenet_v3_small", false),
            ("vgg11", false),
        ] {
            let network = zoo::by_name(name, 5).unwrap();
            assert_eq!(has_linear_head(&network), expected, "{name}");
            assert!((0..network.blocks.len()).all(|cut| has_linear_head(&network.cut_after(cut))), "{name}");
        }
    }

    /// A random trunk with the probe as its head.
    fn probed(network: &Network, freeze_until: Option<&str>) -> StartingTensors {
        let freeze_until = freeze_until.map(str::to_owned);
        let config = TrainConfig { batch_size: 4, freeze_until, ..TrainConfig::default() };
        let setup = Setup {
            network: network.clone(),
            cut: None,
            preprocessing: Preprocessing::new(SIDE),
            augment_train: Policy::SimpleAugmentTest,
            augment_test: Policy::SimpleAugmentTest,
            weights_from: Provenance::Scratch,
            config,
        };
        let fresh = network.classifier_tensors();
        let start =
            StartingTensors { tensors: initial_tensors(network, 5), fresh, head: Head::Fresh, rival: None };
        let (dataset, device, interrupt) = (dataset(), CpuDevice::new(2), AtomicBool::new(false));
        let place = Place { dataset: &dataset, device: &device, events: &mut |_| {}, interrupt: &interrupt };
        probe_head(&setup, start, &place).unwrap()
    }

    #[test]
    fn a_probe_takes_the_place_of_a_fresh_head() {
        for with_norm in [true, false] {
            let network = network(with_norm);
            let start = probed(&network, None);
            assert_eq!((start.head, start.fresh.len()), (Head::Probe, 0));
            let before = initial_tensors(&network, 5);
            assert_eq!(named(&start.tensors, "conv.weight"), named(&before, "conv.weight"));
            assert_ne!(named(&start.tensors, "fc.weight"), named(&before, "fc.weight"));
        }
        let frozen = probed(&network(true), Some("stem"));
        assert_eq!(named(&frozen.tensors, "running_mean"), [0.0; 8], "a frozen norm keeps its statistics");
    }
}

//! The scan of one backbone at one image size.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use elimnet_arch::{Network, Tail};
use elimnet_engine::Device;

use super::backbone::Backbone;
use super::cache::{FeatureFile, image_hashes};
use super::cost::file_bytes;
use super::error::ScanError;
use super::features::{CutFeatures, Pictures, collect, labels};
use super::knee::knee;
use super::latency::{BlockTimes, of_tail};
use super::probe::LinearHead;
use super::record::{CutRecord, ScanRecord};
use super::score::{Labels, Scored, score_all};
use super::settle::SettledTrunks;
use crate::data::{Dataset, Policy, Preprocessing};
use crate::train::Trial;

/// Settings of a scan.
#[derive(Clone, Debug)]
pub struct ScanOptions {
    /// How images become the network's input; the image size is in here.
    pub preprocessing: Preprocessing,
    /// What happens to images, by chance or not: the policy of the test images.
    pub policy: Policy,
    /// Seed of folds and resamples.
    pub seed: u64,
    /// Images in a pass at once.
    pub batch_size: usize,
    /// Numbers of images at once whose latency is measured.
    pub latency_batches: Vec<usize>,
    /// Whether networks without one of their inner residual blocks are scored, too.
    pub drop_blocks: bool,
    /// Fresh convolutions to put on every cut.
    pub tails: Vec<Tail>,
    /// Folder that keeps features between scans.
    pub cache: Option<PathBuf>,
    /// Threads that decode and score; one a core where it is 0. Does not change the result.
    pub workers: usize,
}

impl ScanOptions {
    /// Images of this size prepared as the seed does, everything else as the command line's defaults.
    #[must_use]
    pub fn new(image_size: usize) -> Self {
        Self {
            preprocessing: Preprocessing::new(image_size),
            policy: Policy::SimpleAugmentTest,
            seed: 0,
            batch_size: 32,
            latency_batches: vec![1, 32],
            drop_blocks: false,
            tails: Vec::new(),
            cache: None,
            workers: 0,
        }
    }
}

/// What happens, as it happens.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ScanEvent<'a> {
    /// A pass over the images is on its way.
    Pass {
        /// Name of the network.
        network: &'a str,
        /// Batches that are done.
        done: usize,
        /// Batches in all.
        batches: usize,
    },
    /// The features were kept from an earlier scan.
    Kept {
        /// Name of the network.
        network: &'a str,
    },
    /// Probes are fitted.
    Probing {
        /// Name of the network.
        network: &'a str,
        /// Its cuts.
        cuts: usize,
    },
    /// Latencies are measured.
    Timing {
        /// Name of the network.
        network: &'a str,
    },
    /// A network is fine-tuned.
    Tuning {
        /// Name of the network.
        network: &'a str,
        /// For so many epochs.
        epochs: usize,
        /// Why.
        purpose: &'a str,
    },
}

/// Images, device and who watches: what every step needs.
pub struct Place<'a> {
    /// The images.
    pub dataset: &'a Dataset,
    /// Where networks run.
    pub device: &'a dyn Device,
    /// Is told what happens.
    pub events: &'a mut dyn FnMut(ScanEvent<'_>),
    /// Once true, the work ends with [`ScanError::Interrupted`].
    pub interrupt: &'a AtomicBool,
}

/// A network that was scored, with what a fine-tune can start from.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The network, with as many outputs as there are classes.
    pub network: Network,
    /// The probe's classifier.
    pub head: LinearHead,
    /// What the probe says about each validation image.
    pub predicted: Vec<usize>,
    /// What probes that were fitted without it say about each training image.
    pub left_out: Vec<usize>,
}

/// The result: candidate `i` is line `i` of the record's cuts.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The numbers.
    pub record: ScanRecord,
    /// The networks.
    pub candidates: Vec<Candidate>,
    /// What their fine-tunes start from, as far as it was needed.
    pub(crate) settled: SettledTrunks,
    /// Where short fine-tunes of candidates ended, by line: longer ones go on from there.
    pub(crate) tried: HashMap<usize, Trial>,
}

/// Scores every cut of `backbone`.
///
/// One pass in inference mode over the training and validation images gives the pooled features after every block; a
/// logistic probe is fitted to the training images of each and judged on the validation images, which nothing
/// is fitted to. Test images are not looked at.
///
/// # Errors
/// If a split is empty, the images do not fit the network, or an image can't be read.
pub fn scan(backbone: &Backbone, options: &ScanOptions, place: &mut Place<'_>) -> Result<Scan, ScanError> {
    Scanner::new(backbone, options, place)?.run()
}

/// How long the parts of a scan took.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    forward: Duration,
    probe: Duration,
}

struct Scanner<'a, 'p> {
    backbone: &'a Backbone,
    /// All blocks, with the head of a cut network.
    trunk: Network,
    options: &'a ScanOptions,
    place: &'a mut Place<'p>,
    labels: Labels,
    started: Instant,
    spent: Spent,
    cached: bool,
    /// Hashes of the images, once they were needed.
    hashes: Option<Vec<String>>,
}

impl<'a, 'p> Scanner<'a, 'p> {
    fn new(
        backbone: &'a Backbone,
        options: &'a ScanOptions,
        place: &'a mut Place<'p>,
    ) -> Result<Self, ScanError> {
        let dataset = place.dataset;
        for (split, images) in [("training", &dataset.train), ("validation", &dataset.validation)] {
            if images.is_empty() {
                return Err(ScanError::NoImages { split });
            }
        }
        let no_trunk = || ScanError::NoTrunk { network: backbone.network.name.clone() };
        let trunk = backbone.trunk().ok_or_else(no_trunk)?;
        trunk.shapes(trunk.input_shape(options.preprocessing.image_size))?;
        let (train, validation) = (labels(&dataset.train), labels(&dataset.validation));
        let labels = Labels { train, validation, classes: dataset.classes.len() };
        Ok(Self {
            backbone,
            trunk,
            options,
            place,
            labels,
            started: Instant::now(),
            spent: Spent::default(),
            cached: true,
            hashes: None,
        })
    }

    fn run(mut self) -> Result<Scan, ScanError> {
        let trunk = self.trunk.clone();
        let all: Vec<usize> = (0..trunk.blocks.len()).collect();
        let scored = self.score(&trunk, &all)?;
        (self.place.events)(ScanEvent::Timing { network: &trunk.name });
        let times = self.measure()?;
        let mut lines = Vec::new();
        for (index, scored) in scored.iter().enumerate() {
            let latency = times.sum(0..=index);
            lines.push(self.line(self.backbone.network.cut_after(index), index, scored.clone(), latency)?);
        }
        if self.options.drop_blocks {
            lines.extend(self.without_blocks(&times)?);
        }
        lines.extend(self.with_tails(&scored, &times)?);
        Ok(self.finish(lines))
    }

    /// Scores the cuts `cuts` of `network`, the trunk or what is left of it without a block.
    fn score(&mut self, network: &Network, cuts: &[usize]) -> Result<Vec<Scored>, ScanError> {
        let file = self.file(network, cuts)?;
        let seed = self.options.seed;
        if let Some(scored) = file.as_ref().and_then(|file| file.read_scores(seed)) {
            (self.place.events)(ScanEvent::Kept { network: &network.name });
            return Ok(scored);
        }
        let features = self.features(network, cuts, file.as_ref())?;
        for (&cut, features) in cuts.iter().zip(&features) {
            let values = features.train.values.iter().chain(&features.validation.values);
            if values.into_iter().any(|value| !value.is_finite()) {
                let block = network.blocks[cut].name.clone();
                return Err(ScanError::NotFinite { network: network.name.clone(), block });
            }
        }
        (self.place.events)(ScanEvent::Probing { network: &network.name, cuts: cuts.len() });
        let began = Instant::now();
        let scored = score_all(&features, &self.labels, seed, self.options.workers);
        self.spent.probe += began.elapsed();
        if let Some(file) = file {
            file.write_scores(seed, &scored);
        }
        Ok(scored)
    }

    fn pictures(&self) -> Pictures<'a> {
        pictures(self.place.dataset, self.options)
    }

    /// Where features of these cuts are kept, if they are.
    fn file(&mut self, network: &Network, cuts: &[usize]) -> Result<Option<FeatureFile>, ScanError> {
        let Some(folder) = &self.options.cache else { return Ok(None) };
        if self.hashes.is_none() {
            self.hashes = Some(image_hashes(&self.pictures())?);
        }
        let tensors = self.backbone.start(network, None, self.options.seed).tensors;
        let hashes = self.hashes.as_deref().unwrap_or_default();
        let device = format!("{} {}", self.place.device.name(), self.place.device.precision().name());
        Ok(Some(FeatureFile::new(folder, network, &tensors, &self.pictures(), hashes, cuts, &device)))
    }

    /// From the disk, or from a pass over the images.
    fn features(
        &mut self,
        network: &Network,
        cuts: &[usize],
        file: Option<&FeatureFile>,
    ) -> Result<Vec<CutFeatures>, ScanError> {
        let channels = network.out_channels();
        let channels: Vec<usize> = cuts.iter().map(|&cut| channels[cut]).collect();
        if let Some(features) = file.and_then(|file| file.read(&self.pictures(), &channels)) {
            (self.place.events)(ScanEvent::Kept { network: &network.name });
            return Ok(features);
        }
        self.cached = false;
        let began = Instant::now();
        let mut engine = self.place.device.load(network)?;
        engine.set_tensors(&self.backbone.start(network, None, self.options.seed).tensors)?;
        let pictures = self.pictures();
        let Place { events, interrupt, .. } = &mut *self.place;
        let mut progress = |done, batches| events(ScanEvent::Pass { network: &network.name, done, batches });
        let features = collect(engine.as_mut(), cuts, &pictures, interrupt, &mut progress)?;
        self.spent.forward += began.elapsed();
        if let Some(file) = file {
            file.write(&features);
        }
        Ok(features)
    }

    fn measure(&self) -> Result<BlockTimes, ScanError> {
        let tensors = self.backbone.start(&self.trunk, None, self.options.seed).tensors;
        let size = self.options.preprocessing.image_size;
        let batches = &self.options.latency_batches;
        Ok(BlockTimes::measure(self.place.device, &self.trunk, &tensors, size, batches)?)
    }

    /// Every cut above each block that can be dropped: the block is skipped in the frozen network.
    fn without_blocks(&mut self, times: &BlockTimes) -> Result<Vec<Line>, ScanError> {
        let mut lines = Vec::new();
        for dropped in 0..self.trunk.blocks.len() {
            let Ok(network) = self.trunk.without_block(dropped) else { continue };
            // With the dropped block on top, the network would be the cut below it.
            let cuts: Vec<usize> = (dropped..network.blocks.len()).collect();
            let scored = self.score(&network, &cuts)?;
            let whole = self.backbone.network.without_block(dropped)?;
            for (cut, scored) in cuts.into_iter().zip(scored) {
                let latency = times.sum((0..=cut + 1).filter(move |&block| block != dropped));
                let mut line = self.line(whole.cut_after(cut), cut + 1, scored, latency)?;
                let name = &self.trunk.blocks[dropped].name;
                line.0.dropped = vec![name.clone()];
                line.1.network.name = format!("{}@{}", self.base_name(), line.0.address());
                lines.push(line);
            }
        }
        Ok(lines)
    }

    /// Every cut with each fresh convolution on it.
    fn with_tails(&self, scored: &[Scored], times: &BlockTimes) -> Result<Vec<Line>, ScanError> {
        let costs = self.trunk.costs(self.trunk.input_shape(self.options.preprocessing.image_size))?;
        let mut lines = Vec::new();
        for tail in &self.options.tails {
            for (index, scored) in scored.iter().enumerate() {
                let below = self.backbone.network.cut_after(index);
                let batches = &self.options.latency_batches;
                let map = costs[index].output;
                // A square map is enough to time a convolution on.
                let side = map.height.max(map.width);
                if side + 2 * (tail.kernel / 2) < tail.kernel {
                    continue;
                }
                let mut latency = of_tail(self.place.device, &below, tail, side, batches)?;
                for (batch, time) in times.sum(0..=index) {
                    *latency.entry(batch).or_default() += time;
                }
                let mut line = self.line(below.with_tail(tail), index, scored.clone(), latency)?;
                line.0.tail = Some(tail.to_string());
                line.0.out_channels = tail.out_channels;
                lines.push(line);
            }
        }
        Ok(lines)
    }

    fn base_name(&self) -> &str {
        let name = &self.backbone.network.name;
        name.split('@').next().unwrap_or(name)
    }

    fn line(
        &self,
        network: Network,
        index: usize,
        scored: Scored,
        latency_ms: BTreeMap<usize, f64>,
    ) -> Result<Line, ScanError> {
        let input = network.input_shape(self.options.preprocessing.image_size);
        let record = CutRecord {
            name: self.trunk.blocks[index].name.clone(),
            index,
            out_channels: network.out_channels().last().copied().unwrap_or(0),
            parameters: network.parameters(),
            multiply_adds: network.multiply_adds(input)?,
            file_bytes: file_bytes(&network, &self.place.dataset.classes, &self.options.preprocessing),
            peak_activation_bytes: network.peak_activation_bytes(input)?,
            latency_ms,
            probe: scored.probe,
            knn_accuracy: scored.knn_accuracy,
            class_mean_accuracy: scored.class_mean_accuracy,
            logme: scored.logme,
            predicted_macro_f1: None,
            dropped: Vec::new(),
            tail: None,
        };
        let Scored { head, predicted, left_out, .. } = scored;
        Ok((record, Candidate { network, head, predicted, left_out }))
    }

    fn finish(self, lines: Vec<Line>) -> Scan {
        let (cuts, candidates): (Vec<CutRecord>, Vec<Candidate>) = lines.into_iter().unzip();
        let plain: Vec<&CutRecord> = cuts.iter().filter(|cut| cut.is_plain()).collect();
        let costs: Vec<f64> = plain.iter().map(|cut| cut.multiply_adds as f64).collect();
        let scores: Vec<f64> = plain.iter().map(|cut| cut.probe.macro_f1).collect();
        let (train_images, validation_images) = (self.labels.train.len(), self.labels.validation.len());
        let record = ScanRecord {
            backbone: self.backbone.name.clone(),
            image_size: self.options.preprocessing.image_size,
            images: train_images + validation_images,
            seconds: self.started.elapsed().as_secs_f64(),
            forward_seconds: self.spent.forward.as_secs_f64(),
            probe_seconds: self.spent.probe.as_secs_f64(),
            cached: self.cached,
            train_images,
            validation_images,
            classes: self.place.dataset.classes.clone(),
            device: self.place.device.name().to_owned(),
            precision: self.place.device.precision().name().to_owned(),
            weights_from: self.backbone.weights_from.to_string(),
            knee: knee(&costs, &scores).map(|index| plain[index].name.clone()),
            cuts,
            anchors: Vec::new(),
        };
        Scan { record, candidates, settled: SettledTrunks::default(), tried: HashMap::new() }
    }
}

fn pictures<'a>(dataset: &'a Dataset, options: &'a ScanOptions) -> Pictures<'a> {
    Pictures {
        dataset,
        preprocessing: &options.preprocessing,
        policy: options.policy,
        batch_size: options.batch_size,
        workers: options.workers,
    }
}

type Line = (CutRecord, Candidate);

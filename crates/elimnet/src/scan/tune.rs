//! Fine-tunes of candidates: ordinary runs, and what they say about each image.

use std::path::Path;
use std::time::SystemTime;

use elimnet_arch::{Network, yaml};
use elimnet_engine::Device;

use super::backbone::Backbone;
use super::error::ScanError;
use super::features::Pictures;
use super::run::{Place, ScanEvent, ScanOptions};
use super::settle::Exposure;
use crate::data::{Dataset, Order, Policy, Split};
use crate::evaluate::evaluate;
use crate::model::{Provenance, load_model};
use crate::train::{
    Job, NewRun, Observer, Outcome, RunDirectory, Setup, StartingTensors, Summary, TrainConfig, Trial, fit,
    trial,
};

/// How candidates are fine-tuned.
pub struct Recipe<'a> {
    /// Settings; each fine-tune has its own number of epochs and seed.
    pub config: TrainConfig,
    /// What happens to training images.
    pub augment_train: Policy,
    /// Files for every run directory, such as `data.yml`.
    pub attachments: Vec<(String, String)>,
    /// Watches each fine-tune.
    pub observer: &'a mut dyn Observer,
}

/// What all fine-tunes of one backbone at one image size have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FineTuning<'a> {
    pub(crate) backbone: &'a Backbone,
    pub(crate) options: &'a ScanOptions,
    pub(crate) config: &'a TrainConfig,
    pub(crate) augment_train: Policy,
}

impl<'a> FineTuning<'a> {
    pub(crate) fn new(backbone: &'a Backbone, options: &'a ScanOptions, recipe: &'a Recipe<'_>) -> Self {
        Self { backbone, options, config: &recipe.config, augment_train: recipe.augment_train }
    }

    pub(crate) fn exposure(&self, network: &Network) -> Result<Exposure<'a>, ScanError> {
        Ok(Exposure {
            preprocessing: &self.options.preprocessing,
            augment_train: self.augment_train,
            policy: self.options.policy,
            batch_size: self.config.batch_size,
            workers: self.config.workers.unwrap_or(0),
            frozen_blocks: self.config.frozen_blocks(network)?,
        })
    }

    fn setup(&self, network: &Network, epochs: usize, seed: u64) -> Setup {
        let config = TrainConfig { epochs, seed, ..self.config.clone() };
        let is_cut = network.blocks.len() < self.backbone.network.blocks.len();
        let last = network.blocks.last().filter(|_| is_cut);
        Setup {
            network: network.clone(),
            cut: last.map(|block| block.name.clone()),
            preprocessing: self.options.preprocessing.clone(),
            augment_train: self.augment_train,
            augment_test: self.options.policy,
            weights_from: self.backbone.weights_from.clone(),
            config,
        }
    }
}

/// A fine-tune to be made.
pub(crate) struct FineTune<'a> {
    pub(crate) backbone: &'a Backbone,
    pub(crate) options: &'a ScanOptions,
    pub(crate) network: &'a Network,
    pub(crate) start: &'a StartingTensors,
    pub(crate) epochs: usize,
    pub(crate) seed: u64,
    pub(crate) purpose: &'a str,
}

/// A fine-tuned network.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// Its run.
    pub run: RunDirectory,
    /// What the run came to.
    pub summary: Summary,
    /// The class that it predicts for each validation image.
    pub validation: Vec<usize>,
    /// The class that it predicts for each test image.
    pub test: Vec<usize>,
}

/// Fine-tunes a network in a run directory below `root` and asks it about every validation and test image.
pub(crate) fn tune(
    wanted: &FineTune<'_>,
    root: &Path,
    recipe: &mut Recipe<'_>,
    place: &mut Place<'_>,
) -> Result<Tuned, ScanError> {
    let new = wanted.place(root, &recipe.attachments);
    match fit(wanted.job(recipe, place), wanted.start, &new)? {
        Outcome::Interrupted { .. } => Err(ScanError::Interrupted),
        Outcome::Finished { run, summary } => {
            let [validation, test] = predictions(&run, wanted.options.policy, place.dataset, place.device)?;
            Ok(Tuned { run, summary: *summary, validation, test })
        }
    }
}

/// Fine-tunes a network for its scores alone: nothing is written, nothing tested.
pub(crate) fn try_out(
    wanted: &FineTune<'_>,
    recipe: &mut Recipe<'_>,
    place: &mut Place<'_>,
) -> Result<Trial, ScanError> {
    trial(wanted.job(recipe, place), wanted.start)?.ok_or(ScanError::Interrupted)
}

impl FineTune<'_> {
    /// Tells about the fine-tune and sets it up.
    fn job<'j>(&self, recipe: &'j mut Recipe<'_>, place: &'j mut Place<'_>) -> Job<'j> {
        let Self { backbone, options, network, epochs, seed, purpose, .. } = *self;
        (place.events)(ScanEvent::Tuning { network: &network.name, epochs, purpose });
        Job {
            setup: FineTuning::new(backbone, options, recipe).setup(network, epochs, seed),
            dataset: place.dataset,
            device: place.device,
            observer: &mut *recipe.observer,
            interrupt: place.interrupt,
        }
    }

    fn place(&self, root: &Path, attachments: &[(String, String)]) -> NewRun {
        let mut attachments = attachments.to_vec();
        let pretrained = self.backbone.weights_from != Provenance::Scratch;
        attachments
            .extend(yaml::to_text(self.network, pretrained).map(|text| ("model.yml".to_owned(), text)));
        NewRun {
            root: root.to_owned(),
            name: self.network.name.clone(),
            time: SystemTime::now(),
            attachments,
        }
    }
}

/// What the run's best model, as it is on the disk, predicts for the validation and test images.
fn predictions(
    run: &RunDirectory,
    policy: Policy,
    dataset: &Dataset,
    device: &dyn Device,
) -> Result<[Vec<usize>; 2], ScanError> {
    let model = load_model(&run.best())?;
    let mut engine = device.load(&model.card.network)?;
    engine.set_tensors(&model.tensors)?;
    let preprocessing = &model.card.preprocessing;
    let pictures = Pictures { dataset, preprocessing, policy, batch_size: 32, workers: 0 };
    let mut of_split = |split: &Split| -> Result<Vec<usize>, ScanError> {
        let mut predicted = vec![0; split.len()];
        let batches = pictures.loader(split).epoch(0, Order::Sequential);
        evaluate(engine.as_mut(), batches, |image| predicted[image.index] = image.predicted)?;
        Ok(predicted)
    };
    Ok([of_split(&dataset.validation)?, of_split(&dataset.test)?])
}

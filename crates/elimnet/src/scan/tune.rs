//! Fine-tunes of candidates: ordinary runs, and what they say about each image.

use std::time::SystemTime;

use elimnet_arch::{Network, yaml};
use elimnet_engine::Device;

use super::backbone::Backbone;
use super::error::ScanError;
use super::features::Pictures;
use super::probe::LinearHead;
use super::run::{Place, ScanEvent};
use super::settle::{Exposure, settled_start};
use crate::data::{Dataset, Order, Policy, Preprocessing, Split};
use crate::evaluate::evaluate;
use crate::model::{Provenance, load_model};
use crate::train::{Job, NewRun, Observer, Outcome, RunDirectory, Setup, Summary, TrainConfig, fit};

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

/// A fine-tune to be made.
pub(crate) struct FineTune<'a> {
    pub(crate) backbone: &'a Backbone,
    pub(crate) network: &'a Network,
    /// What its classifier starts from, fitted once more to the statistics that training will have.
    pub(crate) head: Option<&'a LinearHead>,
    pub(crate) preprocessing: &'a Preprocessing,
    pub(crate) policy: Policy,
    pub(crate) epochs: usize,
    pub(crate) seed: u64,
    /// The folder that gets the run.
    pub(crate) root: &'a std::path::Path,
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

/// Fine-tunes a network and asks it about every validation and test image.
pub(crate) fn tune(
    wanted: &FineTune<'_>,
    recipe: &mut Recipe<'_>,
    place: &mut Place<'_>,
) -> Result<Tuned, ScanError> {
    let FineTune { network, epochs, purpose, .. } = *wanted;
    (place.events)(ScanEvent::Tuning { network: &network.name, epochs, purpose });
    let start = match wanted.head {
        Some(head) => settled_start(wanted, head, wanted.exposure(recipe)?, place)?,
        None => wanted.backbone.start(network, None, wanted.seed),
    };
    let job = Job {
        setup: wanted.setup(recipe),
        dataset: place.dataset,
        device: place.device,
        observer: &mut *recipe.observer,
        interrupt: place.interrupt,
    };
    match fit(job, &start, &wanted.place(&recipe.attachments))? {
        Outcome::Interrupted { .. } => Err(ScanError::Interrupted),
        Outcome::Finished { run, summary } => {
            let [validation, test] = predictions(&run, wanted.policy, place.dataset, place.device)?;
            Ok(Tuned { run, summary: *summary, validation, test })
        }
    }
}

impl FineTune<'_> {
    fn exposure(&self, recipe: &Recipe<'_>) -> Result<Exposure<'_>, ScanError> {
        Ok(Exposure {
            preprocessing: self.preprocessing,
            augment_train: recipe.augment_train,
            policy: self.policy,
            batch_size: recipe.config.batch_size,
            workers: recipe.config.workers.unwrap_or(0),
            frozen_blocks: recipe.config.frozen_blocks(self.network)?,
        })
    }

    fn setup(&self, recipe: &Recipe<'_>) -> Setup {
        let config = TrainConfig { epochs: self.epochs, seed: self.seed, ..recipe.config.clone() };
        let is_cut = self.network.blocks.len() < self.backbone.network.blocks.len();
        let last = self.network.blocks.last().filter(|_| is_cut);
        Setup {
            network: self.network.clone(),
            cut: last.map(|block| block.name.clone()),
            preprocessing: self.preprocessing.clone(),
            augment_train: recipe.augment_train,
            augment_test: self.policy,
            weights_from: self.backbone.weights_from.clone(),
            config,
        }
    }

    fn place(&self, attachments: &[(String, String)]) -> NewRun {
        let mut attachments = attachments.to_vec();
        let pretrained = self.backbone.weights_from != Provenance::Scratch;
        attachments
            .extend(yaml::to_text(self.network, pretrained).map(|text| ("model.yml".to_owned(), text)));
        NewRun {
            root: self.root.to_owned(),
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

//! What is to be trained, on what, and who watches.

use std::sync::atomic::{AtomicBool, Ordering};

use elimnet_arch::Network;
use elimnet_engine::Device;
use serde::{Deserialize, Serialize};

use super::config::TrainConfig;
use super::observer::Observer;
use super::run::{RunDirectory, RunRecord};
use super::start::Head;
use super::summary::Summary;
use crate::data::{Dataset, Loader, LoaderOptions, Order, Policy, Preprocessing, Split};
use crate::model::Provenance;

/// Everything about a training that can be written down beforehand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// The network, with as many outputs as the data have classes.
    pub network: Network,
    /// Name of the last kept block where the network was cut.
    pub cut: Option<String>,
    /// How images become the network's input.
    pub preprocessing: Preprocessing,
    /// What happens to training images.
    pub augment_train: Policy,
    /// What happens to validation and test images.
    pub augment_test: Policy,
    /// What the weights are before training.
    pub weights_from: Provenance,
    /// The settings.
    pub config: TrainConfig,
}

/// A training that can be started or gone on with.
pub struct Job<'a> {
    /// Network, preprocessing and settings.
    pub setup: Setup,
    /// The images.
    pub dataset: &'a Dataset,
    /// Where it runs.
    pub device: &'a dyn Device,
    /// Who is told how far it is; `&mut ()` for nobody.
    pub observer: &'a mut dyn Observer,
    /// Once true, the training writes a checkpoint and ends with [`Outcome::Interrupted`].
    pub interrupt: &'a AtomicBool,
}

/// How a training ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is over.
    Finished {
        /// The run.
        run: RunDirectory,
        /// What it came to; also in its `summary.json`.
        summary: Box<Summary>,
    },
    /// It was interrupted and can go on with [`resume`](super::resume).
    Interrupted {
        /// The run, its last checkpoint as new as the interruption.
        run: RunDirectory,
        /// Epochs that are complete.
        epochs: usize,
        /// Steps that were taken in the next one.
        steps: usize,
    },
}

impl Job<'_> {
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }

    pub(crate) fn record(&self, fresh: &[String], head: Head) -> RunRecord {
        RunRecord {
            setup: self.setup.clone(),
            classes: self.dataset.classes.clone(),
            data_fingerprint: format!("{:016x}", self.dataset.fingerprint()),
            fresh: fresh.to_vec(),
            head,
            device: self.device.name().to_owned(),
            precision: self.device.precision().name().to_owned(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Images that every training epoch leaves out: a last batch of one has no batch statistics (torch refuses it).
    pub(crate) fn left_out(&self) -> usize {
        let (images, batch_size) = (self.dataset.train.len(), self.setup.config.batch_size);
        usize::from(batch_size > 1 && images > 1 && images % batch_size == 1)
    }

    /// Training batches an epoch.
    pub(crate) fn batches(&self) -> usize {
        self.dataset.train.len().div_ceil(self.setup.config.batch_size) - self.left_out()
    }
}

/// The loaders of the three splits.
#[derive(Debug)]
pub(crate) struct Loaders {
    pub(crate) train: Loader,
    pub(crate) validation: Loader,
    /// None where there are no test images.
    pub(crate) test: Option<Loader>,
}

impl Loaders {
    pub(crate) fn new(setup: &Setup, dataset: &Dataset) -> Self {
        let images: usize = dataset.splits().iter().map(|(_, split)| split.len()).sum();
        let loader = |split: &Split, policy: Policy| {
            // The cache is shared out by images; u128 so that no product overflows.
            let share = setup.config.cache_bytes as u128 * split.len() as u128 / images.max(1) as u128;
            let options = LoaderOptions {
                policy,
                preprocessing: setup.preprocessing.clone(),
                batch_size: setup.config.batch_size,
                seed: setup.config.seed,
                workers: setup.config.workers.unwrap_or(0),
                cache_bytes: share as usize,
                drop_last: false,
            };
            Loader::new(split, options)
        };
        let test = (!dataset.test.is_empty()).then(|| loader(&dataset.test, setup.augment_test));
        Self {
            train: loader(&dataset.train, setup.augment_train),
            validation: loader(&dataset.validation, setup.augment_test),
            test,
        }
    }

    pub(crate) fn train_epoch(&self, epoch: usize, first_batch: usize) -> crate::data::Batches {
        self.train.epoch_from(epoch as u64, Order::Shuffled, first_batch)
    }
}

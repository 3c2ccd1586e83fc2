//! `summary.json`: the result of a run in a form that other tools rely on.

use elimnet_arch::ShapeError;
use elimnet_engine::Precision;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::job::Setup;
use super::progress::{Progress, Scores};
use super::run::f32_name;
use crate::evaluate::{ClassMetrics, Confusion, Evaluation};

/// What a finished run came to. Accuracies and F1 are in 0..1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the network.
    pub model: String,
    /// Its trained numbers.
    pub parameters: usize,
    /// Its torch modules (the seed's "layers").
    pub layers: usize,
    /// Its multiply-adds for one image.
    pub multiply_adds: u64,
    /// Side of the images.
    pub image_size: usize,
    /// Class names in the order of the logits.
    pub classes: Vec<String>,
    /// Epochs that were trained.
    pub epochs: usize,
    /// The best of them, whose weights were kept; 0 is the start. Nothing where the run does not say.
    #[serde(default)]
    pub best_epoch: Option<usize>,
    /// The seed.
    pub seed: u64,
    /// On the training images, in the best epoch; nothing where that is the start.
    pub train: Option<Scores>,
    /// On the validation images, after the best epoch.
    pub validation: Scores,
    /// On the test images, with the best weights; nothing where there is no test split.
    pub test: Option<TestScores>,
    /// Time of the run, all sessions together.
    pub seconds: f64,
    /// Training images over the time that they took.
    pub images_per_second: f64,
    /// Share of the training time in which the engine waited for images.
    pub data_wait_share: f64,
    /// Type that activations were stored as, `f32` or `bf16`.
    #[serde(default = "f32_name")]
    pub precision: String,
    /// Bytes that the engine held at the end of the training; 0 where the run does not say.
    #[serde(default)]
    pub memory_bytes: usize,
}

/// How good the best weights are on images that nothing was chosen by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestScores {
    /// Mean cross-entropy.
    pub loss: f64,
    /// Share classified right.
    pub accuracy: f64,
    /// Mean F1 of the classes.
    pub macro_f1: f64,
    /// By class name, in the order of the classes.
    pub per_class: IndexMap<String, ClassMetrics>,
    /// Rows are the truth.
    pub confusion: Confusion,
}

impl TestScores {
    /// Names the classes of an evaluation.
    #[must_use]
    pub fn new(evaluation: &Evaluation, classes: &[String]) -> Self {
        Self {
            loss: evaluation.loss,
            accuracy: evaluation.accuracy,
            macro_f1: evaluation.macro_f1,
            per_class: classes.iter().cloned().zip(evaluation.per_class.iter().copied()).collect(),
            confusion: evaluation.confusion.clone(),
        }
    }
}

/// What the engine stored, and how much of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) precision: Precision,
    pub(crate) memory_bytes: usize,
}

impl Summary {
    /// What a run came to.
    ///
    /// # Errors
    /// If the images do not fit the network.
    /// # Panics
    /// If no epoch is over.
    pub(crate) fn new(
        setup: &Setup,
        classes: &[String],
        progress: &Progress,
        test: Option<&Evaluation>,
        engine: Held,
    ) -> Result<Self, ShapeError> {
        let best = progress.best().expect("the first epoch is the best until another is better");
        let (network, image_size) = (&setup.network, setup.preprocessing.image_size);
        Ok(Self {
            model: network.name.clone(),
            parameters: network.parameters(),
            layers: network.module_count(),
            multiply_adds: network.multiply_adds(network.input_shape(image_size))?,
            image_size,
            classes: classes.to_vec(),
            epochs: progress.epoch,
            best_epoch: Some(best.epoch),
            seed: setup.config.seed,
            train: best.train,
            validation: best.validation,
            test: test.map(|evaluation| TestScores::new(evaluation, classes)),
            seconds: progress.clock.seconds,
            images_per_second: progress.clock.images_per_second(),
            data_wait_share: progress.clock.data_wait_share(),
            precision: engine.precision.name().to_owned(),
            memory_bytes: engine.memory_bytes,
        })
    }
}

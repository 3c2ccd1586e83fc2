//! How good a network is on labelled images.

mod metrics;
mod mistakes;

use elimnet_engine::{Engine, EngineError, Matrix};
use serde::{Deserialize, Serialize};

use crate::data::{DataError, LabeledBatch};
use crate::train::{CrossEntropy, Targets};

pub use metrics::{ClassMetrics, Confusion};
pub use mistakes::{Mistake, MistakeCollector};

/// Loss and metrics over a set of images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean cross-entropy: no smoothing and no adjustment, whatever the network was trained with.
    pub loss: f64,
    /// Share of the images that are classified right, 0..1.
    pub accuracy: f64,
    /// Mean F1 of the network's classes; see [`Confusion::macro_f1`].
    pub macro_f1: f64,
    /// Precision, recall, F1 and support, in the order of the classes.
    pub per_class: Vec<ClassMetrics>,
    /// Which class was taken for which.
    pub confusion: Confusion,
}

/// What the network says about one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Index of the image in its split.
    pub index: usize,
    /// The class that it has.
    pub label: usize,
    /// The class with the largest logit; of equal ones the first.
    pub predicted: usize,
    /// One logit a class.
    pub logits: Vec<f32>,
}

/// Why an evaluation stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// An image could not be had.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The engine refused the images.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Sums up losses and predictions; what a training adds up over an epoch and an evaluation over a split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    loss_sum: f64,
    confusion: Confusion,
}

impl Tally {
    /// Nothing yet.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Self { loss_sum: 0.0, confusion: Confusion::new(classes) }
    }

    /// Adds a batch whose mean loss is `loss`.
    ///
    /// # Panics
    /// If there are not as many labels as rows of logits, or one is outside of the classes.
    pub fn add(&mut self, loss: f64, logits: &Matrix, labels: &[usize]) {
        assert_eq!(logits.rows, labels.len(), "labels for {} rows of logits", logits.rows);
        self.loss_sum += loss * labels.len() as f64;
        for (row, &label) in logits.iter_rows().zip(labels) {
            self.confusion.add(label, largest(row));
        }
    }

    /// Images added.
    #[must_use]
    pub fn images(&self) -> u64 {
        self.confusion.total()
    }

    /// Mean loss so far; 0 before the first image.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.images().max(1) as f64
    }

    /// Share of the images that were right so far.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        self.confusion.accuracy()
    }

    /// All metrics.
    #[must_use]
    pub fn finish(self) -> Evaluation {
        Evaluation {
            loss: self.loss(),
            accuracy: self.confusion.accuracy(),
            macro_f1: self.confusion.macro_f1(),
            per_class: self.confusion.per_class(),
            confusion: self.confusion,
        }
    }
}

/// Runs the network over `batches` in inference mode; gives what it says about every image to `each`.
///
/// # Errors
/// If a batch can't be read or does not fit the network.
/// # Panics
/// If a label is outside of the network's classes.
pub fn evaluate(
    engine: &mut dyn Engine,
    batches: impl IntoIterator<Item = Result<LabeledBatch, DataError>>,
    mut each: impl FnMut(Prediction),
) -> Result<Evaluation, EvaluateError> {
    let mut tally = Tally::new(engine.network().classes());
    for batch in batches {
        let batch = batch?;
        let logits = engine.classify(&batch.images)?;
        let loss = CrossEntropy::default().value(&logits, Targets::Classes(&batch.labels)).loss;
        tally.add(loss, &logits, &batch.labels);
        for ((&index, &label), row) in batch.indices.iter().zip(&batch.labels).zip(logits.iter_rows()) {
            each(Prediction { index, label, predicted: largest(row), logits: row.to_vec() });
        }
    }
    Ok(tally.finish())
}

/// Index of the largest number; of equal ones the first, and 0 where nothing compares (NaN).
pub(crate) fn largest(row: &[f32]) -> usize {
    let mut best = 0;
    for (index, &value) in row.iter().enumerate() {
        if value > row[best] || (row[best].is_nan() && !value.is_nan()) {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_logits_wins_and_nan_never_does() {
        let nan = f32::NAN;
        for (row, expected) in [
            (&[1.0, 3.0, 3.0][..], 1),
            (&[-1.0], 0),
            (&[nan, -5.0, -6.0], 1),
            (&[2.0, nan, 1.0], 0),
            (&[nan, nan], 0),
        ] {
            assert_eq!(largest(row), expected, "{row:?}");
        }
    }

    #[test]
    fn batches_of_different_sizes_weigh_by_their_images() {
        let mut tally = Tally::new(2);
        tally.add(1.0, &Matrix::new(3, 2, vec![1., 0., 1., 0., 0., 1.]), &[0, 1, 1]);
        tally.add(5.0, &Matrix::new(1, 2, vec![0., 1.]), &[1]);
        assert_eq!((tally.images(), tally.loss(), tally.accuracy()), (4, 2.0, 0.75));
        let evaluation = tally.finish();
        assert_eq!(evaluation.confusion.rows(), [[1, 0], [1, 2]]);
        assert!((evaluation.macro_f1 - (2.0 / 3.0 + 0.8) / 2.0).abs() < 1e-15);
    }
}

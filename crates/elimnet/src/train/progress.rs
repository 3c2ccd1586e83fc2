//! How far a training is, and what it has measured so far: what a checkpoint keeps beside the tensors.

use serde::{Deserialize, Serialize};

use super::config::{Select, TrainConfig};
use crate::evaluate::{Evaluation, Tally};

/// The three numbers of the seed's table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean loss: the training's own on training images, plain cross-entropy on others.
    pub loss: f64,
    /// Share classified right, 0..1.
    pub accuracy: f64,
    /// Mean F1 of the classes, 0..1.
    pub macro_f1: f64,
}

impl From<&Evaluation> for Scores {
    fn from(evaluation: &Evaluation) -> Self {
        let &Evaluation { loss, accuracy, macro_f1, .. } = evaluation;
        Self { loss, accuracy, macro_f1 }
    }
}

/// What one epoch came to, or the start or its rival, whichever is better: a line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Counted from 1; 0 is the start, before the first step.
    pub epoch: usize,
    /// On the training images, as the network was while it learned from them; nothing for the start.
    pub train: Option<Scores>,
    /// On the validation images, after the epoch.
    pub validation: Scores,
    /// Whether no epoch before was as good, nor the start.
    pub best: bool,
    /// Rate of the head at the last step; 0 for the start.
    pub learning_rate: f64,
    /// Time for training and validation.
    pub seconds: f64,
    /// Training images over the time that they took.
    pub images_per_second: f64,
    /// Share of the training time in which the engine waited for images.
    pub data_wait_share: f64,
}

/// Time and images, added up over all sessions of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    /// Everything: training, validation, checkpoints.
    pub seconds: f64,
    /// Training steps with the wait for their images.
    pub training_seconds: f64,
    /// Wait for training images.
    pub waited_seconds: f64,
    /// Images trained on.
    pub images: u64,
}

impl Clock {
    /// What was added since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            seconds: self.seconds - before.seconds,
            training_seconds: self.training_seconds - before.training_seconds,
            waited_seconds: self.waited_seconds - before.waited_seconds,
            images: self.images - before.images,
        }
    }

    /// Images over training time.
    #[must_use]
    pub fn images_per_second(&self) -> f64 {
        share(self.images as f64, self.training_seconds)
    }

    /// Wait over training time, 0..1.
    #[must_use]
    pub fn data_wait_share(&self) -> f64 {
        share(self.waited_seconds, self.training_seconds).min(1.0)
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// The position of a training: everything that is not a tensor and not a setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The epoch that is being trained, from 0.
    pub epoch: usize,
    /// The next batch of it; all of them where only its validation is left.
    pub batch: usize,
    /// What the batches of the epoch so far came to.
    pub tally: Tally,
    /// The epochs that are complete; before them the start, where it was validated.
    pub history: Vec<EpochRecord>,
    /// Time and images up to here.
    pub clock: Clock,
    /// The clock when the epoch began.
    pub epoch_began: Clock,
}

impl Progress {
    /// Before the first step.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Self {
            epoch: 0,
            batch: 0,
            tally: Tally::new(classes),
            history: Vec::new(),
            clock: Clock::default(),
            epoch_began: Clock::default(),
        }
    }

    /// The best epoch so far.
    #[must_use]
    pub fn best(&self) -> Option<&EpochRecord> {
        self.history.iter().rev().find(|record| record.best)
    }

    /// Whether nothing was measured or trained yet.
    pub(crate) fn is_new(&self) -> bool {
        self.epoch == 0 && self.batch == 0 && self.history.is_empty()
    }

    /// Whether an epoch with these scores would be the best; equal is not better.
    pub(crate) fn would_be_best(&self, validation: &Scores, select: Select) -> bool {
        self.best().is_none_or(|best| select.is_better(validation, &best.validation))
    }

    /// Whether there is nothing left to train: all epochs are over, or none was better for too long.
    #[must_use]
    pub fn is_over(&self, config: &TrainConfig) -> bool {
        let too_long = |patience| self.without_better(config.select) >= patience;
        self.epoch >= config.epochs || config.patience.is_some_and(too_long)
    }

    /// Epochs since the best one. The start is none: at first a fine-tune often falls below it, and rises as its rate goes down.
    fn without_better(&self, select: Select) -> usize {
        let mut trained =
            self.history.iter().filter(|record| record.epoch > 0).map(|record| &record.validation);
        let Some(mut best) = trained.next() else { return 0 };
        trained.fold(0, |count, validation| {
            if !select.is_better(validation, best) {
                return count + 1;
            }
            best = validation;
            0
        })
    }

    /// Keeps what the start came to.
    pub(crate) fn begin(&mut self, start: EpochRecord) {
        self.history.push(start);
        self.epoch_began = self.clock;
    }

    /// Closes the epoch and opens the next one.
    pub(crate) fn next_epoch(&mut self, record: EpochRecord, classes: usize) {
        self.history.push(record);
        self.epoch += 1;
        self.batch = 0;
        self.tally = Tally::new(classes);
        self.epoch_began = self.clock;
    }
}

impl Select {
    /// Equal is not better.
    pub(crate) fn is_better(self, validation: &Scores, best: &Scores) -> bool {
        match self {
            Self::ValidationLoss => validation.loss < best.loss,
            Self::MacroF1 => validation.macro_f1 > best.macro_f1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(epoch: usize, loss: f64, macro_f1: f64, best: bool) -> EpochRecord {
        let scores = Scores { loss, accuracy: 0.5, macro_f1 };
        EpochRecord {
            epoch,
            train: (epoch > 0).then_some(scores),
            validation: scores,
            best,
            learning_rate: 0.1,
            seconds: 1.0,
            images_per_second: 1.0,
            data_wait_share: 0.0,
        }
    }

    #[test]
    fn best_is_by_the_chosen_measure_and_ties_keep_the_earlier() {
        let mut progress = Progress::new(2);
        let scores = |loss, macro_f1| Scores { loss, accuracy: 0.5, macro_f1 };
        assert!(progress.would_be_best(&scores(9.0, 0.0), Select::ValidationLoss));
        progress.next_epoch(record(1, 1.0, 0.5, true), 2);
        for (validation, by_loss, by_f1) in [
            (scores(0.9, 0.4), true, false),
            (scores(1.1, 0.6), false, true),
            (scores(1.0, 0.5), false, false),
        ] {
            assert_eq!(progress.would_be_best(&validation, Select::ValidationLoss), by_loss);
            assert_eq!(progress.would_be_best(&validation, Select::MacroF1), by_f1);
        }
    }

    #[test]
    fn patience_counts_the_epochs_since_the_best() {
        let config = TrainConfig { patience: Some(2), ..TrainConfig::default() };
        let mut progress = Progress::new(2);
        for (epoch, loss, best, over) in [
            (1, 1.0, true, false),
            (2, 1.1, false, false),
            (3, 0.9, true, false),
            (4, 0.9, false, false),
            (5, 1.0, false, true),
        ] {
            progress.next_epoch(record(epoch, loss, 0.5, best), 2);
            assert_eq!(progress.is_over(&config), over, "after epoch {epoch}");
        }
        assert_eq!(progress.best().map(|record| record.epoch), Some(3));
        assert!(!progress.is_over(&TrainConfig::default()), "no patience, no early end");
        assert!(progress.is_over(&TrainConfig { epochs: 5, ..TrainConfig::default() }));
    }

    #[test]
    fn a_start_that_is_hard_to_beat_does_not_end_the_training() {
        let config = TrainConfig { patience: Some(1), ..TrainConfig::default() };
        let mut progress = Progress::new(2);
        progress.begin(record(0, 0.1, 0.9, true));
        for (epoch, loss, over) in [(1, 0.9, false), (2, 0.5, false), (3, 0.6, true)] {
            assert!(!progress.would_be_best(&record(epoch, loss, 0.5, false).validation, config.select));
            progress.next_epoch(record(epoch, loss, 0.5, false), 2);
            assert_eq!(progress.is_over(&config), over, "after epoch {epoch}");
        }
        assert_eq!((progress.best().map(|record| record.epoch), progress.epoch), (Some(0), 3));
    }

    #[test]
    fn a_clock_of_nothing_has_rates_of_nothing() {
        assert_eq!(Clock::default().images_per_second(), 0.0);
        assert_eq!(Clock::default().data_wait_share(), 0.0);
    }

    #[test]
    fn progress_survives_json_bit_for_bit() {
        let mut progress = Progress::new(3);
        progress.next_epoch(record(1, 0.1 + 0.2, 1.0 / 3.0, true), 3);
        progress.clock.seconds = std::f64::consts::PI * 1e-7;
        let text = serde_json::to_string(&progress).unwrap();
        assert_eq!(serde_json::from_str::<Progress>(&text).unwrap(), progress);
    }
}

//! What a training tells whoever watches; the library itself prints nothing.

use std::path::Path;

use super::error::TrainError;
use super::progress::{EpochRecord, Progress};
use super::summary::Summary;

/// What is about to run.
#[derive(Clone, Copy, Debug)]
pub struct Started<'a> {
    /// The run directory; nothing for a trial, which leaves nothing behind.
    pub run: Option<&'a Path>,
    /// Epochs that are to be trained, those before a restart counted.
    pub epochs: usize,
    /// Training batches an epoch.
    pub batches: usize,
    /// Training images that every epoch leaves out, because a last batch of one image has no batch statistics: 0 or 1.
    pub left_out: usize,
    /// Where the training goes on; epoch 0, batch 0 for a new one.
    pub progress: &'a Progress,
    /// Tensors that were drawn from the seed although the training did not start from scratch: the new head.
    pub fresh: &'a [String],
}

/// A training step that was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Its epoch, from 1.
    pub epoch: usize,
    /// Its batch, from 1.
    pub batch: usize,
    /// Mean loss of the epoch so far.
    pub loss: f64,
    /// Accuracy of the epoch so far.
    pub accuracy: f64,
    /// Rate of the head.
    pub learning_rate: f64,
    /// Norm of all gradients before clipping.
    pub gradient_norm: f32,
    /// Images over training time in the epoch so far.
    pub images_per_second: f64,
}

/// Which images are being evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// After an epoch, or of the start.
    Validation,
    /// At the end, with the best weights.
    Test,
}

/// Watches a training. Every method may be left out.
pub trait Observer {
    /// The training begins or goes on.
    fn started(&mut self, started: &Started<'_>) {
        let _ = started;
    }

    /// A step was taken.
    fn step(&mut self, step: &StepReport) {
        let _ = step;
    }

    /// `done` of `batches` are evaluated.
    fn evaluating(&mut self, phase: Phase, done: usize, batches: usize) {
        let _ = (phase, done, batches);
    }

    /// An epoch is over, or the start is validated, and its checkpoint written.
    fn epoch(&mut self, record: &EpochRecord) {
        let _ = record;
    }

    /// A checkpoint was written in the middle of an epoch.
    fn checkpoint(&mut self, progress: &Progress) {
        let _ = progress;
    }

    /// Everything is over, and the summary written.
    fn finished(&mut self, summary: &Summary) {
        let _ = summary;
    }

    /// Something failed that the training can do without, and it goes on.
    fn setback(&mut self, error: &TrainError) {
        let _ = error;
    }
}

/// Watches nothing.
impl Observer for () {}

/// Watches for somebody else.
impl<O: Observer + ?Sized> Observer for &mut O {
    fn started(&mut self, started: &Started<'_>) {
        (**self).started(started);
    }

    fn step(&mut self, step: &StepReport) {
        (**self).step(step);
    }

    fn evaluating(&mut self, phase: Phase, done: usize, batches: usize) {
        (**self).evaluating(phase, done, batches);
    }

    fn epoch(&mut self, record: &EpochRecord) {
        (**self).epoch(record);
    }

    fn checkpoint(&mut self, progress: &Progress) {
        (**self).checkpoint(progress);
    }

    fn finished(&mut self, summary: &Summary) {
        (**self).finished(summary);
    }

    fn setback(&mut self, error: &TrainError) {
        (**self).setback(error);
    }
}

/// Watches where there is somebody.
impl<O: Observer> Observer for Option<O> {
    fn started(&mut self, started: &Started<'_>) {
        self.iter_mut().for_each(|observer| observer.started(started));
    }

    fn step(&mut self, step: &StepReport) {
        self.iter_mut().for_each(|observer| observer.step(step));
    }

    fn evaluating(&mut self, phase: Phase, done: usize, batches: usize) {
        self.iter_mut().for_each(|observer| observer.evaluating(phase, done, batches));
    }

    fn epoch(&mut self, record: &EpochRecord) {
        self.iter_mut().for_each(|observer| observer.epoch(record));
    }

    fn checkpoint(&mut self, progress: &Progress) {
        self.iter_mut().for_each(|observer| observer.checkpoint(progress));
    }

    fn finished(&mut self, summary: &Summary) {
        self.iter_mut().for_each(|observer| observer.finished(summary));
    }

    fn setback(&mut self, error: &TrainError) {
        self.iter_mut().for_each(|observer| observer.setback(error));
    }
}

/// Two watch, the first one first.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn started(&mut self, started: &Started<'_>) {
        self.0.started(started);
        self.1.started(started);
    }

    fn step(&mut self, step: &StepReport) {
        self.0.step(step);
        self.1.step(step);
    }

    fn evaluating(&mut self, phase: Phase, done: usize, batches: usize) {
        self.0.evaluating(phase, done, batches);
        self.1.evaluating(phase, done, batches);
    }

    fn epoch(&mut self, record: &EpochRecord) {
        self.0.epoch(record);
        self.1.epoch(record);
    }

    fn checkpoint(&mut self, progress: &Progress) {
        self.0.checkpoint(progress);
        self.1.checkpoint(progress);
    }

    fn finished(&mut self, summary: &Summary) {
        self.0.finished(summary);
        self.1.finished(summary);
    }

    fn setback(&mut self, error: &TrainError) {
        self.0.setback(error);
        self.1.setback(error);
    }
}

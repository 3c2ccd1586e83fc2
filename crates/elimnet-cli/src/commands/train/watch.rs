//! Tells how a training goes: a bar on a terminal, a line an epoch everywhere.

use elimnet::train::{EpochRecord, Observer, Phase, Scores, Started, StepReport, TrainError};

use crate::progress::Progress;

#[derive(Debug)]
pub(crate) struct Watch {
    progress: Progress,
    epochs: usize,
    batches: usize,
    /// Whether nothing but the bar is shown.
    quiet: bool,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self { progress: Progress::new(), epochs: 0, batches: 0, quiet: false }
    }

    /// For trainings of which only the end counts.
    pub(crate) fn quiet() -> Self {
        Self { quiet: true, ..Self::new() }
    }
}

impl Observer for Watch {
    fn started(&mut self, started: &Started<'_>) {
        (self.epochs, self.batches) = (started.epochs, started.batches);
        if self.quiet {
            return;
        }
        if let Some(run) = started.run {
            self.progress.line(&format!("run       {}", run.display()));
        }
        let progress = started.progress;
        if progress.epoch > 0 || progress.batch > 0 {
            let (epoch, batch) = (progress.epoch + 1, progress.batch);
            self.progress
                .line(&format!("resumed   in epoch {epoch}, after {batch} of {} steps", self.batches));
        }
        if started.left_out > 0 {
            self.progress.line("note      a last batch of one image is left out of every epoch");
        }
    }

    fn step(&mut self, step: &StepReport) {
        let what = format!(
            "epoch {}/{}  loss {:.4}  accuracy {:.1}%  {:.0} images/s",
            step.epoch,
            self.epochs,
            step.loss,
            step.accuracy * 100.0,
            step.images_per_second
        );
        self.progress.show(&what, step.batch as u64, self.batches as u64);
    }

    fn evaluating(&mut self, phase: Phase, done: usize, batches: usize) {
        let what = match phase {
            Phase::Validation => "validation",
            Phase::Test => "test",
        };
        self.progress.show(what, done as u64, batches as u64);
    }

    fn epoch(&mut self, record: &EpochRecord) {
        self.progress.clear();
        if !self.quiet {
            self.progress.line(&epoch_line(record, self.epochs));
        }
    }

    fn setback(&mut self, error: &TrainError) {
        self.progress.line(&format!("warning   {error}"));
    }

    fn finished(&mut self, _: &elimnet::train::Summary) {
        self.progress.clear();
    }
}

fn epoch_line(record: &EpochRecord, epochs: usize) -> String {
    let scores = |scores: &Scores| {
        format!("{:.4} / {:.2}% / {:.4}", scores.loss, scores.accuracy * 100.0, scores.macro_f1)
    };
    let validation = scores(&record.validation);
    let Some(train) = &record.train else {
        return format!("epoch   0/{epochs}  (the start)  validation {validation} (best)");
    };
    format!(
        "epoch {:>3}/{epochs}  train {}  validation {validation}{}  {:.1} s, {:.0} images/s, {:.0}% waiting",
        record.epoch,
        scores(train),
        if record.best { " (best)" } else { "" },
        record.seconds,
        record.images_per_second,
        record.data_wait_share * 100.0
    )
}

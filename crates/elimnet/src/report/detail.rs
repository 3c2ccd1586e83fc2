//! Everything about one finished run that a page shows.

use std::path::Path;

use elimnet_arch::zoo;

use super::environment::{ENVIRONMENT_FILE, Environment};
use super::run::{ReportError, RunResult, read_json};
use crate::evaluate::Mistake;
use crate::train::{EpochRecord, RunDirectory, RunRecord, Summary};

/// A run that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct RunDetail {
    /// What it is and how good, in short.
    pub result: RunResult,
    /// What it came to.
    pub summary: Summary,
    /// What it was set up with.
    pub record: RunRecord,
    /// Its epochs.
    pub history: Vec<EpochRecord>,
    /// Test images that it is most wrong about; nothing where the run did not keep any.
    pub mistakes: Option<Vec<Mistake>>,
    /// Where it ran; nothing where the run did not say.
    pub environment: Option<Environment>,
    /// What the uncut network would be.
    pub uncut: Option<Uncut>,
}

/// Size of the pretrained network that a run's was cut from, with as many classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncut {
    /// Its name.
    pub name: String,
    /// Trained numbers.
    pub parameters: usize,
    /// Multiply-adds for one image of the run's size; nothing where such an image does not fit it.
    pub multiply_adds: Option<u64>,
}

impl RunDetail {
    /// Reads a run directory.
    ///
    /// # Errors
    /// If it is not the directory of a run that has ended.
    pub fn read(directory: &Path) -> Result<Self, ReportError> {
        let result = RunResult::read(directory)?;
        let run = RunDirectory::open(directory)?;
        let unfinished = || ReportError::Unfinished { run: directory.to_owned() };
        let (summary, record) = (run.summary()?.ok_or_else(unfinished)?, run.record()?);
        Ok(Self {
            uncut: Uncut::of(&record, summary.image_size),
            history: run.metrics()?,
            mistakes: run.mistakes()?,
            environment: read_json(&directory.join(ENVIRONMENT_FILE))?,
            result,
            summary,
            record,
        })
    }

    /// Macro-F1 to compare by: on the test images, else on the validation images.
    #[must_use]
    pub fn macro_f1(&self) -> f64 {
        self.summary.test.as_ref().map_or(self.summary.validation.macro_f1, |test| test.macro_f1)
    }

    /// Which images [`RunDetail::macro_f1`] is about.
    #[must_use]
    pub fn judged_on(&self) -> &'static str {
        if self.summary.test.is_some() { "test" } else { "validation" }
    }

    /// Milliseconds an image, where `elimnet inference` measured it.
    #[must_use]
    pub fn latency_ms(&self) -> Option<f64> {
        self.result.timing.as_ref().map(|timing| timing.seconds_per_image * 1e3)
    }
}

impl Uncut {
    fn of(record: &RunRecord, image_size: usize) -> Option<Self> {
        let network = &record.setup.network;
        let name = network.pretrained_as.as_deref()?;
        let uncut = zoo::by_name(name, network.classes())?;
        let multiply_adds = uncut.multiply_adds(uncut.input_shape(image_size)).ok();
        Some(Self { name: name.to_owned(), parameters: uncut.parameters(), multiply_adds })
    }
}

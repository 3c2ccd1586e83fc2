//! What is on disk, before files are checked and splits are made.

use std::path::PathBuf;

use super::error::SkippedFile;
use super::sample::Sample;

/// Samples as their source arranges them; a split that it does not have is `None`.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) root: PathBuf,
    pub(crate) classes: Vec<String>,
    pub(crate) train: Vec<Sample>,
    pub(crate) validation: Option<Vec<Sample>>,
    pub(crate) test: Option<Vec<Sample>>,
    pub(crate) skipped: Vec<SkippedFile>,
}

impl Found {
    /// The samples of all splits.
    pub(crate) fn samples_mut(&mut self) -> impl Iterator<Item = &mut Sample> {
        let others = [&mut self.validation, &mut self.test].into_iter().flatten();
        std::iter::once(&mut self.train).chain(others).flatten()
    }
}

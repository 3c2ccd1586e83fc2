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

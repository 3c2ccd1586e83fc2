//! From directories to a page.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::findings::Findings;
use super::page;
use super::run::ReportError;
use crate::weights::write_atomically;

/// Name of the page in a run directory.
pub const REPORT_FILE: &str = "report.html";

/// What a page is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    findings: Vec<Findings>,
}

impl Report {
    /// About these directories, in this order.
    #[must_use]
    pub fn new(findings: Vec<Findings>) -> Self {
        Self { findings }
    }

    /// The page: one file without anything from elsewhere, light and dark.
    #[must_use]
    pub fn html(&self) -> String {
        match &self.findings[..] {
            [findings] => page::of_one(findings),
            all => page::of_several(all),
        }
    }

    /// Writes the page; on an error what was at `path` is still there.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn write(&self, path: &Path) -> Result<(), ReportError> {
        let html = self.html();
        Ok(write_atomically(path, |file| file.write_all(html.as_bytes()))?)
    }
}

/// Writes a directory's own page into it.
///
/// # Errors
/// As [`Findings::read`] and [`Report::write`].
pub fn write_report(directory: &Path) -> Result<PathBuf, ReportError> {
    let path = directory.join(REPORT_FILE);
    Report::new(vec![Findings::read(directory)?]).write(&path)?;
    Ok(path)
}

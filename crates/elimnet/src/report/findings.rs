//! What a directory holds: a run, a scan, or an elimination, whose directory is its winner's run.

use std::path::Path;

use super::detail::RunDetail;
use super::environment::{ENVIRONMENT_FILE, Environment};
use super::run::{ReportError, read_json};
use crate::eliminate::EliminationRecord;
use crate::scan::ScanRecord;

/// Name of the file that `elimnet scan` and `elimnet eliminate` write their scans into.
pub const SCAN_FILE: &str = "scan.json";

/// Name of the file that `elimnet eliminate` writes into the winner's run directory.
pub const ELIMINATION_FILE: &str = "elimination.json";

/// Everything that a page can show of one directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    /// The directory's name.
    pub name: String,
    /// The training, where there was one.
    pub run: Option<RunDetail>,
    /// A record for each backbone and image size that was scanned.
    pub scans: Vec<ScanRecord>,
    /// What an elimination came to.
    pub elimination: Option<EliminationRecord>,
    /// Where it was made; nothing where the directory does not say.
    pub environment: Option<Environment>,
}

impl Findings {
    /// Reads a directory.
    ///
    /// # Errors
    /// If it holds neither a run that has ended nor a scan, or a file in it can't be understood.
    pub fn read(directory: &Path) -> Result<Self, ReportError> {
        let directory = fs_err::canonicalize(directory)?; // exp/latest is named after what it points at
        let scans: Option<Vec<ScanRecord>> = read_json(&directory.join(SCAN_FILE))?;
        let run = match RunDetail::read(&directory) {
            Err(_) if scans.is_some() && !directory.join("run.json").exists() => None,
            run => Some(run?),
        };
        Ok(Self {
            name: directory.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            run,
            scans: scans.unwrap_or_default(),
            elimination: read_json(&directory.join(ELIMINATION_FILE))?,
            environment: read_json(&directory.join(ENVIRONMENT_FILE))?,
        })
    }
}

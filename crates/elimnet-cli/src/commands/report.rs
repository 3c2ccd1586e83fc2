//! `elimnet report`: a page about runs.

use std::path::{Path, PathBuf};

use elimnet::report::{Findings, REPORT_FILE, Report, write_report};

use super::compare::read_each;
use crate::args::ReportArgs;
use crate::failure;
use crate::output;
use crate::progress::say;

pub(crate) fn run(args: &ReportArgs) -> anyhow::Result<()> {
    let found = read_each(&args.runs, |directory| {
        Ok((fs_err::canonicalize(directory)?, Findings::read(directory)?))
    })?;
    let path = match (&args.output, &found[..]) {
        (Some(output), _) => output.clone(),
        (None, [(directory, _)]) => directory.join(REPORT_FILE),
        (None, _) => PathBuf::from(REPORT_FILE),
    };
    Report::new(found.into_iter().map(|(_, findings)| findings).collect()).write(&path)?;
    Ok(output::text(&format!("{}\n", path.display()))?)
}

/// Writes the page of a directory whose results are safe already: without it they still are.
pub(crate) fn write_own(directory: &Path) {
    match write_report(directory) {
        Ok(path) => say(&format!("report    {}", path.display())),
        Err(error) => say(&format!("warning   there is no report: {}", failure::message(&error.into()))),
    }
}

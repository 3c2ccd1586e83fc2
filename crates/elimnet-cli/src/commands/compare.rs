//! `elimnet compare`: the seed's tables.

use std::path::{Path, PathBuf};

use elimnet::report::{Comparison, ReportError, RunResult, comparisons};

use crate::args::{CompareArgs, TableFormat};
use crate::output;
use crate::progress::say;

pub(crate) fn run(args: &CompareArgs) -> anyhow::Result<()> {
    let runs = read_each(&args.runs, RunResult::read)?;
    match args.format {
        TableFormat::Json => output::json(&runs),
        TableFormat::Markdown => {
            let tables: Vec<String> = comparisons(&runs).iter().map(Comparison::markdown).collect();
            Ok(output::text(&tables.join("\n"))?)
        }
    }
}

/// Each run once, though `exp/*` names the newest twice, and only those that are over, though one must be.
pub(crate) fn read_each<T>(
    directories: &[PathBuf],
    read: impl Fn(&Path) -> Result<T, ReportError>,
) -> anyhow::Result<Vec<T>> {
    let mut seen = Vec::new();
    let mut runs = Vec::new();
    let mut unfinished = None;
    for directory in directories {
        let place = fs_err::canonicalize(directory)?;
        if seen.contains(&place) {
            continue;
        }
        seen.push(place);
        match read(directory) {
            Ok(run) => runs.push(run),
            Err(error @ ReportError::Unfinished { .. }) => {
                say(&format!("left out: {error}"));
                unfinished.get_or_insert(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    match unfinished {
        Some(error) if runs.is_empty() => Err(error.into()),
        _ => Ok(runs),
    }
}

//! `elimnet compare`: the seed's tables.

use elimnet::report::{Comparison, RunResult, comparisons};

use crate::args::{CompareArgs, TableFormat};
use crate::output;

pub(crate) fn run(args: &CompareArgs) -> anyhow::Result<()> {
    let runs = args.runs.iter().map(|run| RunResult::read(run)).collect::<Result<Vec<_>, _>>()?;
    match args.format {
        TableFormat::Json => output::json(&runs),
        TableFormat::Markdown => {
            let tables: Vec<String> = comparisons(&runs).iter().map(Comparison::markdown).collect();
            Ok(output::text(&tables.join("\n"))?)
        }
    }
}

//! `elimnet eliminate`: from images and a budget to a run that is worth having.

mod text;

use std::collections::BTreeSet;
use std::path::Path;

use elimnet::eliminate::{Budget, EliminateOptions, EliminationError, NetworkRecord, eliminate};
use elimnet::report::{ELIMINATION_FILE, SCAN_FILE};
use elimnet::scan::{AnchorOptions, Place, Recipe, ScanError, ScanEvent};
use elimnet::train::TensorBoard;

use super::Ending;
use super::report::write_own;
use super::scan::{Subject, Teller, check_output, write_record};
use super::train::watch::Watch;
use super::train::{interrupt_flag, tell_failure};
use crate::args::{BudgetArgs, EliminateArgs, Format};
use crate::device;
use crate::failure::{self, hinted};
use crate::output;
use crate::progress::say;

pub(crate) fn run(args: &EliminateArgs) -> anyhow::Result<Ending> {
    match search(args) {
        Ok(()) => Ok(Ending::Done),
        Err(error) => match error.downcast_ref() {
            Some(EliminationError::Infeasible { .. }) => {
                failure::report(&error);
                Ok(Ending::No)
            }
            Some(EliminationError::Scan(ScanError::Interrupted)) => {
                say(
                    "interrupted; the features are kept, and runs of full fine-tunes are in the output folder",
                );
                Ok(Ending::Interrupted)
            }
            _ => Err(error),
        },
    }
}

fn search(args: &EliminateArgs) -> anyhow::Result<()> {
    let device = device::open(&args.device)?;
    let budget = budget(&args.budget)?;
    check_output(&args.output)?;
    let mut subject = Subject::find(&args.data, &args.candidates, args.epochs.map(|epochs| epochs as usize))?;
    // The runs must be resumable from any directory.
    subject.data.data_path = fs_err::canonicalize(&subject.data.data_path)?;
    let options = EliminateOptions {
        budget,
        cuts: args.cuts.clone(),
        anchors: AnchorOptions {
            count: args.anchors as usize,
            epochs: (args.candidates.anchor_epochs as usize).min(subject.config.epochs),
        },
        candidates: args.finalists as usize,
        seeds: args.seeds as usize,
        distill: args.distill,
        prove: !args.no_proof,
        root: args.output.clone(),
    };
    let (interrupt, mut teller) = (interrupt_flag()?, Teller::new());
    let mut watch = (Watch::quiet(), args.tensorboard.then(TensorBoard::new));
    let mut events = |event: ScanEvent<'_>| teller.tell(event);
    let mut place =
        Place { dataset: &subject.dataset, device: &device, events: &mut events, interrupt: &interrupt };
    let mut recipe = Recipe {
        config: subject.config.clone(),
        augment_train: subject.data.augment_train,
        attachments: vec![
            ("data.yml".to_owned(), subject.data.to_yaml()),
            device::environment(&device).attachment(),
        ],
        observer: &mut watch,
    };
    let pairs: Vec<_> = subject.pairs().collect();
    let found = eliminate(&pairs, &options, &mut recipe, &mut place)?;
    teller.clear();
    if let Some(run) = &found.record.winner.run {
        write_record(run, SCAN_FILE, &found.scans)?;
        write_record(run, ELIMINATION_FILE, &found.record)?;
    }
    tell_failure(&mut watch.1);
    let NetworkRecord { seeds, .. } = &found.record.winner;
    let others = [&found.record.uncut, &found.record.baseline];
    let runs: BTreeSet<&Path> = seeds
        .iter()
        .chain(others.iter().flat_map(|other| &other.seeds))
        .map(|seed| seed.run.as_path())
        .collect();
    runs.into_iter().for_each(write_own);
    match args.format {
        Format::Json => output::json(&found.record),
        Format::Text => Ok(output::text(&text::text(&found.record))?),
    }
}

fn budget(args: &BudgetArgs) -> anyhow::Result<Budget> {
    let positive = |name: &str, value: Option<f64>| match value {
        Some(value) if !(value.is_finite() && value > 0.0) => {
            Err(hinted(format!("{name} is {value}, expected more than 0"), "leave it out for no limit"))
        }
        value => Ok(value),
    };
    let drop = args.max_f1_drop;
    if drop.is_some_and(|drop| !(0.0..=1.0).contains(&drop)) {
        let message = format!("--max-f1-drop is {}, expected 0 to 1", drop.unwrap_or_default());
        return Err(hinted(message, "0.01 means one hundredth of macro-F1"));
    }
    Ok(Budget {
        max_parameters: args.max_params.as_deref().map(count).transpose()?,
        max_latency_ms: positive("--max-latency-ms", args.max_latency_ms)?,
        max_file_bytes: positive("--max-mb", args.max_mb)?.map(|megabytes| (megabytes * 1e6) as u64),
        max_f1_drop: drop,
    })
}

/// `250k`, `1M`, `1.5M`, `100000`.
fn count(text: &str) -> anyhow::Result<u64> {
    let (digits, scale) = match text.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G']) {
        digits if digits.len() == text.len() => (digits, 1.0),
        digits => (
            digits,
            match &text[digits.len()..] {
                "k" | "K" => 1e3,
                "m" | "M" => 1e6,
                "g" | "G" => 1e9,
                _ => f64::NAN,
            },
        ),
    };
    match digits.parse::<f64>().map(|number| number * scale) {
        Ok(number) if number.is_finite() && number >= 1.0 => Ok(number as u64),
        _ => Err(hinted(
            format!("--max-params is `{text}`, expected a number of parameters"),
            "write 1M, 250k or 250000",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_suffixes() {
        for (text, expected) in
            [("250k", Some(250_000)), ("1M", Some(1_000_000)), ("1.5m", Some(1_500_000)), ("7", Some(7))]
        {
            assert_eq!(count(text).ok(), expected, "{text}");
        }
        for text in ["", "M", "many", "-1k", "0", "1kk", "1e400", "NaN"] {
            assert!(count(text).is_err(), "{text}");
        }
    }
}

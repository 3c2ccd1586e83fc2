//! Short fine-tunes at a few depths, which turn probes into predictions.

use std::time::Instant;

use super::backbone::Backbone;
use super::bootstrap::macro_f1_of;
use super::correction::{Anchor, Query, predict};
use super::error::ScanError;
use super::features::labels;
use super::record::{AnchorRecord, CutRecord};
use super::run::{Candidate, Place, Scan, ScanOptions};
use super::tune::{FineTune, FineTuning, Recipe, try_out};

/// How many short fine-tunes, and how short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnchorOptions {
    /// Depths, spread evenly up to the deepest one.
    pub count: usize,
    /// Epochs of each.
    pub epochs: usize,
}

/// Fine-tunes a few cuts for a short time and predicts from their gains what every candidate will come to.
///
/// Only cuts that `eligible` accepts are fine-tuned.
///
/// # Errors
/// If a fine-tune fails or is interrupted.
pub fn correct(
    scan: &mut Scan,
    backbone: &Backbone,
    options: &ScanOptions,
    anchors: AnchorOptions,
    eligible: &dyn Fn(&CutRecord) -> bool,
    recipe: &mut Recipe<'_>,
    place: &mut Place<'_>,
) -> Result<(), ScanError> {
    let truth = labels(&place.dataset.validation);
    let classes = place.dataset.classes.len();
    let score = |predicted: &[usize]| {
        let all: Vec<usize> = (0..truth.len()).collect();
        macro_f1_of(&all, &truth, predicted, classes)
    };
    let cuts = &scan.record.cuts;
    let possible: Vec<usize> =
        (0..cuts.len()).filter(|&line| cuts[line].is_plain() && eligible(&cuts[line])).collect();
    let mut measured = Vec::new();
    let mut records = Vec::new();
    let (lines, seed) = (spread(&possible, anchors.count), recipe.config.seed);
    if let Some(&deepest) = lines.last() {
        let how = FineTuning::new(backbone, options, recipe);
        scan.settle_up_to(scan.record.cuts[deepest].index, &how, place)?;
    }
    for line in lines {
        let began = Instant::now();
        let network = scan.candidates[line].network.clone();
        let start = scan.start(line, &network, &FineTuning::new(backbone, options, recipe), seed, place)?;
        let wanted = FineTune {
            backbone,
            options,
            network: &network,
            start: &start,
            epochs: anchors.epochs,
            seed,
            purpose: "anchor",
        };
        let trial = try_out(&wanted, recipe, place)?;
        let tuned = trial.validation.clone();
        scan.tried.insert(line, trial);
        let (cut, candidate) = (&scan.record.cuts[line], &scan.candidates[line]);
        records.push(AnchorRecord {
            name: cut.name.clone(),
            index: cut.index,
            epochs: anchors.epochs,
            probe_macro_f1: score(&candidate.predicted),
            tuned_macro_f1: score(&tuned),
            seconds: began.elapsed().as_secs_f64(),
        });
        measured.push(Anchor { depth: cut.index, probe: candidate.predicted.clone(), tuned });
    }
    let query = |(cut, candidate): (&CutRecord, &Candidate)| Query {
        depth: cut.index,
        probe: [&candidate.predicted[..], &candidate.left_out].concat(),
    };
    let queries: Vec<Query> = scan.record.cuts.iter().zip(&scan.candidates).map(query).collect();
    let all = [&truth[..], &labels(&place.dataset.train)].concat();
    let predicted = predict(&measured, &queries, &all, truth.len(), classes, options.seed);
    for (cut, estimate) in scan.record.cuts.iter_mut().zip(predicted) {
        cut.predicted_macro_f1 = (!measured.is_empty()).then_some(estimate);
    }
    scan.record.seconds += records.iter().map(|record| record.seconds).sum::<f64>();
    scan.record.anchors = records;
    Ok(())
}

/// `count` of the items, evenly, the last one among them.
fn spread(items: &[usize], count: usize) -> Vec<usize> {
    let count = count.min(items.len());
    (1..=count).map(|part| items[part * items.len() / count - 1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_spread_up_to_the_deepest_cut() {
        let items: Vec<usize> = (10..19).collect();
        for (count, expected) in [
            (0, vec![]),
            (1, vec![18]),
            (3, vec![12, 15, 18]),
            (4, vec![11, 13, 15, 18]),
            (99, items.clone()),
        ] {
            assert_eq!(spread(&items, count), expected);
        }
        assert_eq!(spread(&[], 3), [] as [usize; 0]);
    }
}

//! What an elimination came to, in the form that other tools rely on: `elimnet eliminate --format json`, and
//! `elimination.json` in the winner's run directory.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::budget::Budget;
use crate::scan::Estimate;

/// The winner and how it compares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EliminationRecord {
    /// The network that was chosen, fine-tuned in full.
    pub winner: NetworkRecord,
    /// The uncut network of the backbone that was expected to be best.
    pub uncut: NetworkRecord,
    /// The static baseline: the deepest cut that fits the budget.
    pub baseline: NetworkRecord,
    /// Every network that was fine-tuned for a while, best expected first.
    pub considered: Vec<Considered>,
    /// Time for everything.
    pub seconds: f64,
    /// Time of that until the winner was trained: scans, anchors, halving, one full fine-tune.
    pub search_seconds: f64,
    /// Which images the final scores are about: `test`, or `validation` where there are no test images.
    pub split: String,
    /// How many images those are.
    pub images: usize,
    /// What was allowed.
    pub budget: Budget,
    /// Epochs of the full fine-tunes.
    pub epochs: usize,
    /// Baseline's minus winner's macro-F1 on the same images: negative where the winner is better.
    pub regret: Option<Estimate>,
    /// The winner beside the uncut network.
    pub against_uncut: Option<Comparison>,
    /// The winner beside the baseline; nothing where it is the baseline.
    pub against_baseline: Option<Comparison>,
}

/// A network with what it costs and what it is worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// Its run directory, of the first seed; nothing where it was not trained.
    pub run: Option<PathBuf>,
    /// The backbone.
    pub backbone: String,
    /// Where it is cut; nothing for the uncut network.
    pub cut: Option<String>,
    /// Side of the images.
    pub image_size: usize,
    /// Trained numbers.
    pub parameters: usize,
    /// Multiply-adds for one image.
    pub multiply_adds: u64,
    /// Bytes of the model file.
    pub file_bytes: u64,
    /// Median time in milliseconds by number of images at once, end to end where it was trained.
    pub latency_ms: BTreeMap<usize, f64>,
    /// What was expected after the scan.
    pub predicted_macro_f1: Option<Estimate>,
    /// Mean of the seeds' macro-F1.
    pub macro_f1: Option<f64>,
    /// Lower end of its 95 % interval, over images and seeds.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Each seed's run and score.
    pub seeds: Vec<SeedRecord>,
}

/// One full fine-tune.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedRecord {
    /// Its seed.
    pub seed: u64,
    /// Its run directory.
    pub run: PathBuf,
    /// Its macro-F1 on the final images.
    pub macro_f1: f64,
    /// Its macro-F1 on the validation images, in the best epoch.
    pub validation_macro_f1: f64,
    /// Time of the training.
    pub seconds: f64,
}

/// A network on the way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Considered {
    /// The backbone.
    pub backbone: String,
    /// Where it is cut.
    pub cut: String,
    /// Side of the images.
    pub image_size: usize,
    /// Trained numbers.
    pub parameters: usize,
    /// Measured in the scan.
    pub latency_ms: BTreeMap<usize, f64>,
    /// Macro-F1 of the probe.
    pub probe_macro_f1: f64,
    /// What was expected after the scan.
    pub predicted_macro_f1: Option<Estimate>,
    /// Short fine-tunes, in the order in which they were made.
    pub rungs: Vec<Rung>,
}

/// A fine-tune of successive halving.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rung {
    /// Its epochs.
    pub epochs: usize,
    /// Macro-F1 on the validation images.
    pub macro_f1: f64,
}

/// The winner beside another network, on the same images and machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Winner's minus the other's macro-F1.
    pub macro_f1_difference: Estimate,
    /// Whether that is outside the noise.
    pub macro_f1: Verdict,
    /// Winner's over the other's time, by number of images at once.
    pub latency_ratio: BTreeMap<usize, Estimate>,
    /// Whether one image alone is classified faster or slower, outside the noise; higher is slower.
    pub latency: Verdict,
    /// Winner's over the other's parameters.
    pub parameters_ratio: f64,
    /// Winner's over the other's model file.
    pub file_bytes_ratio: f64,
}

/// What an interval allows to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All of it is above the point of equality.
    Higher,
    /// All of it is below.
    Lower,
    /// It contains the point of equality: no claim.
    WithinNoise,
}

impl Verdict {
    /// Of an estimate whose point of equality is `equal`.
    #[must_use]
    pub fn of(estimate: &Estimate, equal: f64) -> Self {
        match estimate {
            Estimate { low, .. } if *low > equal => Self::Higher,
            Estimate { high, .. } if *high < equal => Self::Lower,
            _ => Self::WithinNoise,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_claimed_inside_the_noise() {
        let verdict = |low, high| Verdict::of(&Estimate { value: (low + high) / 2.0, low, high }, 0.0);
        assert_eq!(verdict(0.01, 0.02), Verdict::Higher);
        assert_eq!(verdict(-0.02, -0.01), Verdict::Lower);
        assert_eq!(verdict(-0.01, 0.03), Verdict::WithinNoise);
        assert_eq!(verdict(0.0, 0.03), Verdict::WithinNoise);
        assert_eq!(verdict(f64::NAN, f64::NAN), Verdict::WithinNoise);
    }
}

//! Training, validation and test samples, and how they are told apart where the data don't say.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::found::Found;
use super::sample::Sample;
use crate::random::{Purpose, Random};

/// Share of the test split, and of the validation split where the caller gives none.
pub(crate) const DEFAULT_RATIO: f32 = 0.15;

/// Samples that are used together.
#[derive(Clone, Debug, Default)]
pub struct Split {
    /// The samples, in the order of their names within their classes.
    pub samples: Vec<Sample>,
}

impl Split {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Number of samples of each of `classes` classes.
    ///
    /// # Panics
    /// If a label is not below `classes`.
    pub fn counts(&self, classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        for sample in &self.samples {
            counts[sample.label] += 1;
        }
        counts
    }
}

/// Which sample is in which split, by name: what a run saves to find the same splits again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitNames {
    /// Names of the training samples.
    pub train: Vec<String>,
    /// Names of the validation samples.
    pub validation: Vec<String>,
    /// Names of the test samples.
    pub test: Vec<String>,
}

/// Train, validation, test.
pub(crate) type Splits = [Split; 3];

/// The splits that the folders make, with what they lack taken from train, class by class.
pub(crate) fn divide(found: Found, ratio: Option<f32>, seed: u64) -> Result<Splits, DataError> {
    let ratio = ratio.unwrap_or(DEFAULT_RATIO);
    if !(ratio > 0.0 && ratio < 0.8) {
        return Err(DataError::Ratio { found: ratio });
    }
    let Found { classes, train, validation, test, .. } = found;
    let (shares, purpose) = match (&validation, &test) {
        (Some(_), _) => {
            return Ok([train, validation.unwrap_or_default(), test.unwrap_or_default()].map(split));
        }
        (None, Some(_)) => ([ratio, 0.0], "have some to train and some to validate on"),
        (None, None) => ([ratio, DEFAULT_RATIO], "have some to train, to validate and to test on"),
    };
    let [train, validation, drawn_test] = draw(train, &classes, shares, purpose, seed)?;
    Ok([train, validation, test.map_or(drawn_test, split)])
}

fn split(samples: Vec<Sample>) -> Split {
    Split { samples }
}

/// Draws `shares` of every class, at least one image each, for validation and test.
fn draw(
    samples: Vec<Sample>,
    classes: &[String],
    shares: [f32; 2],
    purpose: &'static str,
    seed: u64,
) -> Result<Splits, DataError> {
    let needed = 1 + shares.iter().filter(|&&share| share > 0.0).count();
    let mut target = vec![0usize; samples.len()];
    for (label, class) in classes.iter().enumerate() {
        let mut members: Vec<usize> =
            (0..samples.len()).filter(|&index| samples[index].label == label).collect();
        let found = members.len();
        if found < needed {
            return Err(DataError::TooFewImages { class: class.clone(), found, needed, purpose });
        }
        Random::new(seed, Purpose::Split, [label as u64, 0]).shuffle(&mut members);
        let [validation, test] = counts(found, shares);
        members[..validation].iter().for_each(|&index| target[index] = 1);
        members[validation..validation + test].iter().for_each(|&index| target[index] = 2);
    }
    let mut splits = Splits::default();
    for (sample, target) in samples.into_iter().zip(target) {
        splits[target].samples.push(sample);
    }
    Ok(splits)
}

/// How many of `found` go to validation and to test, so that one is left to train on.
fn counts(found: usize, shares: [f32; 2]) -> [usize; 2] {
    let wanted = |share: f32| if share > 0.0 { ((found as f32 * share).round() as usize).max(1) } else { 0 };
    let test = wanted(shares[1]);
    let validation = wanted(shares[0]).min(found - test - 1);
    [validation, test]
}

/// The splits of a former run.
pub(crate) fn restore(found: Found, names: &SplitNames) -> Result<Splits, DataError> {
    let all = found
        .train
        .into_iter()
        .chain(found.validation.unwrap_or_default())
        .chain(found.test.unwrap_or_default());
    let by_name: HashMap<String, Sample> = all.map(|sample| (sample.name().to_owned(), sample)).collect();
    let take = |split: &'static str, names: &[String]| -> Result<Split, DataError> {
        let sample = |name: &String| {
            let missing = || DataError::SplitChanged { split, name: name.clone(), path: found.root.clone() };
            by_name.get(name).cloned().ok_or_else(missing)
        };
        Ok(Split { samples: names.iter().map(sample).collect::<Result<_, _>>()? })
    };
    Ok([take("train", &names.train)?, take("validation", &names.validation)?, take("test", &names.test)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_keeps_something_to_train_on() {
        for found in 3..200 {
            for share in [0.01, 0.15, 0.5, 0.79] {
                let [validation, test] = counts(found, [share, 0.15]);
                assert!(validation >= 1 && test >= 1 && validation + test < found, "{found} at {share}");
            }
        }
        assert_eq!(counts(100, [0.15, 0.15]), [15, 15]);
        assert_eq!(counts(2, [0.1, 0.0]), [1, 0]);
    }
}

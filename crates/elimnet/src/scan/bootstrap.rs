//! Intervals by resampling: how much a score owes to the images that happened to be in the split.
//!
//! Images are drawn with replacement within their class, because the splits are drawn class by class; an interval lies
//! between the 2.5th and the 97.5th percentile of the resamples' scores. All scores on one split use the same
//! resamples, so that differences between networks are paired.
//!
//! # Source
//! Efron & Tibshirani, *An Introduction to the Bootstrap*, 1993, chapters 8 and 13.

use serde::{Deserialize, Serialize};

use crate::evaluate::Confusion;
use crate::random::{Purpose, Random};

/// Resamples of an interval.
pub const RESAMPLES: usize = 1000;

/// The middle 95 % of a bootstrapped score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// 2.5th percentile.
    pub low: f64,
    /// 97.5th percentile.
    pub high: f64,
}

impl Interval {
    /// The middle 95 % of `scores`; both ends NaN where there are none.
    #[must_use]
    pub fn of(mut scores: Vec<f64>) -> Self {
        scores.sort_by(f64::total_cmp);
        Self { low: quantile(&scores, 0.025), high: quantile(&scores, 0.975) }
    }

    /// Whether `value` is within.
    #[must_use]
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// Between the two nearest of the ascending `scores`, as numpy's default.
pub(crate) fn quantile(scores: &[f64], share: f64) -> f64 {
    let Some(last) = scores.len().checked_sub(1) else { return f64::NAN };
    let place = share * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    scores[below] + (place - below as f64) * (scores[above] - scores[below])
}

/// Draws images with replacement, class by class.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Images of each class.
    strata: Vec<Vec<usize>>,
    seed: u64,
}

impl Bootstrap {
    /// Resamples of images with these classes.
    #[must_use]
    pub fn new(labels: &[usize], seed: u64) -> Self {
        let classes = labels.iter().max().map_or(0, |largest| largest + 1);
        let mut strata = vec![Vec::new(); classes];
        labels.iter().enumerate().for_each(|(index, &label)| strata[label].push(index));
        Self { strata, seed }
    }

    /// The images of resample `number`, as many as there are.
    #[must_use]
    pub fn draw(&self, number: usize) -> Vec<usize> {
        let mut random = Random::new(self.seed, Purpose::Bootstrap, [number as u64, 0]);
        let mut images = Vec::with_capacity(self.strata.iter().map(Vec::len).sum());
        for stratum in &self.strata {
            images.extend(stratum.iter().map(|_| stratum[random.below(stratum.len())]));
        }
        images
    }

    /// A score of each of [`RESAMPLES`] resamples.
    #[must_use]
    pub fn scores(&self, score: impl Fn(&[usize]) -> f64) -> Vec<f64> {
        (0..RESAMPLES).map(|number| score(&self.draw(number))).collect()
    }
}

/// Macro-F1 of the predictions for some images, each as often as it is named.
#[must_use]
pub fn macro_f1_of(images: &[usize], labels: &[usize], predicted: &[usize], classes: usize) -> f64 {
    let mut confusion = Confusion::new(classes);
    images.iter().for_each(|&image| confusion.add(labels[image], predicted[image]));
    confusion.macro_f1()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_numpys() {
        let scores = [1.0, 2.0, 4.0, 8.0];
        // numpy.quantile([1, 2, 4, 8], [0, .025, .5, .975, 1])
        for (share, expected) in [(0.0, 1.0), (0.025, 1.075), (0.5, 3.0), (0.975, 7.7), (1.0, 8.0)] {
            assert!((quantile(&scores, share) - expected).abs() < 1e-12, "{share}");
        }
        assert!(quantile(&[], 0.5).is_nan());
        assert_eq!(Interval::of(vec![3.0]), Interval { low: 3.0, high: 3.0 });
    }

    #[test]
    fn a_resample_keeps_the_size_of_every_class() {
        let labels = [2, 0, 2, 2, 0];
        let bootstrap = Bootstrap::new(&labels, 1);
        let mut seen = std::collections::HashSet::new();
        for number in 0..50 {
            let images = bootstrap.draw(number);
            assert_eq!(images.iter().filter(|&&image| labels[image] == 2).count(), 3);
            assert_eq!(images.len(), 5);
            seen.insert(images);
        }
        assert!(seen.len() > 10, "{seen:?}");
        assert_eq!(bootstrap.draw(7), Bootstrap::new(&labels, 1).draw(7));
    }

    /// Classifiers with known error rates: the interval of macro-F1 has to cover that of infinitely many images about
    /// 95 times in 100.
    #[test]
    fn intervals_cover_the_truth_as_often_as_they_say() {
        // Probability of each prediction by class.
        let rates = [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.05, 0.15, 0.8]];
        let sizes = [80, 60, 40];
        let truth = {
            let mut confusion = Confusion::new(3);
            for (class, rates) in rates.iter().enumerate() {
                for (predicted, rate) in rates.iter().enumerate() {
                    let images = (rate * sizes[class] as f64).round() as usize;
                    (0..images).for_each(|_| confusion.add(class, predicted));
                }
            }
            confusion.macro_f1()
        };
        let labels: Vec<usize> = (0..3).flat_map(|class| vec![class; sizes[class]]).collect();
        let trials = 200;
        let covers = |trial: usize| {
            let mut random = Random::named(trial as u64, "coverage");
            let guess = |label: &usize| {
                let draw = random.unit();
                if draw < rates[*label][0] {
                    0
                } else {
                    1 + usize::from(draw >= rates[*label][0] + rates[*label][1])
                }
            };
            let predicted: Vec<usize> = labels.iter().map(guess).collect();
            let bootstrap = Bootstrap::new(&labels, trial as u64);
            let score = |number| macro_f1_of(&bootstrap.draw(number), &labels, &predicted, 3);
            // A fifth of the usual resamples is enough to see the coverage.
            Interval::of((0..RESAMPLES / 5).map(score).collect()).contains(truth)
        };
        let share = (0..trials).filter(|&trial| covers(trial)).count() as f64 / trials as f64;
        // Three standard deviations of a share of 0.95 in 200 trials are 0.046, and percentiles run a little short.
        assert!((0.89..=0.99).contains(&share), "{share}");
    }
}

//! Scores of several seeds on the same images, with intervals over both.

use crate::random::{Purpose, Random};
use crate::scan::{Bootstrap, Estimate, Interval, RESAMPLES, macro_f1_of};

/// True classes of the final images, and how to resample them.
#[derive(Clone, Debug)]
pub(crate) struct Judgement {
    labels: Vec<usize>,
    classes: usize,
    bootstrap: Bootstrap,
    seed: u64,
}

/// Predictions for all final images, of each seed.
pub(crate) type Predictions = [Vec<usize>];

impl Judgement {
    pub(crate) fn new(labels: Vec<usize>, classes: usize, seed: u64) -> Self {
        Self { bootstrap: Bootstrap::new(&labels, seed), labels, classes, seed }
    }

    pub(crate) fn images(&self) -> usize {
        self.labels.len()
    }

    /// Macro-F1 of one seed.
    pub(crate) fn score(&self, predicted: &[usize]) -> f64 {
        let all: Vec<usize> = (0..self.labels.len()).collect();
        macro_f1_of(&all, &self.labels, predicted, self.classes)
    }

    /// Mean macro-F1 of the seeds.
    pub(crate) fn mean(&self, seeds: &Predictions) -> Estimate {
        self.estimate(seeds.len(), |images, drawn| self.mean_of(seeds, images, drawn))
    }

    /// Mean macro-F1 of `a` minus that of `b`, seed by seed on the same images.
    ///
    /// # Panics
    /// If they do not have as many seeds.
    pub(crate) fn difference(&self, a: &Predictions, b: &Predictions) -> Estimate {
        assert_eq!(a.len(), b.len(), "seeds to be paired");
        self.estimate(a.len(), |images, drawn| {
            self.mean_of(a, images, drawn) - self.mean_of(b, images, drawn)
        })
    }

    fn mean_of(&self, seeds: &Predictions, images: &[usize], drawn: &[usize]) -> f64 {
        let score = |&seed: &usize| macro_f1_of(images, &self.labels, &seeds[seed], self.classes);
        drawn.iter().map(score).sum::<f64>() / drawn.len().max(1) as f64
    }

    /// A statistic of images and seeds, and its interval where both are drawn with replacement.
    fn estimate(&self, seeds: usize, statistic: impl Fn(&[usize], &[usize]) -> f64) -> Estimate {
        let images: Vec<usize> = (0..self.labels.len()).collect();
        let value = statistic(&images, &(0..seeds).collect::<Vec<_>>());
        let resampled = |number: usize| {
            let mut random = Random::new(self.seed, Purpose::Bootstrap, [number as u64, 1]);
            let drawn: Vec<usize> = (0..seeds).map(|_| random.below(seeds)).collect();
            statistic(&self.bootstrap.draw(number), &drawn)
        };
        let Interval { low, high } = Interval::of((0..RESAMPLES).map(resampled).collect());
        Estimate { value, low, high }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Predictions of which every `step`-th is wrong.
    fn wrong_every(step: usize, labels: &[usize]) -> Vec<usize> {
        labels.iter().enumerate().map(|(i, &label)| if i % step == 0 { 1 - label } else { label }).collect()
    }

    fn judgement() -> Judgement {
        Judgement::new((0..200).map(|image| image / 100).collect(), 2, 0)
    }

    #[test]
    fn a_network_is_no_better_than_itself() {
        let judge = judgement();
        let seeds = [wrong_every(5, &judge.labels), wrong_every(4, &judge.labels)];
        assert_eq!(judge.difference(&seeds, &seeds), Estimate { value: 0.0, low: 0.0, high: 0.0 });
    }

    #[test]
    fn pairing_makes_the_interval_of_a_difference_narrow() {
        let judge = judgement();
        let (better, worse) = ([wrong_every(10, &judge.labels)], [wrong_every(5, &judge.labels)]);
        let difference = judge.difference(&better, &worse);
        assert!((difference.value - 0.1).abs() < 1e-9 && difference.low > 0.0, "{difference:?}");
        let (better, worse) = (judge.mean(&better), judge.mean(&worse));
        let apart = (better.high - better.low) + (worse.high - worse.low);
        assert!(difference.high - difference.low < apart / 1.5, "{difference:?} {apart}");
    }

    #[test]
    fn seeds_that_disagree_widen_the_interval() {
        let judge = judgement();
        let width = |seeds: &Predictions| {
            let mean = judge.mean(seeds);
            mean.high - mean.low
        };
        let (good, bad) = (wrong_every(50, &judge.labels), wrong_every(3, &judge.labels));
        let alike = width(&[wrong_every(6, &judge.labels), wrong_every(6, &judge.labels)]);
        assert!(width(&[good, bad]) > 1.5 * alike);
    }
}

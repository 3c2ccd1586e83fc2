//! From probes to what a fine-tune will come to: the gain over the probe, measured at a few depths, monotone in between.
//!
//! Fine-tuning lifts shallow cuts more than deep ones: what the top blocks would have done for a frozen trunk, the trunk
//! learns to do itself. The gain is the share of the probe's remaining error that fine-tuning removes, so that no prediction
//! exceeds 1, and never negative, as no fine-tune ends below its start; over depth it is the closest non-increasing sequence
//! (pool adjacent violators), straight between anchors and constant beyond them.
//!
//! What it starts from is the probe's score on validation and training images together, on the latter by probes that were fitted
//! without them: the few validation images alone put cuts in an order of chance.
//!
//! Intervals are of the whole procedure on resampled validation images, as what is predicted is a score on a few unseen ones, too,
//! widened by how far each anchor is from what the others predict.

use super::bootstrap::{Bootstrap, Interval, RESAMPLES, macro_f1_of};
use super::record::Estimate;

/// Predictions for the validation images before and after a short fine-tune.
#[derive(Clone, Debug)]
pub(crate) struct Anchor {
    /// Index of the last kept block.
    pub(crate) depth: usize,
    pub(crate) probe: Vec<usize>,
    pub(crate) tuned: Vec<usize>,
}

/// A cut to be predicted.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) depth: usize,
    /// What its probe says about the validation images, and others say about the training images behind them.
    pub(crate) probe: Vec<usize>,
}

/// Predicts the fine-tuned macro-F1 of every query.
///
/// `labels` are those of the `validation` images, and of the training images behind them.
pub(crate) fn predict(
    anchors: &[Anchor],
    queries: &[Query],
    labels: &[usize],
    validation: usize,
    classes: usize,
    seed: u64,
) -> Vec<Estimate> {
    let all: Vec<usize> = (0..labels.len()).collect();
    let held_out = &all[..validation];
    let on = |images: &[usize], held_out: &[usize]| {
        let score = |images: &[usize], predicted: &[usize]| macro_f1_of(images, labels, predicted, classes);
        let gain = Gain::fit(&measured(anchors, |predicted| score(held_out, predicted)));
        queries.iter().map(|query| gain.apply(query.depth, score(images, &query.probe))).collect::<Vec<f64>>()
    };
    let (values, centres) = (on(&all, held_out), on(held_out, held_out));
    let bootstrap = Bootstrap::new(&labels[..validation], seed);
    let draws = (0..RESAMPLES).map(|number| bootstrap.draw(number));
    let resampled: Vec<Vec<f64>> = draws.map(|images| on(&images, &images)).collect();
    let spread = 1.96 * model_error(anchors, |predicted| macro_f1_of(held_out, labels, predicted, classes));
    let estimate = |(index, value): (usize, f64)| {
        let Interval { low, high } = Interval::of(resampled.iter().map(|values| values[index]).collect());
        let shift = value - centres[index];
        Estimate::new(value, widened(Interval { low: low + shift, high: high + shift }, value, spread))
    };
    values.into_iter().enumerate().map(estimate).collect()
}

/// An interval with another, independent error of `value` added.
fn widened(interval: Interval, value: f64, spread: f64) -> Interval {
    let low = value - (value - interval.low).max(0.0).hypot(spread);
    let high = value + (interval.high - value).max(0.0).hypot(spread);
    Interval { low: low.max(0.0), high: high.min(1.0) }
}

/// Depth, probe's and fine-tuned score of each anchor.
fn measured(anchors: &[Anchor], score: impl Fn(&[usize]) -> f64) -> Vec<(usize, f64, f64)> {
    anchors.iter().map(|anchor| (anchor.depth, score(&anchor.probe), score(&anchor.tuned))).collect()
}

/// Root mean square of what the other anchors get wrong about each; 0 where there are fewer than three.
fn model_error(anchors: &[Anchor], score: impl Fn(&[usize]) -> f64) -> f64 {
    let points = measured(anchors, score);
    if points.len() < 3 {
        return 0.0;
    }
    let miss = |left_out: usize| {
        let mut others = points.clone();
        let (depth, probe, tuned) = others.remove(left_out);
        Gain::fit(&others).apply(depth, probe) - tuned
    };
    let sum: f64 = (0..points.len()).map(|left_out| miss(left_out).powi(2)).sum();
    (sum / points.len() as f64).sqrt()
}

/// Share of the remaining error that fine-tuning removes, over depth.
#[derive(Clone, Debug, PartialEq)]
struct Gain {
    depths: Vec<f64>,
    shares: Vec<f64>,
}

impl Gain {
    /// From (depth, probe's score, fine-tuned score), in any order.
    fn fit(points: &[(usize, f64, f64)]) -> Self {
        let mut points = points.to_vec();
        points.sort_by_key(|point| point.0);
        let share = |&(_, probe, tuned): &(usize, f64, f64)| {
            // A probe that is already right has nothing to gain. It competes with its own fine-tune, which on resampled images may
            // score a little lower all the same: that is noise, no loss.
            ((tuned - probe) / (1.0 - probe).max(0.02)).max(0.0)
        };
        let shares: Vec<f64> = points.iter().map(share).collect();
        Self { depths: points.iter().map(|point| point.0 as f64).collect(), shares: non_increasing(&shares) }
    }

    fn apply(&self, depth: usize, probe: f64) -> f64 {
        (probe + self.at(depth as f64) * (1.0 - probe)).clamp(0.0, 1.0)
    }

    fn at(&self, depth: f64) -> f64 {
        let above = self.depths.partition_point(|&anchor| anchor < depth);
        match (above.checked_sub(1), self.depths.get(above)) {
            (None, None) => 0.0,
            (None, Some(_)) => self.shares[0],
            (Some(below), None) => self.shares[below],
            (Some(below), Some(next)) => {
                let part = (depth - self.depths[below]) / (next - self.depths[below]);
                self.shares[below] + part * (self.shares[above] - self.shares[below])
            }
        }
    }
}

/// The non-increasing sequence that is closest in squares.
///
/// # Source
/// Pool adjacent violators: Barlow et al., *Statistical Inference under Order Restrictions*, 1972.
fn non_increasing(values: &[f64]) -> Vec<f64> {
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for &value in values {
        let mut pool = (value, 1);
        while let Some(&(before, count)) = pools.last().filter(|before| before.0 < pool.0) {
            let total = count + pool.1;
            pool = ((before * count as f64 + pool.0 * pool.1 as f64) / total as f64, total);
            pools.pop();
        }
        pools.push(pool);
    }
    pools.into_iter().flat_map(|(mean, count)| std::iter::repeat_n(mean, count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_non_increasing_sequence() {
        for (values, expected) in [
            (vec![3.0, 2.0, 1.0], vec![3.0, 2.0, 1.0]),
            (vec![1.0, 3.0, 2.0], vec![2.0, 2.0, 2.0]),
            (vec![5.0, 1.0, 2.0, 0.0], vec![5.0, 1.5, 1.5, 0.0]),
            (vec![1.0, 2.0, 3.0, 4.0], vec![2.5; 4]),
            (vec![], vec![]),
        ] {
            assert_eq!(non_increasing(&values), expected, "{values:?}");
        }
    }

    #[test]
    fn gains_are_straight_between_anchors_and_constant_beyond() {
        let gain = Gain::fit(&[(8, 0.8, 0.8), (2, 0.5, 0.7)]);
        for (depth, share) in [(0, 0.4), (2, 0.4), (5, 0.2), (8, 0.0), (9, 0.0)] {
            assert!((gain.at(f64::from(depth)) - share).abs() < 1e-12, "{depth}");
        }
        assert!((gain.apply(5, 0.5) - 0.6).abs() < 1e-12);
        assert_eq!(Gain::fit(&[]).apply(3, 0.25), 0.25, "without anchors the probe stands");
    }

    #[test]
    fn a_fine_tune_is_not_expected_to_end_below_its_start() {
        let gain = Gain::fit(&[(2, 0.5, 0.45), (8, 0.8, 0.7)]);
        assert_eq!((gain.apply(2, 0.5), gain.apply(9, 0.8)), (0.5, 0.8));
        let mixed = Gain::fit(&[(2, 0.5, 0.45), (8, 0.8, 0.84)]);
        assert!((mixed.at(5.0) - 0.1).abs() < 1e-12, "nothing and a fifth, pooled");
    }

    /// Predictions for 90 images of 3 classes of which so many of each class are wrong.
    fn predictions(wrong: usize) -> (Vec<usize>, Vec<usize>) {
        let labels: Vec<usize> = (0..90).map(|image| image / 30).collect();
        let predicted = labels.iter().enumerate();
        let predicted =
            predicted.map(|(image, &label)| if image % 30 < wrong { (label + 1) % 3 } else { label });
        (predicted.collect(), labels)
    }

    #[test]
    fn a_shallow_probe_is_lifted_more_than_a_deep_one() {
        let anchor =
            |depth, probe, tuned| Anchor { depth, probe: predictions(probe).0, tuned: predictions(tuned).0 };
        let anchors = [anchor(1, 18, 9), anchor(5, 9, 6), anchor(9, 6, 6)];
        let (probe, labels) = predictions(12);
        let queries = [1, 5, 9].map(|depth| Query { depth, probe: probe.clone() });
        let found = predict(&anchors, &queries, &labels, 90, 3, 0);
        // The probe has 0.6; of the remaining error a half, a third and nothing goes away.
        for (estimate, expected) in found.iter().zip([0.8, 0.6 + 0.4 / 3.0, 0.6]) {
            assert!((estimate.value - expected).abs() < 1e-9, "{estimate:?} {expected}");
            assert!(estimate.low < estimate.value && estimate.value < estimate.high, "{estimate:?}");
        }
        let fewer = predict(&anchors[..2], &queries, &labels, 90, 3, 0);
        assert!(fewer[0].high - fewer[0].low < found[0].high - found[0].low, "misses widen the interval");
        // 270 training images more, of which probes got none wrong: nine tenths of all are right, and gains are as before.
        let repeated = |values: &[usize]| [values, &labels, &labels, &labels].concat();
        let queries = queries.map(|query| Query { probe: repeated(&query.probe), ..query });
        let more = predict(&anchors, &queries, &repeated(&labels), 90, 3, 0);
        for (estimate, expected) in more.iter().zip([0.95, 0.9 + 0.1 / 3.0, 0.9]) {
            assert!((estimate.value - expected).abs() < 1e-9, "{estimate:?} {expected}");
        }
        let width = |estimate: &Estimate| estimate.high.min(1.0) - estimate.low;
        assert!(width(&more[2]) > 0.5 * width(&found[2]), "unseen images are as few as before");
    }
}

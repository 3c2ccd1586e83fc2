//! The held-out linear probe: multinomial logistic regression on pooled features.
//!
//! The same problem as scikit-learn's `LogisticRegression` behind a `StandardScaler`: mean cross-entropy plus
//! `penalty / 2 · ‖weights‖²`, the bias free (its `C` is `1 / (n · penalty)`). The penalty is chosen by cross-validation within
//! the training images, from strong to weak, each fit starting from the one before.
//!
//! The features are rotated into the basis in which their correlations are tridiagonal. The rotation changes neither
//! the penalty nor the fit, and makes the second derivative's dominant part a system that is solved in linear time: ten
//! steps of L-BFGS do.

use elimnet_engine::Matrix;
use ndarray::{Array2, ArrayView2, Axis, s};
use serde::{Deserialize, Serialize};

use super::minimize::{Objective, Stop, minimize};
use super::moments::{Moments, Standardiser, view};
use super::tridiagonal::{Pivots, Tridiagonal};
use crate::random::{Purpose, Random};

/// Parts into which the training images are divided to choose the penalty.
const FOLDS: usize = 4;

/// Penalties that are tried, from strong to weak, half a power of ten apart.
const PENALTIES: std::ops::RangeInclusive<i32> = -10..=1;

/// Rows whose logits are held at once.
const ROWS: usize = 4096;

/// A linear classifier of pooled features: what the last Linear of a cut network can start from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinearHead {
    /// `[classes, channels]`.
    #[serde(with = "StoredMatrix")]
    pub weight: Matrix,
    /// One number a class.
    pub bias: Vec<f32>,
}

/// How an engine's matrix is written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Matrix")]
struct StoredMatrix {
    rows: usize,
    columns: usize,
    values: Vec<f32>,
}

impl LinearHead {
    /// The class with the largest logit for each row of `features`.
    ///
    /// # Shapes
    /// `features` is `[n, channels]`.
    #[must_use]
    pub fn predict(&self, features: &Matrix) -> Vec<usize> {
        let mut logits = view(features).dot(&view(&self.weight).t());
        logits += &ndarray::ArrayView1::from(&self.bias);
        logits.rows().into_iter().map(|row| crate::evaluate::largest(&row.to_vec())).collect()
    }
}

/// A fitted probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// The classifier, for features as they are.
    pub head: LinearHead,
    /// The penalty that cross-validation chose.
    pub penalty: f64,
    /// The class of each training image, by a classifier with this penalty that was fitted without it.
    pub left_out: Vec<usize>,
}

/// Training features, ready for fits with any penalty on any part of them.
pub(crate) struct Trainer {
    standardiser: Standardiser,
    form: Tridiagonal,
    /// The row of each of `rows` in the features.
    order: Vec<usize>,
    /// Standardised, rotated, ordered by fold.
    rows: Array2<f32>,
    labels: Vec<usize>,
    classes: usize,
    /// First row of each fold, and the end.
    folds: Vec<usize>,
}

impl Trainer {
    /// # Panics
    /// If there are no rows or a label is outside of the classes.
    pub(crate) fn new(
        features: &Matrix,
        labels: &[usize],
        classes: usize,
        moments: &Moments,
        seed: u64,
    ) -> Self {
        assert!(features.rows > 0 && features.rows == labels.len(), "a label for each of one row or more");
        let (order, folds) = folds(labels, classes, seed);
        let standardiser = moments.standardiser();
        let form = Tridiagonal::of(standardiser.correlations(moments));
        let rows = standardiser.apply(features).select(Axis(0), &order).dot(&form.basis());
        let labels = order.iter().map(|&index| labels[index]).collect();
        Self { standardiser, form, order, rows, labels, classes, folds }
    }

    /// The probe with the penalty of the lowest cross-validated loss.
    pub(crate) fn probe(&self) -> Probe {
        let (penalty, left_out) = self.choose_penalty();
        Probe { head: self.fit(penalty), penalty, left_out }
    }

    /// The classifier with this penalty, from all rows.
    pub(crate) fn fit(&self, penalty: f64) -> LinearHead {
        let all = 0..self.rows.nrows();
        let problem = Problem::new(self, std::slice::from_ref(&all), penalty);
        self.head(&minimize(&problem, self.start(), Stop { gain: 1e-9, steps: 300 }))
    }

    fn start(&self) -> Vec<f64> {
        vec![0.0; self.classes * (self.rows.ncols() + 1)]
    }

    /// Goes from strong to weak penalties while that lowers the loss on the folds that are left out; gives these folds' classes too.
    fn choose_penalty(&self) -> (f64, Vec<usize>) {
        let folds = || self.folds.windows(2).map(|ends| ends[0]..ends[1]);
        let mut fits = vec![self.start(); folds().len()];
        let (mut best, mut best_loss, mut best_fits) = (1.0, f64::INFINITY, fits.clone());
        for exponent in PENALTIES.rev() {
            let penalty = 10f64.powf(f64::from(exponent) / 2.0);
            let mut loss = 0.0;
            for (fold, fit) in folds().zip(&mut fits) {
                let others = [0..fold.start, fold.end..self.rows.nrows()];
                let problem = Problem::new(self, &others, penalty);
                *fit = minimize(&problem, std::mem::take(fit), Stop { gain: 1e-6, steps: 100 });
                loss += self.loss_sum(fit, fold);
            }
            // The loss over penalties is a valley: once it rises, it goes on rising.
            if loss.is_nan() || loss >= best_loss {
                break;
            }
            (best, best_loss) = (penalty, loss);
            best_fits.clone_from(&fits);
        }
        let mut left_out = vec![0; self.order.len()];
        for (fold, fit) in folds().zip(&best_fits) {
            let logits = self.logits(fit, fold.clone());
            for (row, &place) in logits.rows().into_iter().zip(&self.order[fold]) {
                left_out[place] = crate::evaluate::largest(&row.to_vec());
            }
        }
        (best, left_out)
    }

    fn logits(&self, parameters: &[f64], rows: std::ops::Range<usize>) -> Array2<f32> {
        let (weights, bias) = self.single(parameters);
        self.rows.slice(s![rows, ..]).dot(&weights.t()) + ndarray::ArrayView1::from(&bias)
    }

    /// Weights and biases of parameters.
    fn single(&self, parameters: &[f64]) -> (Array2<f32>, Vec<f32>) {
        let (classes, channels) = (self.classes, self.rows.ncols());
        let single = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
        let (weights, bias) = parameters.split_at(classes * channels);
        let weights = Array2::from_shape_vec((classes, channels), single(weights));
        (weights.expect("as many parameters as classes times channels"), single(bias))
    }

    /// Sum of the cross-entropies of some rows.
    fn loss_sum(&self, parameters: &[f64], rows: std::ops::Range<usize>) -> f64 {
        let rows = [rows];
        let problem = Problem { trainer: self, ranges: &rows, penalty: 0.0, pivots: None, count: 1 };
        problem.evaluate(parameters).0
    }

    /// Undoes rotation and standardisation.
    fn head(&self, parameters: &[f64]) -> LinearHead {
        let channels = self.rows.ncols();
        let (weights, bias) = parameters.split_at(self.classes * channels);
        let mut head = LinearHead {
            weight: Matrix::new(self.classes, channels, vec![0.0; weights.len()]),
            bias: Vec::with_capacity(self.classes),
        };
        let rows = head.weight.values.chunks_exact_mut(channels);
        for ((weights, bias), to) in weights.chunks_exact(channels).zip(bias).zip(rows) {
            let mut weights = weights.to_vec();
            self.form.rotate_back(&mut weights);
            let mut offset = *bias;
            let Standardiser { mean, scale } = &self.standardiser;
            for (((weight, to), mean), scale) in weights.iter().zip(to).zip(mean).zip(scale) {
                *to = (weight / scale) as f32;
                offset -= weight / scale * mean;
            }
            head.bias.push(offset as f32);
        }
        head
    }
}

/// Fits the probe of one cut.
///
/// # Shapes
/// `features` is `[n, channels]` with n labels.
/// # Panics
/// If there are no rows, as many labels as rows are missing, or a label is outside of the classes.
#[must_use]
pub fn fit_probe(features: &Matrix, labels: &[usize], classes: usize, seed: u64) -> Probe {
    Trainer::new(features, labels, classes, &Moments::of(features), seed).probe()
}

/// The cross-entropy of some rows, as a function of weights `[classes, channels]` and biases `[classes]`.
struct Problem<'a> {
    trainer: &'a Trainer,
    ranges: &'a [std::ops::Range<usize>],
    penalty: f64,
    pivots: Option<Pivots>,
    count: usize,
}

impl<'a> Problem<'a> {
    fn new(trainer: &'a Trainer, ranges: &'a [std::ops::Range<usize>], penalty: f64) -> Self {
        let pivots = Some(trainer.form.pivots(curvature(trainer.classes), penalty));
        let count = ranges.iter().map(ExactSizeIterator::len).sum::<usize>().max(1);
        Self { trainer, ranges, penalty, pivots, count }
    }
}

/// The second derivative of cross-entropy to a logit where all classes are equally likely.
fn curvature(classes: usize) -> f64 {
    let share = 1.0 / classes as f64;
    share * (1.0 - share)
}

impl Objective for Problem<'_> {
    fn evaluate(&self, parameters: &[f64]) -> (f64, Vec<f64>) {
        let (weights, bias) = self.trainer.single(parameters);
        let penalised = &parameters[..weights.len()];
        let mut loss = 0.0;
        let mut gradient: Vec<f64> = vec![0.0; parameters.len()];
        for range in self.ranges {
            for start in range.clone().step_by(ROWS) {
                let end = (start + ROWS).min(range.end);
                let rows = self.trainer.rows.slice(s![start..end, ..]);
                let (part, errors) = errors(&rows, &weights, &bias, &self.trainer.labels[start..end]);
                loss += part;
                add_gradient(&mut gradient, &errors, &rows);
            }
        }
        let share = 1.0 / self.count as f64;
        gradient.iter_mut().for_each(|value| *value *= share);
        gradient.iter_mut().zip(penalised).for_each(|(to, weight)| *to += self.penalty * weight);
        let norm: f64 = penalised.iter().map(|weight| weight * weight).sum();
        (loss * share + self.penalty / 2.0 * norm, gradient)
    }

    fn precondition(&self, vector: &mut [f64]) {
        let Some(pivots) = &self.pivots else { return };
        let channels = self.trainer.rows.ncols();
        let (weights, bias) = vector.split_at_mut(self.trainer.classes * channels);
        weights.chunks_exact_mut(channels).for_each(|weights| pivots.solve(weights));
        bias.iter_mut().for_each(|bias| *bias /= curvature(self.trainer.classes));
    }
}

/// Sum of the cross-entropies, and probabilities minus targets.
fn errors(
    rows: &ArrayView2<'_, f32>,
    weights: &Array2<f32>,
    bias: &[f32],
    labels: &[usize],
) -> (f64, Array2<f32>) {
    let mut logits = rows.dot(&weights.t());
    let mut loss = 0.0;
    for (mut row, &label) in logits.rows_mut().into_iter().zip(labels) {
        row.iter_mut().zip(bias).for_each(|(logit, bias)| *logit += bias);
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let own = row[label];
        row.mapv_inplace(|logit| (logit - largest).exp());
        let sum = row.sum();
        loss += f64::from(sum).ln() + f64::from(largest) - f64::from(own);
        row.mapv_inplace(|exponential| exponential / sum);
        row[label] -= 1.0;
    }
    (loss, logits)
}

fn add_gradient(gradient: &mut [f64], errors: &Array2<f32>, rows: &ArrayView2<'_, f32>) {
    let (weights, bias) = gradient.split_at_mut(errors.ncols() * rows.ncols());
    let part = errors.t().dot(rows);
    weights.iter_mut().zip(&part).for_each(|(to, from)| *to += f64::from(*from));
    for (to, errors) in bias.iter_mut().zip(errors.columns()) {
        *to += errors.iter().map(|&error| f64::from(error)).sum::<f64>();
    }
}

/// An order of the rows in which each fold is a range, and where the folds begin: every class is spread evenly.
fn folds(labels: &[usize], classes: usize, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); classes];
    labels.iter().enumerate().for_each(|(index, &label)| members[label].push(index));
    let mut folds = vec![Vec::new(); FOLDS.min(labels.len())];
    let mut next = 0;
    for (class, members) in members.iter_mut().enumerate() {
        Random::new(seed, Purpose::Folds, [class as u64, 0]).shuffle(members);
        for &index in members.iter() {
            let count = folds.len();
            folds[next % count].push(index);
            next += 1;
        }
    }
    let mut starts = vec![0];
    starts.extend(folds.iter().scan(0, |end, fold| {
        *end += fold.len();
        Some(*end)
    }));
    (folds.concat(), starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clouds around a corner for each class.
    fn clouds(count: usize, classes: usize, channels: usize, spread: f64) -> (Matrix, Vec<usize>) {
        let mut random = Random::named(3, "clouds");
        let mut values = Vec::new();
        let labels: Vec<usize> = (0..count).map(|index| index % classes).collect();
        for &label in &labels {
            let centre = |channel: usize| if channel % classes == label { 1.0 } else { 0.0 };
            values.extend((0..channels).map(|channel| (centre(channel) + spread * random.normal()) as f32));
        }
        (Matrix::new(count, channels, values), labels)
    }

    fn trainer(features: &Matrix, labels: &[usize], classes: usize) -> Trainer {
        Trainer::new(features, labels, classes, &Moments::of(features), 0)
    }

    #[test]
    fn folds_have_every_row_once_and_every_class_evenly() {
        let labels = [0, 0, 0, 0, 0, 1, 1, 1, 1, 2];
        let (order, starts) = folds(&labels, 3, 5);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        assert_eq!((starts.len(), starts[0], starts[4]), (5, 0, 10));
        for fold in starts.windows(2) {
            let zeros = order[fold[0]..fold[1]].iter().filter(|&&index| labels[index] == 0).count();
            assert!((1..=2).contains(&zeros), "{order:?} {starts:?}");
        }
    }

    #[test]
    fn an_image_is_judged_by_a_classifier_that_never_saw_it() {
        // Distances are nothing to learn from: a classifier that knew an image's own label would be right about it.
        let (features, _) = clouds(40, 2, 30, 1.0);
        let labels: Vec<usize> = (0..40).map(|index| (index * index / 3) % 2).collect();
        let probe = fit_probe(&features, &labels, 2, 0);
        let right = |predicted: &[usize]| predicted.iter().zip(&labels).filter(|(a, b)| a == b).count();
        assert!(right(&probe.left_out) < 30, "{}", right(&probe.left_out));
        // Where there is something to learn, they are right, image by image.
        let (features, labels) = clouds(60, 3, 5, 0.1);
        assert_eq!(fit_probe(&features, &labels, 3, 0).left_out, labels);
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let (features, labels) = clouds(30, 3, 5, 0.7);
        let trainer = trainer(&features, &labels, 3);
        let ranges = [0..10, 14..30];
        let problem = Problem::new(&trainer, &ranges, 0.1);
        let parameters: Vec<f64> = (0..18).map(|index| (index as f64).sin()).collect();
        let (_, gradient) = problem.evaluate(&parameters);
        for index in 0..parameters.len() {
            let shifted = |by: f64| {
                let mut parameters = parameters.clone();
                parameters[index] += by;
                problem.evaluate(&parameters).0
            };
            let slope = (shifted(1e-2) - shifted(-1e-2)) / 2e-2;
            assert!((slope - gradient[index]).abs() < 1e-4, "at {index}: {slope} {}", gradient[index]);
        }
    }

    #[test]
    fn clouds_that_are_apart_are_told_apart() {
        let (features, labels) = clouds(120, 4, 12, 0.1);
        let probe = fit_probe(&features, &labels, 4, 0);
        assert_eq!(probe.head.predict(&features), labels);
    }

    #[test]
    fn noise_gets_a_strong_penalty_and_signal_a_weak_one() {
        let penalty = |spread| {
            let (features, labels) = clouds(200, 2, 40, spread);
            fit_probe(&features, &labels, 2, 0).penalty
        };
        assert!(penalty(10.0) > 10.0 * penalty(0.3), "{} {}", penalty(10.0), penalty(0.3));
    }

    #[test]
    fn more_channels_than_rows_and_constant_channels_are_fine() {
        let (mut features, labels) = clouds(12, 3, 30, 0.2);
        features.values.chunks_exact_mut(30).for_each(|row| row[4] = 7.0);
        let probe = fit_probe(&features, &labels, 3, 0);
        assert!(probe.head.weight.values.iter().chain(&probe.head.bias).all(|value| value.is_finite()));
        assert_eq!(probe.head.predict(&features), labels);
    }

    #[test]
    fn a_probe_is_a_function_of_its_input() {
        let (features, labels) = clouds(60, 3, 8, 0.5);
        assert_eq!(fit_probe(&features, &labels, 3, 1), fit_probe(&features, &labels, 3, 1));
    }
}

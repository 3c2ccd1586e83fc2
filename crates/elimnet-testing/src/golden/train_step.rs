//! `train_step_<family>.{json,safetensors}`: one training step of torchvision's networks in f64.
//!
//! Formula weights, images and labels, train mode, dropout and stochastic depth off, mean cross-entropy.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Tensor, json, tensors};
use crate::formula;

/// One training step: loss, logits, gradients, running statistics, and for resnet18 what two optimizers do.
#[derive(Clone, Debug, Deserialize)]
pub struct TrainStep {
    /// Classes of the head.
    pub classes: usize,
    /// Height and width of the images.
    pub size: usize,
    /// The batch is images `first_image..first_image + labels.len()` of the formula's.
    pub first_image: usize,
    /// The label of each image.
    pub labels: Vec<usize>,
    /// The mean cross-entropy, one value.
    pub loss: Whole,
    /// `[batch, classes]`.
    pub logits: Whole,
    /// The gradient of the loss by every parameter, in torch's order.
    pub gradients: Vec<Checksum>,
    /// Relative L2 distance of torch's f32 running statistics from [`TrainStep::running`], by name.
    pub running_torch_f32_distance: BTreeMap<String, f64>,
    /// `new - old` of every parameter after one SGD step (rate 0.05, momentum 0.9, weight decay 1e-4); resnet18 only.
    #[serde(default)]
    pub sgd: Vec<Checksum>,
    /// `new - old` after one AdamW step (rate 1e-3, betas 0.9 and 0.999, eps 1e-8, weight decay 0.01); resnet18 only.
    #[serde(default)]
    pub adamw: Vec<Checksum>,
    /// `running_mean` and `running_var` of every batch norm after the step, by name.
    #[serde(skip)]
    pub running: BTreeMap<String, Tensor>,
}

impl TrainStep {
    /// Reads the step of `resnet18`, `efficientnet_b0` or `mobilenet_v3_large`.
    ///
    /// # Panics
    /// If the golden files are missing or malformed.
    #[must_use]
    pub fn read(family: &str) -> Self {
        let running = tensors(&format!("train_step_{family}.safetensors"));
        Self { running, ..json(&format!("train_step_{family}.json")) }
    }

    /// The batch, `[labels.len(), 3, size, size]` in NCHW order.
    #[must_use]
    pub fn images(&self) -> Vec<f32> {
        let image = 3 * self.size * self.size;
        formula::images(self.first_image + self.labels.len(), 3, self.size)
            .split_off(self.first_image * image)
    }

    /// The Euclidean norm of the whole gradient: the scale of an absolute tolerance for the gradients that are 0 but
    /// for rounding (a shift that the next batch norm takes out again).
    #[must_use]
    pub fn gradient_norm(&self) -> f64 {
        self.gradients.iter().map(|gradient| gradient.norm.powi(2)).sum::<f64>().sqrt()
    }
}

/// An array that is small enough to ship, in f64.
#[derive(Clone, Debug, Deserialize)]
pub struct Whole {
    /// Its values in C order.
    pub values: Vec<f64>,
    /// Relative L2 distance of torch's own f32 from them.
    pub torch_f32_distance: f64,
}

/// What is kept of an array that is too large to ship.
#[derive(Clone, Debug, Deserialize)]
pub struct Checksum {
    /// Name in torchvision's state dict.
    pub name: String,
    /// Axes as torch has them.
    pub shape: Vec<usize>,
    /// Euclidean norm.
    pub norm: f64,
    /// Sums with the signs `formula::signs("sign{k}.{name}")`, k = 0..4.
    pub signed: [f64; 4],
    /// The entries at [`Checksum::sample_indices`].
    pub sample: Vec<f64>,
    /// L2 norm of the difference between torch's own f32 result and this one: absolute, unlike a distance.
    pub torch_f32_error: f64,
}

impl Checksum {
    /// Indices of the sampled entries: all of up to 16, else 16 from the first to the last.
    #[must_use]
    pub fn sample_indices(&self) -> Vec<usize> {
        match self.len() {
            count @ ..=16 => (0..count).collect(),
            count => (0..16).map(|k| k * (count - 1) / 15).collect(),
        }
    }

    /// Estimates the L2 norm of `values - golden` from what was kept, `values` in C order of [`Checksum::shape`].
    ///
    /// The largest of three measures: the root mean square over k of the differences of the signed sums (for random
    /// signs its expectation is the norm of the difference, whatever the arrays), the difference of the norms, and the
    /// norm of the differences of the sampled entries (the last two never exceed the true one).
    ///
    /// # Panics
    /// If `values` has another length than the shape, or holds a value that is not finite.
    #[must_use]
    #[track_caller]
    pub fn estimated_error<V: Copy + Into<f64>>(&self, values: &[V]) -> f64 {
        assert_eq!(values.len(), self.len(), "`{}` has another number of values", self.name);
        let values: Vec<f64> = values.iter().map(|&value| value.into()).collect();
        let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
        assert!(norm.is_finite(), "`{}` holds a value that is not finite", self.name);
        self.signed_error(&values).max(self.sampled_error(&values)).max((norm - self.norm).abs())
    }

    fn signed_error(&self, values: &[f64]) -> f64 {
        let square = |(k, golden): (usize, &f64)| {
            let signs = formula::signs(&format!("sign{k}.{}", self.name), values.len());
            let sum: f64 = signs.zip(values).map(|(sign, value)| sign * value).sum();
            (sum - golden).powi(2)
        };
        (self.signed.iter().enumerate().map(square).sum::<f64>() / self.signed.len() as f64).sqrt()
    }

    fn sampled_error(&self, values: &[f64]) -> f64 {
        let indices = self.sample_indices();
        assert_eq!(indices.len(), self.sample.len(), "`{}` has a sample of another size", self.name);
        let squares =
            indices.iter().zip(&self.sample).map(|(&index, golden)| (values[index] - golden).powi(2));
        squares.sum::<f64>().sqrt()
    }

    fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILIES: [&str; 3] = ["resnet18", "efficientnet_b0", "mobilenet_v3_large"];

    /// What `reference/train_step.py` would keep of `values`.
    fn checksum(name: &str, values: &[f64]) -> Checksum {
        let mut kept = Checksum {
            name: name.to_owned(),
            shape: vec![values.len()],
            norm: values.iter().map(|value| value * value).sum::<f64>().sqrt(),
            signed: [0, 1, 2, 3].map(|k| {
                let signs = formula::signs(&format!("sign{k}.{name}"), values.len());
                signs.zip(values).map(|(sign, value)| sign * value).sum()
            }),
            sample: Vec::new(),
            torch_f32_error: 0.0,
        };
        kept.sample = kept.sample_indices().into_iter().map(|index| values[index]).collect();
        kept
    }

    fn array(count: usize) -> Vec<f64> {
        formula::tensor("an array", &[count]).into_iter().map(f64::from).collect()
    }

    #[test]
    fn the_same_array_has_no_error() {
        for count in [1, 15, 16, 17, 5000] {
            let values = array(count);
            assert!(checksum("x", &values).estimated_error(&values) < 1e-12);
        }
    }

    #[test]
    fn one_wrong_entry_of_many_is_seen_at_its_size() {
        let values = array(5000);
        let kept = checksum("x", &values);
        for index in [0, 1, 77, 4999] {
            let mut wrong = values.clone();
            wrong[index] += 0.25;
            assert!((kept.estimated_error(&wrong) - 0.25).abs() < 1e-9, "entry {index}");
        }
    }

    #[test]
    fn a_swap_of_two_entries_is_seen() {
        let values = array(5000);
        let kept = checksum("x", &values);
        let mut wrong = values.clone();
        wrong.swap(100, 101);
        let apart = (values[100] - values[101]).abs() * 2f64.sqrt();
        assert!(kept.estimated_error(&wrong) > 0.3 * apart);
    }

    #[test]
    fn the_estimate_is_near_the_distance_of_unrelated_arrays() {
        let values = array(5000);
        let other: Vec<f64> = formula::tensor("another", &[5000]).into_iter().map(f64::from).collect();
        let distance = values.iter().zip(&other).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        let estimate = checksum("x", &values).estimated_error(&other);
        assert!((0.4..2.0).contains(&(estimate / distance)), "{estimate} for {distance}");
    }

    /// Gradients that are 0 but for rounding are 2.7e-8 of the whole gradient in torch's f32, below its epsilon.
    #[test]
    fn torch_itself_is_within_a_few_parts_in_100_000() {
        for family in FAMILIES {
            let step = TrainStep::read(family);
            for gradient in &step.gradients {
                let allowed = 1e-4 * gradient.norm + f64::from(f32::EPSILON) * step.gradient_norm();
                assert!(gradient.torch_f32_error <= allowed, "{family} {}", gradient.name);
            }
        }
    }

    #[test]
    fn the_batch_and_the_statistics_have_their_shapes() {
        for family in FAMILIES {
            let step = TrainStep::read(family);
            assert_eq!(step.images().len(), step.labels.len() * 3 * step.size * step.size);
            assert_eq!(step.logits.values.len(), step.labels.len() * step.classes);
            assert!(step.running.keys().eq(step.running_torch_f32_distance.keys()), "{family}");
        }
    }

    #[test]
    fn the_loss_is_the_cross_entropy_of_the_logits() {
        for family in FAMILIES {
            let step = TrainStep::read(family);
            let rows = step.logits.values.chunks(step.classes).zip(&step.labels);
            let losses =
                rows.map(|(row, &label)| row.iter().map(|logit| logit.exp()).sum::<f64>().ln() - row[label]);
            let mean = losses.sum::<f64>() / step.labels.len() as f64;
            assert!((mean - step.loss.values[0]).abs() < 1e-12, "{family}");
        }
    }
}

//! Losses on logits, and their gradients, in plain Rust.
//!
//! A loss sees `[n, classes]` logits whatever device made them and gives back the gradient that
//! [`elimnet_engine::Engine::backward`] takes, so that one implementation serves every engine. Targets are a class a
//! sample or a distribution a sample: mixing images and imitating a teacher are other targets, not other losses.

use elimnet_engine::Matrix;

/// What the samples of a batch should be.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// One class index a sample.
    Classes(&'a [usize]),
    /// One distribution over the classes a sample, each row summing to 1.
    Distributions(&'a Matrix),
}

impl Targets<'_> {
    fn len(self) -> usize {
        match self {
            Self::Classes(classes) => classes.len(),
            Self::Distributions(rows) => rows.rows,
        }
    }

    /// Probability of `class` for sample `row`.
    fn probability(self, row: usize, class: usize) -> f64 {
        match self {
            Self::Classes(classes) => f64::from(classes[row] == class),
            Self::Distributions(rows) => f64::from(rows.row(row)[class]),
        }
    }

    fn check(self, logits: &Matrix) {
        assert_eq!(self.len(), logits.rows, "targets for {} rows of logits", logits.rows);
        match self {
            Self::Classes(classes) => {
                let outside = classes.iter().find(|&&class| class >= logits.columns);
                assert_eq!(outside, None, "a class outside of 0..{}", logits.columns);
            }
            Self::Distributions(rows) => assert_eq!(rows.columns, logits.columns, "columns of the targets"),
        }
    }
}

/// A mean loss over a batch, and how it changes with the logits.
#[derive(Clone, Debug, PartialEq)]
pub struct LossValue {
    /// Mean over the samples.
    pub loss: f64,
    /// Gradient of the mean to the logits, `[n, classes]`.
    pub logit_gradient: Matrix,
}

/// Mean cross-entropy of softmax(logits), as `torch.nn.CrossEntropyLoss`; in f64 inside.
///
/// ```
/// use elimnet::train::{CrossEntropy, Targets};
/// use elimnet_engine::Matrix;
///
/// let undecided = Matrix::new(1, 4, vec![0.0; 4]);
/// let value = CrossEntropy::default().value(&undecided, Targets::Classes(&[2]));
/// assert!((value.loss - 4f64.ln()).abs() < 1e-12);
/// assert_eq!(value.logit_gradient.values, [0.25, 0.25, -0.75, 0.25]);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CrossEntropy {
    label_smoothing: f64,
    /// Added to the logits of each class; empty for none.
    offsets: Vec<f64>,
}

impl CrossEntropy {
    /// Mixes every target with the uniform distribution: `(1 - smoothing) · target + smoothing / classes`.
    ///
    /// # Panics
    /// If `smoothing` is not in 0..=1.
    #[must_use]
    pub fn with_label_smoothing(self, smoothing: f32) -> Self {
        assert!((0.0..=1.0).contains(&smoothing), "label smoothing {smoothing} is not in 0..=1");
        Self { label_smoothing: f64::from(smoothing), ..self }
    }

    /// Adds `tau · ln(frequency)` to the logits of each class, so that rare classes get the margin that their number of
    /// training images denies them. A class without images counts as having one.
    ///
    /// # Source
    /// Menon et al., *Long-tail learning via logit adjustment*, ICLR 2021, equation 10.
    #[must_use]
    pub fn with_logit_adjustment(self, tau: f32, images_per_class: &[usize]) -> Self {
        let total: usize = images_per_class.iter().map(|&images| images.max(1)).sum();
        let frequency = |images: usize| images.max(1) as f64 / total as f64;
        let offsets =
            images_per_class.iter().map(|&images| f64::from(tau) * frequency(images).ln()).collect();
        Self { offsets, ..self }
    }

    /// The mean loss over the rows of `logits` and its gradient.
    ///
    /// # Shapes
    /// `logits` and the gradient `[n, classes]`, `targets` n long. The loss of an empty batch is 0.
    /// # Panics
    /// If the targets do not fit the logits, or logit adjustment was made for another number of classes.
    #[must_use]
    pub fn value(&self, logits: &Matrix, targets: Targets<'_>) -> LossValue {
        targets.check(logits);
        let offsets_fit = self.offsets.is_empty() || self.offsets.len() == logits.columns;
        assert!(offsets_fit, "logit adjustment of {} classes, not {}", self.offsets.len(), logits.columns);
        let share = 1.0 / logits.rows.max(1) as f64;
        let mut loss = 0.0;
        let mut gradient = Vec::with_capacity(logits.values.len());
        for (index, row) in logits.iter_rows().enumerate() {
            let log_probabilities = self.log_softmax(row);
            for (class, &log_probability) in log_probabilities.iter().enumerate() {
                let target = self.smooth(targets.probability(index, class), row.len());
                if target > 0.0 {
                    loss -= target * log_probability;
                }
                gradient.push(((log_probability.exp() - target) * share) as f32);
            }
        }
        LossValue { loss: loss * share, logit_gradient: Matrix::new(logits.rows, logits.columns, gradient) }
    }

    fn smooth(&self, target: f64, classes: usize) -> f64 {
        target * (1.0 - self.label_smoothing) + self.label_smoothing / classes as f64
    }

    fn log_softmax(&self, row: &[f32]) -> Vec<f64> {
        let offset = |class: usize| self.offsets.get(class).copied().unwrap_or(0.0);
        let adjusted: Vec<f64> =
            row.iter().enumerate().map(|(class, &logit)| f64::from(logit) + offset(class)).collect();
        log_softmax(&adjusted)
    }
}

/// How far logits are from a teacher's: `temperature² · KL(softmax(teacher / temperature) ‖ softmax(logits / temperature))`,
/// mean over the samples. The square keeps the gradients as large as those of cross-entropy whatever the temperature.
///
/// # Source
/// Hinton et al., *Distilling the Knowledge in a Neural Network*, 2015, section 2.1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Imitation {
    /// Divides the logits.
    pub temperature: f64,
}

impl Imitation {
    /// The mean divergence over the rows and its gradient to `logits`.
    ///
    /// # Panics
    /// If the shapes differ.
    #[must_use]
    pub fn value(&self, logits: &Matrix, teacher: &Matrix) -> LossValue {
        let shape = |matrix: &Matrix| (matrix.rows, matrix.columns);
        assert_eq!(shape(logits), shape(teacher), "shape of the teacher's logits");
        let share = 1.0 / logits.rows.max(1) as f64;
        let softened = |row: &[f32]| -> Vec<f64> {
            log_softmax(&row.iter().map(|&logit| f64::from(logit) / self.temperature).collect::<Vec<_>>())
        };
        let mut loss = 0.0;
        let mut gradient = Vec::with_capacity(logits.values.len());
        for (row, teacher) in logits.iter_rows().zip(teacher.iter_rows()) {
            for (own, teacher) in softened(row).into_iter().zip(softened(teacher)) {
                if teacher.exp() > 0.0 {
                    loss += teacher.exp() * (teacher - own);
                }
                gradient.push(((own.exp() - teacher.exp()) * self.temperature * share) as f32);
            }
        }
        LossValue {
            loss: loss * share * self.temperature.powi(2),
            logit_gradient: Matrix::new(logits.rows, logits.columns, gradient),
        }
    }
}

impl LossValue {
    /// `(1 - weight) · self + weight · other`.
    ///
    /// # Panics
    /// If the gradients have different shapes.
    #[must_use]
    pub fn mixed(mut self, other: &Self, weight: f64) -> Self {
        assert_eq!(self.logit_gradient.values.len(), other.logit_gradient.values.len(), "gradients to mix");
        let mix = |own: f64, other: f64| (1.0 - weight) * own + weight * other;
        self.loss = mix(self.loss, other.loss);
        for (own, other) in self.logit_gradient.values.iter_mut().zip(&other.logit_gradient.values) {
            *own = mix(f64::from(*own), f64::from(*other)) as f32;
        }
        self
    }
}

/// `logits - ln Σ exp(logits)`, without overflow.
pub(crate) fn log_softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    let log_sum = largest + sum.ln();
    logits.iter().map(|logit| logit - log_sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Temperature, loss and gradient, printed by torch 2 in f64: `T * T * torch.nn.functional.kl_div(log_softmax(logits / T),
    /// log_softmax(teacher / T), log_target=True, reduction="batchmean")` on `LOGITS`, with `.backward()`.
    const IMITATIONS: [(f64, f64, [f64; 6]); 2] = [
        (
            1.0,
            1.297583529979,
            [0.175016357, -0.329806599, 0.154790242, 0.230945067, -0.204422396, -0.026522671],
        ),
        (
            4.0,
            1.567261532176,
            [0.176203425, -0.463097184, 0.286893759, 0.327097337, -0.217004182, -0.110093155],
        ),
    ];

    const LOGITS: [f32; 6] = [1.0, -2.0, 0.5, 3.0, 0.25, -1.5];

    fn logits() -> Matrix {
        Matrix::new(2, 3, LOGITS.to_vec())
    }

    struct Case {
        name: &'static str,
        loss: CrossEntropy,
        targets: Matrix,
        expected_loss: f64,
        expected_gradient: [f64; 6],
    }

    fn one_hot() -> Matrix {
        Matrix::new(2, 3, vec![0., 0., 1., 0., 1., 0.])
    }

    /// Printed by torch 2 in f64: `torch.nn.functional.cross_entropy(logits, targets, label_smoothing=..)` on
    /// `LOGITS`, and for logit adjustment on `LOGITS + 1.5 * log([5, 3, 2] / 10)`, with `.backward()`.
    fn cases() -> Vec<Case> {
        vec![
            Case {
                name: "plain",
                loss: CrossEntropy::default(),
                targets: one_hot(),
                expected_loss: 1.913475924804,
                expected_gradient: [
                    0.301874448,
                    0.015029444,
                    -0.316903892,
                    0.465100333,
                    -0.470267130,
                    0.005166798,
                ],
            },
            Case {
                name: "smoothed",
                loss: CrossEntropy::default().with_label_smoothing(0.1),
                targets: one_hot(),
                expected_loss: 1.930142591471,
                expected_gradient: [
                    0.285207781,
                    -0.001637223,
                    -0.283570559,
                    0.448433666,
                    -0.436933797,
                    -0.011499869,
                ],
            },
            Case {
                name: "soft targets",
                loss: CrossEntropy::default(),
                targets: Matrix::new(2, 3, vec![0.25, 0.5, 0.25, 0.0, 0.125, 0.875]),
                expected_loss: 3.241600924804,
                expected_gradient: [
                    0.176874448,
                    -0.234970556,
                    0.058096108,
                    0.465100333,
                    -0.032767130,
                    -0.432333202,
                ],
            },
            Case {
                name: "soft targets, smoothed",
                loss: CrossEntropy::default().with_label_smoothing(0.3),
                targets: Matrix::new(2, 3, vec![0.25, 0.5, 0.25, 0.0, 0.125, 0.875]),
                expected_loss: 2.893163424804,
                expected_gradient: [
                    0.164374448,
                    -0.209970556,
                    0.045596108,
                    0.415100333,
                    -0.064017130,
                    -0.351083202,
                ],
            },
            Case {
                name: "adjusted",
                loss: CrossEntropy::default().with_logit_adjustment(1.5, &[5, 3, 2]),
                targets: one_hot(),
                expected_loss: 2.792645270565,
                expected_gradient: [
                    0.424960332,
                    0.009833131,
                    -0.434793463,
                    0.484251482,
                    -0.485612411,
                    0.001360930,
                ],
            },
            Case {
                name: "adjusted, smoothed",
                loss: CrossEntropy::default()
                    .with_logit_adjustment(1.5, &[50, 30, 20])
                    .with_label_smoothing(0.1),
                targets: one_hot(),
                expected_loss: 2.773634028341,
                expected_gradient: [
                    0.408293665,
                    -0.006833536,
                    -0.401460129,
                    0.467584815,
                    -0.452279078,
                    -0.015305737,
                ],
            },
        ]
    }

    #[test]
    fn loss_and_gradient_are_those_of_torch() {
        for case in cases() {
            let value = case.loss.value(&logits(), Targets::Distributions(&case.targets));
            assert!((value.loss - case.expected_loss).abs() < 1e-7, "{}: {}", case.name, value.loss);
            for (found, expected) in value.logit_gradient.values.iter().zip(case.expected_gradient) {
                assert!((f64::from(*found) - expected).abs() < 1e-7, "{}: {found} {expected}", case.name);
            }
        }
    }

    #[test]
    fn a_class_is_the_distribution_with_one_at_it() {
        let loss = CrossEntropy::default().with_label_smoothing(0.2);
        let of_classes = loss.value(&logits(), Targets::Classes(&[2, 1]));
        assert_eq!(of_classes, loss.value(&logits(), Targets::Distributions(&one_hot())));
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let loss = CrossEntropy::default().with_label_smoothing(0.1).with_logit_adjustment(0.7, &[9, 0, 4]);
        let targets = Matrix::new(2, 3, vec![0.25, 0.5, 0.25, 0.0, 0.125, 0.875]);
        let gradient = loss.value(&logits(), Targets::Distributions(&targets)).logit_gradient;
        for index in 0..6 {
            let shifted = |by: f32| {
                let mut logits = logits();
                logits.values[index] += by;
                loss.value(&logits, Targets::Distributions(&targets)).loss
            };
            let step = 1.0 / 1024.0;
            let slope = (shifted(step) - shifted(-step)) / f64::from(2.0 * step);
            assert!((slope - f64::from(gradient.values[index])).abs() < 1e-6, "at {index}: {slope}");
        }
    }

    #[test]
    fn huge_logits_neither_overflow_nor_vanish() {
        let logits = Matrix::new(2, 2, vec![1e30, 0.0, -1e30, 1e30]);
        let right = CrossEntropy::default().value(&logits, Targets::Classes(&[0, 1]));
        assert_eq!((right.loss, right.logit_gradient.values), (0.0, vec![0.0; 4]));
        let wrong = CrossEntropy::default().value(&logits, Targets::Classes(&[1, 1]));
        assert!(wrong.loss.is_finite() && wrong.loss > 1e29, "{}", wrong.loss);
        assert_eq!(wrong.logit_gradient.values, [0.5, -0.5, 0.0, 0.0]);
    }

    #[test]
    fn imitation_is_torchs_divergence() {
        let teacher = Matrix::new(2, 3, vec![0.5, 1.5, -1.0, 2.0, 2.0, 0.0]);
        for (temperature, expected, gradient) in IMITATIONS {
            let value = Imitation { temperature }.value(&logits(), &teacher);
            assert!((value.loss - expected).abs() < 1e-7, "{temperature}: {}", value.loss);
            for (found, expected) in value.logit_gradient.values.iter().zip(gradient) {
                assert!((f64::from(*found) - expected).abs() < 1e-7, "{temperature}: {found} {expected}");
            }
        }
        assert_eq!(Imitation { temperature: 3.0 }.value(&teacher, &teacher).loss, 0.0);
    }

    #[test]
    fn a_mixture_of_losses_is_between_them() {
        let labels = CrossEntropy::default().value(&logits(), Targets::Classes(&[2, 1]));
        let teacher = Imitation { temperature: 1.0 }.value(&logits(), &Matrix::new(2, 3, vec![0.0; 6]));
        let mixed = labels.clone().mixed(&teacher, 0.25);
        assert!((mixed.loss - (0.75 * labels.loss + 0.25 * teacher.loss)).abs() < 1e-12);
        let first = |value: &LossValue| f64::from(value.logit_gradient.values[0]);
        assert!((first(&mixed) - (0.75 * first(&labels) + 0.25 * first(&teacher))).abs() < 1e-7);
        assert_eq!(labels.clone().mixed(&teacher, 0.0), labels);
    }

    #[test]
    fn not_a_number_stays_visible() {
        let logits = Matrix::new(1, 2, vec![f32::NAN, 0.0]);
        assert!(CrossEntropy::default().value(&logits, Targets::Classes(&[0])).loss.is_nan());
    }

    #[test]
    fn an_empty_batch_loses_nothing() {
        let value = CrossEntropy::default().value(&Matrix::new(0, 3, Vec::new()), Targets::Classes(&[]));
        assert_eq!((value.loss, value.logit_gradient.values.len()), (0.0, 0));
    }

    #[test]
    #[should_panic(expected = "a class outside of 0..3")]
    fn a_class_that_the_network_does_not_have_panics() {
        let _ = CrossEntropy::default().value(&logits(), Targets::Classes(&[0, 3]));
    }

    #[test]
    #[should_panic(expected = "targets for 2 rows of logits")]
    fn a_missing_target_panics() {
        let _ = CrossEntropy::default().value(&logits(), Targets::Classes(&[0]));
    }
}

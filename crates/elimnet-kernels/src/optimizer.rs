//! Parameter updates, as torch.optim makes them, in one pass over the parameters: clipping and the running
//! average of the weights are part of it, and all tensors of a network go in one call.

use crate::columns::{Pointwise, sweep};
use crate::element::Element;
use crate::elementwise::Images;
use crate::isa::Isa;
use crate::simd::{Kernel, Simd};
use crate::threads::{self, ELEMENTS};

/// The rule that a tensor is updated by.
#[derive(Debug)]
pub enum Rule<'a> {
    /// See [`sgd_momentum_step`].
    Sgd {
        /// Settings.
        settings: Sgd,
        /// Of the parameters' length.
        velocity: &'a mut [f32],
    },
    /// See [`adamw_step`].
    AdamW {
        /// Settings.
        settings: AdamW,
        /// Of the parameters' length.
        mean: &'a mut [f32],
        /// Of the parameters' length.
        mean_square: &'a mut [f32],
    },
}

/// A tensor that [`update`] trains.
#[derive(Debug)]
pub struct Update<'a> {
    /// Changed in place.
    pub parameters: &'a mut [f32],
    /// Of the parameters' length.
    pub gradients: &'a [f32],
    /// How, and what it remembers.
    pub rule: Rule<'a>,
    /// A running average of the parameters, `average = decay · average + (1 − decay) · parameters`, of their
    /// length, and `decay`.
    pub average: Option<(&'a mut [f32], f32)>,
}

/// Updates all tensors in one pass over each; gradients are multiplied by `gradient_scale` (clipping) as they
/// are read.
///
/// # Panics
/// If the lengths of a tensor's parts differ or an AdamW step is zero.
pub fn update(isa: Isa, tensors: Vec<Update<'_>>, gradient_scale: f32) {
    let pieces = tensors.into_iter().flat_map(Update::pieces);
    threads::for_each(pieces, &|_, piece| piece.run(isa, gradient_scale));
}

impl<'a> Update<'a> {
    /// Cut where tasks may be.
    fn pieces(self) -> Vec<Self> {
        let Self { parameters, gradients, rule, average } = self;
        let count = parameters.len().div_ceil(ELEMENTS);
        assert_eq!(gradients.len(), parameters.len(), "lengths of parameters and gradients");
        let rules: Vec<Rule<'a>> = match rule {
            Rule::Sgd { settings, velocity } => {
                assert_eq!(velocity.len(), parameters.len(), "lengths of parameters and velocity");
                velocity.chunks_mut(ELEMENTS).map(|velocity| Rule::Sgd { settings, velocity }).collect()
            }
            Rule::AdamW { settings, mean, mean_square } => {
                assert!(settings.step > 0, "AdamW counts its steps from 1");
                assert_eq!(mean.len(), parameters.len(), "lengths of parameters and means");
                assert_eq!(mean_square.len(), parameters.len(), "lengths of parameters and mean squares");
                let moments = mean.chunks_mut(ELEMENTS).zip(mean_square.chunks_mut(ELEMENTS));
                moments.map(|(mean, mean_square)| Rule::AdamW { settings, mean, mean_square }).collect()
            }
        };
        let averages: Vec<_> = match average {
            Some((average, decay)) => {
                assert_eq!(average.len(), parameters.len(), "lengths of parameters and average");
                average.chunks_mut(ELEMENTS).map(|average| Some((average, decay))).collect()
            }
            None => (0..count).map(|_| None).collect(),
        };
        let pieces = parameters.chunks_mut(ELEMENTS).zip(gradients.chunks(ELEMENTS));
        let pieces = pieces.zip(rules.into_iter().zip(averages));
        pieces
            .map(|((parameters, gradients), (rule, average))| Self { parameters, gradients, rule, average })
            .collect()
    }

    fn run(self, isa: Isa, gradient_scale: f32) {
        let Self { parameters, gradients, rule, average } = self;
        match rule {
            Rule::Sgd { settings: sgd, velocity } => {
                isa.run(SgdStep { sgd, gradient_scale, parameters: &mut *parameters, gradients, velocity });
            }
            Rule::AdamW { settings, mean, mean_square } => {
                let (constants, parameters) = (AdamConstants::new(&settings), &mut *parameters);
                isa.run(AdamStep { constants, gradient_scale, parameters, gradients, mean, mean_square });
            }
        }
        // The piece is still in the nearest cache.
        if let Some((average, decay)) = average {
            isa.run(Follow { average, parameters, decay });
        }
    }
}

struct Follow<'a> {
    average: &'a mut [f32],
    parameters: &'a [f32],
    decay: f32,
}

impl Kernel for Follow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (average, parameter) in self.average.iter_mut().zip(self.parameters) {
            *average = self.decay * *average + (1.0 - self.decay) * parameter;
        }
    }
}

#[derive(Clone, Copy)]
struct Square;

impl Pointwise<0, 1, 0, 1> for Square {
    #[inline(always)]
    fn apply<S: Simd, E: Element>(
        self,
        simd: S,
        _: [S::Vector; 0],
        [x]: [S::Vector; 1],
        _: [S::Vector; 0],
        [sum]: &mut [S::Vector; 1],
    ) -> [S::Vector; 0] {
        *sum = simd.mul_add(x, x, *sum);
        []
    }
}

/// `Σ x²`: what the norm that gradients are clipped by is the root of.
///
/// # Accuracy
/// Each task's squares are added in f32, in 128 sums side by side; the tasks' sums in f64.
pub fn squared_norm(isa: Isa, x: &[f32]) -> f64 {
    let [sum] = sweep(isa, Images::rows(x, 1), Square, [], [x], []);
    sum[0]
}

/// Stochastic gradient descent (torch.optim.SGD without dampening).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Step length.
    pub learning_rate: f32,
    /// Share of the last update that goes on.
    pub momentum: f32,
    /// Pull to zero, added to the gradient.
    pub weight_decay: f32,
    /// Whether the momentum looks ahead (Nesterov).
    pub nesterov: bool,
    /// Whether `velocity` holds nothing yet: it then becomes the gradient.
    pub first_step: bool,
}

/// One step of [`Sgd`]: `d = gradient + weight_decay · parameter`, `velocity = momentum · velocity + d`,
/// `parameter −= learning_rate · velocity` (Nesterov: `d + momentum · velocity`).
///
/// # Panics
/// If the lengths differ.
pub fn sgd_momentum_step(
    isa: Isa,
    sgd: &Sgd,
    parameters: &mut [f32],
    gradients: &[f32],
    velocity: &mut [f32],
) {
    let rule = Rule::Sgd { settings: *sgd, velocity };
    update(isa, vec![Update { parameters, gradients, rule, average: None }], 1.0);
}

struct SgdStep<'a> {
    sgd: Sgd,
    gradient_scale: f32,
    parameters: &'a mut [f32],
    gradients: &'a [f32],
    velocity: &'a mut [f32],
}

impl Kernel for SgdStep<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Sgd { learning_rate, momentum, weight_decay, nesterov, first_step } = self.sgd;
        let values = self.parameters.iter_mut().zip(self.gradients).zip(self.velocity);
        for ((parameter, gradient), velocity) in values {
            let gradient = *gradient * self.gradient_scale;
            let direction = simd.mul_add_scalar(weight_decay, *parameter, gradient);
            let moving = simd.mul_add_scalar(momentum, *velocity, direction);
            *velocity = if first_step { direction } else { moving };
            let ahead = simd.mul_add_scalar(momentum, *velocity, direction);
            let update = if nesterov { ahead } else { *velocity };
            *parameter = simd.mul_add_scalar(-learning_rate, update, *parameter);
        }
    }
}

/// Adam with decoupled weight decay (torch.optim.AdamW).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Step length.
    pub learning_rate: f32,
    /// Decay of the mean of the gradients and of the mean of their squares.
    pub betas: [f32; 2],
    /// Added to the root of the mean square.
    pub epsilon: f32,
    /// Share of the parameter that each step takes off, times the step length.
    pub weight_decay: f32,
    /// Steps made with this one: 1 at first.
    pub step: u64,
}

/// One step of [`AdamW`]; `mean` and `mean_square` are zeros before the first.
///
/// # Panics
/// If the lengths differ or `step` is zero.
///
/// # Source
/// Loshchilov & Hutter, *Decoupled Weight Decay Regularization*, 2019.
pub fn adamw_step(
    isa: Isa,
    adam: &AdamW,
    parameters: &mut [f32],
    gradients: &[f32],
    mean: &mut [f32],
    mean_square: &mut [f32],
) {
    let rule = Rule::AdamW { settings: *adam, mean, mean_square };
    update(isa, vec![Update { parameters, gradients, rule, average: None }], 1.0);
}

/// What a step does to every parameter alike, worked out in f64 as torch does.
#[derive(Clone, Copy)]
struct AdamConstants {
    keep: f32,
    /// Shares of the new gradient and of its square in the means.
    fresh: [f32; 2],
    old_square: f32,
    step_length: f32,
    inverse_root_correction: f32,
    epsilon: f32,
}

impl AdamConstants {
    fn new(adam: &AdamW) -> Self {
        let [beta_1, beta_2] = adam.betas.map(f64::from);
        let correction = |beta: f64| 1.0 - beta.powf(adam.step as f64);
        let rate = f64::from(adam.learning_rate);
        Self {
            keep: (1.0 - rate * f64::from(adam.weight_decay)) as f32,
            fresh: [(1.0 - beta_1) as f32, (1.0 - beta_2) as f32],
            old_square: beta_2 as f32,
            step_length: (rate / correction(beta_1)) as f32,
            inverse_root_correction: (1.0 / correction(beta_2).sqrt()) as f32,
            epsilon: adam.epsilon,
        }
    }
}

struct AdamStep<'a> {
    constants: AdamConstants,
    gradient_scale: f32,
    parameters: &'a mut [f32],
    gradients: &'a [f32],
    mean: &'a mut [f32],
    mean_square: &'a mut [f32],
}

impl Kernel for AdamStep<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let c = self.constants;
        let moments = self.mean.iter_mut().zip(self.mean_square);
        for ((parameter, gradient), (mean, square)) in
            self.parameters.iter_mut().zip(self.gradients).zip(moments)
        {
            let gradient = *gradient * self.gradient_scale;
            *mean = simd.mul_add_scalar(c.fresh[0], gradient - *mean, *mean);
            *square = simd.mul_add_scalar(c.fresh[1] * gradient, gradient, c.old_square * *square);
            let root = simd.mul_add_scalar(square.sqrt(), c.inverse_root_correction, c.epsilon);
            *parameter = simd.mul_add_scalar(-c.step_length, *mean / root, *parameter * c.keep);
        }
    }
}

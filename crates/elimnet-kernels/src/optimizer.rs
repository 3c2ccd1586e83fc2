//! Parameter updates, as torch.optim makes them, in one pass over the parameters.

use rayon::prelude::*;

use crate::isa::Isa;
use crate::simd::{Kernel, Simd};
use crate::threads::ELEMENTS;

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
    assert_eq!(gradients.len(), parameters.len(), "lengths of parameters and gradients");
    assert_eq!(velocity.len(), parameters.len(), "lengths of parameters and velocity");
    let chunks = parameters.par_chunks_mut(ELEMENTS).zip(gradients.par_chunks(ELEMENTS));
    chunks.zip(velocity.par_chunks_mut(ELEMENTS)).for_each(|((parameters, gradients), velocity)| {
        isa.run(SgdStep { sgd: *sgd, parameters, gradients, velocity });
    });
}

struct SgdStep<'a> {
    sgd: Sgd,
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
            let direction = simd.mul_add_scalar(weight_decay, *parameter, *gradient);
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
    assert!(adam.step > 0, "AdamW counts its steps from 1");
    assert_eq!(gradients.len(), parameters.len(), "lengths of parameters and gradients");
    assert_eq!(mean.len(), parameters.len(), "lengths of parameters and means");
    assert_eq!(mean_square.len(), parameters.len(), "lengths of parameters and mean squares");
    let constants = AdamConstants::new(adam);
    let chunks = parameters.par_chunks_mut(ELEMENTS).zip(gradients.par_chunks(ELEMENTS));
    let moments = mean.par_chunks_mut(ELEMENTS).zip(mean_square.par_chunks_mut(ELEMENTS));
    chunks.zip(moments).for_each(|((parameters, gradients), (mean, mean_square))| {
        isa.run(AdamStep { constants, parameters, gradients, mean, mean_square });
    });
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
            *mean = simd.mul_add_scalar(c.fresh[0], gradient - *mean, *mean);
            *square = simd.mul_add_scalar(c.fresh[1] * gradient, *gradient, c.old_square * *square);
            let root = simd.mul_add_scalar(square.sqrt(), c.inverse_root_correction, c.epsilon);
            *parameter = simd.mul_add_scalar(-c.step_length, *mean / root, *parameter * c.keep);
        }
    }
}

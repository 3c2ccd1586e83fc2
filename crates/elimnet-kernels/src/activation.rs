//! Activations, their gradients, and softmax.

use rayon::prelude::*;

use crate::columns::check_rows;
use crate::elementwise::{Binary, MapInPlace, Unary, map, map_in_place, zip_map};
use crate::exp::{erf, exp, sigmoid};
use crate::isa::Isa;
use crate::simd::{Kernel, Simd};
use crate::threads::ELEMENTS;

/// A nonlinearity, with torch's values and torch's gradients at the kinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x`
    Identity,
    /// `max(x, 0)`; gradient 0 at 0.
    Relu,
    /// `min(max(x, 0), 6)`; gradient 0 at 0 and at 6.
    Relu6,
    /// `x · sigmoid(x)`, also called swish.
    Silu,
    /// `x · relu6(x + 3) / 6`; gradient 0 up to -3, 1 from 3 on.
    HardSwish,
    /// `relu6(x + 3) / 6`; gradient 0 up to -3 and from 3 on.
    HardSigmoid,
    /// `1 / (1 + exp(−x))`
    Sigmoid,
    /// `x · (1 + erf(x / √2)) / 2`, the exact form.
    Gelu,
}

/// Runs `$body` with `$function` as the zero-sized function of an activation.
macro_rules! with_function {
    ($kind:expr, $function:ident => $body:expr) => {
        match $kind {
            Activation::Identity => {
                let $function = Identity;
                $body
            }
            Activation::Relu => {
                let $function = Relu;
                $body
            }
            Activation::Relu6 => {
                let $function = Relu6;
                $body
            }
            Activation::Silu => {
                let $function = Silu;
                $body
            }
            Activation::HardSwish => {
                let $function = HardSwish;
                $body
            }
            Activation::HardSigmoid => {
                let $function = HardSigmoid;
                $body
            }
            Activation::Sigmoid => {
                let $function = Sigmoid;
                $body
            }
            Activation::Gelu => {
                let $function = Gelu;
                $body
            }
        }
    };
}

/// `y = activation(x)`.
///
/// # Accuracy
/// Within 1e-6 of `max(|y|, 1e-30)` for all but GELU, within `1e-6 · |x|` for GELU.
///
/// # Panics
/// If the lengths differ.
pub fn activate(isa: Isa, kind: Activation, x: &[f32], y: &mut [f32]) {
    with_function!(kind, function => map(isa, function, x, y));
}

/// `values = activation(values)`.
pub fn activate_in_place(isa: Isa, kind: Activation, values: &mut [f32]) {
    if kind != Activation::Identity {
        with_function!(kind, function => map_in_place(isa, function, values));
    }
}

/// `values = activation(values)`, on this thread.
pub(crate) fn activate_slice(isa: Isa, kind: Activation, values: &mut [f32]) {
    with_function!(kind, function => isa.run(MapInPlace { function, values }));
}

/// `dx = dy · activation'(x)`, `x` being what went into the activation.
///
/// # Panics
/// If the lengths differ.
pub fn activation_gradient(isa: Isa, kind: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    with_function!(kind, function => zip_map(isa, function, x, dy, dx));
}

/// An activation: as [`Unary`] its value, as [`Binary`] its gradient from `x` and `dy`.
macro_rules! activation {
    ($name:ident, |$simd:ident, $x:ident| $value:expr, |$dy:ident| $gradient:expr) => {
        #[derive(Clone, Copy)]
        struct $name;

        impl Unary for $name {
            #[inline(always)]
            #[allow(unused_variables)] // few need the instruction set
            fn apply<S: Simd>(self, $simd: S, $x: f32) -> f32 {
                $value
            }
        }

        impl Binary for $name {
            #[inline(always)]
            #[allow(unused_variables)]
            fn apply<S: Simd>(self, $simd: S, $x: f32, $dy: f32) -> f32 {
                $gradient
            }
        }
    };
}

const SIXTH: f32 = 1.0 / 6.0;
/// `1 / √(2π)`
const INVERSE_SQRT_2_PI: f32 = 0.398_942_3;

activation!(Identity, |simd, x| x, |dy| dy);
activation!(Relu, |simd, x| if x < 0.0 { 0.0 } else { x }, |dy| if x <= 0.0 { 0.0 } else { dy });
activation!(Relu6, |simd, x| clamp(x, 0.0, 6.0), |dy| if (x <= 0.0) | (x >= 6.0) { 0.0 } else { dy });
activation!(Silu, |simd, x| x / (1.0 + exp(simd, -x)), |dy| {
    let sigmoid = sigmoid(simd, x);
    dy * (sigmoid * simd.mul_add_scalar(x, 1.0 - sigmoid, 1.0))
});
activation!(HardSwish, |simd, x| x * clamp(x + 3.0, 0.0, 6.0) * SIXTH, |dy| {
    let inner = if x < 3.0 { dy * simd.mul_add_scalar(x, 1.0 / 3.0, 0.5) } else { dy };
    if x <= -3.0 { 0.0 } else { inner }
});
activation!(HardSigmoid, |simd, x| clamp(x + 3.0, 0.0, 6.0) * SIXTH, |dy| if (x > -3.0) & (x < 3.0) {
    dy * SIXTH
} else {
    0.0
});
activation!(Sigmoid, |simd, x| sigmoid(simd, x), |dy| {
    let sigmoid = sigmoid(simd, x);
    dy * ((1.0 - sigmoid) * sigmoid)
});
activation!(Gelu, |simd, x| 0.5 * x * (1.0 + erf(simd, x * std::f32::consts::FRAC_1_SQRT_2)), |dy| {
    let below = 0.5 * (1.0 + erf(simd, x * std::f32::consts::FRAC_1_SQRT_2));
    let density = INVERSE_SQRT_2_PI * exp(simd, -0.5 * x * x);
    dy * simd.mul_add_scalar(x, density, below)
});

/// Unlike `f32::clamp`, one instruction a bound; NaN stays NaN.
#[inline(always)]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// `y = exp(x) / Σ exp(x)` over each row's channels.
///
/// # Shapes
/// `x` and `y` `[rows, channels]`.
///
/// # Panics
/// If the lengths differ or `channels` does not divide them.
pub fn softmax(isa: Isa, channels: usize, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "lengths of input and output");
    check_rows(x, channels);
    let rows = (ELEMENTS / channels).max(1) * channels;
    let chunks = y.par_chunks_mut(rows).zip(x.par_chunks(rows));
    chunks.for_each(|(y, x)| isa.run(Softmax { channels, x, y }));
}

/// `dx = y · (dy − Σ y · dy)` over each row's channels, `y` being what [`softmax`] gave.
///
/// # Shapes
/// `y`, `dy` and `dx` `[rows, channels]`.
///
/// # Panics
/// If the lengths differ or `channels` does not divide them.
pub fn softmax_gradient(isa: Isa, channels: usize, y: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert_eq!(y.len(), dx.len(), "lengths of the output and the gradient");
    assert_eq!(dy.len(), dx.len(), "lengths of the two gradients");
    check_rows(y, channels);
    let rows = (ELEMENTS / channels).max(1) * channels;
    let chunks = dx.par_chunks_mut(rows).zip(y.par_chunks(rows)).zip(dy.par_chunks(rows));
    chunks.for_each(|((dx, y), dy)| isa.run(SoftmaxGradient { channels, y, dy, dx }));
}

struct Softmax<'a> {
    channels: usize,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for (y, x) in self.y.chunks_exact_mut(self.channels).zip(self.x.chunks_exact(self.channels)) {
            let highest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for (y, x) in y.iter_mut().zip(x) {
                *y = exp(simd, x - highest);
            }
            let sum: f32 = y.iter().sum();
            for y in y {
                *y /= sum;
            }
        }
    }
}

struct SoftmaxGradient<'a> {
    channels: usize,
    y: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Kernel for SoftmaxGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let rows = self.dx.chunks_exact_mut(self.channels).zip(self.y.chunks_exact(self.channels));
        for ((dx, y), dy) in rows.zip(self.dy.chunks_exact(self.channels)) {
            let product: f32 = y.iter().zip(dy).map(|(y, dy)| y * dy).sum();
            for ((dx, y), dy) in dx.iter_mut().zip(y).zip(dy) {
                *dx = y * (dy - product);
            }
        }
    }
}

//! Batch normalisation over `[rows, channels]`, with the shortcut and the activation behind it: each value is
//! read and written once, forward; backward the activation's slope is worked out again from the norm's input,
//! which is cheaper than to store it.
//!
//! `t = ((y − mean) · inverse_std · weight + bias) · depth + shortcut`, `z = activation(t)`.

use crate::activation::{Activation, Function, with_function};
use crate::columns::{Pointwise, check_rows, sweep};
use crate::element::Element;
use crate::elementwise::Images;
use crate::isa::Isa;
use crate::scratch::Scratch;
use crate::simd::Simd;

/// What a batch norm needs of the batch and of its parameters, one value a channel each.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a> {
    /// Mean of the batch.
    pub mean: &'a [f32],
    /// `1 / √(biased variance of the batch + epsilon)`
    pub inverse_std: &'a [f32],
    /// Learned scale.
    pub weight: &'a [f32],
}

impl BatchNorm<'_> {
    /// `inverse_std · weight`
    pub(crate) fn scale(&self) -> Scratch {
        Scratch::of(self.inverse_std.iter().zip(self.weight).map(|(s, w)| s * w))
    }

    pub(crate) fn check<E>(&self, values: &[E], others: &[&[f32]]) {
        let channels = self.mean.len();
        check_rows(values, channels);
        check_channels(channels, &[self.inverse_std, self.weight]);
        check_channels(channels, others);
    }

    /// The slope and offset of the gradient to the norm's input:
    /// `scale · (g − d_bias / rows − (y − mean) · inverse_std · d_weight / rows)` is
    /// `scale · g + (y − mean) · slope + offset`.
    pub(crate) fn backward_terms(&self, rows: usize, d_weight: &[f32], d_bias: &[f32]) -> [Scratch; 2] {
        let by_channel = |value: &dyn Fn(usize) -> f64| {
            Scratch::of((0..self.mean.len()).map(|channel| value(channel) as f32))
        };
        let scale = |c: usize| -f64::from(self.inverse_std[c]) * f64::from(self.weight[c]) / rows as f64;
        let slope = by_channel(&|c| scale(c) * f64::from(self.inverse_std[c]) * f64::from(d_weight[c]));
        [slope, by_channel(&|c| scale(c) * f64::from(d_bias[c]))]
    }
}

fn check_channels(channels: usize, parameters: &[&[f32]]) {
    for parameter in parameters {
        assert_eq!(parameter.len(), channels, "values in a parameter of {channels} channels");
    }
}

/// A batch norm and the activation behind it.
#[derive(Clone, Copy, Debug)]
pub struct NormActivation<'a> {
    /// Statistics and scale.
    pub norm: BatchNorm<'a>,
    /// Learned offset.
    pub bias: &'a [f32],
    /// Behind the norm (and the shortcut).
    pub activation: Activation,
}

/// What is added to a norm's output, before the activation.
///
/// # Shapes
/// `values` `[rows, channels]`, `depth` `[images]`, in which the rows lie one after the other.
///
/// # Source
/// Stochastic depth: Huang et al., *Deep Networks with Stochastic Depth*, 2016.
#[derive(Clone, Copy, Debug)]
pub struct Shortcut<'a, E> {
    /// Values of the output's shape.
    pub values: &'a [E],
    /// Stochastic depth: what the norm's output is multiplied by, one factor an image; 1 where there are none.
    pub depth: Option<&'a [f32]>,
}

impl<'a, E> Shortcut<'a, E> {
    /// Without stochastic depth.
    pub fn new(values: &'a [E]) -> Self {
        Self { values, depth: None }
    }

    /// As many images as there are factors, or all rows as one.
    ///
    /// # Panics
    /// If there are not as many values as `y` has, or they are no such number of images.
    pub(crate) fn images(&self, y: &[E], channels: usize) -> Images {
        assert_eq!(self.values.len(), y.len(), "lengths of input and shortcut");
        let Some(factors) = self.depth else { return Images::rows(y, channels) };
        let batch = factors.len();
        let images = Images { batch, pixels: y.len() / channels / batch.max(1), channels };
        images.check(y, "the norm's input");
        images
    }

    /// `values` by channel as they are for each image.
    pub(crate) fn by_image(&self, values: &[f32]) -> Scratch {
        match self.depth {
            Some(factors) => {
                Scratch::of(factors.iter().flat_map(|f| values.iter().map(move |value| f * value)))
            }
            None => Scratch::of(values.iter().copied()),
        }
    }

    /// Sums by channel of sums over each image of what was not multiplied.
    pub(crate) fn over_images(&self, sums: Scratch<f64>, channels: usize) -> Scratch<f64> {
        let Some(factors) = self.depth else { return sums };
        let mut total = Scratch::filled(channels, 0.0);
        for (sums, factor) in sums.chunks_exact(channels).zip(factors) {
            total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum * f64::from(*factor));
        }
        total
    }
}

impl NormActivation<'_> {
    pub(crate) fn check<E>(&self, values: &[E]) {
        self.norm.check(values, &[self.bias]);
    }

    pub(crate) fn channels(&self) -> usize {
        self.bias.len()
    }
}

/// `t` of the module's documentation, without a shortcut.
#[inline(always)]
pub(crate) fn affine<S: Simd>(
    simd: S,
    y: S::Vector,
    mean: S::Vector,
    scale: S::Vector,
    bias: S::Vector,
) -> S::Vector {
    simd.mul_add(simd.subtract(y, mean), scale, bias)
}

#[derive(Clone, Copy)]
struct Normalize<F>(F);

impl<F: Function> Pointwise<3, 1, 1, 0> for Normalize<F> {
    #[inline(always)]
    fn apply<S: Simd, E: Element>(
        self,
        simd: S,
        [mean, scale, bias]: [S::Vector; 3],
        [y]: [S::Vector; 1],
        _: [S::Vector; 1],
        _: &mut [S::Vector; 0],
    ) -> [S::Vector; 1] {
        [self.0.value::<S, E>(simd, affine(simd, y, mean, scale, bias))]
    }
}

#[derive(Clone, Copy)]
struct NormalizeShortcut<F>(F);

impl<F: Function> Pointwise<3, 2, 1, 0> for NormalizeShortcut<F> {
    #[inline(always)]
    fn apply<S: Simd, E: Element>(
        self,
        simd: S,
        [mean, scale, bias]: [S::Vector; 3],
        [y, shortcut]: [S::Vector; 2],
        _: [S::Vector; 1],
        _: &mut [S::Vector; 0],
    ) -> [S::Vector; 1] {
        let t = simd.add(affine(simd, y, mean, scale, bias), shortcut);
        [self.0.value::<S, E>(simd, t)]
    }
}

/// `y = (x − mean) · inverse_std · weight + bias` by channel.
///
/// # Shapes
/// `x` and `y` `[rows, channels]`, the others `[channels]`.
///
/// # Panics
/// If a length is not the product of its shape.
pub fn normalize<E: Element>(
    isa: Isa,
    x: &[E],
    mean: &[f32],
    inverse_std: &[f32],
    weight: &[f32],
    bias: &[f32],
    y: &mut [E],
) {
    let norm = BatchNorm { mean, inverse_std, weight };
    normalize_activate(isa, &NormActivation { norm, bias, activation: Activation::Identity }, x, None, y);
}

/// `y = x · scale + shift` by channel: batch norm with its statistics folded in, for inference, or the
/// gradient through it.
///
/// # Shapes
/// `x` and `y` `[rows, channels]`, the others `[channels]`.
///
/// # Panics
/// If a length is not the product of its shape.
pub fn scale_shift<E: Element>(isa: Isa, x: &[E], scale: &[f32], shift: &[f32], y: &mut [E]) {
    let [zeros, ones] = [0.0, 1.0].map(|value| Scratch::filled(scale.len(), value));
    normalize(isa, x, &zeros, &ones, scale, shift, y);
}

/// `z = activation(normalize(y) · depth + shortcut)` in one pass.
///
/// # Shapes
/// `y`, the shortcut's values and `z` `[rows, channels]`; of stochastic depth, the rows are the pixels of so many images.
///
/// # Panics
/// If a length is not the product of its shape.
pub fn normalize_activate<E: Element>(
    isa: Isa,
    fused: &NormActivation<'_>,
    y: &[E],
    shortcut: Option<Shortcut<'_, E>>,
    z: &mut [E],
) {
    fused.check(y);
    assert_eq!(z.len(), y.len(), "lengths of input and output");
    let scale = fused.norm.scale();
    with_function!(fused.activation, function => match shortcut {
        None => {
            let (images, parameters) = (Images::rows(y, fused.channels()), [fused.norm.mean, &scale, fused.bias]);
            sweep(isa, images, Normalize(function), parameters, [y], [z]);
        }
        Some(shortcut) => {
            let images = shortcut.images(y, fused.channels());
            let [scale, bias] = [&scale[..], fused.bias].map(|values| shortcut.by_image(values));
            let parameters = [fused.norm.mean, &scale, &bias];
            sweep(isa, images, NormalizeShortcut(function), parameters, [y, shortcut.values], [z]);
        }
    });
}

#[derive(Clone, Copy)]
struct NormalizePool<F>(F);

impl<F: Function> NormalizePool<F> {
    #[inline(always)]
    fn value<S: Simd, E: Element>(
        self,
        simd: S,
        [mean, scale, bias]: [S::Vector; 3],
        y: S::Vector,
        sum: &mut S::Vector,
    ) -> S::Vector {
        let z = self.0.value::<S, E>(simd, affine(simd, y, mean, scale, bias));
        *sum = simd.add(*sum, z);
        z
    }
}

impl<F: Function> Pointwise<3, 1, 1, 1> for NormalizePool<F> {
    #[inline(always)]
    fn apply<S: Simd, E: Element>(
        self,
        simd: S,
        parameters: [S::Vector; 3],
        [y]: [S::Vector; 1],
        _: [S::Vector; 1],
        [sum]: &mut [S::Vector; 1],
    ) -> [S::Vector; 1] {
        [self.value::<S, E>(simd, parameters, y, sum)]
    }
}

impl<F: Function> Pointwise<3, 1, 0, 1> for NormalizePool<F> {
    #[inline(always)]
    fn apply<S: Simd, E: Element>(
        self,
        simd: S,
        parameters: [S::Vector; 3],
        [y]: [S::Vector; 1],
        _: [S::Vector; 0],
        [sum]: &mut [S::Vector; 1],
    ) -> [S::Vector; 0] {
        self.value::<S, E>(simd, parameters, y, sum);
        []
    }
}

/// As [`normalize_activate`], and the mean of each channel of each image of `z`, before it is rounded, for
/// squeeze-and-excitation and for heads. Without `z` the means alone, and nothing is written.
///
/// # Shapes
/// `y` and `z` `[batch, pixels, channels]`, `means` `[batch, channels]`.
///
/// # Panics
/// If a length is not the product of its shape, or there are no pixels.
pub fn normalize_activate_pool<E: Element>(
    isa: Isa,
    images: Images,
    fused: &NormActivation<'_>,
    y: &[E],
    z: Option<&mut [E]>,
    means: &mut [f32],
) {
    fused.check(y);
    images.check(y, "the input");
    images.check_pooled(means, "the means");
    assert_eq!(images.channels, fused.channels(), "channels of {images:?}");
    assert!(images.pixels > 0, "images without pixels: {images:?}");
    let scale = fused.norm.scale();
    let parameters = [fused.norm.mean, &scale, fused.bias];
    let [sums] = with_function!(fused.activation, function => match z {
        Some(z) => {
            images.check(z, "the output");
            sweep(isa, images, NormalizePool(function), parameters, [y], [z])
        }
        None => sweep(isa, images, NormalizePool(function), parameters, [y], []),
    });
    means.iter_mut().zip(&*sums).for_each(|(mean, sum)| *mean = (sum / images.pixels as f64) as f32);
}

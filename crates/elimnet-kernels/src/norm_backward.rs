//! Gradients of batch norms with what stands behind them; see [`crate::norm`] for the letters.
//!
//! Two passes, because the gradient to the norm's input needs the sums over all of it: the first reads and
//! adds up, the second reads again and writes. The gradient `g` to what goes into the activation is worked
//! out in both from `y`, unless it must be stored anyway, for the shortcut.

use crate::activation::{Activation, Function, with_function};
use crate::columns::{Pointwise, sweep};
use crate::element::Element;
use crate::elementwise::Images;
use crate::isa::Isa;
use crate::norm::{BatchNorm, NormActivation, Shortcut, affine};
use crate::scratch::Scratch;
use crate::simd::Simd;

/// Where the gradients of a batch norm's parameters go; overwritten.
///
/// # Shapes
/// `[channels]` each.
#[derive(Debug)]
pub struct NormGradients<'a> {
    /// Of the scale.
    pub weight: &'a mut [f32],
    /// Of the offset.
    pub bias: &'a mut [f32],
}

impl NormGradients<'_> {
    /// From `Σ g` and `Σ g · (y − mean)`.
    pub(crate) fn set(&mut self, norm: &BatchNorm<'_>, [sums, products]: [Scratch<f64>; 2]) {
        assert_eq!(self.weight.len(), norm.mean.len(), "length of the weight's gradient");
        assert_eq!(self.bias.len(), norm.mean.len(), "length of the bias' gradient");
        for channel in 0..norm.mean.len() {
            self.bias[channel] = sums[channel] as f32;
            self.weight[channel] = (products[channel] * f64::from(norm.inverse_std[channel])) as f32;
        }
    }
}

/// Adds `g` and `g · (y − mean)`.
#[inline(always)]
fn add_sums<S: Simd>(simd: S, g: S::Vector, y: S::Vector, mean: S::Vector, sums: &mut [S::Vector; 2]) {
    sums[0] = simd.add(sums[0], g);
    sums[1] = simd.mul_add(simd.subtract(y, mean), g, sums[1]);
}

/// The first pass without a shortcut.
#[derive(Clone, Copy)]
pub(crate) struct Sums<F>(pub(crate) F);

impl<F: Function> Pointwise<3, 2, 0, 2> for Sums<F> {
    #[inline(always)]
    fn apply<S: Simd, E: Element>(
        self,
        simd: S,
        [mean, scale, bias]: [S::Vector; 3],
        [y, dz]: [S::Vector; 2],
        _: [S::Vector; 0],
        sums: &mut [S::Vector; 2],
    ) -> [S::Vector; 0] {
        let g = self.0.gradient::<S, E>(simd, affine(simd, y, mean, scale, bias), dz);
        add_sums(simd, g, y, mean, sums);
        []
    }
}

/// The second pass without a shortcut.
#[derive(Clone, Copy)]
pub(crate) struct Apply<F>(pub(crate) F);

impl<F: Function> Pointwise<5, 1, 1, 0> for Apply<F> {
    const READS_OUTPUTS: bool = true;

    #[inline(always)]
    fn apply<S: Simd, E: Element>(
        self,
        simd: S,
        [mean, scale, bias, slope, offset]: [S::Vector; 5],
        [y]: [S::Vector; 1],
        [dz]: [S::Vector; 1],
        _: &mut [S::Vector; 0],
    ) -> [S::Vector; 1] {
        let distance = simd.subtract(y, mean);
        let g = self.0.gradient::<S, E>(simd, simd.mul_add(distance, scale, bias), dz);
        [simd.mul_add(g, scale, simd.mul_add(distance, slope, offset))]
    }
}

/// Gradients of [`crate::normalize_activate`] without a shortcut, where `mean` and `inverse_std` are those of
/// the batch itself. `gradient` holds that of `z` and gets that of `y`.
///
/// # Shapes
/// `y` and `gradient` `[rows, channels]`.
///
/// # Panics
/// If a length is not the product of its shape.
///
/// # Source
/// Ioffe & Szegedy, *Batch Normalization*, 2015, §3.
pub fn norm_activation_backward<E: Element>(
    isa: Isa,
    fused: &NormActivation<'_>,
    y: &[E],
    gradient: &mut [E],
    mut parameters: NormGradients<'_>,
) {
    fused.check(y);
    assert_eq!(gradient.len(), y.len(), "lengths of the input and the gradient");
    let (images, scale) = (Images::rows(y, fused.channels()), fused.norm.scale());
    let [mean, scale, bias] = [fused.norm.mean, &scale, fused.bias];
    with_function!(fused.activation, function => {
        let sums = sweep(isa, images, Sums(function), [mean, scale, bias], [y, &*gradient], []);
        parameters.set(&fused.norm, sums);
        let [slope, offset] = fused.norm.backward_terms(images.pixels, parameters.weight, parameters.bias);
        sweep(isa, images, Apply(function), [mean, scale, bias, &slope, &offset], [y], [gradient]);
    });
}

/// The first pass with a shortcut: turns the gradient of `z` into `g`, which is also the shortcut's.
#[derive(Clone, Copy)]
struct SumsShortcut<F>(F);

impl<F: Function> Pointwise<3, 2, 1, 2> for SumsShortcut<F> {
    const READS_OUTPUTS: bool = true;

    #[inline(always)]
    fn apply<S: Simd, E: Element>(
        self,
        simd: S,
        [mean, scale, bias]: [S::Vector; 3],
        [y, shortcut]: [S::Vector; 2],
        [dz]: [S::Vector; 1],
        sums: &mut [S::Vector; 2],
    ) -> [S::Vector; 1] {
        let t = simd.add(affine(simd, y, mean, scale, bias), shortcut);
        let g = self.0.gradient::<S, E>(simd, t, dz);
        add_sums(simd, g, y, mean, sums);
        [g]
    }
}

/// Gradients of [`crate::normalize_activate`] with a shortcut, where `mean` and `inverse_std` are those of the
/// batch itself. `gradient` holds that of `z` and gets the shortcut's; `d_y` is overwritten.
///
/// # Shapes
/// `y`, the shortcut's values, `gradient` and `d_y` `[rows, channels]`.
///
/// # Panics
/// If a length is not the product of its shape.
pub fn norm_shortcut_activation_backward<E: Element>(
    isa: Isa,
    fused: &NormActivation<'_>,
    y: &[E],
    shortcut: Shortcut<'_, E>,
    gradient: &mut [E],
    d_y: &mut [E],
    mut parameters: NormGradients<'_>,
) {
    fused.check(y);
    for length in [gradient.len(), d_y.len()] {
        assert_eq!(length, y.len(), "lengths of a gradient and of the input");
    }
    let images = shortcut.images(y, fused.channels());
    let scale = shortcut.by_image(&fused.norm.scale());
    let bias = shortcut.by_image(fused.bias);
    let [mean, scale, bias] = [fused.norm.mean, &scale, &bias];
    // Without an activation the gradient passes to the shortcut as it is: nothing to write.
    let sums = if fused.activation == Activation::Identity {
        sweep(isa, images, Sums(crate::activation::Identity), [mean, scale, bias], [y, &*gradient], [])
    } else {
        with_function!(fused.activation, function => {
            let (inputs, outputs) = ([y, shortcut.values], [&mut *gradient]);
            sweep(isa, images, SumsShortcut(function), [mean, scale, bias], inputs, outputs)
        })
    };
    parameters.set(&fused.norm, sums.map(|sums| shortcut.over_images(sums, images.channels)));
    input_gradient(isa, images, &fused.norm, scale, [y, gradient], d_y, &parameters);
}

/// The second pass where `g` is stored.
#[derive(Clone, Copy)]
struct InputGradient;

impl Pointwise<4, 2, 1, 0> for InputGradient {
    #[inline(always)]
    fn apply<S: Simd, E: Element>(
        self,
        simd: S,
        [mean, scale, slope, offset]: [S::Vector; 4],
        [y, g]: [S::Vector; 2],
        _: [S::Vector; 1],
        _: &mut [S::Vector; 0],
    ) -> [S::Vector; 1] {
        let centered = affine(simd, y, mean, slope, offset);
        [simd.mul_add(g, scale, centered)]
    }
}

/// `inputs` are `y` and `g`; `scale` is that of each channel, or of each channel of each image.
fn input_gradient<E: Element>(
    isa: Isa,
    images: Images,
    norm: &BatchNorm<'_>,
    scale: &[f32],
    inputs: [&[E]; 2],
    d_y: &mut [E],
    gradients: &NormGradients<'_>,
) {
    let rows = images.batch * images.pixels;
    let [slope, offset] = norm.backward_terms(rows, gradients.weight, gradients.bias);
    sweep(isa, images, InputGradient, [norm.mean, scale, &slope, &offset], inputs, [d_y]);
}

/// Gradients of [`crate::normalize`] where `mean` and `inverse_std` are those of the batch `x` itself
/// (training); overwrites the three gradients.
///
/// # Shapes
/// `x`, `dy` and `dx` `[rows, channels]`, the others `[channels]`.
///
/// # Panics
/// If a length is not the product of its shape.
pub fn batch_norm_backward<E: Element>(
    isa: Isa,
    norm: BatchNorm<'_>,
    x: &[E],
    dy: &[E],
    dx: &mut [E],
    d_weight: &mut [f32],
    d_bias: &mut [f32],
) {
    assert_eq!(dx.len(), x.len(), "lengths of the input and its gradient");
    batch_norm_parameter_gradients(isa, norm, x, dy, d_weight, d_bias);
    let (images, gradients) =
        (Images::rows(x, d_weight.len()), NormGradients { weight: d_weight, bias: d_bias });
    input_gradient(isa, images, &norm, &norm.scale(), [x, dy], dx, &gradients);
}

/// The gradients of weight and bias alone; with running statistics for the batch's, those of inference mode.
///
/// # Shapes
/// `x` and `dy` `[rows, channels]`, the others `[channels]`.
///
/// # Panics
/// If a length is not the product of its shape.
pub fn batch_norm_parameter_gradients<E: Element>(
    isa: Isa,
    norm: BatchNorm<'_>,
    x: &[E],
    dy: &[E],
    d_weight: &mut [f32],
    d_bias: &mut [f32],
) {
    norm.check(x, &[]);
    assert_eq!(dy.len(), x.len(), "lengths of the input and the output gradient");
    let images = Images::rows(x, norm.mean.len());
    let unused = norm.mean; // scale and bias, which the identity's slope does not depend on
    let parameters = [norm.mean, unused, unused];
    let sums = sweep(isa, images, Sums(crate::activation::Identity), parameters, [x, dy], []);
    NormGradients { weight: d_weight, bias: d_bias }.set(&norm, sums);
}

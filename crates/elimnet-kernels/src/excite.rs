//! The backward pass through squeeze-and-excitation and the batch norm before it, in two passes over memory.
//!
//! Forward, `z = activation(normalize(y))`, the squeeze is `z`'s mean over each image, and `out = z · scale` with
//! one scale for each channel of each image. The gradient to `z` is `d_out · scale + d_mean / pixels`, and only
//! known after the layers between squeeze and excitation had theirs, which need `Σ d_out · z`. As scale and
//! share are constant over an image, the batch norm's sums follow from sums over each image that need neither:
//! one pass makes them all, and the gradient to `z` is never stored.

use crate::activation::{Function, with_function};
use crate::columns::{Pointwise, sweep};
use crate::element::Element;
use crate::elementwise::Images;
use crate::isa::Isa;
use crate::norm::{NormActivation, affine};
use crate::norm_backward::NormGradients;
use crate::scratch::Scratch;
use crate::simd::Simd;

/// Of each channel of each image; what [`excite_backward_sums`] makes.
#[derive(Clone, Debug, Default)]
pub struct ExciteSums {
    /// `Σ d_out · z`
    scale_gradient: Vec<f32>,
    /// With `a` for the activation's slope and `x` for `y − mean`: `Σ d_out · a`, `Σ a`, `Σ d_out · a · x`, `Σ a · x`.
    slopes: [Vec<f64>; 4],
}

impl ExciteSums {
    /// Gradient with respect to the scale.
    ///
    /// # Shapes
    /// `[batch, channels]`
    pub fn scale_gradient(&self) -> &[f32] {
        &self.scale_gradient
    }

    /// `Σ g` and `Σ g · (y − mean)` over all images.
    fn norm_sums(&self, channels: usize, scale: &[f32], share: &[f32]) -> [Scratch<f64>; 2] {
        let sum = |by_scale: &[f64], by_share: &[f64]| {
            let mut sums = Scratch::filled(channels, 0.0);
            for index in 0..by_scale.len() {
                sums[index % channels] +=
                    by_scale[index] * f64::from(scale[index]) + by_share[index] * f64::from(share[index]);
            }
            sums
        };
        let [gradient, slope, gradient_product, slope_product] = &self.slopes;
        [sum(gradient, slope), sum(gradient_product, slope_product)]
    }
}

#[derive(Clone, Copy)]
struct Sums<F>(F);

impl<F: Function> Pointwise<3, 2, 0, 5> for Sums<F> {
    #[inline(always)]
    fn apply<S: Simd, E: Element>(
        self,
        simd: S,
        [mean, scale, bias]: [S::Vector; 3],
        [y, d_out]: [S::Vector; 2],
        _: [S::Vector; 0],
        sums: &mut [S::Vector; 5],
    ) -> [S::Vector; 0] {
        let t = affine(simd, y, mean, scale, bias);
        let slope = self.0.gradient::<S, E>(simd, t, simd.splat(1.0));
        let (gradient, distance) = (simd.multiply(d_out, slope), simd.subtract(y, mean));
        sums[0] = simd.mul_add(d_out, self.0.value::<S, E>(simd, t), sums[0]);
        sums[1] = simd.add(sums[1], gradient);
        sums[2] = simd.add(sums[2], slope);
        sums[3] = simd.mul_add(gradient, distance, sums[3]);
        sums[4] = simd.mul_add(slope, distance, sums[4]);
        []
    }
}

/// The first pass: reads `y` and the gradient of `out`.
///
/// # Shapes
/// `y` and `d_out` `[batch, pixels, channels]`.
///
/// # Panics
/// If a length is not the product of its shape.
pub fn excite_backward_sums<E: Element>(
    isa: Isa,
    images: Images,
    fused: &NormActivation<'_>,
    y: &[E],
    d_out: &[E],
    sums: &mut ExciteSums,
) {
    check(images, fused, y, d_out);
    let scale = fused.norm.scale();
    let parameters = [fused.norm.mean, &scale, fused.bias];
    let [products, slopes @ ..] = with_function!(fused.activation, function => {
        sweep(isa, images, Sums(function), parameters, [y, d_out], [])
    });
    sums.scale_gradient.clear();
    sums.scale_gradient.extend(products.iter().map(|sum| *sum as f32));
    for (kept, slopes) in sums.slopes.iter_mut().zip(&slopes) {
        kept.clear();
        kept.extend_from_slice(slopes);
    }
}

fn check<E: Element>(images: Images, fused: &NormActivation<'_>, y: &[E], gradient: &[E]) {
    fused.check(y);
    images.check(y, "the norm's input");
    images.check(gradient, "the gradient");
    assert_eq!(images.channels, fused.channels(), "channels of {images:?}");
}

#[derive(Clone, Copy)]
struct Apply<F>(F);

impl<F: Function> Pointwise<7, 1, 1, 0> for Apply<F> {
    const READS_OUTPUTS: bool = true;

    #[inline(always)]
    fn apply<S: Simd, E: Element>(
        self,
        simd: S,
        [mean, scale, bias, slope, offset, excitation, share]: [S::Vector; 7],
        [y]: [S::Vector; 1],
        [d_out]: [S::Vector; 1],
        _: &mut [S::Vector; 0],
    ) -> [S::Vector; 1] {
        let distance = simd.subtract(y, mean);
        let dz = simd.mul_add(d_out, excitation, share);
        let g = self.0.gradient::<S, E>(simd, simd.mul_add(distance, scale, bias), dz);
        [simd.mul_add(g, scale, simd.mul_add(distance, slope, offset))]
    }
}

/// The second pass: `gradient` holds that of `out` and gets that of `y`; `mean_gradient` is that of the squeeze.
///
/// # Shapes
/// `y` and `gradient` `[batch, pixels, channels]`, `scale` and `mean_gradient` `[batch, channels]`.
///
/// # Panics
/// If a length is not the product of its shape, or `sums` are of something else.
#[allow(clippy::too_many_arguments)] // each is an array of its own
pub fn excite_norm_backward<E: Element>(
    isa: Isa,
    images: Images,
    fused: &NormActivation<'_>,
    sums: &ExciteSums,
    y: &[E],
    scale: &[f32],
    mean_gradient: &[f32],
    gradient: &mut [E],
    mut parameters: NormGradients<'_>,
) {
    check(images, fused, y, gradient);
    images.check_pooled(scale, "the scale");
    images.check_pooled(mean_gradient, "the squeeze's gradient");
    images.check_pooled(&sums.scale_gradient, "the sums");
    let share = Scratch::of(mean_gradient.iter().map(|gradient| gradient / images.pixels as f32));
    parameters.set(&fused.norm, sums.norm_sums(images.channels, scale, &share));
    let rows = images.batch * images.pixels;
    let [slope, offset] = fused.norm.backward_terms(rows, parameters.weight, parameters.bias);
    let norm_scale = fused.norm.scale();
    let parameters = [fused.norm.mean, &norm_scale, fused.bias, &slope, &offset, scale, &share];
    with_function!(fused.activation, function => {
        sweep(isa, images, Apply(function), parameters, [y], [gradient]);
    });
}

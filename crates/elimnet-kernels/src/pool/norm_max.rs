//! Batch norm, ReLU and the largest value of each window at once, as at the bottom of a ResNet, whose largest image goes
//! through them.
//!
//! Between norm and maximum nothing is stored, in either direction. Only the largest of a window gets a gradient, so the sums
//! over all pixels that the norm's gradient needs are sums over the windows, of what the norm got there.

use std::ops::Range;

use super::Pool2d;
use super::max::{Largest, MaxGradientRow, Then, Window, store_taps};
use crate::activation::Relu;
use crate::columns::{Pointwise, sweep};
use crate::element::Element;
use crate::elementwise::Images;
use crate::isa::Isa;
use crate::norm::{BatchNorm, affine};
use crate::norm_backward::{Apply, NormGradients, Sums};
use crate::simd::{Kernel, Simd};
use crate::threads;

/// A batch norm and the windows whose maxima are taken of what ReLU makes of its output.
#[derive(Clone, Copy, Debug)]
pub struct NormMaxPool<'a> {
    /// Statistics and scale.
    pub norm: BatchNorm<'a>,
    /// Learned offset.
    pub bias: &'a [f32],
    /// The windows.
    pub pool: Pool2d,
}

/// What the gradient needs of the largest value of each window.
///
/// # Shapes
/// The pool's output.
#[derive(Clone, Copy, Debug)]
pub struct Maxima<'a, E> {
    /// What the norm had got where it was.
    pub inputs: &'a [E],
    /// Where in the window it was, row by row.
    pub taps: &'a [u8],
}

impl NormMaxPool<'_> {
    fn check<E>(&self, y: &[E], pooled: &[E], maxima: Maxima<'_, E>) {
        self.norm.check(y, &[self.bias]);
        assert_eq!(self.bias.len(), self.pool.channels, "channels of the norm and of {:?}", self.pool);
        self.pool.check(y.len(), pooled.len());
        assert_eq!(maxima.inputs.len(), pooled.len(), "lengths of the maxima's inputs and the output");
        assert_eq!(maxima.taps.len(), pooled.len(), "lengths of taps and output");
    }
}

/// `z = max_pool2d(relu(normalize(y)))` in one pass; `inputs` and `taps` get what [`Maxima`] has.
///
/// Equal maxima are told apart before they are rounded, and those that ReLU makes equal by what they were; else as
/// [`crate::max_pool2d`].
///
/// # Shapes
/// `y` the pool's input, the others its output.
///
/// # Panics
/// If a length is not the product of its shape; as [`crate::max_pool2d`].
pub fn normalize_relu_max_pool2d<E: Element>(
    isa: Isa,
    fused: &NormMaxPool<'_>,
    y: &[E],
    z: &mut [E],
    inputs: &mut [E],
    taps: &mut [u8],
) {
    fused.check(y, z, Maxima { inputs, taps });
    if z.is_empty() {
        return;
    }
    let pool = &fused.pool;
    let (height, row) = (pool.out_height(), pool.out_width() * pool.channels);
    let image = pool.in_height * pool.in_width * pool.channels;
    let scale = fused.norm.scale();
    let parameters = [fused.norm.mean, &scale, fused.bias];
    let rows = z.chunks_mut(row).zip(inputs.chunks_mut(row)).zip(taps.chunks_mut(row));
    threads::for_each(rows, &|index, ((z, inputs), taps)| {
        let image = &y[index / height * image..][..image];
        isa.run(Row { pool, parameters, image, out_y: index % height, z, inputs, taps });
    });
}

/// A row of the output.
struct Row<'a, E> {
    pool: &'a Pool2d,
    /// Mean, scale and offset.
    parameters: [&'a [f32]; 3],
    image: &'a [E],
    out_y: usize,
    z: &'a mut [E],
    inputs: &'a mut [E],
    taps: &'a mut [u8],
}

impl<E: Element> Kernel for Row<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let channels = self.pool.channels;
        let whole = channels / S::LANES * S::LANES;
        for out_x in 0..self.z.len() / channels {
            let window = Window::new::<S>(self.pool, self.image, [self.out_y, out_x]);
            for first in (0..channels).step_by(S::LANES) {
                if first < whole {
                    self.register::<S, true>(simd, &window, out_x, first..first + S::LANES);
                } else {
                    self.register::<S, false>(simd, &window, out_x, first..channels);
                }
            }
        }
    }
}

impl<E: Element> Row<'_, E> {
    #[inline(always)]
    fn register<S: Simd, const WHOLE: bool>(
        &mut self,
        simd: S,
        window: &Window<'_, E>,
        out_x: usize,
        channels: Range<usize>,
    ) {
        let load = |values: &[f32]| simd.load_element(&values[channels.clone()]);
        let [mean, scale, bias] = self.parameters;
        let [mean, scale, bias] = [load(mean), load(scale), load(bias)];
        let zero = simd.splat(0.0);
        let first = window.load::<S, WHOLE>(simd, [0, 0], channels.start);
        let mut largest = Largest::new(simd, [window.first_tap(simd), first]);
        window.each::<S, WHOLE>(simd, channels.start, |tap, y| {
            largest.meet(simd, affine(simd, y, mean, scale, bias), [tap, y]);
        });
        let start = out_x * self.pool.channels;
        let place = start + channels.start..start + channels.end;
        let [tap, input] = largest.companions;
        simd.store_element(simd.maximum(zero, largest.value), &mut self.z[place.clone()]);
        simd.store_element(input, &mut self.inputs[place.clone()]);
        store_taps(simd, tap, &mut self.taps[place]);
    }
}

/// Gradients of [`normalize_relu_max_pool2d`], where `mean` and `inverse_std` are those of the batch itself; overwrites them.
///
/// # Shapes
/// `y` and `d_y` the pool's input, `d_z` its output.
///
/// # Panics
/// As [`normalize_relu_max_pool2d`].
///
/// # Source
/// Ioffe & Szegedy, *Batch Normalization*, 2015, §3, where all gradients but those of the maxima are zero.
pub fn norm_relu_max_pool2d_backward<E: Element>(
    isa: Isa,
    fused: &NormMaxPool<'_>,
    y: &[E],
    maxima: Maxima<'_, E>,
    d_z: &[E],
    d_y: &mut [E],
    mut parameters: NormGradients<'_>,
) {
    fused.check(y, d_z, maxima);
    assert_eq!(d_y.len(), y.len(), "lengths of the input and its gradient");
    let (pool, images, scale) = (&fused.pool, Images::rows(y, fused.bias.len()), fused.norm.scale());
    let [mean, scale, bias] = [fused.norm.mean, &scale, fused.bias];
    let windows = Images::rows(d_z, fused.bias.len());
    let sums = sweep(isa, windows, Sums(Relu), [mean, scale, bias], [maxima.inputs, d_z], []);
    parameters.set(&fused.norm, sums);
    if y.is_empty() {
        return;
    }
    let [slope, offset] = fused.norm.backward_terms(images.pixels, parameters.weight, parameters.bias);
    let row = pool.in_width * pool.channels;
    let image = pool.out_height() * pool.out_width() * pool.channels;
    threads::for_each(d_y.chunks_mut(row).zip(y.chunks(row)), &|index, (input_gradient, y)| {
        let image = index / pool.in_height * image..(index / pool.in_height + 1) * image;
        let (output_gradient, taps) = (&d_z[image.clone()], &maxima.taps[image]);
        let then = ThroughNorm { y, parameters: [mean, scale, bias, &slope, &offset] };
        let in_y = index % pool.in_height;
        isa.run(MaxGradientRow { pool, output_gradient, taps, in_y, input_gradient, then });
    });
}

/// From the gradient of what leaves ReLU to that of what goes into the norm.
#[derive(Clone, Copy)]
struct ThroughNorm<'a, E> {
    /// The row.
    y: &'a [E],
    parameters: [&'a [f32]; 5],
}

impl<E: Element> Then for ThroughNorm<'_, E> {
    #[inline(always)]
    fn apply<S: Simd>(self, simd: S, gradient: S::Vector, place: Range<usize>, first: usize) -> S::Vector {
        let channels = first..first + place.len();
        let load = |values: &[f32]| simd.load_element(&values[channels.clone()]);
        let [mean, scale, bias, slope, offset] = self.parameters;
        let parameters = [load(mean), load(scale), load(bias), load(slope), load(offset)];
        let y = simd.load_element(&self.y[place]);
        let [d_y] = Pointwise::apply::<S, E>(Apply(Relu), simd, parameters, [y], [gradient], &mut []);
        d_y
    }
}

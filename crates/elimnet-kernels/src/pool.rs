//! Pooling over channels-last images.
//!
//! The gradients gather: each input pixel looks up the windows that saw it, so that rows can be made apart
//! and no two tasks write to one place.

use rayon::prelude::*;

use crate::columns::{Pointwise, Sum, sweep};
use crate::conv2d::{Conv2d, Padding};
use crate::depthwise;
use crate::element::Element;
use crate::elementwise::Images;
use crate::epilogue::Epilogue;
use crate::isa::Isa;
use crate::simd::{Kernel, Simd};
use crate::threads::Scratch;

/// A pooling window (torch.nn.MaxPool2d, AvgPool2d, without dilation and `ceil_mode`).
///
/// # Shapes
/// Input `[batch, in_height, in_width, channels]`, output `[batch, out_height, out_width, channels]`, with
/// `out = (in + 2 · padding − kernel) / stride + 1`, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool2d {
    /// Images.
    pub batch: usize,
    /// Rows of an input image.
    pub in_height: usize,
    /// Columns of an input image.
    pub in_width: usize,
    /// Channels.
    pub channels: usize,
    /// Height and width of the window; at most 256 pixels together.
    pub kernel: [usize; 2],
    /// Pixels between windows, down and across.
    pub stride: [usize; 2],
    /// Pixels added on either side, down and across; at most half the kernel.
    pub padding: [usize; 2],
}

impl Pool2d {
    /// Rows of an output image.
    ///
    /// # Panics
    /// If the window is higher than the padded image, or the stride is zero.
    pub fn out_height(&self) -> usize {
        self.convolution().out_height()
    }

    /// Columns of an output image.
    ///
    /// # Panics
    /// If the window is wider than the padded image, or the stride is zero.
    pub fn out_width(&self) -> usize {
        self.convolution().out_width()
    }

    /// Values in the input.
    pub fn input_len(&self) -> usize {
        self.convolution().input_len()
    }

    /// Values in the output.
    ///
    /// # Panics
    /// As [`Pool2d::out_height`].
    pub fn output_len(&self) -> usize {
        self.convolution().output_len()
    }

    /// The depthwise convolution with the same windows.
    fn convolution(&self) -> Conv2d {
        let [vertical, horizontal] = self.padding;
        Conv2d {
            batch: self.batch,
            in_height: self.in_height,
            in_width: self.in_width,
            in_channels: self.channels,
            out_channels: self.channels,
            kernel: self.kernel,
            stride: self.stride,
            padding: Padding { top: vertical, left: horizontal, bottom: vertical, right: horizontal },
            groups: self.channels,
        }
    }

    fn check(&self, input: usize, output: usize) {
        let Self { kernel, padding, .. } = *self;
        assert!((1..=256).contains(&(kernel[0] * kernel[1])), "a pooling window of {kernel:?}");
        let fits = (0..2).all(|axis| padding[axis] * 2 <= kernel[axis]);
        assert!(fits, "padding {padding:?} is more than half of the window {kernel:?}");
        assert_eq!(input, self.input_len(), "length of the input of {self:?}");
        assert_eq!(output, self.output_len(), "length of the output of {self:?}");
    }
}

/// Largest value of each window; padding does not count. `taps` gets where in the window it was, row by row,
/// for the gradient.
///
/// As in torch, the first of equal values is taken, and the last NaN where there is one.
///
/// # Shapes
/// See [`Pool2d`]; `taps` has the output's.
///
/// # Panics
/// If a length is not the product of its shape, the window has more than 256 pixels, or the padding is more
/// than half of it.
pub fn max_pool2d<E: Element>(isa: Isa, pool: &Pool2d, input: &[E], output: &mut [E], taps: &mut [u8]) {
    pool.check(input.len(), output.len());
    assert_eq!(taps.len(), output.len(), "lengths of output and taps");
    if output.is_empty() {
        return;
    }
    let (height, row) = (pool.out_height(), pool.out_width() * pool.channels);
    let image = pool.in_height * pool.in_width * pool.channels;
    output.par_chunks_mut(row).zip(taps.par_chunks_mut(row)).enumerate().for_each(
        |(index, (output, taps))| {
            let image = &input[index / height * image..][..image];
            isa.run(MaxRow { pool, image, out_y: index % height, output, taps });
        },
    );
}

struct MaxRow<'a, E> {
    pool: &'a Pool2d,
    image: &'a [E],
    out_y: usize,
    output: &'a mut [E],
    taps: &'a mut [u8],
}

impl<E: Element> Kernel for MaxRow<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { pool, image, out_y, output, taps } = self;
        let channels = pool.channels;
        let pixels = output.chunks_exact_mut(channels).zip(taps.chunks_exact_mut(channels));
        for (out_x, (output, taps)) in pixels.enumerate() {
            output.fill(E::from_f32(f32::NEG_INFINITY));
            let mut is_first = true;
            for_each_tap(pool, [out_y, out_x], |tap, [y, x]| {
                let input = &image[(y * pool.in_width + x) * channels..][..channels];
                if std::mem::take(&mut is_first) {
                    taps.fill(tap);
                }
                keep_larger(tap, input, output, taps);
            });
        }
    }
}

/// Calls `visit(tap, input position)` for every pixel of a window that is in the image.
#[inline(always)]
fn for_each_tap(pool: &Pool2d, out: [usize; 2], mut visit: impl FnMut(u8, [usize; 2])) {
    let position = |axis: usize, tap: usize| {
        let size = [pool.in_height, pool.in_width][axis];
        (out[axis] * pool.stride[axis] + tap).checked_sub(pool.padding[axis]).filter(|at| *at < size)
    };
    for tap_y in 0..pool.kernel[0] {
        let Some(y) = position(0, tap_y) else { continue };
        for tap_x in 0..pool.kernel[1] {
            let Some(x) = position(1, tap_x) else { continue };
            visit((tap_y * pool.kernel[1] + tap_x) as u8, [y, x]);
        }
    }
}

#[inline(always)]
fn keep_larger<E: Element>(tap: u8, input: &[E], output: &mut [E], taps: &mut [u8]) {
    for ((value, largest), largest_tap) in input.iter().zip(output).zip(taps) {
        let is_larger = (value.to_f32() > largest.to_f32()) | value.to_f32().is_nan();
        *largest = if is_larger { *value } else { *largest };
        *largest_tap = if is_larger { tap } else { *largest_tap };
    }
}

/// Gradient with respect to the input of [`max_pool2d`]; overwrites it.
///
/// # Panics
/// As [`max_pool2d`].
pub fn max_pool2d_gradient<E: Element>(
    isa: Isa,
    pool: &Pool2d,
    output_gradient: &[E],
    taps: &[u8],
    input_gradient: &mut [E],
) {
    pool.check(input_gradient.len(), output_gradient.len());
    assert_eq!(taps.len(), output_gradient.len(), "lengths of output gradient and taps");
    if input_gradient.is_empty() {
        return;
    }
    let row = pool.in_width * pool.channels;
    let image = pool.out_height() * pool.out_width() * pool.channels;
    input_gradient.par_chunks_mut(row).enumerate().for_each(|(index, input_gradient)| {
        let image = index / pool.in_height * image..(index / pool.in_height + 1) * image;
        let (output_gradient, taps) = (&output_gradient[image.clone()], &taps[image]);
        isa.run(MaxGradientRow { pool, output_gradient, taps, in_y: index % pool.in_height, input_gradient });
    });
}

struct MaxGradientRow<'a, E> {
    pool: &'a Pool2d,
    output_gradient: &'a [E],
    taps: &'a [u8],
    in_y: usize,
    input_gradient: &'a mut [E],
}

impl<E: Element> Kernel for MaxGradientRow<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { pool, in_y, .. } = self;
        let (out_height, out_width) = (pool.out_height(), pool.out_width());
        let mut sums = Scratch::new(pool.channels);
        for (in_x, gradient) in self.input_gradient.chunks_exact_mut(pool.channels).enumerate() {
            sums.fill(0.0);
            for (tap_y, out_y) in windows(pool, 0, in_y, out_height) {
                for (tap_x, out_x) in windows(pool, 1, in_x, out_width) {
                    let tap = (tap_y * pool.kernel[1] + tap_x) as u8;
                    let out = (out_y * out_width + out_x) * pool.channels;
                    let values = self.output_gradient[out..].iter().zip(&self.taps[out..]);
                    for (sum, (value, largest)) in sums.iter_mut().zip(values) {
                        *sum += if *largest == tap { value.to_f32() } else { 0.0 };
                    }
                }
            }
            gradient.iter_mut().zip(&*sums).for_each(|(gradient, sum)| *gradient = E::from_f32(*sum));
        }
    }
}

/// The taps through which the windows along an axis see position `at`, and those windows.
#[inline(always)]
fn windows(pool: &Pool2d, axis: usize, at: usize, windows: usize) -> impl Iterator<Item = (usize, usize)> {
    let (stride, padding) = (pool.stride[axis], pool.padding[axis]);
    (0..pool.kernel[axis]).rev().filter_map(move |tap| {
        let distance = (at + padding).checked_sub(tap)?;
        (distance % stride == 0 && distance / stride < windows).then_some((tap, distance / stride))
    })
}

/// Mean of each window, padding counted as zeros (torch's `count_include_pad`).
///
/// # Panics
/// If a length is not the product of its shape, or the padding is more than half of the window.
pub fn avg_pool2d<E: Element>(isa: Isa, pool: &Pool2d, input: &[E], output: &mut [E]) {
    pool.check(input.len(), output.len());
    if !output.is_empty() {
        let epilogue = Epilogue::default();
        depthwise::forward(isa, &pool.convolution(), input, &mean_weights(pool), epilogue, output);
    }
}

/// Gradient with respect to the input of [`avg_pool2d`]; overwrites it.
///
/// # Panics
/// As [`avg_pool2d`].
pub fn avg_pool2d_gradient<E: Element>(
    isa: Isa,
    pool: &Pool2d,
    output_gradient: &[E],
    input_gradient: &mut [E],
) {
    pool.check(input_gradient.len(), output_gradient.len());
    if !input_gradient.is_empty() {
        let weights = mean_weights(pool);
        depthwise::input_gradient(isa, &pool.convolution(), output_gradient, &weights, input_gradient);
    }
}

/// As [`depthwise::pack`] would lay them out.
fn mean_weights(pool: &Pool2d) -> Vec<f32> {
    let taps = pool.kernel[0] * pool.kernel[1];
    vec![1.0 / taps as f32; depthwise::packed_len(&pool.convolution())]
}

/// Mean over bins that cover the image, whatever its size (torch.nn.AdaptiveAvgPool2d).
///
/// # Shapes
/// Input `[batch, in_height, in_width, channels]`, output `[batch, out_height, out_width, channels]`; bin
/// `i` of an axis covers `⌊i · in / out⌋ .. ⌈(i + 1) · in / out⌉`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AdaptivePool2d {
    /// Images.
    pub batch: usize,
    /// Height and width of an input image.
    pub input: [usize; 2],
    /// Height and width of an output image.
    pub output: [usize; 2],
    /// Channels.
    pub channels: usize,
}

impl AdaptivePool2d {
    fn check(&self, input: usize, output: usize) {
        let images = self.batch * self.channels;
        assert_eq!(input, images * self.input[0] * self.input[1], "length of the input of {self:?}");
        assert_eq!(output, images * self.output[0] * self.output[1], "length of the output of {self:?}");
        assert!(self.input[0] * self.input[1] > 0, "images without pixels: {self:?}");
    }

    fn bin(&self, axis: usize, index: usize) -> std::ops::Range<usize> {
        let (input, output) = (self.input[axis], self.output[axis]);
        index * input / output..((index + 1) * input).div_ceil(output)
    }

    /// Calls `visit(bin, share, pixel)` for every pixel of every bin of an image.
    fn for_each_share(&self, mut visit: impl FnMut(usize, f32, usize)) {
        for y in 0..self.output[0] {
            for x in 0..self.output[1] {
                let (rows, columns) = (self.bin(0, y), self.bin(1, x));
                let share = 1.0 / (rows.len() * columns.len()) as f32;
                for row in rows {
                    for column in columns.clone() {
                        visit(y * self.output[1] + x, share, row * self.input[1] + column);
                    }
                }
            }
        }
    }
}

/// Mean of each bin of [`AdaptivePool2d`].
///
/// # Panics
/// If a length is not the product of its shape, or images have no pixels.
pub fn adaptive_avg_pool2d<E: Element>(pool: &AdaptivePool2d, input: &[E], output: &mut [E]) {
    pool.check(input.len(), output.len());
    if output.is_empty() {
        return;
    }
    let (pixels, bins) = (pool.input[0] * pool.input[1], pool.output[0] * pool.output[1]);
    let images = input.par_chunks(pixels * pool.channels);
    output.par_chunks_mut(bins * pool.channels).zip(images).for_each(|(output, input)| {
        sum_in_f32(output, |sums| {
            pool.for_each_share(|bin, share, pixel| add_share(pool.channels, share, input, pixel, sums, bin));
        });
    });
}

/// Gradient with respect to the input of [`adaptive_avg_pool2d`]; overwrites it.
///
/// # Panics
/// As [`adaptive_avg_pool2d`].
pub fn adaptive_avg_pool2d_gradient<E: Element>(
    pool: &AdaptivePool2d,
    output_gradient: &[E],
    input_gradient: &mut [E],
) {
    pool.check(input_gradient.len(), output_gradient.len());
    if output_gradient.is_empty() {
        return input_gradient.fill(E::ZERO);
    }
    let (pixels, bins) = (pool.input[0] * pool.input[1], pool.output[0] * pool.output[1]);
    let images = input_gradient.par_chunks_mut(pixels * pool.channels);
    images.zip(output_gradient.par_chunks(bins * pool.channels)).for_each(|(input, output)| {
        sum_in_f32(input, |sums| {
            pool.for_each_share(|bin, share, pixel| {
                add_share(pool.channels, share, output, bin, sums, pixel)
            });
        });
    });
}

/// Lets `add` add to zeros and rounds the sums once.
fn sum_in_f32<E: Element>(values: &mut [E], add: impl FnOnce(&mut [f32])) {
    let mut sums = Scratch::new(values.len());
    sums.fill(0.0);
    add(&mut sums);
    values.iter_mut().zip(&*sums).for_each(|(value, sum)| *value = E::from_f32(*sum));
}

/// Adds `share` of pixel `from` of `source` to pixel `to` of `target`.
fn add_share<E: Element>(
    channels: usize,
    share: f32,
    source: &[E],
    from: usize,
    target: &mut [f32],
    to: usize,
) {
    let source = &source[from * channels..][..channels];
    for (target, source) in target[to * channels..][..channels].iter_mut().zip(source) {
        *target += share * source.to_f32();
    }
}

/// Mean of each channel of each image.
///
/// # Shapes
/// `x` `[batch, pixels, channels]`, `means` `[batch, channels]`.
///
/// # Panics
/// If a length is not the product of its shape, or there are no pixels.
pub fn global_avg_pool<E: Element>(isa: Isa, images: Images, x: &[E], means: &mut [f32]) {
    assert!(images.pixels > 0, "images without pixels: {images:?}");
    images.check(x, "the input");
    images.check_pooled(means, "the means");
    let [sums] = sweep(isa, images, Sum, [], [x], []);
    means.iter_mut().zip(sums).for_each(|(mean, sum)| *mean = (sum / images.pixels as f64) as f32);
}

#[derive(Clone, Copy)]
struct Spread;

impl Pointwise<1, 0, 1, 0> for Spread {
    #[inline(always)]
    fn apply<S: Simd, E: Element>(
        self,
        _: S,
        share: [S::Vector; 1],
        _: [S::Vector; 0],
        _: [S::Vector; 1],
        _: &mut [S::Vector; 0],
    ) -> [S::Vector; 1] {
        share
    }
}

/// Gradient with respect to the input of [`global_avg_pool`]; overwrites it.
///
/// # Panics
/// As [`global_avg_pool`].
pub fn global_avg_pool_gradient<E: Element>(
    isa: Isa,
    images: Images,
    means_gradient: &[f32],
    x_gradient: &mut [E],
) {
    images.check(x_gradient, "the input gradient");
    images.check_pooled(means_gradient, "the output gradient");
    let shares: Vec<_> = means_gradient.iter().map(|gradient| gradient / images.pixels as f32).collect();
    sweep(isa, images, Spread, [&shares], [], [x_gradient]);
}

//! Pooling over channels-last images.
//!
//! The gradients gather: each input pixel looks up the windows that saw it, so that rows can be made apart
//! and no two tasks write to one place.

mod max;
mod norm_max;

use crate::columns::{Pointwise, Sum, sweep};
use crate::conv2d::{Conv2d, Padding};
use crate::depthwise;
use crate::element::Element;
use crate::elementwise::Images;
use crate::epilogue::Epilogue;
use crate::isa::Isa;
use crate::scratch::Scratch;
use crate::simd::Simd;
use crate::threads;

pub use max::{max_pool2d, max_pool2d_gradient};
pub use norm_max::{Maxima, NormMaxPool, norm_relu_max_pool2d_backward, normalize_relu_max_pool2d};

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
fn mean_weights(pool: &Pool2d) -> Scratch {
    let taps = pool.kernel[0] * pool.kernel[1];
    Scratch::filled(depthwise::packed_len(&pool.convolution()), 1.0 / taps as f32)
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
    let images = output.chunks_mut(bins * pool.channels).zip(input.chunks(pixels * pool.channels));
    threads::for_each(images, &|_, (output, input)| {
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
    let images = input_gradient.chunks_mut(pixels * pool.channels);
    threads::for_each(images.zip(output_gradient.chunks(bins * pool.channels)), &|_, (input, output)| {
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
    means.iter_mut().zip(&*sums).for_each(|(mean, sum)| *mean = (sum / images.pixels as f64) as f32);
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
    let shares = Scratch::of(means_gradient.iter().map(|gradient| gradient / images.pixels as f32));
    sweep(isa, images, Spread, [&shares], [], [x_gradient]);
}

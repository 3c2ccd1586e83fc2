//! Depthwise convolution: every channel with a window of its own.
//!
//! There is no depth to sum over but the few taps, so memory sets the pace: each output row is made straight
//! from the image rows that it touches, four pixels at a time so that a tap's weights are loaded once for
//! all four, with the channels in the registers' lanes. The gradient to the input is the same walk with
//! other taps: with stride `s`, the pixels of a row fall into `s` phases with taps of their own.

use rayon::prelude::*;

use crate::conv2d::Conv2d;
use crate::isa::Isa;
use crate::simd::{Kernel, MAX_LANES, Simd};
use crate::threads::{ELEMENTS, MANY, Scratch, pieces};

/// Pixels that share the loads of the weights.
const PIXELS: usize = 4;

pub(crate) fn forward(
    isa: Isa,
    conv: &Conv2d,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    output: &mut [f32],
) {
    let weights = by_tap(conv, weight);
    let (height, width) = (conv.out_height(), conv.out_width());
    let image_length = conv.in_height * conv.in_width * conv.in_channels;
    for_each_row(output, width * conv.in_channels, |row, target| {
        let rows = source_rows(conv, row % height);
        let columns = (0..conv.kernel[1]).map(|tap| (tap, tap as isize - conv.padding.left as isize));
        let taps = taps(conv, &rows, &columns.collect::<Vec<_>>(), conv.in_width);
        let line = Line {
            source: &input[row / height * image_length..][..image_length],
            source_width: conv.in_width,
            source_step: conv.stride[1],
            channels: conv.in_channels,
            taps: &taps,
            weights: &weights,
            bias,
            first: 0,
            step: 1,
            pixels: width,
        };
        line.write(isa, target);
    });
}

/// Rows of taps that lie inside the image for an output row: tap and image row.
fn source_rows(conv: &Conv2d, out_y: usize) -> Vec<(usize, usize)> {
    let inside = |tap: usize| {
        let y = (out_y * conv.stride[0] + tap).checked_sub(conv.padding.top)?;
        (y < conv.in_height).then_some((tap, y))
    };
    (0..conv.kernel[0]).filter_map(inside).collect()
}

pub(crate) fn input_gradient(
    isa: Isa,
    conv: &Conv2d,
    output_gradient: &[f32],
    weight: &[f32],
    input_gradient: &mut [f32],
) {
    let weights = by_tap(conv, weight);
    let (height, width) = (conv.out_height(), conv.out_width());
    let image_length = height * width * conv.in_channels;
    for_each_row(input_gradient, conv.in_width * conv.in_channels, |row, target| {
        let rows = gradient_rows(conv, row % conv.in_height, height);
        for phase in 0..conv.stride[1].min(conv.in_width) {
            let taps = taps(conv, &rows, &gradient_columns(conv, phase), width);
            let line = Line {
                source: &output_gradient[row / conv.in_height * image_length..][..image_length],
                source_width: width,
                source_step: 1,
                channels: conv.in_channels,
                taps: &taps,
                weights: &weights,
                bias: None,
                first: phase,
                step: conv.stride[1],
                pixels: (conv.in_width - phase).div_ceil(conv.stride[1]),
            };
            line.write(isa, target);
        }
    });
}

/// Taps down and the output rows that they carried input row `in_y` to.
fn gradient_rows(conv: &Conv2d, in_y: usize, out_height: usize) -> Vec<(usize, usize)> {
    let reached = |tap: usize| {
        let distance = (in_y + conv.padding.top).checked_sub(tap)?;
        let out_y = distance / conv.stride[0];
        (distance % conv.stride[0] == 0 && out_y < out_height).then_some((tap, out_y))
    };
    (0..conv.kernel[0]).filter_map(reached).collect()
}

/// Taps across that carry the pixels of a phase, and the output position that the first pixel goes to.
fn gradient_columns(conv: &Conv2d, phase: usize) -> Vec<(usize, isize)> {
    let stride = conv.stride[1] as isize;
    let distance = |tap: usize| (phase + conv.padding.left) as isize - tap as isize;
    let taps = (0..conv.kernel[1]).filter(|&tap| distance(tap) % stride == 0);
    taps.map(|tap| (tap, distance(tap) / stride)).collect()
}

/// `[channels, taps]` as `[taps, channels]`.
fn by_tap(conv: &Conv2d, weight: &[f32]) -> Scratch {
    let taps = conv.kernel[0] * conv.kernel[1];
    let mut weights = Scratch::new(weight.len());
    for (channel, values) in weight.chunks_exact(taps).enumerate() {
        for (tap, value) in values.iter().enumerate() {
            weights[tap * conv.in_channels + channel] = *value;
        }
    }
    weights
}

/// Calls `write(row, values)` for every row, in tasks of several.
fn for_each_row(values: &mut [f32], row_length: usize, write: impl Fn(usize, &mut [f32]) + Sync) {
    let rows = (ELEMENTS / row_length).max(1);
    values.par_chunks_mut(rows * row_length).enumerate().for_each(|(task, values)| {
        for (row, values) in values.chunks_exact_mut(row_length).enumerate() {
            write(task * rows + row, values);
        }
    });
}

/// A weight's place in the source image.
#[derive(Clone, Copy)]
struct Tap {
    /// Column that it adds to the first pixel.
    x: isize,
    /// First value of its row.
    row: usize,
    /// First of its weights.
    weights: usize,
}

/// All pairs of `rows` (tap, source row) and `columns` (tap, source column of the first pixel).
fn taps(conv: &Conv2d, rows: &[(usize, usize)], columns: &[(usize, isize)], source_width: usize) -> Vec<Tap> {
    let channels = conv.in_channels;
    let pair = |&(tap_y, y): &(usize, usize), &(tap_x, x): &(usize, isize)| Tap {
        x,
        row: y * source_width * channels,
        weights: (tap_y * conv.kernel[1] + tap_x) * channels,
    };
    rows.iter().flat_map(|row| columns.iter().map(move |column| pair(row, column))).collect()
}

/// Pixels `first, first + step, ..` of a row; pixel `i` sums `weights[tap] · source[i · source_step + tap]`.
struct Line<'a> {
    source: &'a [f32],
    source_width: usize,
    source_step: usize,
    channels: usize,
    taps: &'a [Tap],
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
    first: usize,
    step: usize,
    pixels: usize,
}

impl Line<'_> {
    fn write(&self, isa: Isa, target: &mut [f32]) {
        isa.run(LineKernel { line: self, target });
    }

    /// Whether tap column `x` is inside the source for pixel `pixel`.
    fn is_inside(&self, pixel: usize, x: isize) -> bool {
        let x = (pixel * self.source_step) as isize + x;
        x >= 0 && x < self.source_width as isize
    }

    /// The pixels for which every tap is inside.
    fn inner_pixels(&self) -> std::ops::Range<usize> {
        let all_inside = |&pixel: &usize| self.taps.iter().all(|tap| self.is_inside(pixel, tap.x));
        let start = (0..self.pixels).find(all_inside).unwrap_or(self.pixels);
        let end = (start..self.pixels).rev().find(all_inside).map_or(start, |last| last + 1);
        start..end
    }

    #[inline(always)]
    fn sum<S: Simd, const COUNT: usize>(&self, simd: S, pixel: usize, taps: &[Tap], target: &mut [f32]) {
        let channels = self.channels;
        let mut channel = 0;
        while channel < channels {
            // The last register overlaps the one before: the same sums are written twice.
            if channels >= S::LANES {
                channel = channel.min(channels - S::LANES);
            }
            let mut sums = [match self.bias {
                Some(bias) => simd.load_partial(&bias[channel..]),
                None => simd.splat(0.0),
            }; COUNT];
            let step = self.source_step * channels;
            for tap in taps {
                let weights = simd.load_partial(&self.weights[tap.weights + channel..][..channels - channel]);
                let x = (pixel * self.source_step).wrapping_add_signed(tap.x);
                let source = &self.source[tap.row + x * channels + channel..];
                for (index, sum) in sums.iter_mut().enumerate() {
                    let source = &source[index * step..][..channels - channel];
                    *sum = simd.mul_add(simd.load_partial(source), weights, *sum);
                }
            }
            for (index, sum) in sums.into_iter().enumerate() {
                let x = self.first + (pixel + index) * self.step;
                simd.store_partial(sum, &mut target[x * channels + channel..][..channels - channel]);
            }
            channel += S::LANES;
        }
    }
}

struct LineKernel<'a> {
    line: &'a Line<'a>,
    target: &'a mut [f32],
}

impl Kernel for LineKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { line, target } = self;
        let inner = line.inner_pixels();
        let mut some_taps = Vec::with_capacity(line.taps.len());
        for pixel in (0..inner.start).chain(inner.end..line.pixels) {
            some_taps.clear();
            some_taps.extend(line.taps.iter().filter(|tap| line.is_inside(pixel, tap.x)));
            line.sum::<S, 1>(simd, pixel, &some_taps, target);
        }
        let mut pixel = inner.start;
        while pixel + PIXELS <= inner.end {
            line.sum::<S, PIXELS>(simd, pixel, line.taps, target);
            pixel += PIXELS;
        }
        for pixel in pixel..inner.end {
            line.sum::<S, 1>(simd, pixel, line.taps, target);
        }
    }
}

pub(crate) fn weight_gradient(
    isa: Isa,
    conv: &Conv2d,
    input: &[f32],
    output_gradient: &[f32],
    weight_gradient: &mut [f32],
) {
    let rows = conv.batch * conv.out_height();
    let length = weight_gradient.len();
    let parts: Vec<_> = pieces(rows, rows.div_ceil(MANY)).collect();
    let mut sums = Scratch::new(parts.len() * length);
    sums.par_chunks_exact_mut(length).zip(&parts).for_each(|(sums, rows)| {
        sums.fill(0.0);
        for row in rows.clone() {
            add_row(isa, conv, input, output_gradient, row, sums);
        }
    });
    let (first, others) = sums.split_at_mut(length);
    crate::threads::add_parts(first, others);
    let taps = conv.kernel[0] * conv.kernel[1];
    for (channel, gradient) in weight_gradient.chunks_exact_mut(taps).enumerate() {
        for (tap, gradient) in gradient.iter_mut().enumerate() {
            *gradient = first[tap * conv.in_channels + channel];
        }
    }
}

/// Adds the products of output row `row` (of all images) to `sums` `[taps, channels]`.
fn add_row(isa: Isa, conv: &Conv2d, input: &[f32], output_gradient: &[f32], row: usize, sums: &mut [f32]) {
    let (height, width, channels) = (conv.out_height(), conv.out_width(), conv.in_channels);
    let image_length = conv.in_height * conv.in_width * channels;
    let row_gradient = RowGradient {
        conv,
        image: &input[row / height * image_length..][..image_length],
        output_gradient: &output_gradient[row * width * channels..][..width * channels],
        rows: &source_rows(conv, row % height),
        sums,
    };
    isa.run(row_gradient);
}

struct RowGradient<'a> {
    conv: &'a Conv2d,
    image: &'a [f32],
    output_gradient: &'a [f32],
    rows: &'a [(usize, usize)],
    sums: &'a mut [f32],
}

impl Kernel for RowGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let mut channel = 0;
        while channel < self.conv.in_channels {
            for &(tap_y, y) in self.rows {
                match self.conv.kernel[1] {
                    3 => self.add_taps::<S, 3>(simd, channel, [tap_y, 0], y),
                    5 => self.add_taps::<S, 5>(simd, channel, [tap_y, 0], y),
                    taps => {
                        (0..taps).for_each(|tap| self.add_taps::<S, 1>(simd, channel, [tap_y, tap], y));
                    }
                }
            }
            channel += S::LANES;
        }
    }
}

impl RowGradient<'_> {
    /// Output columns whose `taps` taps from `tap` on are all inside the image.
    fn inner_columns(&self, tap: usize, taps: usize) -> std::ops::Range<usize> {
        let Conv2d { stride, padding, in_width, .. } = *self.conv;
        let width = self.output_gradient.len() / self.conv.in_channels;
        let start = padding.left.saturating_sub(tap).div_ceil(stride[1]).min(width);
        let end = (in_width + padding.left).checked_sub(tap + taps).map_or(0, |last| last / stride[1] + 1);
        start..end.clamp(start, width)
    }

    #[inline(always)]
    fn add_taps<S: Simd, const TAPS: usize>(
        &mut self,
        simd: S,
        channel: usize,
        [tap_y, tap_x]: [usize; 2],
        y: usize,
    ) {
        let Conv2d { in_channels: channels, in_width, stride, padding, kernel, .. } = *self.conv;
        // The last register overlaps the one before; only its new lanes are added.
        let first = if channels >= S::LANES { channel.min(channels - S::LANES) } else { channel };
        let image_row = &self.image[y * in_width * channels..][..in_width * channels];
        let inner = self.inner_columns(tap_x, TAPS);
        let width = self.output_gradient.len() / channels;
        let mut sums = [simd.splat(0.0); TAPS];
        for x in inner.clone() {
            let gradient =
                simd.load_partial(&self.output_gradient[x * channels + first..][..channels - first]);
            let source = &image_row[(x * stride[1] + tap_x - padding.left) * channels + first..];
            for (tap, sum) in sums.iter_mut().enumerate() {
                let source = &source[tap * channels..][..channels - first];
                *sum = simd.mul_add(gradient, simd.load_partial(source), *sum);
            }
        }
        for x in (0..inner.start).chain(inner.end..width) {
            let gradient =
                simd.load_partial(&self.output_gradient[x * channels + first..][..channels - first]);
            for (tap, sum) in sums.iter_mut().enumerate() {
                let column = (x * stride[1] + tap_x + tap).checked_sub(padding.left);
                let Some(column) = column.filter(|column| *column < in_width) else { continue };
                let source = &image_row[column * channels + first..][..channels - first];
                *sum = simd.mul_add(gradient, simd.load_partial(source), *sum);
            }
        }
        for (tap, sum) in sums.into_iter().enumerate() {
            let mut lanes = [0.0; MAX_LANES];
            simd.store(sum, &mut lanes);
            let offset = ((tap_y * kernel[1]) + tap_x + tap) * channels;
            let target = &mut self.sums[offset + channel..offset + channels.min(channel + S::LANES)];
            for (target, value) in target.iter_mut().zip(&lanes[channel - first..]) {
                *target += value;
            }
        }
    }
}

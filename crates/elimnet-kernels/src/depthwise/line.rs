//! Depthwise convolution of any window: each output row from the image rows that it touches, tap by tap, four
//! pixels at a time. The gradient to the input is the same walk with other taps: with stride `s`, the pixels
//! of a row fall into `s` phases with taps of their own.

use super::tile::padded;
use crate::conv2d::Conv2d;
use crate::element::Element;
use crate::isa::Isa;
use crate::scratch::Room;
use crate::simd::{Kernel, Simd};
use crate::threads::{self, ELEMENTS};

/// Pixels that share the loads of the weights.
const PIXELS: usize = 4;

/// `weights` is `[taps, padded channels]`.
pub(crate) fn forward<I: Element, O: Element>(
    isa: Isa,
    conv: &Conv2d,
    input: &[I],
    weights: &[f32],
    bias: Option<&[f32]>,
    output: &mut [O],
) {
    let (height, width) = (conv.out_height(), conv.out_width());
    let image_length = conv.in_height * conv.in_width * conv.in_channels;
    for_each_row(output, width * conv.in_channels, |row, target| {
        let columns = (0..conv.kernel[1]).map(|tap| (tap, tap as isize - conv.padding.left as isize));
        let room = Room::new();
        let taps = room.list(taps(conv, source_rows(conv, row % height), columns, conv.in_width));
        let line = Line {
            source: &input[row / height * image_length..][..image_length],
            source_width: conv.in_width,
            source_step: conv.stride[1],
            channels: conv.in_channels,
            taps: &taps,
            weights,
            bias,
            first: 0,
            step: 1,
            pixels: width,
        };
        line.write(isa, target);
    });
}

/// Rows of taps that lie inside the image for an output row: tap and image row.
pub(crate) fn source_rows(conv: &Conv2d, out_y: usize) -> impl Iterator<Item = (usize, usize)> {
    let inside = move |tap: usize| {
        let y = (out_y * conv.stride[0] + tap).checked_sub(conv.padding.top)?;
        (y < conv.in_height).then_some((tap, y))
    };
    (0..conv.kernel[0]).filter_map(inside)
}

/// `weights` is `[taps, padded channels]`.
pub(crate) fn input_gradient<I: Element, O: Element>(
    isa: Isa,
    conv: &Conv2d,
    output_gradient: &[O],
    weights: &[f32],
    input_gradient: &mut [I],
) {
    let (height, width) = (conv.out_height(), conv.out_width());
    let image_length = height * width * conv.in_channels;
    for_each_row(input_gradient, conv.in_width * conv.in_channels, |row, target| {
        for phase in 0..conv.stride[1].min(conv.in_width) {
            let (room, rows) = (Room::new(), gradient_rows(conv, row % conv.in_height, height));
            let taps = room.list(taps(conv, rows, gradient_columns(conv, phase), width));
            let line = Line {
                source: &output_gradient[row / conv.in_height * image_length..][..image_length],
                source_width: width,
                source_step: 1,
                channels: conv.in_channels,
                taps: &taps,
                weights,
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
fn gradient_rows(conv: &Conv2d, in_y: usize, out_height: usize) -> impl Iterator<Item = (usize, usize)> {
    let reached = move |tap: usize| {
        let distance = (in_y + conv.padding.top).checked_sub(tap)?;
        let out_y = distance / conv.stride[0];
        (distance % conv.stride[0] == 0 && out_y < out_height).then_some((tap, out_y))
    };
    (0..conv.kernel[0]).filter_map(reached)
}

/// Taps across that carry the pixels of a phase, and the output position that the first pixel goes to.
fn gradient_columns(conv: &Conv2d, phase: usize) -> impl Iterator<Item = (usize, isize)> + Clone {
    let stride = conv.stride[1] as isize;
    let distance = move |tap: usize| (phase + conv.padding.left) as isize - tap as isize;
    let taps = (0..conv.kernel[1]).filter(move |&tap| distance(tap) % stride == 0);
    taps.map(move |tap| (tap, distance(tap) / stride))
}

/// Calls `write(row, values)` for every row, in tasks of several.
fn for_each_row<E: Element>(values: &mut [E], row_length: usize, write: impl Fn(usize, &mut [E]) + Sync) {
    let rows = (ELEMENTS / row_length).max(1);
    threads::for_each(values.chunks_mut(rows * row_length), &|task, values| {
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
fn taps(
    conv: &Conv2d,
    rows: impl Iterator<Item = (usize, usize)>,
    columns: impl Iterator<Item = (usize, isize)> + Clone,
    source_width: usize,
) -> impl Iterator<Item = Tap> {
    let channels = conv.in_channels;
    let pair = move |(tap_y, y): (usize, usize), (tap_x, x): (usize, isize)| Tap {
        x,
        row: y * source_width * channels,
        weights: (tap_y * conv.kernel[1] + tap_x) * padded(channels),
    };
    rows.flat_map(move |row| columns.clone().map(move |column| pair(row, column)))
}

/// Pixels `first, first + step, ..` of a row; pixel `i` sums `weights[tap] · source[i · source_step + tap]`.
struct Line<'a, E> {
    source: &'a [E],
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

impl<E: Element> Line<'_, E> {
    fn write<T: Element>(&self, isa: Isa, target: &mut [T]) {
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
    fn sum<S: Simd, T: Element, const COUNT: usize>(
        &self,
        simd: S,
        pixel: usize,
        taps: &[Tap],
        target: &mut [T],
    ) {
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
                    *sum = simd.mul_add(simd.load_element(source), weights, *sum);
                }
            }
            for (index, sum) in sums.into_iter().enumerate() {
                let x = self.first + (pixel + index) * self.step;
                simd.store_element(sum, &mut target[x * channels + channel..][..channels - channel]);
            }
            channel += S::LANES;
        }
    }
}

struct LineKernel<'a, E, T> {
    line: &'a Line<'a, E>,
    target: &'a mut [T],
}

impl<E: Element, T: Element> Kernel for LineKernel<'_, E, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { line, target } = self;
        let inner = line.inner_pixels();
        let room = Room::new();
        // As long as it can become.
        let mut some_taps = room.list(line.taps.iter().copied());
        for pixel in (0..inner.start).chain(inner.end..line.pixels) {
            some_taps.clear();
            some_taps.extend(line.taps.iter().copied().filter(|tap| line.is_inside(pixel, tap.x)));
            line.sum::<S, T, 1>(simd, pixel, &some_taps, target);
        }
        let mut pixel = inner.start;
        while pixel + PIXELS <= inner.end {
            line.sum::<S, T, PIXELS>(simd, pixel, line.taps, target);
            pixel += PIXELS;
        }
        for pixel in pixel..inner.end {
            line.sum::<S, T, 1>(simd, pixel, line.taps, target);
        }
    }
}

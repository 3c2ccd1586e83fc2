//! Gradient of a depthwise convolution to its weight: the products of each output pixel's gradient with what
//! its window sees, summed over all pixels.

use std::marker::PhantomData;

use super::image::{Image, MAX_COLUMNS, Seen};
use super::line::source_rows;
use super::taps::{Slide, Taps};
use super::tile::{ROWS, has_room_for_seven, padded, unrolled};
use super::window::{Next, Window};
use super::with_window;
use crate::conv2d::Conv2d;
use crate::element::Element;
use crate::isa::Isa;
use crate::scratch::Scratch;
use crate::simd::grid::{GridMut, Shape};
use crate::simd::{Kernel, MAX_LANES, Simd};
use crate::threads::{self, MANY, add_parts};

/// Overwrites `weight_gradient` `[channels, taps]`.
pub(crate) fn weight_gradient<I: Element, O: Element>(
    isa: Isa,
    conv: &Conv2d,
    input: &[I],
    output_gradient: &[O],
    weight_gradient: &mut [f32],
) {
    let (window, taps) = (Window::forward(conv), conv.kernel[0] * conv.kernel[1]);
    let distance = padded(conv.in_channels);
    let length = taps * distance;
    let image_in = window.source[0] * window.source_row();
    let image_out = window.output[0] * window.output_row();
    let rows = window.task_rows((output_gradient.len() / MANY).max(1));
    // Images, and pieces of their rows.
    let pieces = window.output[0].div_ceil(rows);
    let mut sums = Scratch::new(conv.batch * pieces * length);
    threads::for_each(sums.chunks_exact_mut(length), &|task, sums: &mut [f32]| {
        sums.fill(0.0);
        let (image, first_row) = (task / pieces, task % pieces * rows);
        let to = (first_row + rows).min(window.output[0]);
        let input = &input[image * image_in..][..image_in];
        let gradient = &output_gradient[image * image_out..][..image_out];
        with_window!(conv, KERNEL, STRIDE => {
            let taps = PhantomData::<Slide<KERNEL, STRIDE>>;
            isa.run(Tiles { window: &window, input, gradient, rows: [first_row, to], sums, taps });
        }, else isa.run(AnyWindow { conv, input, gradient, rows: [first_row, to], sums }));
    });
    let (first, others) = sums.split_at_mut(length);
    add_parts(first, others);
    for (channel, gradient) in weight_gradient.chunks_exact_mut(taps).enumerate() {
        for (tap, gradient) in gradient.iter_mut().enumerate() {
            *gradient = first[tap * distance + channel];
        }
    }
}

/// Tiles as those of the forward pass; see [`super::tile`].
struct Tiles<'a, I, O, T> {
    window: &'a Window,
    input: &'a [I],
    gradient: &'a [O],
    /// First output row and the one behind the last.
    rows: [usize; 2],
    /// `[taps, padded channels]`, added to.
    sums: &'a mut [f32],
    taps: PhantomData<T>,
}

impl<I: Element, O: Element, T: Taps> Kernel for Tiles<'_, I, O, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        if has_room_for_seven::<S>() {
            self.cover::<S, 7>(simd);
        } else {
            self.cover::<S, 4>(simd);
        }
    }
}

impl<I: Element, O: Element, T: Taps> Tiles<'_, I, O, T> {
    #[inline(always)]
    fn cover<S: Simd, const PIXELS: usize>(self, simd: S) {
        let (window, [from, to]) = (self.window, self.rows);
        let channels = window.channels;
        let input = Image::new(self.input, window.source, channels);
        // Without the rows of others, which a tile at the end sees.
        let gradients = &self.gradient[..to * window.output_row()];
        let gradient = Image::new(gradients, [to, window.output[1]], channels);
        let (row, column) = (T::KERNEL * padded(channels), padded(channels));
        let width = channels.next_multiple_of(S::LANES);
        let shape = Shape { rows: T::KERNEL, columns: T::KERNEL, row, column, width };
        let ahead = window.ahead::<T>(PIXELS);
        let (mut source, mut outputs) = (input.nowhere(), gradient.nowhere());
        for corner @ [y, x] in window.tiles(PIXELS, from, to) {
            let first_seen = window.first::<T>(corner);
            input.see(first_seen, [T::span(ROWS), T::span(PIXELS)], &mut source);
            gradient.see([y as isize, x as isize], [ROWS, PIXELS], &mut outputs);
            let at = y * window.output_row() + x * channels;
            let next = Next::new::<T>(window, self.input, first_seen, &self.gradient[at..], ahead);
            let sums = GridMut::new(&mut *self.sums, shape);
            let mut tile = TileGradient { source: &source, gradient: &outputs, sums };
            for first in (0..width).step_by(S::LANES) {
                next.prefetch::<S, T>(simd, PIXELS, first);
                tile.add::<S, T, PIXELS>(simd, first);
            }
        }
    }
}

/// From a tile's first channel on: what its windows see, its gradients, and the sums that get their products.
struct TileGradient<'a, I, O> {
    source: &'a Seen<'a, I>,
    gradient: &'a Seen<'a, O>,
    sums: GridMut<'a, f32>,
}

impl<I: Element, O: Element> TileGradient<'_, I, O> {
    /// One register's channels.
    #[inline(always)]
    fn add<S: Simd, T: Taps, const PIXELS: usize>(&mut self, simd: S, first: usize) {
        let zero = simd.splat(0.0);
        let mut gradients = [[zero; PIXELS]; ROWS];
        unrolled!(PIXEL < PIXELS => {
            unrolled!(ROW in 0 1 => {
                gradients[ROW][PIXEL] = self.gradient.load(simd, [ROW, PIXEL], first);
            });
        });
        let [upper, lower] = gradients;
        unrolled!(ROW < T::span(ROWS) => {
            let mut columns = [zero; MAX_COLUMNS];
            for (column, value) in columns.iter_mut().enumerate().take(T::span(PIXELS)) {
                *value = self.source.load(simd, [ROW, column], first);
            }
            self.add_row::<S, T, PIXELS>(simd, first, T::tap(0, ROW), &columns, &upper);
            self.add_row::<S, T, PIXELS>(simd, first, T::tap(1, ROW), &columns, &lower);
        });
    }

    /// What the gradients of an output row add to the taps of row `tap_y`.
    #[inline(always)]
    fn add_row<S: Simd, T: Taps, const PIXELS: usize>(
        &mut self,
        simd: S,
        first: usize,
        tap_y: Option<usize>,
        columns: &[S::Vector; MAX_COLUMNS],
        gradients: &[S::Vector; PIXELS],
    ) {
        let Some(tap_y) = tap_y else { return };
        for tap_x in 0..T::KERNEL {
            let mut sum = self.sums.load(simd, [tap_y, tap_x], first);
            unrolled!(PIXEL < PIXELS => {
                if let Some(column) = T::source(PIXEL, tap_x) {
                    sum = simd.mul_add(columns[column], gradients[PIXEL], sum);
                }
            });
            self.sums.store(simd, sum, [tap_y, tap_x], first);
        }
    }
}

/// Row by row, for all other windows.
struct AnyWindow<'a, I, O> {
    conv: &'a Conv2d,
    input: &'a [I],
    gradient: &'a [O],
    rows: [usize; 2],
    sums: &'a mut [f32],
}

impl<I: Element, O: Element> Kernel for AnyWindow<'_, I, O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let length = self.conv.out_width() * self.conv.in_channels;
        for row in self.rows[0]..self.rows[1] {
            let mut row_gradient = RowGradient {
                conv: self.conv,
                image: self.input,
                row,
                output_gradient: &self.gradient[row * length..][..length],
                sums: &mut *self.sums,
            };
            row_gradient.add::<S>(simd);
        }
    }
}

/// One output row, any window.
struct RowGradient<'a, I, O> {
    conv: &'a Conv2d,
    image: &'a [I],
    /// Its number.
    row: usize,
    output_gradient: &'a [O],
    sums: &'a mut [f32],
}

impl<I: Element, O: Element> RowGradient<'_, I, O> {
    #[inline(always)]
    fn add<S: Simd>(&mut self, simd: S) {
        let mut channel = 0;
        while channel < self.conv.in_channels {
            for (tap_y, y) in source_rows(self.conv, self.row) {
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

impl<I: Element, O: Element> RowGradient<'_, I, O> {
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
                simd.load_element(&self.output_gradient[x * channels + first..][..channels - first]);
            let source = &image_row[(x * stride[1] + tap_x - padding.left) * channels + first..];
            for (tap, sum) in sums.iter_mut().enumerate() {
                let source = &source[tap * channels..][..channels - first];
                *sum = simd.mul_add(gradient, simd.load_element(source), *sum);
            }
        }
        for x in (0..inner.start).chain(inner.end..width) {
            let gradient =
                simd.load_element(&self.output_gradient[x * channels + first..][..channels - first]);
            for (tap, sum) in sums.iter_mut().enumerate() {
                let column = (x * stride[1] + tap_x + tap).checked_sub(padding.left);
                let Some(column) = column.filter(|column| *column < in_width) else { continue };
                let source = &image_row[column * channels + first..][..channels - first];
                *sum = simd.mul_add(gradient, simd.load_element(source), *sum);
            }
        }
        for (tap, sum) in sums.into_iter().enumerate() {
            let mut lanes = [0.0; MAX_LANES];
            simd.store(sum, &mut lanes);
            let offset = ((tap_y * kernel[1]) + tap_x + tap) * padded(channels);
            let target = &mut self.sums[offset + channel..offset + channels.min(channel + S::LANES)];
            for (target, value) in target.iter_mut().zip(&lanes[channel - first..]) {
                *target += value;
            }
        }
    }
}

//! A tile of two rows of four output pixels, through some channels: the innermost loop of windows of 3x3 and 5x5.
//!
//! A tile loads (and widens) each source value once for all of its sums that see it: 24 loads for the 72
//! products of a 3x3 tile. It walks through the channels in the inner loop, so that source and output are
//! read and written in their order.
//!
//! Loads are always of whole registers, which hold values of the next pixel where the channels end: weights, bias and
//! sums by channel have room for them ([`padded`]), and so must the source.

use std::ops::Range;

use super::window::Window;
use crate::activation::{Activation, Function, with_function};
use crate::element::Element;
use crate::simd::spaced::load_spaced;
use crate::simd::{Kernel, MAX_LANES, Simd};

/// Output rows and columns of a tile.
pub(crate) const ROWS: usize = 2;
pub(crate) const PIXELS: usize = 4;
/// Source columns of the widest tile: 5x5, stride 2.
pub(crate) const MAX_COLUMNS: usize = (PIXELS - 1) * 2 + 5;

/// Source columns, or rows for `outputs` rows, that `outputs` outputs see.
pub(crate) const fn span(outputs: usize, kernel: usize, stride: usize) -> usize {
    (outputs - 1) * stride + kernel
}

/// Room for the values of `channels` channels in whole registers of any instruction set.
pub(crate) const fn padded(channels: usize) -> usize {
    channels.next_multiple_of(MAX_LANES)
}

/// What a tile sees of its channels: its first value, and values from a row, and from a pixel, to the next.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a, E> {
    pub(crate) values: &'a [E],
    pub(crate) row: usize,
    pub(crate) pixel: usize,
}

/// Where a tile's sums go.
pub(crate) struct Target<'a, E> {
    /// From the tile's first value on, all channels.
    pub(crate) values: &'a mut [E],
    /// Added before the activation; lies as the values do.
    pub(crate) shortcut: Option<&'a [E]>,
    /// Values from a row, and from a pixel, to the next.
    pub(crate) row: usize,
    pub(crate) pixel: usize,
    /// Rows and columns that exist.
    pub(crate) rows: usize,
    pub(crate) pixels: usize,
}

/// What a tile multiplies by and adds, by channel.
#[derive(Clone, Copy)]
pub(crate) struct Parameters<'a> {
    /// `[taps]`, `distance` values from a tap to the next.
    pub(crate) weights: &'a [f32],
    pub(crate) distance: usize,
    pub(crate) bias: &'a [f32],
    pub(crate) activation: Activation,
}

/// Sums over the pixels of a task, by padded channel.
pub(crate) struct Sums<'a> {
    /// Pivots, sums of the distances to them and of their squares; empty where nobody asks.
    pub(crate) values: &'a mut [f32],
    /// Whether the tile is the task's first, whose first pixel is the pivot.
    pub(crate) are_new: bool,
}

/// What the next tiles will read and write, asked for ahead.
#[derive(Clone, Copy)]
pub(crate) struct Ahead<'a, I> {
    pub(crate) window: &'a Window,
    pub(crate) image: &'a [I],
    /// The tile's first source value.
    pub(crate) first: usize,
}

/// One tile.
pub(crate) struct Tile<'a, I, O, const KERNEL: usize, const STRIDE: usize> {
    pub(crate) parameters: &'a Parameters<'a>,
    pub(crate) channels: Range<usize>,
    pub(crate) source: Source<'a, I>,
    pub(crate) target: Target<'a, O>,
    pub(crate) sums: Sums<'a>,
    pub(crate) ahead: Option<Ahead<'a, I>>,
}

impl<I: Element, O: Element, const KERNEL: usize, const STRIDE: usize> Kernel
    for Tile<'_, I, O, KERNEL, STRIDE>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        if let Some(Ahead { window, image, first }) = self.ahead {
            window.prefetch(simd, image, first, KERNEL, STRIDE);
            window.prefetch_output(simd, self.target.values);
        }
        for channel in self.channels.clone().step_by(S::LANES) {
            let sums = self.sums::<S>(simd, channel);
            self.finish::<S>(simd, channel, sums);
        }
    }
}

impl<I: Element, O: Element, const KERNEL: usize, const STRIDE: usize> Tile<'_, I, O, KERNEL, STRIDE> {
    #[inline(always)]
    fn sums<S: Simd>(&self, simd: S, channel: usize) -> [[S::Vector; PIXELS]; ROWS] {
        let Self { source, parameters: &Parameters { weights, distance, bias, .. }, .. } = *self;
        let first = channel - self.channels.start;
        let bias = simd.load(&bias[channel..]);
        let mut sums = [[bias; PIXELS]; ROWS];
        for source_row in 0..span(ROWS, KERNEL, STRIDE) {
            let mut columns = [bias; MAX_COLUMNS];
            let seen = &mut columns[..span(PIXELS, KERNEL, STRIDE)];
            load_spaced(simd, &source.values[source_row * source.row + first..], source.pixel, seen);
            for (row, sums) in sums.iter_mut().enumerate() {
                let Some(tap_y) = source_row.checked_sub(row * STRIDE).filter(|tap| *tap < KERNEL) else {
                    continue;
                };
                let mut taps = [bias; KERNEL];
                load_spaced(simd, &weights[tap_y * KERNEL * distance + channel..], distance, &mut taps);
                for (tap_x, tap) in taps.iter().enumerate() {
                    for (pixel, sum) in sums.iter_mut().enumerate() {
                        *sum = simd.mul_add(columns[pixel * STRIDE + tap_x], *tap, *sum);
                    }
                }
            }
        }
        sums
    }

    /// Takes the sums of a register's channels through the epilogue.
    #[inline(always)]
    fn finish<S: Simd>(&mut self, simd: S, channel: usize, mut sums: [[S::Vector; PIXELS]; ROWS]) {
        let Self { target, parameters, .. } = self;
        let lanes = S::LANES.min(self.channels.end - channel);
        if !self.sums.values.is_empty() {
            self.sums.add::<S>(simd, channel, &sums, [target.rows, target.pixels]);
        }
        if let Some(shortcut) = target.shortcut {
            for (row, sums) in sums.iter_mut().enumerate().take(target.rows) {
                for (pixel, sum) in sums.iter_mut().enumerate().take(target.pixels) {
                    let first = row * target.row + pixel * target.pixel + channel;
                    *sum = simd.add(*sum, simd.load_element(&shortcut[first..first + lanes]));
                }
            }
        }
        with_function!(parameters.activation, function => {
            for sums in &mut sums {
                for sum in sums {
                    *sum = function.value::<S, O>(simd, *sum);
                }
            }
        });
        for (row, sums) in sums.iter().enumerate().take(target.rows) {
            for (pixel, sum) in sums.iter().enumerate().take(target.pixels) {
                let first = row * target.row + pixel * target.pixel + channel;
                simd.store_element(*sum, &mut target.values[first..first + lanes]);
            }
        }
    }
}

impl Sums<'_> {
    /// Adds the first rows and pixels of a tile.
    #[inline(always)]
    fn add<S: Simd>(
        &mut self,
        simd: S,
        channel: usize,
        tile: &[[S::Vector; PIXELS]; ROWS],
        [rows, pixels]: [usize; 2],
    ) {
        let third = self.values.len() / 3;
        let (pivots, sums) = self.values.split_at_mut(third);
        let (sums, squares) = sums.split_at_mut(third);
        let (pivots, sums, squares) = (&mut pivots[channel..], &mut sums[channel..], &mut squares[channel..]);
        if self.are_new {
            simd.store(tile[0][0], pivots);
        }
        let pivot = simd.load(pivots);
        let (mut sum, mut square) = (simd.load(sums), simd.load(squares));
        for values in tile.iter().take(rows) {
            for value in values.iter().take(pixels) {
                let distance = simd.subtract(*value, pivot);
                sum = simd.add(sum, distance);
                square = simd.mul_add(distance, distance, square);
            }
        }
        simd.store(sum, sums);
        simd.store(square, squares);
    }
}

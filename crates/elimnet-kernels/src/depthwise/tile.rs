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
use crate::simd::grid::{Grid, GridMut, Shape};
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

impl<'a, E: Element> Source<'a, E> {
    /// Rows and columns of it, whose places have `width` values.
    #[inline(always)]
    pub(crate) fn grid(&self, [rows, columns]: [usize; 2], width: usize) -> Grid<'a, E> {
        Grid::new(self.values, Shape { rows, columns, row: self.row, column: self.pixel, width })
    }
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
        let (start, width) = (self.channels.start, self.channels.len());
        let whole = width.next_multiple_of(S::LANES);
        let Parameters { weights, distance, bias, .. } = *self.parameters;
        let operands = Operands {
            source: self.source.grid([ROWS, PIXELS].map(|outputs| span(outputs, KERNEL, STRIDE)), whole),
            weights: {
                let (row, column) = (KERNEL * distance, distance);
                let shape = Shape { rows: KERNEL, columns: KERNEL, row, column, width: whole };
                Grid::new(&weights[start..], shape)
            },
            bias: &bias[start..],
        };
        let mut first = 0;
        while first < width {
            let sums = operands.sums::<S, KERNEL, STRIDE>(simd, first);
            let sums = self.complete::<S>(simd, start + first, sums);
            if first + S::LANES <= width {
                self.target.store::<S>(simd, start + first, &sums);
            } else {
                self.target.store_lanes::<S>(simd, start + first..self.channels.end, &sums);
            }
            first += S::LANES;
        }
    }
}

/// What a register's sums are made of, from the first of a tile's channels on.
struct Operands<'a, I> {
    source: Grid<'a, I>,
    weights: Grid<'a, f32>,
    bias: &'a [f32],
}

type TileSums<S> = [[<S as Simd>::Vector; PIXELS]; ROWS];

impl<I: Element> Operands<'_, I> {
    #[inline(always)]
    fn sums<S: Simd, const KERNEL: usize, const STRIDE: usize>(&self, simd: S, first: usize) -> TileSums<S> {
        let bias = simd.load(&self.bias[first..]);
        let mut sums = [[bias; PIXELS]; ROWS];
        for source_row in 0..span(ROWS, KERNEL, STRIDE) {
            let mut columns = [bias; MAX_COLUMNS];
            for (column, value) in columns.iter_mut().enumerate().take(span(PIXELS, KERNEL, STRIDE)) {
                *value = self.source.load(simd, [source_row, column], first);
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let Some(tap_y) = source_row.checked_sub(row * STRIDE).filter(|tap| *tap < KERNEL) else {
                    continue;
                };
                for tap_x in 0..KERNEL {
                    let tap = self.weights.load(simd, [tap_y, tap_x], first);
                    for (pixel, sum) in sums.iter_mut().enumerate() {
                        *sum = simd.mul_add(columns[pixel * STRIDE + tap_x], tap, *sum);
                    }
                }
            }
        }
        sums
    }
}

impl<I: Element, O: Element, const KERNEL: usize, const STRIDE: usize> Tile<'_, I, O, KERNEL, STRIDE> {
    /// Takes the sums of a register's channels through the epilogue; by value, as the compiler kept them in memory
    /// otherwise.
    #[inline(always)]
    fn complete<S: Simd>(&mut self, simd: S, channel: usize, mut sums: TileSums<S>) -> TileSums<S> {
        let Self { target, parameters, .. } = self;
        if !self.sums.values.is_empty() {
            self.sums.add::<S>(simd, channel, &sums, [target.rows, target.pixels]);
        }
        if let Some(shortcut) = target.shortcut {
            let lanes = S::LANES.min(self.channels.end - channel);
            for (row, sums) in sums.iter_mut().enumerate() {
                for (pixel, sum) in sums.iter_mut().enumerate() {
                    if row < target.rows && pixel < target.pixels {
                        let first = row * target.row + pixel * target.pixel + channel;
                        *sum = simd.add(*sum, simd.load_element(&shortcut[first..first + lanes]));
                    }
                }
            }
        }
        with_function!(parameters.activation, function => activated::<S, O, _>(simd, function, sums))
    }
}

/// Written out: in loops around rare functions the compiler kept the sums in memory, for the others too.
#[inline(always)]
fn activated<S: Simd, E: Element, F: Function>(simd: S, function: F, sums: TileSums<S>) -> TileSums<S> {
    let [[a, b, c, d], [e, f, g, h]] = sums;
    let [a, b] = [function.value::<S, E>(simd, a), function.value::<S, E>(simd, b)];
    let [c, d] = [function.value::<S, E>(simd, c), function.value::<S, E>(simd, d)];
    let [e, f] = [function.value::<S, E>(simd, e), function.value::<S, E>(simd, f)];
    let [g, h] = [function.value::<S, E>(simd, g), function.value::<S, E>(simd, h)];
    [[a, b, c, d], [e, f, g, h]]
}

impl<E: Element> Target<'_, E> {
    /// Writes a whole register's channels.
    #[inline(always)]
    fn store<S: Simd>(&mut self, simd: S, channel: usize, sums: &TileSums<S>) {
        if self.rows != ROWS || self.pixels != PIXELS {
            return self.store_lanes::<S>(simd, channel..channel + S::LANES, sums);
        }
        let (row, column) = (self.row, self.pixel);
        let shape = Shape { rows: ROWS, columns: PIXELS, row, column, width: S::LANES };
        let mut grid = GridMut::new(&mut self.values[channel..], shape);
        for (row, sums) in sums.iter().enumerate() {
            for (pixel, sum) in sums.iter().enumerate() {
                grid.store(simd, *sum, [row, pixel], 0);
            }
        }
    }

    /// Writes some channels of the rows and pixels that exist.
    #[inline(always)]
    fn store_lanes<S: Simd>(&mut self, simd: S, channels: Range<usize>, sums: &TileSums<S>) {
        for (row, sums) in sums.iter().enumerate() {
            for (pixel, sum) in sums.iter().enumerate() {
                if row < self.rows && pixel < self.pixels {
                    let place = row * self.row + pixel * self.pixel;
                    simd.store_element(*sum, &mut self.values[place + channels.start..place + channels.end]);
                }
            }
        }
    }
}

impl Sums<'_> {
    /// Adds the first rows and pixels of a tile.
    #[inline(always)]
    fn add<S: Simd>(&mut self, simd: S, channel: usize, tile: &TileSums<S>, [rows, pixels]: [usize; 2]) {
        let third = self.values.len() / 3;
        let (pivots, sums) = self.values.split_at_mut(third);
        let (sums, squares) = sums.split_at_mut(third);
        let (pivots, sums, squares) = (&mut pivots[channel..], &mut sums[channel..], &mut squares[channel..]);
        if self.are_new {
            simd.store(tile[0][0], pivots);
        }
        let pivot = simd.load(pivots);
        let (mut sum, mut square) = (simd.load(sums), simd.load(squares));
        for (row, values) in tile.iter().enumerate() {
            for (pixel, value) in values.iter().enumerate() {
                if row < rows && pixel < pixels {
                    let distance = simd.subtract(*value, pivot);
                    sum = simd.add(sum, distance);
                    square = simd.mul_add(distance, distance, square);
                }
            }
        }
        simd.store(sum, sums);
        simd.store(square, squares);
    }
}

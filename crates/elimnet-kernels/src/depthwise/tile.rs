//! A tile of two rows of some output pixels, through all channels: the innermost loop of windows of 3x3 and 5x5.
//!
//! A tile loads (and widens) each source value once for all of its sums that see it: 36 loads for the 126
//! products of a 3x3 tile of seven columns. It walks through the channels in the inner loop, so that source and output are
//! read and written in their order.
//!
//! Loads are always of whole registers, which hold values of the next pixel where the channels end: weights, bias and
//! sums by channel have room for them ([`padded`]), and so has the source ([`super::image::Image`]).

use std::ops::Range;

use super::image::{MAX_COLUMNS, Seen};
use super::taps::Taps;
use super::window::Next;
use crate::activation::{Activation, Function, with_function};
use crate::element::Element;
use crate::simd::grid::{Grid, GridMut, Shape};
use crate::simd::{MAX_LANES, Simd};

/// Output rows of a tile.
pub(crate) const ROWS: usize = 2;

/// Whether registers hold two rows of seven sums and what they load, and not just two of four. Seven columns divide the widths
/// that images of 224 pixels come to: no tile of theirs is cut off across.
pub(crate) const fn has_room_for_seven<S: Simd>() -> bool {
    S::REGISTERS >= 32
}

/// Room for the values of `channels` channels in whole registers of any instruction set.
pub(crate) const fn padded(channels: usize) -> usize {
    channels.next_multiple_of(MAX_LANES)
}

/// Where a tile's sums go.
pub(crate) struct Target<'a, E> {
    /// From the tile's first value on, all channels.
    pub(crate) values: &'a mut [E],
    /// Added before the activation; lies as the values do.
    pub(crate) shortcut: Option<&'a [E]>,
    /// Values from a row to the next.
    pub(crate) row: usize,
    /// Values from a pixel to the next: the channels.
    pub(crate) channels: usize,
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

/// One tile.
pub(crate) struct Tile<'a, I, O> {
    pub(crate) parameters: &'a Parameters<'a>,
    pub(crate) source: &'a Seen<'a, I>,
    pub(crate) target: Target<'a, O>,
    pub(crate) sums: Sums<'a>,
    pub(crate) next: Next<I, O>,
}

impl<I: Element, O: Element> Tile<'_, I, O> {
    #[inline(always)]
    pub(crate) fn fill<S: Simd, T: Taps, const PIXELS: usize>(mut self, simd: S) {
        const { assert!(ROWS == 2, "unrolled as two") };
        let channels = self.target.channels;
        let Parameters { weights, distance, bias, .. } = *self.parameters;
        let (row, width) = (T::KERNEL * distance, channels.next_multiple_of(S::LANES));
        let shape = Shape { rows: T::KERNEL, columns: T::KERNEL, row, column: distance, width };
        let operands = Operands { source: self.source, weights: Grid::new(weights, shape), bias };
        let mut first = 0;
        while first < channels {
            self.next.prefetch::<S, T>(simd, PIXELS, first);
            let sums = operands.sums::<S, T, PIXELS>(simd, first);
            let sums = self.complete::<S, PIXELS>(simd, first, sums);
            if first + S::LANES <= channels {
                self.target.store::<S, PIXELS>(simd, first, &sums);
            } else {
                self.target.store_lanes::<S, PIXELS>(simd, first..channels, &sums);
            }
            first += S::LANES;
        }
    }
}

/// What a register's sums are made of.
struct Operands<'a, I> {
    source: &'a Seen<'a, I>,
    weights: Grid<'a, f32>,
    bias: &'a [f32],
}

type TileSums<S, const PIXELS: usize> = [[<S as Simd>::Vector; PIXELS]; ROWS];

/// Runs the body for each of the numbers, as a constant: those given, or those below an end of at most seven. The compiler
/// doesn't unroll loops of so much, and keeps the sums in memory.
macro_rules! unrolled {
    ($number:ident in $($value:literal)* => $body:block) => {
        $({
            const $number: usize = $value;
            $body
        })*
    };
    ($number:ident < $end:expr => $body:block) => {
        debug_assert!($end <= 7, "unrolled seven times");
        unrolled!($number in 0 1 2 3 4 5 6 => {
            if $number < $end $body
        })
    };
}
pub(crate) use unrolled;

impl<I: Element> Operands<'_, I> {
    #[inline(always)]
    fn sums<S: Simd, T: Taps, const PIXELS: usize>(&self, simd: S, first: usize) -> TileSums<S, PIXELS> {
        let bias = simd.load(&self.bias[first..]);
        let mut sums = [[bias; PIXELS]; ROWS];
        unrolled!(ROW < T::span(ROWS) => {
            let mut columns = [bias; MAX_COLUMNS];
            for (column, value) in columns.iter_mut().enumerate().take(T::span(PIXELS)) {
                *value = self.source.load(simd, [ROW, column], first);
            }
            let [upper, lower] = sums;
            sums = [
                self.add_row::<S, T, PIXELS>(simd, first, T::tap(0, ROW), &columns, upper),
                self.add_row::<S, T, PIXELS>(simd, first, T::tap(1, ROW), &columns, lower),
            ];
        });
        sums
    }

    /// What the taps of row `tap_y` add to the sums of an output row.
    #[inline(always)]
    fn add_row<S: Simd, T: Taps, const PIXELS: usize>(
        &self,
        simd: S,
        first: usize,
        tap_y: Option<usize>,
        columns: &[S::Vector; MAX_COLUMNS],
        mut sums: [S::Vector; PIXELS],
    ) -> [S::Vector; PIXELS] {
        let Some(tap_y) = tap_y else { return sums };
        for tap_x in 0..T::KERNEL {
            let tap = self.weights.load(simd, [tap_y, tap_x], first);
            unrolled!(PIXEL < PIXELS => {
                if let Some(column) = T::source(PIXEL, tap_x) {
                    sums[PIXEL] = simd.mul_add(columns[column], tap, sums[PIXEL]);
                }
            });
        }
        sums
    }
}

impl<I: Element, O: Element> Tile<'_, I, O> {
    /// Takes the sums of a register's channels through the epilogue; by value, as the compiler kept them in memory
    /// otherwise.
    #[inline(always)]
    fn complete<S: Simd, const PIXELS: usize>(
        &mut self,
        simd: S,
        first: usize,
        mut sums: TileSums<S, PIXELS>,
    ) -> TileSums<S, PIXELS> {
        let Self { target, parameters, .. } = self;
        if !self.sums.values.is_empty() {
            self.sums.add::<S, PIXELS>(simd, first, &sums, [target.rows, target.pixels]);
        }
        if let Some(shortcut) = target.shortcut {
            let lanes = S::LANES.min(target.channels - first);
            unrolled!(PIXEL < PIXELS => {
                unrolled!(ROW in 0 1 => {
                    if ROW < target.rows && PIXEL < target.pixels {
                        let first = ROW * target.row + PIXEL * target.channels + first;
                        let values = simd.load_element(&shortcut[first..first + lanes]);
                        sums[ROW][PIXEL] = simd.add(sums[ROW][PIXEL], values);
                    }
                });
            });
        }
        with_function!(parameters.activation, function => activated::<S, O, _, PIXELS>(simd, function, sums))
    }
}

#[inline(always)]
fn activated<S: Simd, E: Element, F: Function, const PIXELS: usize>(
    simd: S,
    function: F,
    mut sums: TileSums<S, PIXELS>,
) -> TileSums<S, PIXELS> {
    unrolled!(PIXEL < PIXELS => {
        unrolled!(ROW in 0 1 => {
            sums[ROW][PIXEL] = function.value::<S, E>(simd, sums[ROW][PIXEL]);
        });
    });
    sums
}

impl<E: Element> Target<'_, E> {
    /// Writes a whole register's channels.
    #[inline(always)]
    fn store<S: Simd, const PIXELS: usize>(&mut self, simd: S, channel: usize, sums: &TileSums<S, PIXELS>) {
        if self.rows != ROWS || self.pixels != PIXELS {
            return self.store_lanes::<S, PIXELS>(simd, channel..channel + S::LANES, sums);
        }
        let (row, column) = (self.row, self.channels);
        let shape = Shape { rows: ROWS, columns: PIXELS, row, column, width: S::LANES };
        let mut grid = GridMut::new(&mut self.values[channel..], shape);
        unrolled!(PIXEL < PIXELS => {
            unrolled!(ROW in 0 1 => {
                grid.store(simd, sums[ROW][PIXEL], [ROW, PIXEL], 0);
            });
        });
    }

    /// Writes some channels of the rows and pixels that exist.
    #[inline(always)]
    fn store_lanes<S: Simd, const PIXELS: usize>(
        &mut self,
        simd: S,
        channels: Range<usize>,
        sums: &TileSums<S, PIXELS>,
    ) {
        unrolled!(PIXEL < PIXELS => {
            unrolled!(ROW in 0 1 => {
                if ROW < self.rows && PIXEL < self.pixels {
                    let place = ROW * self.row + PIXEL * self.channels;
                    let values = &mut self.values[place + channels.start..place + channels.end];
                    simd.store_element(sums[ROW][PIXEL], values);
                }
            });
        });
    }
}

impl Sums<'_> {
    /// Adds the first rows and pixels of a tile.
    #[inline(always)]
    fn add<S: Simd, const PIXELS: usize>(
        &mut self,
        simd: S,
        channel: usize,
        tile: &TileSums<S, PIXELS>,
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
        unrolled!(PIXEL < PIXELS => {
            unrolled!(ROW in 0 1 => {
                if ROW < rows && PIXEL < pixels {
                    let distance = simd.subtract(tile[ROW][PIXEL], pivot);
                    sum = simd.add(sum, distance);
                    square = simd.mul_add(distance, distance, square);
                }
            });
        });
        simd.store(sum, sums);
        simd.store(square, squares);
    }
}

//! The four transforms: of pixels, of filters, of output gradients, and from products back to outputs.
//!
//! With `B`, `G` and `A` of the paper, and everything by rows first, then by columns. Helpers are functions, not closures: these
//! are not always compiled with the wide registers.

use super::{LINE, PLACES, SIDE, SPAN, SUMS};
use crate::block::BLOCK;
use crate::element::Element;
use crate::simd::grid::{Grid, GridMut, Shape};
use crate::simd::{Kernel, Simd};

/// Lines of an image that tiles see, each from its first pixel on; none where the line is outside.
pub(super) struct Pixels<'a, E, const LINES: usize> {
    pub(super) lines: [Option<&'a [E]>; LINES],
    /// Column of the first tile's first pixel; outside where negative.
    pub(super) first: isize,
    /// Pixels of a line.
    pub(super) width: usize,
    /// Values from a pixel to the next.
    pub(super) distance: usize,
}

impl<E: Element, const LINES: usize> Pixels<'_, E, LINES> {
    /// `REGISTERS` registers of a column of pixels, zeros where it is outside.
    #[inline(always)]
    fn column<S: Simd, const REGISTERS: usize>(
        &self,
        simd: S,
        x: isize,
        channel: usize,
    ) -> [[S::Vector; LINES]; REGISTERS] {
        let mut registers = [[simd.splat(0.0); LINES]; REGISTERS];
        if x >= 0 && (x as usize) < self.width {
            let place = x as usize * self.distance + channel;
            for (y, line) in self.lines.iter().enumerate() {
                if let Some(line) = line {
                    // Of a known length, so that the loads check nothing.
                    let values = &line[place..][..REGISTERS * S::LANES];
                    for (index, column) in registers.iter_mut().enumerate() {
                        column[y] = E::load(simd, &values[index * S::LANES..]);
                    }
                }
            }
        }
        registers
    }

    /// Asks for so many channels of a column of pixels: from a pixel to the next it is too far to be seen coming.
    #[inline(always)]
    fn prefetch<S: Simd>(&self, simd: S, x: isize, channel: usize, channels: usize) {
        if x >= 0 && (x as usize) < self.width {
            let place = x as usize * self.distance + channel;
            for line in self.lines.iter().flatten() {
                simd.prefetch_lines(line.as_ptr().wrapping_add(place), channels);
            }
        }
    }
}

/// Columns of pixels that are asked for ahead of those in use.
const AHEAD: isize = 4;

/// `Bᵀ d`
#[inline(always)]
fn spread<S: Simd>(simd: S, [a, b, c, d]: [S::Vector; 4]) -> [S::Vector; 4] {
    [simd.subtract(a, c), simd.add(b, c), simd.subtract(c, b), simd.subtract(b, d)]
}

/// `A y`
#[inline(always)]
fn spread_gradient<S: Simd>(simd: S, [a, b]: [S::Vector; 2]) -> [S::Vector; 4] {
    [a, simd.add(a, b), simd.subtract(a, b), simd.subtract(simd.splat(0.0), b)]
}

/// `Aᵀ m`
#[inline(always)]
fn gather<S: Simd>(simd: S, [a, b, c, d]: [S::Vector; 4]) -> [S::Vector; 2] {
    [simd.add(simd.add(a, b), c), simd.subtract(simd.subtract(b, c), d)]
}

/// `Gᵀ m`
#[inline(always)]
fn gather_filter<S: Simd>(simd: S, [a, b, c, d]: [S::Vector; 4]) -> [S::Vector; 3] {
    let half = simd.splat(0.5);
    let (sum, difference) = (simd.multiply(half, simd.add(b, c)), simd.multiply(half, simd.subtract(b, c)));
    [simd.add(a, sum), difference, simd.add(sum, d)]
}

/// Row `index` of the columns.
#[inline(always)]
fn row<V: Copy, const ROWS: usize, const COLUMNS: usize>(
    columns: &[[V; ROWS]; COLUMNS],
    index: usize,
) -> [V; COLUMNS] {
    let mut row = [columns[0][index]; COLUMNS];
    for (value, column) in row.iter_mut().zip(columns) {
        *value = column[index];
    }
    row
}

/// The places of a tile's `width` channels, from the first of `values` on; places are `place` apart.
#[inline(always)]
fn places<E: Element>(values: &mut [E], place: usize, width: usize) -> GridMut<'_, E> {
    GridMut::new(values, Shape { rows: SPAN, columns: SPAN, row: SPAN * place, column: place, width })
}

/// Writes a register of each place of row `y`.
#[inline(always)]
fn store_row<S: Simd, E: Element>(
    simd: S,
    values: [S::Vector; SPAN],
    target: &mut GridMut<'_, E>,
    y: usize,
    first: usize,
) {
    for (x, value) in values.into_iter().enumerate() {
        target.store(simd, value, [y, x], first);
    }
}

/// `transformed[place][tile][channel] = (Bᵀ d B)[place]`; neighbouring tiles share two columns.
pub(super) struct TransformPixels<'a, E> {
    pub(super) pixels: Pixels<'a, E, SPAN>,
    /// A multiple of two registers' lanes.
    pub(super) channels: usize,
    pub(super) tiles: usize,
    pub(super) transformed: &'a mut [E],
    /// From a place to the next.
    pub(super) place: usize,
    /// From a tile to the next.
    pub(super) tile: usize,
}

impl<E: Element> Kernel for TransformPixels<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { pixels, channels, tiles, transformed, place, tile } = self;
        // Two registers: of the widest a whole line of the cache in bf16.
        let width = 2 * S::LANES;
        assert!(channels.is_multiple_of(width));
        for channel in (0..channels).step_by(width) {
            let mut x = pixels.first;
            let mut seen =
                [pixels.spread_column(simd, x, channel), pixels.spread_column(simd, x + 1, channel)];
            for index in 0..tiles {
                x += SIDE as isize;
                pixels.prefetch(simd, x + AHEAD, channel, width);
                pixels.prefetch(simd, x + 1 + AHEAD, channel, width);
                let [first, second] = seen;
                seen = [pixels.spread_column(simd, x, channel), pixels.spread_column(simd, x + 1, channel)];
                let mut target = places(&mut transformed[index * tile + channel..], place, width);
                store(simd, [first[0], second[0], seen[0][0], seen[1][0]], &mut target, 0);
                store(simd, [first[1], second[1], seen[0][1], seen[1][1]], &mut target, S::LANES);
            }
        }
    }
}

/// Writes `Bᵀ d B`, given the columns of `Bᵀ d`, to a register of each place.
#[inline(always)]
fn store<S: Simd, E: Element>(
    simd: S,
    columns: [[S::Vector; SPAN]; SPAN],
    target: &mut GridMut<'_, E>,
    first: usize,
) {
    for y in 0..SPAN {
        store_row(simd, spread(simd, row(&columns, y)), target, y, first);
    }
}

impl<E: Element> Pixels<'_, E, SPAN> {
    /// Two registers of `Bᵀ d`.
    #[inline(always)]
    fn spread_column<S: Simd>(&self, simd: S, x: isize, channel: usize) -> [[S::Vector; SPAN]; 2] {
        let [first, second] = self.column::<S, 2>(simd, x, channel);
        [spread(simd, first), spread(simd, second)]
    }
}

/// `transformed[place][tile][channel] = (A y Aᵀ)[place]`; a tile shares nothing with its neighbours.
pub(super) struct TransformGradient<'a, E> {
    pub(super) pixels: Pixels<'a, E, SIDE>,
    /// A multiple of a register's lanes.
    pub(super) channels: usize,
    pub(super) tiles: usize,
    pub(super) transformed: &'a mut [E],
    /// From a place to the next.
    pub(super) place: usize,
    /// From a tile to the next.
    pub(super) tile: usize,
}

impl<E: Element> Kernel for TransformGradient<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { pixels, channels, tiles, transformed, place, tile } = self;
        for index in 0..tiles {
            let x = pixels.first + (SIDE * index) as isize;
            // The first line alone: the others follow it.
            pixels.prefetch(simd, x + AHEAD, 0, 1);
            pixels.prefetch(simd, x + 1 + AHEAD, 0, 1);
            let mut target = places(&mut transformed[index * tile..], place, channels);
            for channel in (0..channels).step_by(S::LANES) {
                let [first] = pixels.column::<S, 1>(simd, x, channel);
                let [second] = pixels.column::<S, 1>(simd, x + 1, channel);
                let columns = [spread_gradient(simd, first), spread_gradient(simd, second)];
                for y in 0..SPAN {
                    store_row(simd, spread_gradient(simd, row(&columns, y)), &mut target, y, channel);
                }
            }
        }
    }
}

/// `lines[y][2 · tile + x][column] = (Aᵀ m A)[y][x]` for the blocks' columns.
pub(super) struct Inverse<'a> {
    /// From the first tile's row of the first place on; places are `SUMS` apart.
    pub(super) sums: &'a [f32],
    pub(super) tiles: usize,
    pub(super) lines: [&'a mut [f32]; SIDE],
}

impl Kernel for Inverse<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { sums, tiles, lines: [upper, lower] } = self;
        assert!(tiles <= BLOCK && upper.len() == LINE && lower.len() == LINE);
        for tile in 0..tiles {
            let shape = Shape { rows: SPAN, columns: SPAN, row: SPAN * SUMS, column: SUMS, width: BLOCK };
            let sums = Grid::new(&sums[tile * BLOCK..], shape);
            for first in (0..BLOCK).step_by(S::LANES) {
                let mut columns = [[simd.splat(0.0); SIDE]; SPAN];
                for (x, column) in columns.iter_mut().enumerate() {
                    let mut products = [simd.splat(0.0); SPAN];
                    for (y, product) in products.iter_mut().enumerate() {
                        *product = sums.load(simd, [y, x], first);
                    }
                    *column = gather(simd, products);
                }
                let [above, below] = [gather(simd, row(&columns, 0)), gather(simd, row(&columns, 1))];
                for x in 0..SIDE {
                    let place = (SIDE * tile + x) * BLOCK + first;
                    simd.store(above[x], &mut upper[place..]);
                    simd.store(below[x], &mut lower[place..]);
                }
            }
        }
    }
}

/// Rows of `G`.
const FILTER: [[f32; 3]; SPAN] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];

/// `values[filter][channel] = (G g Gᵀ)[place]`
pub(super) struct TransformFilter<'a> {
    /// `[filter, 3, 3, channel]`
    pub(super) weight: &'a [f32],
    pub(super) channels: usize,
    /// Row and column.
    pub(super) place: [usize; 2],
    pub(super) values: &'a mut [f32],
}

impl Kernel for TransformFilter<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { weight, channels, place, values } = self;
        let [down, across] = place.map(|place| FILTER[place]);
        for (filter, values) in weight.chunks_exact(9 * channels).zip(values.chunks_exact_mut(channels)) {
            for (index, values) in values.chunks_exact_mut(S::LANES).enumerate() {
                let mut sum = simd.splat(0.0);
                for tap in 0..9 {
                    let factor = down[tap / 3] * across[tap % 3];
                    if factor != 0.0 {
                        let value = simd.load(&filter[tap * channels + index * S::LANES..]);
                        sum = simd.mul_add(simd.splat(factor), value, sum);
                    }
                }
                simd.store(sum, values);
            }
        }
    }
}

/// `gradient[tap][channel] = (Gᵀ m G)[tap]` for the channels of one filter, `m` summed over parts.
pub(super) struct GatherFilter<'a> {
    /// Each part's sums of the filter, from a block's columns on.
    pub(super) sums: &'a [f32],
    pub(super) parts: usize,
    /// From a part to the next.
    pub(super) part: usize,
    /// From a place to the next.
    pub(super) place: usize,
    /// From the block's first channel on.
    pub(super) gradient: &'a mut [f32],
    /// Channels of the filter.
    pub(super) channels: usize,
}

impl Kernel for GatherFilter<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { sums, parts, part, place, gradient, channels } = self;
        for column in (0..BLOCK).step_by(S::LANES) {
            let mut products = [simd.splat(0.0); PLACES];
            for (index, product) in products.iter_mut().enumerate() {
                for number in 0..parts {
                    let sums = &sums[number * part + index * place + column..];
                    if let Some(next) = sums.get(PLACES * place..=PLACES * place) {
                        simd.prefetch(next);
                    }
                    *product = simd.add(*product, simd.load(sums));
                }
            }
            let mut columns = [[simd.splat(0.0); 3]; SPAN];
            for (x, column) in columns.iter_mut().enumerate() {
                let products =
                    [products[x], products[SPAN + x], products[2 * SPAN + x], products[3 * SPAN + x]];
                *column = gather_filter(simd, products);
            }
            for y in 0..3 {
                for (x, value) in gather_filter(simd, row(&columns, y)).into_iter().enumerate() {
                    simd.store(value, &mut gradient[(y * 3 + x) * channels + column..]);
                }
            }
        }
    }
}

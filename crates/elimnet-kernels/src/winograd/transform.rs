//! The transforms in two dimensions: of pixels, of filters, of output gradients, and from products back to outputs and filters.
//!
//! Everything by rows first, then by columns, with the transforms of [`Points`]. Helpers are functions, not closures: these are not
//! always compiled with the wide registers.

use super::SUMS;
use super::points::Points;
use crate::block::BLOCK;
use crate::element::Element;
use crate::filter::Pass;
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

/// Columns of pixels that neighbouring tiles share.
const SHARED: usize = 2;
/// Columns of pixels that are asked for ahead of those in use.
const AHEAD: isize = 4;

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
fn places<E: Element, const SPAN: usize>(values: &mut [E], place: usize, width: usize) -> GridMut<'_, E> {
    GridMut::new(values, Shape { rows: SPAN, columns: SPAN, row: SPAN * place, column: place, width })
}

/// Writes a register of each place of row `y`.
#[inline(always)]
fn store_row<S: Simd, E: Element, const SPAN: usize>(
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
pub(super) struct TransformPixels<'a, E, P, const SIDE: usize, const SPAN: usize> {
    pub(super) points: P,
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

impl<E: Element, P: Points<SIDE, SPAN>, const SIDE: usize, const SPAN: usize> Kernel
    for TransformPixels<'_, E, P, SIDE, SPAN>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { points, pixels, channels, tiles, transformed, place, tile } = self;
        // Two registers: of the widest a whole line of the cache in bf16.
        let width = 2 * S::LANES;
        assert!(channels.is_multiple_of(width));
        for channel in (0..channels).step_by(width) {
            // `Bᵀ d` of each register.
            let mut first = [[simd.splat(0.0); SPAN]; SPAN];
            let mut second = first;
            for column in 0..SHARED {
                let x = pixels.first + column as isize;
                [first[SIDE + column], second[SIDE + column]] =
                    pixels.spread_column(simd, points, x, channel);
            }
            for index in 0..tiles {
                for column in 0..SHARED {
                    first[column] = first[SIDE + column];
                    second[column] = second[SIDE + column];
                }
                for column in SHARED..SPAN {
                    let x = pixels.first + (SIDE * index + column) as isize;
                    pixels.prefetch(simd, x + AHEAD, channel, width);
                    [first[column], second[column]] = pixels.spread_column(simd, points, x, channel);
                }
                let mut target = places::<E, SPAN>(&mut transformed[index * tile + channel..], place, width);
                store(simd, points, &first, &mut target, 0);
                store(simd, points, &second, &mut target, S::LANES);
            }
        }
    }
}

/// Writes `Bᵀ d B`, given the columns of `Bᵀ d`, to a register of each place.
#[inline(always)]
fn store<S: Simd, E: Element, P: Points<SIDE, SPAN>, const SIDE: usize, const SPAN: usize>(
    simd: S,
    points: P,
    columns: &[[S::Vector; SPAN]; SPAN],
    target: &mut GridMut<'_, E>,
    first: usize,
) {
    for y in 0..SPAN {
        store_row(simd, points.spread(simd, row(columns, y)), target, y, first);
    }
}

impl<E: Element, const SPAN: usize> Pixels<'_, E, SPAN> {
    /// Two registers of `Bᵀ d`.
    #[inline(always)]
    fn spread_column<S: Simd, P: Points<SIDE, SPAN>, const SIDE: usize>(
        &self,
        simd: S,
        points: P,
        x: isize,
        channel: usize,
    ) -> [[S::Vector; SPAN]; 2] {
        let [first, second] = self.column::<S, 2>(simd, x, channel);
        [points.spread(simd, first), points.spread(simd, second)]
    }
}

/// `transformed[place][tile][channel] = (A y Aᵀ)[place]`; a tile shares nothing with its neighbours.
pub(super) struct TransformGradient<'a, E, P, const SIDE: usize, const SPAN: usize> {
    pub(super) points: P,
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

impl<E: Element, P: Points<SIDE, SPAN>, const SIDE: usize, const SPAN: usize> Kernel
    for TransformGradient<'_, E, P, SIDE, SPAN>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { points, pixels, channels, tiles, transformed, place, tile } = self;
        for index in 0..tiles {
            let x = pixels.first + (SIDE * index) as isize;
            for column in 0..SIDE as isize {
                // The first line alone: the others follow it.
                pixels.prefetch(simd, x + column + AHEAD, 0, 1);
            }
            let mut target = places::<E, SPAN>(&mut transformed[index * tile..], place, channels);
            for channel in (0..channels).step_by(S::LANES) {
                let mut columns = [[simd.splat(0.0); SPAN]; SIDE];
                for (offset, column) in columns.iter_mut().enumerate() {
                    let [pixels] = pixels.column::<S, 1>(simd, x + offset as isize, channel);
                    *column = points.spread_gradient(simd, pixels);
                }
                for y in 0..SPAN {
                    store_row(simd, points.spread_gradient(simd, row(&columns, y)), &mut target, y, channel);
                }
            }
        }
    }
}

/// `lines[y][SIDE · tile + x][column] = (Aᵀ m A)[y][x]` for the blocks' columns; lines hold the outputs of a block of tiles.
pub(super) struct Inverse<'a, P, const SIDE: usize, const SPAN: usize> {
    pub(super) points: P,
    /// From the first tile's row of the first place on; places are `SUMS` apart.
    pub(super) sums: &'a [f32],
    pub(super) tiles: usize,
    pub(super) lines: &'a mut [f32],
}

impl<P: Points<SIDE, SPAN>, const SIDE: usize, const SPAN: usize> Kernel for Inverse<'_, P, SIDE, SPAN> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { points, sums, tiles, lines } = self;
        assert!(tiles <= BLOCK);
        let line = SIDE * BLOCK * BLOCK;
        for tile in 0..tiles {
            let shape = Shape { rows: SPAN, columns: SPAN, row: SPAN * SUMS, column: SUMS, width: BLOCK };
            let sums = Grid::new(&sums[tile * BLOCK..], shape);
            let shape = Shape { rows: SIDE, columns: SIDE, row: line, column: BLOCK, width: BLOCK };
            let mut outputs = GridMut::new(&mut lines[SIDE * tile * BLOCK..], shape);
            for first in (0..BLOCK).step_by(S::LANES) {
                let mut columns = [[simd.splat(0.0); SIDE]; SPAN];
                for (x, column) in columns.iter_mut().enumerate() {
                    let mut products = [simd.splat(0.0); SPAN];
                    for (y, product) in products.iter_mut().enumerate() {
                        *product = sums.load(simd, [y, x], first);
                    }
                    *column = points.gather(simd, products);
                }
                for y in 0..SIDE {
                    for (x, value) in points.gather(simd, row(&columns, y)).into_iter().enumerate() {
                        outputs.store(simd, value, [y, x], first);
                    }
                }
            }
        }
    }
}

/// `values[x][filter][channel] = (G g Gᵀ)[row][x]`
pub(super) struct TransformFilter<'a, P, const SIDE: usize, const SPAN: usize> {
    pub(super) points: P,
    /// `[filter, 3, 3, channel]`
    pub(super) weight: &'a [f32],
    /// A multiple of a register's lanes.
    pub(super) channels: usize,
    /// Of places.
    pub(super) row: usize,
    /// The gradient of the input slides the filter turned by half a circle.
    pub(super) pass: Pass,
    pub(super) values: &'a mut [f32],
}

impl<P: Points<SIDE, SPAN>, const SIDE: usize, const SPAN: usize> Kernel
    for TransformFilter<'_, P, SIDE, SPAN>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { points, weight, channels, row, pass, values } = self;
        assert!(channels.is_multiple_of(S::LANES));
        let (matrix, length) = (points.filter(), weight.len() / 9);
        for (index, filter) in weight.chunks_exact(9 * channels).enumerate() {
            for channel in (0..channels).step_by(S::LANES) {
                let mut sums = [simd.splat(0.0); 3];
                for tap in 0..9 {
                    let factor = matrix[row][tap / 3];
                    if factor != 0.0 {
                        let source = if pass == Pass::Forward { tap } else { 8 - tap };
                        let value = simd.load(&filter[source * channels + channel..]);
                        sums[tap % 3] = simd.mul_add(simd.splat(factor), value, sums[tap % 3]);
                    }
                }
                for (x, factors) in matrix.iter().enumerate() {
                    let mut value = simd.multiply(simd.splat(factors[0]), sums[0]);
                    for (factor, sum) in factors.iter().zip(sums).skip(1) {
                        value = simd.mul_add(simd.splat(*factor), sum, value);
                    }
                    simd.store(value, &mut values[x * length + index * channels + channel..]);
                }
            }
        }
    }
}

/// `gradient[tap][channel] = (Gᵀ m G)[tap]` for the channels of one filter, `m` summed over parts.
pub(super) struct GatherFilter<'a, P, const SIDE: usize, const SPAN: usize> {
    pub(super) points: P,
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

impl<P: Points<SIDE, SPAN>, const SIDE: usize, const SPAN: usize> Kernel for GatherFilter<'_, P, SIDE, SPAN> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { points, sums, parts, part, place, gradient, channels } = self;
        let block = SPAN * SPAN * place;
        for column in (0..BLOCK).step_by(S::LANES) {
            let mut columns = [[simd.splat(0.0); 3]; SPAN];
            for (x, taps) in columns.iter_mut().enumerate() {
                let mut products = [simd.splat(0.0); SPAN];
                for (y, product) in products.iter_mut().enumerate() {
                    for number in 0..parts {
                        let sums = &sums[number * part + (y * SPAN + x) * place + column..];
                        if let Some(next) = sums.get(block..=block) {
                            simd.prefetch(next);
                        }
                        *product = simd.add(*product, simd.load(sums));
                    }
                }
                *taps = points.gather_filter(simd, products);
            }
            for y in 0..3 {
                for (x, value) in points.gather_filter(simd, row(&columns, y)).into_iter().enumerate() {
                    simd.store(value, &mut gradient[(y * 3 + x) * channels + column..]);
                }
            }
        }
    }
}

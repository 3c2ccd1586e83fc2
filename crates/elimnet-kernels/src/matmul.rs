//! The matrix product that every dense layer comes down to: `output = left · right`.
//!
//! `right` is packed in panels of one or two registers' width (see [`crate::pack`]), `left` is read where it
//! lies: row-major (an image, or patches of it) or depth-major (a gradient, read by its columns). The sum
//! over the depth runs in order, block after block, so a value does not depend on the tile it falls in.
//!
//! Source: Goto & van de Geijn, *Anatomy of High-Performance Matrix Multiplication*, ACM TOMS 34(3), 2008.

use crate::simd::{Kernel, MAX_LANES, MAX_TILE_ROWS, Simd};

/// Longest depth of one pass: a panel of two AVX-512 registers then takes 32 KiB of the first-level cache.
pub(crate) const MAX_DEPTH_BLOCK: usize = 256;

/// The left matrix: value `(row, depth)` at `row · row_stride + depth · depth_stride`; one stride is 1.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) row_stride: usize,
    pub(crate) depth_stride: usize,
}

impl<'a> Left<'a> {
    fn skip_rows(self, row: usize) -> Self {
        Self { values: &self.values[row * self.row_stride..], ..self }
    }

    /// A row-major copy of the first `rows` rows in `copy`, `depth` apart.
    fn copy_rows(self, rows: usize, depth: usize, copy: &'a mut [f32]) -> Self {
        for row in 0..rows {
            for k in 0..depth {
                copy[row * depth + k] = self.values[row * self.row_stride + k * self.depth_stride];
            }
        }
        Self { values: copy, row_stride: depth, depth_stride: 1 }
    }
}

/// What the sums start from.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    Zero,
    /// One value a column.
    Bias(&'a [f32]),
    /// What `output` holds already.
    Output,
}

impl<'a> Start<'a> {
    fn skip_columns(self, column: usize) -> Self {
        match self {
            Start::Bias(bias) => Start::Bias(&bias[column..]),
            other => other,
        }
    }
}

/// One tile: as many rows and registers as [`TileKernel`] says.
pub(crate) struct Tile<'a> {
    pub(crate) left: Left<'a>,
    pub(crate) depth: usize,
    /// `[depth][vectors · lanes]`
    pub(crate) panel: &'a [f32],
    pub(crate) start: Start<'a>,
    pub(crate) output: &'a mut [f32],
    pub(crate) output_stride: usize,
}

/// The innermost loop: `ROWS x VECTORS` sums in registers.
pub(crate) struct TileKernel<'a, const ROWS: usize, const VECTORS: usize>(pub(crate) Tile<'a>);

impl<const ROWS: usize, const VECTORS: usize> Kernel for TileKernel<'_, ROWS, VECTORS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Tile { left, depth, panel, start, output, output_stride } = self.0;
        let mut sums = first_sums::<S, ROWS, VECTORS>(simd, start, output, output_stride);
        if left.depth_stride == 1 {
            add_row_major(simd, left, depth, panel, &mut sums);
        } else {
            add_depth_major(simd, left, depth, panel, &mut sums);
        }
        for row in 0..ROWS {
            let output = &mut output[row * output_stride..][..VECTORS * S::LANES];
            for vector in 0..VECTORS {
                simd.store(sums[row][vector], &mut output[vector * S::LANES..]);
            }
        }
    }
}

type Sums<S, const ROWS: usize, const VECTORS: usize> = [[<S as Simd>::Vector; VECTORS]; ROWS];

#[inline(always)]
fn first_sums<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    start: Start<'_>,
    output: &[f32],
    output_stride: usize,
) -> Sums<S, ROWS, VECTORS> {
    let mut sums = [[simd.splat(0.0); VECTORS]; ROWS];
    let (values, stride) = match start {
        Start::Zero => return sums,
        Start::Bias(bias) => (bias, 0),
        Start::Output => (output, output_stride),
    };
    for row in 0..ROWS {
        for vector in 0..VECTORS {
            sums[row][vector] = simd.load(&values[row * stride + vector * S::LANES..]);
        }
    }
    sums
}

#[inline(always)]
fn add_row_major<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    left: Left<'_>,
    depth: usize,
    panel: &[f32],
    sums: &mut Sums<S, ROWS, VECTORS>,
) {
    let mut rows = [&left.values[..depth]; ROWS];
    for (row, values) in rows.iter_mut().enumerate().skip(1) {
        *values = &left.values[row * left.row_stride..][..depth];
    }
    let mut local = *sums;
    let width = VECTORS * S::LANES;
    let panel = &panel[..depth * width];
    for k in 0..depth {
        let mut right = [simd.splat(0.0); VECTORS];
        for vector in 0..VECTORS {
            right[vector] = simd.load(&panel[k * width + vector * S::LANES..]);
        }
        for row in 0..ROWS {
            let value = simd.splat(rows[row][k]);
            for vector in 0..VECTORS {
                local[row][vector] = simd.mul_add(value, right[vector], local[row][vector]);
            }
        }
    }
    *sums = local;
}

#[inline(always)]
fn add_depth_major<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    left: Left<'_>,
    depth: usize,
    panel: &[f32],
    sums: &mut Sums<S, ROWS, VECTORS>,
) {
    assert_eq!(left.row_stride, 1);
    let mut local = *sums;
    let width = VECTORS * S::LANES;
    for (k, right_row) in panel.chunks_exact(width).take(depth).enumerate() {
        let left_row: &[f32; ROWS] =
            left.values[k * left.depth_stride..].first_chunk().expect("a value for every row of the tile");
        let mut right = [simd.splat(0.0); VECTORS];
        for vector in 0..VECTORS {
            right[vector] = simd.load(&right_row[vector * S::LANES..]);
        }
        for row in 0..ROWS {
            let value = simd.splat(left_row[row]);
            for vector in 0..VECTORS {
                local[row][vector] = simd.mul_add(value, right[vector], local[row][vector]);
            }
        }
    }
    *sums = local;
}

/// `rows x columns` of the product over one block of the depth.
pub(crate) struct Block<'a> {
    pub(crate) left: Left<'a>,
    pub(crate) rows: usize,
    pub(crate) depth: usize,
    /// The packed panels of these columns, one after the other.
    pub(crate) panels: &'a [f32],
    pub(crate) columns: usize,
    pub(crate) start: Start<'a>,
    pub(crate) output: &'a mut [f32],
    pub(crate) output_stride: usize,
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        assert!(self.depth <= MAX_DEPTH_BLOCK);
        let mut panels = self.panels;
        let mut column = 0;
        while column < self.columns {
            let vectors = panel_vectors(self.columns - column, S::LANES);
            let (panel, rest) = panels.split_at(self.depth * vectors * S::LANES);
            self.multiply_panel(simd, panel, column, vectors);
            panels = rest;
            column += vectors * S::LANES;
        }
    }
}

/// Registers in the next panel when `columns` are left.
pub(crate) fn panel_vectors(columns: usize, lanes: usize) -> usize {
    if columns > lanes { 2 } else { 1 }
}

/// Height of the next tile when `rows` are left: the tallest that fits, but two even ones rather than a tall
/// one and a rest.
fn tile_rows<S: Simd>(rows: usize) -> usize {
    let [tall, middle, low] = S::TILE_ROWS;
    if rows >= tall && rows != 2 * middle {
        tall
    } else if rows >= middle {
        middle
    } else {
        low
    }
}

impl Block<'_> {
    fn multiply_panel<S: Simd>(&mut self, simd: S, panel: &[f32], column: usize, vectors: usize) {
        let width = vectors * S::LANES;
        let mut row = 0;
        while row < self.rows {
            let tile_rows = tile_rows::<S>(self.rows - row);
            let rows = tile_rows.min(self.rows - row);
            if rows == tile_rows && column + width <= self.columns {
                let tile = Tile {
                    left: self.left.skip_rows(row),
                    depth: self.depth,
                    panel,
                    start: self.start.skip_columns(column),
                    output: &mut self.output[row * self.output_stride + column..],
                    output_stride: self.output_stride,
                };
                simd.tile(tile_rows, vectors, tile);
            } else {
                self.multiply_edge(simd, panel, [row, column], [rows, tile_rows], vectors);
            }
            row += rows;
        }
    }

    /// A tile that reaches over the last row or column: computed whole, aside; what exists is copied back.
    fn multiply_edge<S: Simd>(
        &mut self,
        simd: S,
        panel: &[f32],
        [row, column]: [usize; 2],
        [rows, tile_rows]: [usize; 2],
        vectors: usize,
    ) {
        let width = vectors * S::LANES;
        let columns = width.min(self.columns - column);
        let mut aside = [0.0; MAX_TILE_ROWS * 2 * MAX_LANES];
        for r in 0..rows {
            let first = &mut aside[r * width..][..columns];
            match self.start {
                Start::Zero => {}
                Start::Bias(bias) => first.copy_from_slice(&bias[column..][..columns]),
                Start::Output => {
                    first.copy_from_slice(&self.output[(row + r) * self.output_stride + column..][..columns]);
                }
            }
        }
        let tile = Tile {
            left: self.left.skip_rows(row),
            depth: self.depth,
            panel,
            start: Start::Output,
            output: &mut aside,
            output_stride: width,
        };
        match rows == tile_rows {
            true => simd.tile(tile_rows, vectors, tile),
            false => low_tile(simd, rows, tile_rows, vectors, tile),
        }
        for r in 0..rows {
            self.output[(row + r) * self.output_stride + column..][..columns]
                .copy_from_slice(&aside[r * width..][..columns]);
        }
    }
}

/// A tile of which only `rows` rows exist: the others are zeros in a copy.
fn low_tile<S: Simd>(simd: S, rows: usize, tile_rows: usize, vectors: usize, tile: Tile<'_>) {
    let mut copy = [0.0; MAX_TILE_ROWS * MAX_DEPTH_BLOCK];
    let left = tile.left.copy_rows(rows, tile.depth, &mut copy[..tile_rows * tile.depth]);
    simd.tile(tile_rows, vectors, Tile { left, ..tile });
}

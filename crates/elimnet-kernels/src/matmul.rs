//! The matrix product that every dense layer comes down to: `output = left · right`.
//!
//! `right` is packed in panels of one or two registers' width (see [`crate::pack`]), `left` is read where it
//! lies: row-major (an image, or patches of it) or depth-major (a gradient, read by its columns). The sum
//! over the depth runs in order, block after block, so a value does not depend on the tile it falls in.
//!
//! Source: Goto & van de Geijn, *Anatomy of High-Performance Matrix Multiplication*, ACM TOMS 34(3), 2008.

use crate::simd::product::Tile;
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
        let even = Even::new::<S>(self.rows);
        let mut panels = self.panels;
        let mut column = 0;
        while column < self.columns {
            let vectors = panel_vectors(self.columns - column, S::LANES);
            let (panel, rest) = panels.split_at(self.depth * vectors * S::LANES);
            self.multiply_panel(simd, even, panel, column, vectors);
            panels = rest;
            column += vectors * S::LANES;
        }
    }
}

/// Registers in the next panel when `columns` are left.
pub(crate) fn panel_vectors(columns: usize, lanes: usize) -> usize {
    if columns > lanes { 2 } else { 1 }
}

/// How many rows tiles would have if as few as possible shared them evenly.
#[derive(Clone, Copy)]
struct Even {
    least: usize,
    /// Tiles of one row more.
    higher: usize,
}

impl Even {
    fn new<S: Simd>(rows: usize) -> Self {
        let tiles = rows.div_ceil(S::TILE_ROWS[0]).max(1);
        Self { least: rows / tiles, higher: rows % tiles }
    }

    /// Height of a tile when `left` rows are: the lowest that is no lower than wanted, or the tallest that fits.
    #[inline(always)]
    fn height<S: Simd>(self, tile: usize, left: usize) -> usize {
        let wanted = self.least + usize::from(tile < self.higher);
        let mut height = 1;
        for &available in S::TILE_ROWS.iter().rev().filter(|available| **available <= left) {
            height = available;
            if available >= wanted {
                break;
            }
        }
        height
    }
}

impl Block<'_> {
    fn multiply_panel<S: Simd>(&mut self, simd: S, even: Even, panel: &[f32], column: usize, vectors: usize) {
        let width = vectors * S::LANES;
        let (mut tile, mut row) = (0, 0);
        while row < self.rows {
            let rows = even.height::<S>(tile, self.rows - row);
            if column + width <= self.columns {
                let whole = Tile {
                    left: self.left.skip_rows(row),
                    depth: self.depth,
                    panel,
                    start: self.start.skip_columns(column),
                    output: &mut self.output[row * self.output_stride + column..],
                    output_stride: self.output_stride,
                };
                simd.tile(rows, vectors, whole);
            } else {
                self.multiply_edge(simd, panel, [row, column], rows, vectors);
            }
            tile += 1;
            row += rows;
        }
    }

    /// A tile that reaches over the last column: computed whole, aside; what exists is copied back.
    fn multiply_edge<S: Simd>(
        &mut self,
        simd: S,
        panel: &[f32],
        [row, column]: [usize; 2],
        rows: usize,
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
        simd.tile(rows, vectors, tile);
        for r in 0..rows {
            self.output[(row + r) * self.output_stride + column..][..columns]
                .copy_from_slice(&aside[r * width..][..columns]);
        }
    }
}

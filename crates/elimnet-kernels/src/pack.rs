//! The right matrix of a product, packed in panels of one or two registers' width.
//!
//! Layout: for each block of the depth, for each panel, `[depth in the block][width]`; columns beyond the
//! last are zeros.

use rayon::prelude::*;

use crate::isa::Isa;
use crate::matmul::{MAX_DEPTH_BLOCK, panel_vectors};
use crate::threads::{Scratch, piece_length};

/// `depth x columns` values in panels.
pub(crate) struct Packed {
    values: Scratch,
    pub(crate) depth: usize,
    pub(crate) columns: usize,
    depth_block: usize,
    lanes: usize,
}

/// A block of the depth: where it starts, how long it is, its panels.
pub(crate) struct DepthBlock<'a> {
    pub(crate) first: usize,
    pub(crate) depth: usize,
    pub(crate) panels: &'a [f32],
}

impl Packed {
    /// Packs the transpose of the row-major `[columns, depth]` matrix `values`.
    pub(crate) fn transposed(isa: Isa, values: &[f32], depth: usize, columns: usize) -> Self {
        Self::with(isa, depth, columns, |first_depth, panel, first_column, width| {
            let columns = width.min(columns - first_column);
            pack_transposed(&values[first_column * depth + first_depth..], depth, columns, panel, width);
        })
    }

    /// Packs the matrix whose row `k` is `row(k)`.
    pub(crate) fn rows<'r>(
        isa: Isa,
        depth: usize,
        columns: usize,
        row: impl Fn(usize) -> &'r [f32] + Sync,
    ) -> Self {
        Self::with(isa, depth, columns, |first_depth, panel, first_column, width| {
            let columns = width.min(columns - first_column);
            for (k, packed) in panel.chunks_exact_mut(width).enumerate() {
                let values = &row(first_depth + k)[first_column..][..columns];
                packed[..columns].copy_from_slice(values);
                packed[columns..].fill(0.0);
            }
        })
    }

    /// `fill(first depth, panel, first column, width)` writes each panel.
    fn with(
        isa: Isa,
        depth: usize,
        columns: usize,
        fill: impl Fn(usize, &mut [f32], usize, usize) + Sync,
    ) -> Self {
        let (lanes, depth_block) = (isa.lanes(), piece_length(depth, MAX_DEPTH_BLOCK));
        let padded = columns.next_multiple_of(lanes);
        let mut values = Scratch::new(depth * padded);
        values.par_chunks_mut(depth_block * padded).enumerate().for_each(|(block, values)| {
            let mut column = 0;
            let mut rest = values;
            let block_depth = rest.len() / padded;
            while column < columns {
                let width = panel_vectors(columns - column, lanes) * lanes;
                let (panel, others) = rest.split_at_mut(block_depth * width);
                fill(block * depth_block, panel, column, width);
                rest = others;
                column += width;
            }
        });
        Self { values, depth, columns, depth_block, lanes }
    }

    /// The blocks of the depth, in order, of the panels from `first_column` on (a multiple of two registers).
    pub(crate) fn blocks(&self, first_column: usize) -> impl Iterator<Item = DepthBlock<'_>> {
        debug_assert_eq!(first_column % (2 * self.lanes), 0);
        let padded = self.columns.next_multiple_of(self.lanes);
        let blocks = self.values.chunks(self.depth_block * padded).enumerate();
        blocks.map(move |(block, panels)| {
            let depth = panels.len() / padded;
            DepthBlock { first: block * self.depth_block, depth, panels: &panels[first_column * depth..] }
        })
    }
}

/// Rows that are read side by side, so that each cache line is used whole.
const STRIP: usize = 16;

fn pack_transposed(values: &[f32], stride: usize, columns: usize, panel: &mut [f32], width: usize) {
    for (strip, packed) in panel.chunks_mut(STRIP * width).enumerate() {
        let depth = packed.len() / width;
        for column in 0..columns {
            let source = &values[column * stride + strip * STRIP..][..depth];
            for (k, value) in source.iter().enumerate() {
                packed[k * width + column] = *value;
            }
        }
        for row in packed.chunks_exact_mut(width) {
            row[columns..].fill(0.0);
        }
    }
}

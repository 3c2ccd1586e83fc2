//! The right matrix of a product, packed in panels of one or two registers' width.
//!
//! Layout: for each block of the depth, for each panel, `[depth in the block][width]`; columns beyond the
//! last are zeros, which they stay when the panels are filled again.

use crate::element::Element;
use crate::isa::Isa;
use crate::matmul::{MAX_DEPTH_BLOCK, panel_vectors};
use crate::threads::{self, piece_length};

/// `depth x columns` values in panels.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    values: Vec<f32>,
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

/// A right matrix where it lies in a weight.
#[derive(Clone, Copy)]
pub(crate) enum Right<'a> {
    /// Row-major `[columns, depth]`.
    Transposed(&'a [f32]),
    /// The row of each depth.
    Rows(&'a (dyn Fn(usize) -> &'a [f32] + Sync)),
}

impl Packed {
    /// Room for a matrix.
    pub(crate) fn new(isa: Isa, depth: usize, columns: usize) -> Self {
        let (lanes, depth_block) = (isa.lanes(), piece_length(depth, MAX_DEPTH_BLOCK));
        let values = vec![0.0; depth * columns.next_multiple_of(lanes)];
        Self { values, depth, columns, depth_block, lanes }
    }

    /// Packs `right`, rounded to what `E` can hold.
    pub(crate) fn fill<E: Element>(&mut self, right: Right<'_>) {
        let (columns, lanes, depth_block) = (self.columns, self.lanes, self.depth_block);
        let padded = columns.next_multiple_of(lanes);
        threads::for_each(self.values.chunks_mut(depth_block * padded), &|block, values| {
            let mut column = 0;
            let mut rest = values;
            let block_depth = rest.len() / padded;
            while column < columns {
                let width = panel_vectors(columns - column, lanes) * lanes;
                let (panel, others) = rest.split_at_mut(block_depth * width);
                let used = width.min(columns - column);
                match right {
                    Right::Transposed(values) => {
                        let first = column * self.depth + block * depth_block;
                        pack_transposed::<E>(&values[first..], self.depth, used, panel, width);
                    }
                    Right::Rows(row) => {
                        for (k, packed) in panel.chunks_exact_mut(width).enumerate() {
                            let values = &row(block * depth_block + k)[column..][..used];
                            for (packed, value) in packed.iter_mut().zip(values) {
                                *packed = E::from_f32(*value).to_f32();
                            }
                        }
                    }
                }
                rest = others;
                column += width;
            }
        });
    }

    /// Bytes of the panels.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.values[..])
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

fn pack_transposed<E: Element>(
    values: &[f32],
    stride: usize,
    columns: usize,
    panel: &mut [f32],
    width: usize,
) {
    for (strip, packed) in panel.chunks_mut(STRIP * width).enumerate() {
        let depth = packed.len() / width;
        for column in 0..columns {
            let source = &values[column * stride + strip * STRIP..][..depth];
            for (k, value) in source.iter().enumerate() {
                packed[k * width + column] = E::from_f32(*value).to_f32();
            }
        }
    }
}

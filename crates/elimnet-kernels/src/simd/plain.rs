//! Blocks of bf16 products in plain loops: a stand-in for the units of instruction sets that a machine lacks, so that all that
//! surrounds them can be tested anywhere.

use super::dot;
use super::tiles::{FinishRows, First, STEP, TILE, TileBlock};
use crate::block::{BLOCK, Sums, finish};
use crate::element::Bf16;
use crate::isa::Isa;

/// Stands in for AMX or for AVX512_BF16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plain {
    /// As AMX does.
    pub(super) loads_whole_tiles: bool,
}

impl Plain {
    pub(crate) const AMX: Self = Self { loads_whole_tiles: true };
    pub(crate) const DOT: Self = Self { loads_whole_tiles: false };

    /// As [`super::tiles::Tiles::multiply`].
    pub(super) fn multiply(self, block: TileBlock<'_>, first: First, sums: &mut Sums) {
        let TileBlock { left, right, steps, shape } = block;
        let rows = if self.loads_whole_tiles { shape.down() * TILE } else { shape.rows };
        block.check(rows);
        match self {
            Self::AMX => assert!(steps.are_whole(), "tiles have all depths of a step"),
            _ => assert_eq!(left.second, TILE * left.row, "rows of the left operand, all at one distance"),
        }
        if first == First::Zero {
            sums.fill(0.0);
        }
        for (step, offsets) in steps.offsets().iter().enumerate() {
            let [left_first, right_first] = offsets.map(|bytes| bytes / size_of::<Bf16>());
            let pairs = if step + 1 == steps.len() { steps.last_pairs() } else { STEP / 2 };
            for (row, sums) in sums.chunks_exact_mut(BLOCK).take(rows).enumerate() {
                let first = left_first + row % TILE * left.row + row / TILE * left.second;
                let pairs = left.values[first..].chunks_exact(2).take(pairs);
                for (pair, left) in pairs.enumerate() {
                    for (tile, sums) in sums.chunks_exact_mut(TILE).take(shape.across).enumerate() {
                        let first = right_first + tile * right.second + pair * right.row;
                        add_pairs(left, &right.values[first..][..2 * TILE], sums);
                    }
                }
            }
        }
    }

    /// As [`super::tiles::Tiles::multiply_and_finish`], as many rows as AVX512_BF16 takes.
    pub(super) fn multiply_and_finish(
        self,
        block: TileBlock<'_>,
        sums: &mut Sums,
        mut rows: FinishRows<'_>,
    ) -> usize {
        let count = if self.loads_whole_tiles { 0 } else { dot::rows_at_once(&block, &rows) };
        for first in (0..count).step_by(BLOCK) {
            let mut part = block;
            part.left.values = &block.left.values[first * block.left.row..];
            part.shape.rows = BLOCK.min(count - first);
            self.multiply(part, First::Zero, sums);
            finish(Isa::portable(), rows.activation, sums, rows.without(first).block(part.shape.rows));
        }
        count
    }

    /// As [`super::tiles::TileUnit::transpose`].
    pub(super) fn transpose(rows: &[Bf16], distance: usize, turned: &mut [Bf16], turned_distance: usize) {
        for (column, turned) in turned.chunks_mut(turned_distance).take(TILE).enumerate() {
            for (row, turned) in turned.iter_mut().take(STEP).enumerate() {
                *turned = rows[row * distance + column];
            }
        }
    }
}

/// Adds the products of a pair with the pairs of 16 columns.
fn add_pairs(left: &[Bf16], right: &[Bf16], sums: &mut [f32]) {
    for (sum, right) in sums.iter_mut().zip(right.chunks_exact(2)) {
        *sum += left[0].to_f32() * right[0].to_f32() + left[1].to_f32() * right[1].to_f32();
    }
}

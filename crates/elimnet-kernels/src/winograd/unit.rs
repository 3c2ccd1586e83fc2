//! What multiplies transformed values: registers of f32, or what multiplies bf16.

use super::gradient::Operands;
use crate::block::{BLOCK, Sums};
use crate::isa::Isa;
use crate::matmul::{Block, Left, Start};
use crate::pack::Packed;
#[cfg(target_arch = "x86_64")]
use crate::{
    element::Bf16,
    simd::tiles::{First, Operand, Shape, Steps, TILE, TileBlock, TileUnit, Tiles},
    tile_pack::TilePanels,
};

/// A way to multiply transformed values.
pub(crate) trait Unit: Operands + Copy + Sync {
    /// A place's transformed filter.
    type Matrix: Sync;
    /// A thread that is ready to multiply by a matrix.
    type Prepared;

    /// Makes this thread ready for matrices of that depth.
    fn prepare(self, depth: usize) -> Self::Prepared;

    /// The first `rows` rows of `left`, which are as long as the matrix is deep, by a block of the matrix' columns; rows that are
    /// not there may become anything.
    fn multiply(
        self,
        prepared: &Self::Prepared,
        left: &[Self::Value],
        rows: usize,
        matrix: &Self::Matrix,
        columns: usize,
        sums: &mut Sums,
    );
}

impl Unit for Isa {
    type Matrix = Packed;
    type Prepared = ();

    fn prepare(self, _: usize) {}

    fn multiply(self, (): &(), left: &[f32], rows: usize, matrix: &Packed, columns: usize, sums: &mut Sums) {
        for block in matrix.blocks(columns * BLOCK) {
            self.run(Block {
                left: Left { values: &left[block.first..], row_stride: matrix.depth, depth_stride: 1 },
                rows,
                depth: block.depth,
                panels: block.panels,
                columns: BLOCK,
                start: if block.first == 0 { Start::Zero } else { Start::Output },
                output: sums,
                output_stride: BLOCK,
            });
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Unit for TileUnit {
    type Matrix = TilePanels;
    type Prepared = (Tiles, Steps);

    fn prepare(self, depth: usize) -> Self::Prepared {
        (self.configure(), Steps::of_depth(depth))
    }

    fn multiply(
        self,
        (tiles, steps): &Self::Prepared,
        left: &[Bf16],
        rows: usize,
        matrix: &TilePanels,
        columns: usize,
        sums: &mut Sums,
    ) {
        let (depth, panel) = (matrix.depth, matrix.panel(columns));
        let block = TileBlock {
            left: Operand { values: left, row: depth, second: TILE * depth },
            right: panel.right,
            steps,
            shape: Shape { rows, across: panel.tiles },
        };
        tiles.multiply(block, First::Zero, sums);
    }
}

//! The right matrix of a product of tiles: bf16, in panels of two tiles' width.
//!
//! Layout: for each panel of 32 columns, for each step of 32 depths, two tiles of 16 columns:
//! `[16 pairs of depths][16 columns][2]`. What is beyond the matrix is zero.

use crate::block::BLOCK;
use crate::element::Bf16;
use crate::isa::Isa;
use crate::pack::Right;
use crate::scratch::{Scratch, first_on_a_line};
use crate::simd::tiles::{Operand, STEP, TILE};
use crate::simd::{Kernel, Simd};
use crate::threads;

/// Values of a tile.
const TILE_LENGTH: usize = TILE * STEP;

/// `depth x columns` values in panels.
#[derive(Debug)]
pub(crate) struct TilePanels {
    /// From the first value that starts a cache line on.
    values: Vec<Bf16>,
    pub(crate) depth: usize,
    pub(crate) columns: usize,
}

/// Columns of the product that are multiplied at once.
#[derive(Clone, Copy)]
pub(crate) struct TilePanel<'a> {
    pub(crate) right: Operand<'a>,
    /// Tiles across.
    pub(crate) tiles: usize,
    pub(crate) first_column: usize,
    pub(crate) columns: usize,
}

/// By hand: the copy may lie differently on its cache lines.
impl Clone for TilePanels {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.depth, self.columns);
        let length = self.length();
        let [from, to] = [&self.values, &copy.values].map(|values| first_on_a_line(values));
        copy.values[to..to + length].copy_from_slice(&self.values[from..from + length]);
        copy
    }
}

impl TilePanels {
    /// Room for a matrix.
    pub(crate) fn new(depth: usize, columns: usize) -> Self {
        let length = depth.next_multiple_of(STEP) * columns.next_multiple_of(BLOCK);
        Self { values: vec![Bf16::ZERO; length + STEP], depth, columns }
    }

    /// Depths, with the zeros.
    pub(crate) fn padded_depth(&self) -> usize {
        self.depth.next_multiple_of(STEP)
    }

    fn length(&self) -> usize {
        self.padded_depth() * self.columns.next_multiple_of(BLOCK)
    }

    /// Bytes of the panels.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.values[..])
    }

    /// Packs `right`.
    pub(crate) fn fill(&mut self, isa: Isa, right: Right<'_>) {
        let (depth, columns) = (self.depth, self.columns);
        let panel_length = self.padded_depth() * BLOCK;
        let first = first_on_a_line(&self.values);
        let length = self.length();
        if length == 0 {
            return;
        }
        let panels = self.values[first..first + length].chunks_mut(panel_length);
        threads::for_each(panels, &|panel, packed| {
            let columns = panel * BLOCK..columns.min((panel + 1) * BLOCK);
            match right {
                Right::Transposed(values) => pack_columns(isa, values, depth, columns, packed),
                Right::Rows(row) => isa.run(PackRows { row, depth, columns, packed }),
            }
        });
    }

    /// The panels, left to right.
    pub(crate) fn panels(&self) -> impl Iterator<Item = TilePanel<'_>> {
        (0..self.columns.div_ceil(BLOCK)).map(|panel| self.panel(panel))
    }

    /// One of the panels, counted from the left.
    pub(crate) fn panel(&self, panel: usize) -> TilePanel<'_> {
        let values = &self.values[first_on_a_line(&self.values)..];
        let first_column = panel * BLOCK;
        let columns = BLOCK.min(self.columns - first_column);
        TilePanel {
            right: Operand {
                values: &values[first_column * self.padded_depth()..],
                row: STEP,
                second: TILE_LENGTH,
            },
            tiles: columns.div_ceil(TILE),
            first_column,
            columns,
        }
    }
}

/// Packs rows of the row-major `[columns, depth]` matrix `values`.
fn pack_columns(
    isa: Isa,
    values: &[f32],
    depth: usize,
    columns: std::ops::Range<usize>,
    packed: &mut [Bf16],
) {
    let mut rounded = Scratch::<Bf16>::new(depth.next_multiple_of(STEP));
    rounded.fill(Bf16::ZERO);
    for (index, column) in columns.enumerate() {
        isa.run(Round { values: &values[column * depth..][..depth], rounded: &mut rounded[..depth] });
        let packed = &mut packed[index / TILE * TILE_LENGTH + index % TILE * 2..];
        let (pairs, _) = rounded.as_chunks::<2>();
        for (step, pairs) in pairs.chunks_exact(TILE).enumerate() {
            let tile = &mut packed[step * STEP * BLOCK..];
            for (row, pair) in pairs.iter().enumerate() {
                tile[row * STEP..][..2].copy_from_slice(pair);
            }
        }
    }
}

struct Round<'a> {
    values: &'a [f32],
    rounded: &'a mut [Bf16],
}

impl Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        round(simd, self.values, self.rounded);
    }
}

struct PackRows<'a, 'w> {
    row: &'a (dyn Fn(usize) -> &'w [f32] + Sync),
    depth: usize,
    columns: std::ops::Range<usize>,
    packed: &'a mut [Bf16],
}

impl Kernel for PackRows<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for (step, packed) in self.packed.chunks_exact_mut(STEP * BLOCK).enumerate() {
            for pair in 0..TILE {
                let mut rounded = [[Bf16::ZERO; BLOCK]; 2];
                for (row, rounded) in (step * STEP + 2 * pair..self.depth).zip(&mut rounded) {
                    round(simd, &(self.row)(row)[self.columns.clone()], rounded);
                }
                let tiles = rounded[0].chunks_exact(TILE).zip(rounded[1].chunks_exact(TILE));
                for (packed, (even, odd)) in packed.chunks_exact_mut(TILE_LENGTH).zip(tiles) {
                    let (packed, _) = packed[pair * STEP..][..STEP].as_chunks_mut::<2>();
                    for (packed, (even, odd)) in packed.iter_mut().zip(even.iter().zip(odd)) {
                        *packed = [*even, *odd];
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn round<S: Simd>(simd: S, values: &[f32], rounded: &mut [Bf16]) {
    for (rounded, values) in rounded.chunks_mut(S::LANES).zip(values.chunks(S::LANES)) {
        let rounded = &mut rounded[..values.len()];
        simd.store_element(simd.load_partial(values), rounded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_packing_agree() {
        for [depth, columns] in [[1, 1], [31, 16], [33, 17], [96, 40], [64, 65]] {
            let transposed: Vec<f32> = (0..depth * columns).map(|place| place as f32 * 0.37).collect();
            let rows: Vec<Vec<f32>> = (0..depth)
                .map(|k| (0..columns).map(|column| transposed[column * depth + k]).collect())
                .collect();
            let mut packed = [0, 1].map(|_| TilePanels::new(depth, columns));
            let isa = Isa::detect();
            packed[0].fill(isa, Right::Transposed(&transposed));
            packed[1].fill(isa, Right::Rows(&|k| &rows[k]));
            let [first, second] = packed.each_ref().map(|packed| {
                let panels = packed.panels().map(|panel| {
                    let length = packed.padded_depth() * BLOCK;
                    panel.right.values[..length].to_vec()
                });
                panels.collect::<Vec<_>>().concat()
            });
            assert_eq!(first, second, "{depth} x {columns}");
            assert_eq!(first.iter().filter(|value| value.to_f32() != 0.0).count(), depth * columns - 1);
        }
    }
}

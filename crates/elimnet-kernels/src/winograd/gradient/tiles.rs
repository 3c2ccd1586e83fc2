//! Pairs of bf16: output gradients turned, so that a channel's tiles follow each other; pixels of neighbouring tiles in pairs.

use std::ops::Range;

use super::{Chunk, Gradient, Operands, PAD};
use crate::block::{BLOCK, Sums};
use crate::element::Bf16;
use crate::scratch::Scratch;
use crate::simd::tiles::{First, Operand, STEP, Shape, Steps, TILE, TileBlock, TileUnit, Tiles};
use crate::tile_gradient::PairRows;

const TILES: usize = 128;
/// Values from a place to the next, of a chunk's tiles as they come and of a block of the input's.
const TURNED: usize = TILES * TILE + PAD;
const PIXELS: usize = TILES * BLOCK + PAD;

impl Operands for TileUnit {
    type Value = Bf16;
    type Ready = Tiles;
    const TILES: usize = TILES;

    fn ready_to_add(self) -> Tiles {
        self.configure()
    }

    /// `turned[place][channel][tile]`; zeros up to whole steps.
    fn turn(
        gradient: &Gradient<'_, Self>,
        channels: &Range<usize>,
        chunk: &Range<usize>,
        turned: &mut [Bf16],
    ) {
        let mut transformed = Scratch::<Bf16>::new(gradient.places() * TURNED);
        let tiles = chunk.len().next_multiple_of(STEP);
        for first in channels.clone().step_by(TILE) {
            gradient.transform_gradients(chunk, first, TILE, &mut transformed, TURNED);
            for (place, transformed) in transformed.chunks_exact_mut(TURNED).enumerate() {
                transformed[chunk.len() * TILE..tiles * TILE].fill(Bf16::ZERO);
                let place = place * (channels.len() * TILES + PAD);
                let turned = &mut turned[place + (first - channels.start) * TILES..];
                for step in (0..tiles).step_by(STEP) {
                    gradient.unit.transpose(&transformed[step * TILE..], TILE, &mut turned[step..], TILES);
                }
            }
        }
    }

    fn add_block(gradient: &Gradient<'_, Self>, tiles: &Tiles, chunk: Chunk<'_, Bf16>, sums: &mut [Sums]) {
        let mut transformed = Scratch::<Bf16>::new(gradient.places() * PIXELS);
        gradient.transform_pixels(&chunk.tiles, chunk.block * BLOCK, BLOCK, &mut transformed, PIXELS);
        let mut paired = Scratch::<Bf16>::new(TILES * BLOCK);
        let whole = chunk.tiles.len().next_multiple_of(STEP);
        let depth = if gradient.unit.loads_whole_tiles() { whole } else { chunk.tiles.len() };
        let steps = Steps::of_depth(depth);
        let first = if chunk.is_first { First::Zero } else { First::Sums };
        let place_blocks = gradient.task_channels / BLOCK;
        for (place, sums) in sums.chunks_exact_mut(place_blocks).enumerate() {
            gradient.isa.run(PairRows {
                source: &transformed[place * PIXELS..],
                distance: BLOCK,
                rows: chunk.tiles.len(),
                width: BLOCK,
                paired: &mut paired[..whole * BLOCK],
            });
            for (turned, sums) in chunk.turned(place, TILES).chunks_exact(BLOCK * TILES).zip(sums) {
                let block = TileBlock {
                    left: Operand { values: turned, row: TILES, second: TILE * TILES },
                    right: Operand { values: &paired, row: 2 * BLOCK, second: 2 * TILE },
                    steps: &steps,
                    shape: Shape { rows: BLOCK, across: 2 },
                };
                tiles.multiply(block, first, sums);
            }
        }
    }
}

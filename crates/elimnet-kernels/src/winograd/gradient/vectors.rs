//! Registers of f32: output gradients by their columns, pixels in panels.

use std::ops::Range;

use super::{Chunk, Gradient, Operands, PAD};
use crate::block::{BLOCK, Sums};
use crate::isa::Isa;
use crate::matmul::{Block, Left, Start};
use crate::scratch::Scratch;

const TILES: usize = 64;
/// Values from a place to the next, of a block of the input's.
const PIXELS: usize = TILES * BLOCK + PAD;

impl Operands for Isa {
    type Value = f32;
    type Ready = ();
    const TILES: usize = TILES;

    fn ready_to_add(self) {}

    /// `turned[place][tile][channel]`
    fn turn(
        gradient: &Gradient<'_, Self>,
        channels: &Range<usize>,
        chunk: &Range<usize>,
        turned: &mut [f32],
    ) {
        let place = channels.len() * TILES + PAD;
        gradient.transform_gradients(chunk, channels.start, channels.len(), turned, place);
    }

    fn add_block(gradient: &Gradient<'_, Self>, (): &(), chunk: Chunk<'_, f32>, sums: &mut [Sums]) {
        let depth = chunk.tiles.len();
        let mut transformed = Scratch::<f32>::new(gradient.places() * PIXELS);
        let width = 2 * gradient.isa.lanes();
        for first in (0..BLOCK).step_by(width) {
            let panel = &mut transformed[first * depth..];
            gradient.transform_pixels(&chunk.tiles, chunk.block * BLOCK + first, width, panel, PIXELS);
        }
        let place_blocks = gradient.task_channels / BLOCK;
        for (place, sums) in sums.chunks_exact_mut(place_blocks).enumerate() {
            gradient.isa.run(Block {
                left: Left {
                    values: chunk.turned(place, TILES),
                    row_stride: 1,
                    depth_stride: chunk.channels.len(),
                },
                rows: chunk.channels.len(),
                depth,
                panels: &transformed[place * PIXELS..],
                columns: BLOCK,
                start: if chunk.is_first { Start::Zero } else { Start::Output },
                output: sums.as_flattened_mut(),
                output_stride: BLOCK,
            });
        }
    }
}

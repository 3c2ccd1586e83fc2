//! Gradient to the filter: for each place of a transformed tile, a product over the tiles of all images.
//!
//! A task takes some output channels and a part of the strips. For a chunk of tiles it transforms the output gradient and
//! turns it, so that a channel's tiles follow each other; of the input it transforms a block of channels at a time, and pairs
//! neighbouring tiles. Sums stay in place from chunk to chunk; parts are added in order.

use std::ops::Range;

use rayon::prelude::*;

use super::transform::{GatherFilter, TransformGradient, TransformPixels};
use super::{PLACES, Run, SIDE, Tiling};
use crate::conv2d::Conv2d;
use crate::dense::window;
use crate::element::Bf16;
use crate::isa::Isa;
use crate::simd::tiles::{BLOCK, First, Operand, STEP, Shape, Steps, Sums, TILE, TileBlock, TileUnit, Tiles};
use crate::threads::{Scratch, piece_length, pieces};
use crate::tile_gradient::PairRows;
use crate::winograd::transform::Pixels;

/// Output channels of a task.
const CHANNELS: usize = 128;
/// Tiles of a chunk.
const TILES: usize = 128;
/// Tasks to cut a gradient into where its size allows it.
const TASKS: usize = 8;
/// Values that the parts may take together (32 MiB).
const PARTS_LENGTH: usize = 8 << 20;
/// Values from a place to the next, of a chunk's tiles as they come and of a block of the input's: not a multiple of 4 KiB.
const TURNED: usize = TILES * TILE + STEP;
const PIXELS: usize = TILES * BLOCK + STEP;

pub(crate) fn weight_gradient(
    isa: Isa,
    unit: TileUnit,
    conv: &Conv2d,
    input: &[Bf16],
    output_gradient: &[Bf16],
    weight_gradient: &mut [f32],
) {
    let gradient = Gradient::new(isa, unit, conv, input, output_gradient);
    let length = gradient.task_length();
    let mut sums = Scratch::<f32>::new(gradient.tasks() * length);
    sums.par_chunks_exact_mut(length).enumerate().for_each(|(task, sums)| {
        let (blocks, _) = sums.as_chunks_mut();
        gradient.run(gradient.task(task), blocks);
    });
    let filters = weight_gradient.par_chunks_exact_mut(9 * conv.in_channels).enumerate();
    filters.for_each(|(channel, filter)| gradient.collect(channel, &sums, filter));
}

struct Gradient<'a> {
    isa: Isa,
    unit: TileUnit,
    tiling: Tiling,
    input: &'a [Bf16],
    output_gradient: &'a [Bf16],
    /// Blocks of input channels.
    blocks: usize,
    out_channels: usize,
    /// Output channels of a task, the last one's too.
    task_channels: usize,
    parts: usize,
    part_strips: usize,
}

/// What a task sums up.
struct Task {
    channels: Range<usize>,
    /// Counted through all images.
    tiles: Range<usize>,
}

impl<'a> Gradient<'a> {
    fn new(isa: Isa, unit: TileUnit, conv: &Conv2d, input: &'a [Bf16], output_gradient: &'a [Bf16]) -> Self {
        let tiling = Tiling::new(window(conv));
        let task_channels = piece_length(conv.out_channels, CHANNELS).next_multiple_of(BLOCK);
        let strips = tiling.strips();
        let affordable = (PARTS_LENGTH / (PLACES * conv.in_channels * conv.out_channels)).max(1);
        let worthwhile = (strips * tiling.across / TILES).max(1);
        let parts = TASKS.div_ceil(conv.out_channels.div_ceil(task_channels));
        let part_strips = strips.div_ceil(parts.min(affordable).min(worthwhile).min(strips));
        Self {
            isa,
            unit,
            tiling,
            input,
            output_gradient,
            blocks: conv.in_channels / BLOCK,
            out_channels: conv.out_channels,
            task_channels,
            parts: strips.div_ceil(part_strips),
            part_strips,
        }
    }

    fn tasks(&self) -> usize {
        self.out_channels.div_ceil(self.task_channels) * self.parts
    }

    /// Sums of a task: for each block of input channels, for each place, a block for each 32 output channels.
    fn task_length(&self) -> usize {
        self.blocks * PLACES * self.place_length()
    }

    fn place_length(&self) -> usize {
        self.task_channels * BLOCK
    }

    /// Parts of the same channels follow each other.
    fn task(&self, task: usize) -> Task {
        let (part, first) = (task % self.parts, task / self.parts * self.task_channels);
        let strips = part * self.part_strips..self.tiling.strips().min((part + 1) * self.part_strips);
        Task {
            channels: first..self.out_channels.min(first + self.task_channels),
            tiles: strips.start * self.tiling.across..strips.end * self.tiling.across,
        }
    }

    fn run(&self, task: Task, sums: &mut [Sums]) {
        let tiles = self.unit.configure();
        let mut turned = Scratch::<Bf16>::new(PLACES * task.channels.len() * TILES);
        for chunk in pieces(task.tiles.len(), TILES) {
            let start = if chunk.start == 0 { First::Zero } else { First::Sums };
            let chunk = task.tiles.start + chunk.start..task.tiles.start + chunk.end;
            self.turn(&task.channels, &chunk, &mut turned);
            for (block, sums) in sums.chunks_exact_mut(PLACES * self.task_channels / BLOCK).enumerate() {
                self.add_block(&tiles, &task.channels, &chunk, block, &turned, start, sums);
            }
        }
    }

    /// `turned[place][channel][tile]` of the transformed output gradient; zeros up to whole steps.
    fn turn(&self, channels: &Range<usize>, chunk: &Range<usize>, turned: &mut [Bf16]) {
        let mut transformed = Scratch::<Bf16>::new(PLACES * TURNED);
        let tiles = chunk.len().next_multiple_of(STEP);
        for first in channels.clone().step_by(TILE) {
            for run in self.tiling.runs(chunk.clone()) {
                self.isa.run(TransformGradient {
                    pixels: self.gradients_of(&run, first),
                    channels: TILE,
                    tiles: run.tiles.len(),
                    transformed: &mut transformed[run.first * TILE..],
                    place: TURNED,
                    tile: TILE,
                });
            }
            for (place, transformed) in transformed.chunks_exact_mut(TURNED).enumerate() {
                transformed[chunk.len() * TILE..tiles * TILE].fill(Bf16::ZERO);
                let channel = place * channels.len() + first - channels.start;
                let turned = &mut turned[channel * TILES..];
                for step in (0..tiles).step_by(STEP) {
                    self.unit.transpose(&transformed[step * TILE..], TILE, &mut turned[step..], TILES);
                }
            }
        }
    }

    /// The output gradients of a run's tiles, from a channel on.
    fn gradients_of(&self, run: &Run, first_channel: usize) -> Pixels<'_, SIDE> {
        let ([image, row], [height, width]) = (self.tiling.position(run.strip), self.tiling.window.grid);
        let line = |y: usize| {
            let line = (image * height + row + y) * width * self.out_channels + first_channel;
            (row + y < height).then(|| &self.output_gradient[line..])
        };
        Pixels {
            lines: std::array::from_fn(line),
            first: (SIDE * run.tiles.start) as isize,
            width,
            distance: self.out_channels,
        }
    }

    /// Adds the products of a chunk's output gradient with a block of input channels.
    #[allow(clippy::too_many_arguments)] // both operands and what they are of
    fn add_block(
        &self,
        tiles: &Tiles,
        channels: &Range<usize>,
        chunk: &Range<usize>,
        block: usize,
        turned: &[Bf16],
        start: First,
        sums: &mut [Sums],
    ) {
        let mut transformed = Scratch::<Bf16>::new(PLACES * PIXELS);
        let mut paired = Scratch::<Bf16>::new(TILES * BLOCK);
        for run in self.tiling.runs(chunk.clone()) {
            self.isa.run(TransformPixels {
                pixels: self.tiling.pixels_of(self.input, &run, block * BLOCK),
                channels: BLOCK,
                tiles: run.tiles.len(),
                transformed: &mut transformed[run.first * BLOCK..],
                place: PIXELS,
                tile: BLOCK,
            });
        }
        let depth = chunk.len().next_multiple_of(STEP);
        let steps = Steps::of_panel((0..depth).step_by(STEP));
        let place_blocks = self.task_channels / BLOCK;
        for (place, sums) in sums.chunks_exact_mut(place_blocks).enumerate() {
            self.isa.run(PairRows {
                source: &transformed[place * PIXELS..],
                distance: BLOCK,
                rows: chunk.len(),
                width: BLOCK,
                paired: &mut paired[..depth * BLOCK],
            });
            let turned = &turned[place * channels.len() * TILES..][..channels.len() * TILES];
            for (turned, sums) in turned.chunks_exact(BLOCK * TILES).zip(sums) {
                let block = TileBlock {
                    left: Operand { values: turned, row: TILES, second: TILE * TILES },
                    right: Operand { values: &paired, row: 2 * BLOCK, second: 2 * TILE },
                    steps: &steps,
                    shape: Shape { rows: BLOCK, across: 2 },
                };
                tiles.multiply(block, start, sums);
            }
        }
    }

    /// The gradient of output channel `channel`'s filter.
    fn collect(&self, channel: usize, sums: &[f32], filter: &mut [f32]) {
        let (task, channel) = (channel / self.task_channels, channel % self.task_channels);
        let length = self.task_length();
        for block in 0..self.blocks {
            let first = block * PLACES * self.place_length() + channel * BLOCK;
            self.isa.run(GatherFilter {
                sums: &sums[task * self.parts * length + first..],
                parts: self.parts,
                part: length,
                place: self.place_length(),
                gradient: &mut filter[block * BLOCK..],
                channels: self.blocks * BLOCK,
            });
        }
    }
}

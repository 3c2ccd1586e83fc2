//! Gradient to the filter: for each place of a transformed tile, a product over the tiles of all images.
//!
//! A task takes some output channels and a part of the strips. For a chunk of tiles it transforms the output gradient,
//! and of the input a block of channels at a time. Sums stay in place from chunk to chunk; parts are added in order.

#[cfg(target_arch = "x86_64")]
mod tiles;
mod vectors;

use std::ops::Range;

use super::transform::{GatherFilter, Pixels, TransformGradient, TransformPixels};
use super::{Filtering, PAD, Run, Tiling, with_points};
use crate::block::{BLOCK, Sums};
use crate::conv2d::Conv2d;
use crate::dense::window;
use crate::element::Element;
use crate::isa::Isa;
use crate::scratch::{Scratch, Stored};
use crate::threads::{self, piece_length, pieces};

/// Output channels of a task.
const CHANNELS: usize = 64;
/// Tasks to cut a gradient into where its size allows it.
const TASKS: usize = 8;
/// Values that the parts may take together (32 MiB).
const PARTS_LENGTH: usize = 8 << 20;

/// How the operands lie for what multiplies them.
pub(crate) trait Operands: Copy + Sync {
    /// Transformed values.
    type Value: Element + Stored;
    /// A thread that is ready to multiply.
    type Ready;
    /// Tiles of a chunk.
    const TILES: usize;

    fn ready_to_add(self) -> Self::Ready;

    /// Transforms the output gradients of a chunk's tiles: for each place `channels · TILES` values, [`PAD`] apart.
    fn turn(
        gradient: &Gradient<'_, Self>,
        channels: &Range<usize>,
        chunk: &Range<usize>,
        turned: &mut [Self::Value],
    );

    /// Adds the products of a chunk's output gradients with a block of input channels: for each place, for each 32 output
    /// channels, a block of sums.
    fn add_block(
        gradient: &Gradient<'_, Self>,
        ready: &Self::Ready,
        operands: Chunk<'_, Self::Value>,
        sums: &mut [Sums],
    );
}

/// A chunk's output gradients, and what they are to be multiplied by.
pub(crate) struct Chunk<'a, V> {
    /// Output channels.
    channels: Range<usize>,
    /// Counted through all images.
    tiles: Range<usize>,
    turned: &'a [V],
    /// Of input channels.
    block: usize,
    is_first: bool,
}

impl<V> Chunk<'_, V> {
    /// The output gradients of a place, of a unit with that many tiles in a chunk.
    fn turned(&self, place: usize, tiles: usize) -> &[V] {
        let length = self.channels.len() * tiles;
        &self.turned[place * (length + PAD)..][..length]
    }
}

pub(crate) fn weight_gradient<U: Operands>(
    isa: Isa,
    unit: U,
    filtering: Filtering,
    conv: &Conv2d,
    input: &[U::Value],
    output_gradient: &[U::Value],
    weight_gradient: &mut [f32],
) {
    let tiling = Tiling::new(filtering, window(conv));
    let gradient = Gradient::new(isa, unit, tiling, conv, input, output_gradient);
    let length = gradient.task_length();
    let mut sums = Scratch::<f32>::new(gradient.tasks() * length);
    threads::for_each(sums.chunks_exact_mut(length), &|task, sums: &mut [f32]| {
        let (blocks, _) = sums.as_chunks_mut();
        gradient.run(gradient.task(task), blocks);
    });
    let filters = weight_gradient.chunks_exact_mut(9 * conv.in_channels);
    threads::for_each(filters, &|channel, filter| gradient.collect(channel, &sums, filter));
}

pub(crate) struct Gradient<'a, U: Operands> {
    isa: Isa,
    unit: U,
    tiling: Tiling,
    input: &'a [U::Value],
    output_gradient: &'a [U::Value],
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

impl<'a, U: Operands> Gradient<'a, U> {
    fn new(
        isa: Isa,
        unit: U,
        tiling: Tiling,
        conv: &Conv2d,
        input: &'a [U::Value],
        output_gradient: &'a [U::Value],
    ) -> Self {
        let task_channels = piece_length(conv.out_channels, CHANNELS).next_multiple_of(BLOCK);
        let strips = tiling.strips();
        let affordable =
            (PARTS_LENGTH / (tiling.filtering.places() * conv.in_channels * conv.out_channels)).max(1);
        let worthwhile = (strips * tiling.across / U::TILES).max(1);
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
        self.blocks * self.places() * self.place_length()
    }

    fn places(&self) -> usize {
        self.tiling.filtering.places()
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
        let ready = self.unit.ready_to_add();
        let mut turned = Scratch::<U::Value>::new(self.places() * (task.channels.len() * U::TILES + PAD));
        for chunk in pieces(task.tiles.len(), U::TILES) {
            let is_first = chunk.start == 0;
            let tiles = task.tiles.start + chunk.start..task.tiles.start + chunk.end;
            U::turn(self, &task.channels, &tiles, &mut turned);
            for (block, sums) in sums.chunks_exact_mut(self.places() * self.task_channels / BLOCK).enumerate()
            {
                let (channels, tiles) = (task.channels.clone(), tiles.clone());
                U::add_block(self, &ready, Chunk { channels, tiles, turned: &turned, block, is_first }, sums);
            }
        }
    }

    /// Transforms the output gradients of a chunk's tiles, from a channel on; tiles follow each other.
    fn transform_gradients(
        &self,
        chunk: &Range<usize>,
        first_channel: usize,
        channels: usize,
        transformed: &mut [U::Value],
        place: usize,
    ) {
        for run in self.tiling.runs(chunk.clone()) {
            with_points!(self.tiling.filtering, points => self.isa.run(TransformGradient {
                points,
                pixels: self.gradients_of(&run, first_channel),
                channels,
                tiles: run.tiles.len(),
                transformed: &mut transformed[run.first * channels..],
                place,
                tile: channels,
            }));
        }
    }

    /// The same of the input.
    fn transform_pixels(
        &self,
        chunk: &Range<usize>,
        first_channel: usize,
        channels: usize,
        transformed: &mut [U::Value],
        place: usize,
    ) {
        for run in self.tiling.runs(chunk.clone()) {
            with_points!(self.tiling.filtering, points => self.isa.run(TransformPixels {
                points,
                pixels: self.tiling.pixels_of(self.input, &run, first_channel),
                channels,
                tiles: run.tiles.len(),
                transformed: &mut transformed[run.first * channels..],
                place,
                tile: channels,
            }));
        }
    }

    /// The output gradients of a run's tiles, from a channel on.
    fn gradients_of<const SIDE: usize>(&self, run: &Run, first_channel: usize) -> Pixels<'_, U::Value, SIDE> {
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

    /// The gradient of output channel `channel`'s filter.
    fn collect(&self, channel: usize, sums: &[f32], filter: &mut [f32]) {
        let (task, channel) = (channel / self.task_channels, channel % self.task_channels);
        let length = self.task_length();
        for block in 0..self.blocks {
            let first = block * self.places() * self.place_length() + channel * BLOCK;
            with_points!(self.tiling.filtering, points => self.isa.run(GatherFilter {
                points,
                sums: &sums[task * self.parts * length + first..],
                parts: self.parts,
                part: length,
                place: self.place_length(),
                gradient: &mut filter[block * BLOCK..],
                channels: self.blocks * BLOCK,
            }));
        }
    }
}

//! Gradient of a dense convolution to its weight on tiles: the bf16 path of [`crate::weight_gradient`].
//!
//! The sum runs over pixels, so both operands must be laid out anew: the left one turned, so that a channel's
//! pixels follow each other, the right one with neighbouring pixels in pairs. The output gradient is turned,
//! as it has no taps; of the input there are pairs that start at even and at odd pixels, so that every tap is
//! one distance away and nothing is unrolled, except for the smallest images. Positions that are no windows hold
//! zeros in the gradient. For a pointwise convolution the one with fewer channels is turned, which costs more.
//!
//! A task takes some channels and a part of the pixels; parts depend on the shape alone and are added in order.

mod operands;

pub(crate) use operands::PairRows;

use std::ops::Range;

use crate::band::Band;
use crate::block::{BLOCK, Sums};
use crate::conv2d::Conv2d;
use crate::dense::window;
use crate::element::Bf16;
use crate::isa::Isa;
use crate::scratch::Scratch;
use crate::simd::tiles::{First, Operand, STEP, Shape, Steps, TILE, TileBlock, TileUnit, Tiles};
use crate::threads::{self, piece_length};
use crate::window::Window;

/// Channels of the turned operand that a task takes.
const CHANNELS: usize = 64;
/// Columns of the paired operand that are laid out at once.
const COLUMNS: usize = 64;
/// Pixels that are laid out at once: both operands then stay in the second-level cache.
const PIXELS: usize = 1024;
/// Values of windows that are written out at once.
const UNROLLED: usize = 256 << 10;
/// Tasks to cut a gradient into where its size allows it.
const TASKS: usize = 8;
/// Values that the parts may take together (32 MiB).
const PARTS_LENGTH: usize = 8 << 20;

pub(crate) fn weight_gradient(
    isa: Isa,
    unit: TileUnit,
    conv: &Conv2d,
    input: &[Bf16],
    output_gradient: &[Bf16],
    weight_gradient: &mut [f32],
) {
    let gradient = Gradient::new(isa, unit, conv, input, output_gradient);
    let sums_length = gradient.task_blocks() * BLOCK * BLOCK;
    let mut sums = Scratch::<f32>::new(gradient.tasks() * sums_length);
    threads::for_each(sums.chunks_exact_mut(sums_length), &|task, sums: &mut [f32]| {
        let (blocks, _) = sums.as_chunks_mut();
        gradient.run(gradient.task(task), blocks);
    });
    let filter = weight_gradient.len() / conv.out_channels;
    let filters = (threads::ELEMENTS / filter).max(1);
    threads::for_each(weight_gradient.chunks_mut(filters * filter), &|task, values| {
        for (channel, filter) in values.chunks_exact_mut(filter).enumerate() {
            gradient.collect(task * filters + channel, &sums, filter);
        }
    });
}

/// How the windows of the input become the paired operand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// They are its pixels.
    Pixels,
    /// Rows of padded pixels, walked flat; that many pixels from a row to the next.
    Band(usize),
    /// Written out, one after the other.
    Unrolled,
}

/// Whether more than a third of the steps' positions would be no windows.
fn wastes_steps(window: &Window, band: &Band<'_>) -> bool {
    2 * band.positions().next_multiple_of(STEP) > 3 * window.grid[0] * window.grid[1]
}

struct Gradient<'a> {
    isa: Isa,
    unit: TileUnit,
    conv: &'a Conv2d,
    window: Window,
    layout: Layout,
    input: &'a [Bf16],
    output_gradient: &'a [Bf16],
    /// Images, rows and columns of windows in one; pointwise windows are one column of one image.
    batch: usize,
    grid: [usize; 2],
    /// Whether the input is turned and the gradient paired.
    swapped: bool,
    /// Channels of a group of the turned operand, and of a task.
    channels: usize,
    task_channels: usize,
    /// Columns of a group of the paired operand.
    columns: usize,
    parts: usize,
    /// Lines of a part but the last.
    part_lines: usize,
}

/// What a task sums up.
struct Task {
    group: usize,
    channels: Range<usize>,
    /// Counted through all images.
    lines: Range<usize>,
}

/// Some lines of one image, and where they start in the operands of a chunk.
struct Segment {
    image: usize,
    lines: Range<usize>,
    turned: usize,
    paired: usize,
    /// Positions, with those between the lines.
    count: usize,
}

impl<'a> Gradient<'a> {
    fn new(
        isa: Isa,
        unit: TileUnit,
        conv: &'a Conv2d,
        input: &'a [Bf16],
        output_gradient: &'a [Bf16],
    ) -> Self {
        let window = window(conv);
        let band = Band::new(&window, window.grid[0])
            .filter(|band| band.fills_steps() && window.stride == [1, 1] && !wastes_steps(&window, band));
        let layout = match band {
            _ if window.is_pointwise() => Layout::Pixels,
            Some(band) => Layout::Band(band.windows_in_a_row()),
            None => Layout::Unrolled,
        };
        let (batch, grid) = match layout {
            Layout::Pixels => (1, [window.rows(), 1]),
            _ => (window.batch, window.grid),
        };
        let [inputs, outputs] = [window.columns(), conv.group_out_channels()];
        let swapped = layout == Layout::Pixels && inputs < outputs;
        let [channels, columns] = if swapped { [inputs, outputs] } else { [outputs, inputs] };
        let task_channels = piece_length(channels, CHANNELS).next_multiple_of(BLOCK);
        let channel_tasks = conv.groups * channels.div_ceil(task_channels);
        let lines = batch * grid[0];
        let affordable = (PARTS_LENGTH / conv.weight_len()).max(1);
        let worthwhile = (lines * grid[1] / PIXELS).max(1);
        let parts = TASKS.div_ceil(channel_tasks).min(affordable).min(worthwhile).min(lines);
        let part_lines = lines.div_ceil(parts);
        let parts = lines.div_ceil(part_lines);
        Self {
            isa,
            unit,
            conv,
            window,
            layout,
            input,
            output_gradient,
            batch,
            grid,
            swapped,
            channels,
            task_channels,
            columns,
            parts,
            part_lines,
        }
    }

    fn channel_tasks(&self) -> usize {
        self.channels.div_ceil(self.task_channels)
    }

    fn tasks(&self) -> usize {
        self.conv.groups * self.channel_tasks() * self.parts
    }

    /// Blocks of sums of a task: for each 32 columns, those of its channels.
    fn task_blocks(&self) -> usize {
        self.columns.div_ceil(BLOCK) * (self.task_channels / BLOCK)
    }

    /// Parts of the same channels follow each other.
    fn task(&self, task: usize) -> Task {
        let (part, rest) = (task % self.parts, task / self.parts);
        let first = rest % self.channel_tasks() * self.task_channels;
        Task {
            group: rest / self.channel_tasks(),
            channels: first..self.channels.min(first + self.task_channels),
            lines: part * self.part_lines..(self.batch * self.grid[0]).min((part + 1) * self.part_lines),
        }
    }

    fn run(&self, task: Task, sums: &mut [Sums]) {
        let tiles = self.unit.configure();
        let pixels = match self.layout {
            Layout::Unrolled => PIXELS.min(UNROLLED / self.padded_columns()),
            _ => PIXELS,
        };
        let chunk = (pixels / self.pitch()).max(1);
        for first in task.lines.clone().step_by(chunk) {
            let lines = first..task.lines.end.min(first + chunk);
            let start = if first == task.lines.start { First::Zero } else { First::Sums };
            self.add_lines(&tiles, &task, lines, start, sums);
        }
    }

    /// Columns of a written-out window.
    fn padded_columns(&self) -> usize {
        self.columns.next_multiple_of(STEP)
    }

    /// Positions from a line to the next.
    fn pitch(&self) -> usize {
        match self.layout {
            Layout::Band(pitch) => pitch,
            _ => self.grid[1],
        }
    }

    /// The furthest tap, in positions.
    fn reach(&self) -> usize {
        match self.layout {
            Layout::Band(pitch) => (self.window.taps[0] - 1) * pitch + self.window.taps[1] - 1,
            _ => 0,
        }
    }

    /// `lines` in pieces that lie in one image each.
    fn segments(&self, lines: Range<usize>) -> Vec<Segment> {
        let mut segments = Vec::new();
        if self.layout != Layout::Band(self.pitch()) {
            let count = lines.len() * self.grid[1];
            segments.push(Segment { image: 0, lines, turned: 0, paired: 0, count });
            return segments;
        }
        let (mut turned, mut paired) = (0, 0);
        let mut line = lines.start;
        while line < lines.end {
            let [image, first] = [line / self.grid[0], line % self.grid[0]];
            let end = self.grid[0].min(first + lines.end - line);
            let count = (end - first - 1) * self.pitch() + self.grid[1];
            segments.push(Segment { image, lines: first..end, turned, paired, count });
            turned += count.next_multiple_of(STEP);
            paired += self.segment_pixels(end - first);
            line += end - first;
        }
        segments
    }

    /// Pixels of the paired operand for some lines of an image: all that steps and taps reach.
    fn segment_pixels(&self, lines: usize) -> usize {
        let positions = (lines * self.pitch()).next_multiple_of(STEP) + self.reach() + 2;
        let band = Band::new(&self.window, lines).map_or(0, |band| band.pixels_filled());
        positions.max(band).next_multiple_of(2)
    }

    fn add_lines(&self, tiles: &Tiles, task: &Task, lines: Range<usize>, start: First, sums: &mut [Sums]) {
        let segments = self.segments(lines.clone());
        let Some(last) = segments.last() else { return };
        let positions = last.turned + last.count.next_multiple_of(STEP);
        // A distance of a multiple of 4 KiB would put all rows of a tile in one set of the cache.
        let distance = positions + STEP;
        let mut turned = Scratch::<Bf16>::new(self.task_channels * distance);
        self.turn(task, &lines, &segments, positions, &mut turned, distance);
        let unrolled = match self.layout {
            Layout::Unrolled => self.unrolled(task, &lines),
            _ => Scratch::new(0),
        };
        let block = match self.layout {
            Layout::Band(_) => self.window.group_channels,
            _ => self.columns,
        };
        for columns in (0..block).step_by(COLUMNS) {
            let columns = columns..block.min(columns + COLUMNS);
            let width = columns.len().next_multiple_of(TILE);
            let pixels = match self.layout {
                Layout::Band(_) => last.paired + self.segment_pixels(last.lines.len()),
                _ => positions,
            };
            let odd_length = if self.has_odd_taps() { pixels * width } else { 0 };
            let mut even = Scratch::<Bf16>::new(pixels * width);
            let mut odd = Scratch::<Bf16>::new(odd_length);
            let paired = [&mut even[..], &mut odd[..]];
            self.pair(task, &lines, &segments, columns.clone(), pixels, &unrolled, paired);
            let step = |segment: &Segment| {
                let (turned, paired) = (segment.turned, segment.paired);
                let steps = (0..segment.count).step_by(STEP);
                steps.map(move |position| [turned + position, (paired + position) * width])
            };
            let steps = Steps::new(segments.iter().flat_map(step));
            self.multiply(tiles, task, &turned, distance, [&even, &odd], &steps, columns, start, sums);
        }
    }

    fn has_odd_taps(&self) -> bool {
        let is_odd = |pitch| pitch % 2 == 1 && self.window.taps[0] > 1;
        matches!(self.layout, Layout::Band(pitch) if self.window.taps[1] > 1 || is_odd(pitch))
    }

    /// All taps and channels by some columns.
    #[allow(clippy::too_many_arguments)] // both operands and where they are
    fn multiply(
        &self,
        tiles: &Tiles,
        task: &Task,
        turned: &[Bf16],
        distance: usize,
        paired: [&[Bf16]; 2],
        steps: &Steps,
        columns: Range<usize>,
        start: First,
        sums: &mut [Sums],
    ) {
        let width = columns.len().next_multiple_of(TILE);
        let blocks_down = self.task_channels / BLOCK;
        let taps = match self.layout {
            Layout::Band(_) => self.window.taps,
            _ => [1, 1],
        };
        for first in columns.clone().step_by(BLOCK) {
            let across = (columns.end - first).min(BLOCK).div_ceil(TILE);
            for tap in 0..taps[0] * taps[1] {
                let offset = tap / taps[1] * self.pitch() + tap % taps[1];
                let pairs = &paired[offset % 2][offset / 2 * 2 * width + (first - columns.start) * 2..];
                let column = (tap * self.window.group_channels + first) / BLOCK;
                for (index, sums) in sums[column * blocks_down..][..blocks_down].iter_mut().enumerate() {
                    let Some(rows) = task.channels.len().checked_sub(index * BLOCK).filter(|rows| *rows > 0)
                    else {
                        continue;
                    };
                    let block = TileBlock {
                        left: Operand {
                            values: &turned[index * BLOCK * distance..],
                            row: distance,
                            second: TILE * distance,
                        },
                        right: Operand { values: pairs, row: 2 * width, second: 2 * TILE },
                        steps,
                        shape: Shape { rows: rows.min(BLOCK), across },
                    };
                    tiles.multiply(block, start, sums);
                }
            }
        }
    }

    /// The gradient of output channel `channel`'s filter: the parts' sums, in order.
    fn collect(&self, channel: usize, sums: &[f32], filter: &mut [f32]) {
        let outputs = self.conv.group_out_channels();
        let (group, output) = (channel / outputs, channel % outputs);
        for (block, values) in filter.chunks_mut(BLOCK).enumerate() {
            let first = block * BLOCK;
            let [row, column] = if self.swapped { [first, output] } else { [output, first] };
            for part in 0..self.parts {
                let sums = &sums[self.place(group, row, column, part)..];
                if self.swapped {
                    take_part(values, sums.iter().step_by(BLOCK), part);
                } else {
                    take_part(values, sums.iter(), part);
                }
            }
        }
    }

    /// Where a part has a sum. The others of its row in the block follow it; those of its column are `BLOCK` apart.
    fn place(&self, group: usize, row: usize, column: usize, part: usize) -> usize {
        let task = (group * self.channel_tasks() + row / self.task_channels) * self.parts + part;
        let row = row % self.task_channels;
        let block = column / BLOCK * (self.task_channels / BLOCK) + row / BLOCK;
        ((task * self.task_blocks() + block) * BLOCK + row % BLOCK) * BLOCK + column % BLOCK
    }
}

/// Sets `values` to the first part's sums, and adds those of the others.
fn take_part<'a>(values: &mut [f32], sums: impl Iterator<Item = &'a f32>, part: usize) {
    for (value, sum) in values.iter_mut().zip(sums) {
        *value = if part == 0 { *sum } else { *value + sum };
    }
}

//! How the operands of a weight gradient lie: windows written out, channels turned, pixels in pairs.

use std::ops::Range;

use super::{Gradient, Layout, Segment, Task};
use crate::band::Band;
use crate::element::Bf16;
use crate::scratch::Scratch;
use crate::simd::tiles::{STEP, TILE};
use crate::simd::{Kernel, Simd};

impl Gradient<'_> {
    /// The windows of some lines, written out.
    pub(super) fn unrolled(&self, task: &Task, lines: &Range<usize>) -> Scratch<Bf16> {
        let (width, padded) = (self.grid[1], self.padded_columns());
        let mut unrolled = Scratch::new(lines.len() * width * padded);
        let image_length = self.input.len() / self.batch;
        let mut line = lines.start;
        while line < lines.end {
            let [image, first] = [line / self.grid[0], line % self.grid[0]];
            let count = (self.grid[0] - first).min(lines.end - line);
            let target = &mut unrolled[(line - lines.start) * width * padded..][..count * width * padded];
            if let Some(band) = Band::new(&self.window, count) {
                let mut rows = Scratch::new(band.length());
                band.fill(&self.input[image * image_length..][..image_length], first, &mut rows);
                band.unroll(self.isa, &rows, 0..count, target, padded);
            } else {
                let windows = line * width..(line + count) * width;
                let first_channel = task.group * self.window.group_channels;
                self.window.gather(self.input, first_channel, windows, 0..self.columns, target, padded);
            }
            line += count;
        }
        unrolled
    }

    /// The turned operand's rows in memory: values, channels of a row, first channel of the task.
    fn turned_source(&self, task: &Task) -> (&[Bf16], usize, usize) {
        let first = task.group * self.channels + task.channels.start;
        match self.swapped {
            true => (self.input, self.conv.in_channels, first),
            false => (self.output_gradient, self.conv.out_channels, first),
        }
    }

    pub(super) fn turn(
        &self,
        task: &Task,
        lines: &Range<usize>,
        segments: &[Segment],
        positions: usize,
        turned: &mut [Bf16],
        distance: usize,
    ) {
        let (source, row, first) = self.turned_source(task);
        let count = task.channels.len();
        if !matches!(self.layout, Layout::Band(_)) {
            let rows = lines.start * self.grid[1]..lines.end * self.grid[1];
            let source = &source[rows.start * row + first..];
            return self.turn_rows(source, row, rows.len(), count, turned, distance);
        }
        let width = count.next_multiple_of(TILE);
        let mut flat = Scratch::<Bf16>::new(positions * width);
        flat.fill(Bf16::ZERO);
        for segment in segments {
            for (index, line) in segment.lines.clone().enumerate() {
                let pixel = (segment.image * self.grid[0] + line) * self.grid[1];
                let target = &mut flat[(segment.turned + index * self.pitch()) * width..];
                let source = &source[pixel * row + first..];
                for x in 0..self.grid[1] {
                    target[x * width..][..count].copy_from_slice(&source[x * row..][..count]);
                }
            }
        }
        self.turn_rows(&flat, width, positions, width, turned, distance);
    }

    /// Turns `rows` rows of `columns` values; zeros up to whole steps and tiles.
    fn turn_rows(
        &self,
        source: &[Bf16],
        row: usize,
        rows: usize,
        columns: usize,
        turned: &mut [Bf16],
        distance: usize,
    ) {
        for column in (0..columns).step_by(TILE) {
            let width = TILE.min(columns - column);
            for first in (0..rows).step_by(STEP) {
                let height = STEP.min(rows - first);
                let turned = &mut turned[column * distance + first..];
                let source = &source[first * row + column..];
                if width == TILE && height == STEP {
                    self.unit.transpose(source, row, turned, distance);
                    continue;
                }
                let mut whole = [Bf16::ZERO; STEP * TILE];
                for (index, whole) in whole.chunks_exact_mut(TILE).take(height).enumerate() {
                    whole[..width].copy_from_slice(&source[index * row..][..width]);
                }
                self.unit.transpose(&whole, TILE, turned, distance);
            }
        }
    }

    /// Fills the paired operand with some columns of `pixels` pixels.
    #[allow(clippy::too_many_arguments)] // the chunk, and both halves of the operand
    pub(super) fn pair(
        &self,
        task: &Task,
        lines: &Range<usize>,
        segments: &[Segment],
        columns: Range<usize>,
        pixels: usize,
        unrolled: &[Bf16],
        [even, odd]: [&mut [Bf16]; 2],
    ) {
        let width = columns.len();
        let mut rows = Scratch::<Bf16>::new(0);
        let (source, distance, count) = match self.layout {
            Layout::Pixels => {
                let (source, row) = match self.swapped {
                    true => (self.output_gradient, self.conv.out_channels),
                    false => (self.input, self.conv.in_channels),
                };
                let first = task.group * self.columns + columns.start;
                (&source[lines.start * row + first..], row, lines.len())
            }
            Layout::Unrolled => {
                (&unrolled[columns.start..], self.padded_columns(), lines.len() * self.grid[1])
            }
            Layout::Band(_) => {
                rows = Scratch::new(pixels * width);
                let image_length = self.input.len() / self.batch;
                for segment in segments {
                    let Some(band) = Band::new(&self.window, segment.lines.len()) else { continue };
                    let image = &self.input[segment.image * image_length..][..image_length];
                    let length = self.segment_pixels(segment.lines.len()) * width;
                    let rows = &mut rows[segment.paired * width..][..length];
                    band.fill_channels(image, segment.lines.start, columns.clone(), rows);
                    rows[band.pixels_filled() * width..].fill(Bf16::ZERO);
                }
                (&rows[..], width, pixels)
            }
        };
        self.isa.run(PairRows { source, distance, rows: count, width, paired: even });
        if !odd.is_empty() {
            let source = &source[distance..];
            self.isa.run(PairRows { source, distance, rows: count - 1, width, paired: odd });
        }
        drop(rows);
    }
}

/// Rows between what is laid out in pairs and what is asked for: parts of rows, which no prefetcher of the machine follows.
const AHEAD: usize = 64;

/// `paired[row / 2][column][row % 2] = source[row][column]`, zeros where there is no such row or column; a paired
/// row is as wide as whole tiles.
pub(crate) struct PairRows<'a> {
    pub(crate) source: &'a [Bf16],
    pub(crate) distance: usize,
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) paired: &'a mut [Bf16],
}

impl Kernel for PairRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { source, distance, rows, width, paired } = self;
        let paired_width = 2 * width.next_multiple_of(TILE);
        for (pair, paired) in paired.chunks_exact_mut(paired_width).enumerate() {
            let first = 2 * pair;
            let (paired, beyond) = paired.split_at_mut(2 * width);
            beyond.fill(Bf16::ZERO);
            // Whole rows follow each other, and the machine sees them coming. Those beyond the last are the next chunk's.
            if distance > width {
                let ahead = source.as_ptr().wrapping_add((first + AHEAD) * distance);
                simd.prefetch_lines(ahead, width);
                simd.prefetch_lines(ahead.wrapping_add(distance), width);
            }
            if first + 1 < rows {
                let (even, odd) =
                    (&source[first * distance..][..width], &source[(first + 1) * distance..][..width]);
                let (paired, _) = paired.as_chunks_mut::<2>();
                for ((paired, even), odd) in paired.iter_mut().zip(even).zip(odd) {
                    *paired = [*even, *odd];
                }
            } else if first < rows {
                let even = &source[first * distance..][..width];
                let (paired, _) = paired.as_chunks_mut::<2>();
                for (paired, even) in paired.iter_mut().zip(even) {
                    *paired = [*even, Bf16::ZERO];
                }
            } else {
                paired.fill(Bf16::ZERO);
            }
        }
    }
}

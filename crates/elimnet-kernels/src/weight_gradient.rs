//! Gradient of a dense convolution to its weight: `output gradientᵀ · patches`, summed over the pixels.
//!
//! Large images with few channels are cut along the pixels, small images with many channels along the output
//! channels. How many parts the pixels are cut in depends on the shape alone, and the parts are added in
//! order, so that the sum is the same on any number of threads.

use crate::conv2d::Conv2d;
use crate::dense::window;
use crate::element::Element;
use crate::isa::Isa;
use crate::matmul::{Block, Left, MAX_DEPTH_BLOCK, Start, panel_vectors};
use crate::scratch::Scratch;
use crate::threads::{self, MANY, add_parts, piece_length, pieces};
use crate::window::Window;

/// Output channels of a task: each task gathers the patches again, for this many rows of the gradient.
const CHANNEL_BLOCK: usize = 96;
/// Fewest pixels worth a part of their own.
const SHORT_PART: usize = 512;
/// Values that the parts may take together (16 MiB).
const PARTS_LENGTH: usize = 4 << 20;

pub(crate) fn dense<I: Element, O: Element>(
    isa: Isa,
    conv: &Conv2d,
    input: &[I],
    output_gradient: &[O],
    weight_gradient: &mut [f32],
) {
    let window = window(conv);
    let gradient = WeightGradient { isa, conv, window, input, output_gradient };
    let parts = gradient.parts();
    let mut others = Scratch::new((parts - 1) * weight_gradient.len());
    let mut tasks = Vec::new();
    let outputs = std::iter::once(&mut *weight_gradient).chain(others.chunks_exact_mut(conv.weight_len()));
    let pixels: Vec<_> = pieces(window.rows(), window.rows().div_ceil(parts)).collect();
    for (pixels, output) in pixels.iter().zip(outputs) {
        gradient.cut_channels(output, |task| tasks.push((pixels.clone(), task)));
    }
    threads::for_each(tasks.into_iter(), &|_, (pixels, task)| gradient.sum_pixels(pixels, task));
    add_parts(weight_gradient, &others[..(pixels.len() - 1) * conv.weight_len()]);
}

struct WeightGradient<'a, I, O> {
    isa: Isa,
    conv: &'a Conv2d,
    window: Window,
    input: &'a [I],
    output_gradient: &'a [O],
}

/// Some output channels of one group, and their rows of the gradient.
struct Channels<'a> {
    group: usize,
    first: usize,
    rows: &'a mut [f32],
}

impl<I: Element, O: Element> WeightGradient<'_, I, O> {
    /// Parts that the pixels are cut in.
    fn parts(&self) -> usize {
        let group_channels = self.conv.group_out_channels();
        let channel_tasks = self.conv.groups * group_channels.div_ceil(CHANNEL_BLOCK);
        let wanted = MANY.div_ceil(channel_tasks);
        let affordable = PARTS_LENGTH / self.conv.weight_len();
        wanted.min(affordable).min(self.window.rows() / SHORT_PART).max(1)
    }

    fn cut_channels<'o>(&self, gradient: &'o mut [f32], mut task: impl FnMut(Channels<'o>)) {
        let (columns, channels) = (self.window.columns(), self.conv.group_out_channels());
        let block = piece_length(channels, CHANNEL_BLOCK);
        for (group, gradient) in gradient.chunks_exact_mut(channels * columns).enumerate() {
            for (block_index, rows) in gradient.chunks_mut(block * columns).enumerate() {
                task(Channels { group, first: group * channels + block_index * block, rows });
            }
        }
    }

    fn sum_pixels(&self, pixels: std::ops::Range<usize>, channels: Channels<'_>) {
        let Self { isa, window, .. } = *self;
        let columns = window.columns();
        let lanes = isa.lanes();
        let first_channel = channels.group * window.group_channels;
        let mut panel = Scratch::new(MAX_DEPTH_BLOCK * 2 * lanes);
        let rows = channels.rows.len() / columns;
        let mut widened = Scratch::new(if O::as_f32(&[]).is_some() { 0 } else { MAX_DEPTH_BLOCK * rows });
        for block in pieces(pixels.len(), MAX_DEPTH_BLOCK) {
            let block = pixels.start + block.start..pixels.start + block.end;
            let left = self.gradient_block(block.clone(), channels.first, rows, &mut widened);
            let mut column = 0;
            while column < columns {
                let width = panel_vectors(columns - column, lanes) * lanes;
                let next = (column + width).min(columns);
                if next < column + width {
                    panel.fill(0.0);
                }
                window.gather(self.input, first_channel, block.clone(), column..next, &mut panel, width);
                isa.run(Block {
                    left,
                    rows,
                    depth: block.len(),
                    panels: &panel[..block.len() * width],
                    columns: next - column,
                    start: if block.start == pixels.start { Start::Zero } else { Start::Output },
                    output: &mut channels.rows[column..],
                    output_stride: columns,
                });
                column = next;
            }
        }
    }
    /// The gradients of the `count` output channels from `first` on at some pixels, pixel after pixel; a copy
    /// in `widened` where they are not f32.
    fn gradient_block<'w>(
        &'w self,
        pixels: std::ops::Range<usize>,
        first: usize,
        count: usize,
        widened: &'w mut [f32],
    ) -> Left<'w> {
        let channels = self.conv.out_channels;
        let gradient = &self.output_gradient[pixels.start * channels + first..];
        if let Some(values) = O::as_f32(gradient) {
            return Left { values, row_stride: 1, depth_stride: channels };
        }
        for (pixel, widened) in
            gradient.chunks(channels).zip(widened.chunks_exact_mut(count)).take(pixels.len())
        {
            for (widened, gradient) in widened.iter_mut().zip(pixel) {
                *widened = gradient.to_f32();
            }
        }
        Left { values: widened, row_stride: 1, depth_stride: count }
    }
}

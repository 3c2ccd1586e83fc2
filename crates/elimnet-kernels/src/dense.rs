//! Convolution forward and its gradient to the input as products of patches and packed weights.
//!
//! The gradient to the input is itself a convolution of the output gradient: with stride `s` the input
//! pixels fall into `s · s` phases, each of which is touched by its own subset of the taps, so that no
//! multiplication by a zero between the strides is done.

use rayon::prelude::*;

use crate::conv2d::Conv2d;
use crate::isa::Isa;
use crate::matmul::{Block, Left, MAX_DEPTH_BLOCK, Start};
use crate::pack::Packed;
use crate::threads::{self, MANY, Scratch};
use crate::window::Window;

pub(crate) fn forward(
    isa: Isa,
    conv: &Conv2d,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    output: &mut [f32],
) {
    let window = window(conv);
    let (depth, columns) = (window.columns(), conv.group_out_channels());
    let weights: Vec<_> = weight
        .chunks_exact(depth * columns)
        .map(|weight| Packed::transposed(isa, weight, depth, columns))
        .collect();
    multiply(isa, &window, input, &weights, bias, output);
}

/// The window that `conv` slides over its input.
pub(crate) fn window(conv: &Conv2d) -> Window {
    let window = Window {
        batch: conv.batch,
        grid: [conv.out_height(), conv.out_width()],
        image: [conv.in_height, conv.in_width],
        channels: conv.in_channels,
        group_channels: conv.group_in_channels(),
        taps: conv.kernel,
        stride: conv.stride,
        origin: [-(conv.padding.top as isize), -(conv.padding.left as isize)],
    };
    window.flattened()
}

pub(crate) fn input_gradient(
    isa: Isa,
    conv: &Conv2d,
    output_gradient: &[f32],
    weight: &[f32],
    input_gradient: &mut [f32],
) {
    let phases_y = Phase::all(conv.in_height, conv.kernel[0], conv.stride[0], conv.padding.top);
    let phases_x = Phase::all(conv.in_width, conv.kernel[1], conv.stride[1], conv.padding.left);
    let is_complete = |phases: &[Phase]| phases.iter().all(|phase| phase.taps > 0);
    if !is_complete(&phases_y) || !is_complete(&phases_x) {
        input_gradient.par_chunks_mut(threads::ELEMENTS).for_each(|values| values.fill(0.0));
    }
    for y in phases_y.iter().filter(|phase| phase.reaches_pixels()) {
        for x in phases_x.iter().filter(|phase| phase.reaches_pixels()) {
            phase_gradient(isa, conv, [y, x], output_gradient, weight, input_gradient);
        }
    }
}

/// Input pixels `first, first + stride, ..` of one axis: those that the taps `tap, tap + stride, ..` touch.
#[derive(Clone, Copy, Debug)]
struct Phase {
    first: usize,
    pixels: usize,
    tap: usize,
    taps: usize,
    /// Output position that the first pixel's lowest tap came from.
    output: usize,
}

impl Phase {
    fn all(length: usize, kernel: usize, stride: usize, padding: usize) -> Vec<Self> {
        let phase = |first: usize| {
            let tap = (first + padding) % stride;
            let pixels = length.saturating_sub(first).div_ceil(stride);
            let taps = kernel.saturating_sub(tap).div_ceil(stride);
            Self { first, pixels, tap, taps, output: (first + padding) / stride }
        };
        (0..stride).map(phase).collect()
    }

    fn reaches_pixels(&self) -> bool {
        self.pixels > 0 && self.taps > 0
    }
}

fn phase_gradient(
    isa: Isa,
    conv: &Conv2d,
    [y, x]: [&Phase; 2],
    output_gradient: &[f32],
    weight: &[f32],
    input_gradient: &mut [f32],
) {
    let origin = |phase: &Phase| phase.output as isize - (phase.taps as isize - 1);
    let window = Window {
        batch: conv.batch,
        grid: [y.pixels, x.pixels],
        image: [conv.out_height(), conv.out_width()],
        channels: conv.out_channels,
        group_channels: conv.group_out_channels(),
        taps: [y.taps, x.taps],
        stride: [1, 1],
        origin: [origin(y), origin(x)],
    };
    let window = window.flattened();
    let weights = phase_weights(isa, conv, [y, x], weight);
    if conv.stride == [1, 1] {
        return multiply(isa, &window, output_gradient, &weights, None, input_gradient);
    }
    let mut phase = Scratch::new(window.rows() * conv.in_channels);
    multiply(isa, &window, output_gradient, &weights, None, &mut phase);
    spread(conv, [y, x], &phase, input_gradient);
}

/// The weights of a phase's taps for each group: `[tap_y, tap_x, out channel]` by input channel, the taps in
/// descending order, as the gradient is walked in ascending order.
fn phase_weights(isa: Isa, conv: &Conv2d, [y, x]: [&Phase; 2], weight: &[f32]) -> Vec<Packed> {
    let (columns, out_channels) = (conv.group_in_channels(), conv.group_out_channels());
    let group_weights = |group: usize| {
        Packed::rows(isa, y.taps * x.taps * out_channels, columns, move |depth| {
            let (tap, channel) = (depth / out_channels, depth % out_channels);
            let tap_y = y.tap + conv.stride[0] * (y.taps - 1 - tap / x.taps);
            let tap_x = x.tap + conv.stride[1] * (x.taps - 1 - tap % x.taps);
            let row = (group * out_channels + channel) * conv.kernel[0] + tap_y;
            &weight[(row * conv.kernel[1] + tap_x) * columns..][..columns]
        })
    };
    (0..conv.groups).map(group_weights).collect()
}

/// Writes a phase's pixels where they belong.
fn spread(conv: &Conv2d, [y, x]: [&Phase; 2], phase: &[f32], input_gradient: &mut [f32]) {
    let channels = conv.in_channels;
    let image_length = conv.in_height * conv.in_width * channels;
    let lines = phase.par_chunks(y.pixels * x.pixels * channels);
    input_gradient.par_chunks_mut(image_length).zip(lines).for_each(|(image, phase)| {
        let rows = image.chunks_mut(conv.in_width * channels).skip(y.first).step_by(conv.stride[0]);
        for (row, phase) in rows.zip(phase.chunks(x.pixels * channels)) {
            let pixels = row.chunks_mut(channels).skip(x.first).step_by(conv.stride[1]);
            for (pixel, phase) in pixels.zip(phase.chunks(channels)) {
                pixel.copy_from_slice(phase);
            }
        }
    });
}

/// Rows up to which the columns are cut instead.
const FEW_ROWS: usize = 240;
/// Columns of a task when there are few rows: a multiple of every instruction set's widest panel.
const COLUMN_BLOCK: usize = 64;
/// Tasks are whole tiles of every instruction set.
const ROW_STEP: usize = 24;
/// Multiplications below which a task is not worth its start.
const SMALL_TASK: usize = 1 << 19;

/// `output[row, group · columns + column] = window row · weights[group] (+ bias)`
fn multiply(
    isa: Isa,
    window: &Window,
    images: &[f32],
    weights: &[Packed],
    bias: Option<&[f32]>,
    output: &mut [f32],
) {
    let rows = window.rows();
    let columns = weights[0].columns;
    let product = Product { isa, window, images, weights, bias };
    if rows <= FEW_ROWS && weights.len() == 1 && columns > COLUMN_BLOCK {
        return product.multiply_by_columns(output);
    }
    let row_length = columns * weights.len();
    let row_work = (window.columns() * row_length).max(1);
    let block = rows.div_ceil(MANY).max(SMALL_TASK / row_work).next_multiple_of(ROW_STEP).min(FEW_ROWS);
    output.par_chunks_mut(block * row_length).enumerate().for_each(|(task, output)| {
        for (group, group_weights) in weights.iter().enumerate() {
            let cut =
                Cut { first_row: task * block, rows: output.len() / row_length, group, first_column: 0 };
            product.multiply_cut(cut, group_weights.columns, &mut output[group * columns..], row_length);
        }
    });
}

struct Product<'a> {
    isa: Isa,
    window: &'a Window,
    images: &'a [f32],
    weights: &'a [Packed],
    bias: Option<&'a [f32]>,
}

/// The part of a product that a task computes.
struct Cut {
    first_row: usize,
    rows: usize,
    group: usize,
    first_column: usize,
}

impl Product<'_> {
    fn multiply_cut(&self, cut: Cut, columns: usize, output: &mut [f32], output_stride: usize) {
        let Self { isa, window, images, bias, .. } = *self;
        let weights = &self.weights[cut.group];
        let first_channel = cut.group * window.group_channels;
        let rows = cut.first_row..cut.first_row + cut.rows;
        let mut patches = match window.is_pointwise() {
            true => Scratch::new(0),
            false => Scratch::new(cut.rows * MAX_DEPTH_BLOCK.min(weights.depth)),
        };
        for block in weights.blocks(cut.first_column) {
            let left = if window.is_pointwise() {
                let first = cut.first_row * window.channels + first_channel + block.first;
                Left { values: &images[first..], row_stride: window.channels, depth_stride: 1 }
            } else {
                let depth = block.first..block.first + block.depth;
                window.gather(images, first_channel, rows.clone(), depth, &mut patches, block.depth);
                Left { values: &patches, row_stride: block.depth, depth_stride: 1 }
            };
            let start = match bias {
                _ if block.first > 0 => Start::Output,
                Some(bias) => Start::Bias(&bias[cut.group * weights.columns + cut.first_column..]),
                None => Start::Zero,
            };
            let (rows, depth, panels) = (cut.rows, block.depth, block.panels);
            isa.run(Block { left, rows, depth, panels, columns, start, output, output_stride });
        }
    }

    /// Tasks of all rows and a block of columns each, put together afterwards.
    fn multiply_by_columns(&self, output: &mut [f32]) {
        let (rows, columns) = (self.window.rows(), self.weights[0].columns);
        let mut aside = Scratch::new(rows * columns);
        aside.par_chunks_mut(rows * COLUMN_BLOCK).enumerate().for_each(|(task, block)| {
            let columns = block.len() / rows;
            let cut = Cut { first_row: 0, rows, group: 0, first_column: task * COLUMN_BLOCK };
            self.multiply_cut(cut, columns, block, columns);
        });
        for (row, output) in output.chunks_exact_mut(columns).enumerate() {
            for (block, output) in output.chunks_mut(COLUMN_BLOCK).enumerate() {
                let block = &aside[block * rows * COLUMN_BLOCK..];
                output.copy_from_slice(&block[row * output.len()..][..output.len()]);
            }
        }
    }
}

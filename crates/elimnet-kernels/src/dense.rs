//! Convolution forward and its gradient to the input as products of patches and packed weights.
//!
//! The gradient to the input is itself a convolution of the output gradient: with stride `s` the input
//! pixels fall into `s · s` phases, each of which is touched by its own subset of the taps, so that no
//! multiplication by a zero between the strides is done.

use crate::conv2d::Conv2d;
use crate::element::Element;
use crate::epilogue::{Epilogue, Finish, MomentParts, PartMoments};
use crate::filter::Phase;
use crate::isa::Isa;
use crate::matmul::{Block, Left, MAX_DEPTH_BLOCK, Start};
use crate::pack::Packed;
use crate::scratch::Scratch;
use crate::threads::{self, MANY};
use crate::window::Window;

pub(crate) fn forward<I: Element, O: Element>(
    isa: Isa,
    conv: &Conv2d,
    input: &[I],
    weights: &[Packed],
    epilogue: Epilogue<'_, O>,
    output: &mut [O],
) {
    multiply(isa, &window(conv), input, weights, epilogue, output);
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

/// `weights`: for each phase, for each group.
pub(crate) fn input_gradient<I: Element, O: Element>(
    isa: Isa,
    conv: &Conv2d,
    output_gradient: &[O],
    weights: &[Vec<Packed>],
    input_gradient: &mut [I],
) {
    if Phase::leave_gaps(conv) {
        threads::for_each(input_gradient.chunks_mut(threads::ELEMENTS), &|_, values| values.fill(I::ZERO));
    }
    for (phase, weights) in Phase::reached(conv).zip(weights) {
        let window = phase_window(conv, &phase).flattened();
        if conv.stride == [1, 1] {
            return multiply(isa, &window, output_gradient, weights, Epilogue::default(), input_gradient);
        }
        let mut pixels = Scratch::new(window.rows() * conv.in_channels);
        multiply(isa, &window, output_gradient, weights, Epilogue::<f32>::default(), &mut pixels);
        spread(conv, &phase, &pixels, input_gradient);
    }
}

/// The window that a phase of the input's pixels slides over the output gradient.
pub(crate) fn phase_window(conv: &Conv2d, [y, x]: &[Phase; 2]) -> Window {
    Window {
        batch: conv.batch,
        grid: [y.pixels, x.pixels],
        image: [conv.out_height(), conv.out_width()],
        channels: conv.out_channels,
        group_channels: conv.group_out_channels(),
        taps: [y.taps, x.taps],
        stride: [1, 1],
        origin: [y.origin(), x.origin()],
    }
}

/// Writes a phase's pixels where they belong.
fn spread<I: Element>(conv: &Conv2d, [y, x]: &[Phase; 2], phase: &[f32], input_gradient: &mut [I]) {
    let channels = conv.in_channels;
    let image_length = conv.in_height * conv.in_width * channels;
    let lines = phase.chunks(y.pixels * x.pixels * channels);
    threads::for_each(input_gradient.chunks_mut(image_length).zip(lines), &|_, (image, phase)| {
        let rows = image.chunks_mut(conv.in_width * channels).skip(y.first).step_by(conv.stride[0]);
        for (row, phase) in rows.zip(phase.chunks(x.pixels * channels)) {
            let pixels = row.chunks_mut(channels).skip(x.first).step_by(conv.stride[1]);
            for (pixel, phase) in pixels.zip(phase.chunks(channels)) {
                narrow_row(phase, pixel);
            }
        }
    });
}

fn narrow_row<E: Element>(values: &[f32], elements: &mut [E]) {
    for (element, value) in elements.iter_mut().zip(values) {
        *element = E::from_f32(*value);
    }
}

/// Most rows of a task.
const MOST_ROWS: usize = 240;
/// Rows up to which the columns are cut instead; up to `MOST_ROWS` where the weights are large, as each task of
/// rows reads all of them.
const FEW_ROWS: usize = 96;
/// Weights up to which they stay in cache while the rows go by.
const SMALL_WEIGHTS: usize = 1 << 18;
/// Most columns of a task when there are few rows, about.
const COLUMN_BLOCK: usize = 64;
/// Tasks are whole tiles of every instruction set.
const ROW_STEP: usize = 24;
/// Multiplications below which a task of rows is not worth its start.
const SMALL_TASK: usize = 1 << 17;
/// The same of columns, which are put together afterwards.
const SMALL_COLUMN_TASK: usize = 1 << 19;

/// `output[row, group · columns + column] = epilogue(window row · weights[group])`
fn multiply<I: Element, O: Element>(
    isa: Isa,
    window: &Window,
    images: &[I],
    weights: &[Packed],
    epilogue: Epilogue<'_, O>,
    output: &mut [O],
) {
    let rows = window.rows();
    let row_length = weights[0].columns * weights.len();
    let row_work = (window.columns() * row_length).max(1);
    let columns = column_block(isa, rows, weights);
    let block = match columns {
        Some(_) => rows,
        None => rows.div_ceil(MANY).max(SMALL_TASK / row_work).next_multiple_of(ROW_STEP).min(MOST_ROWS),
    };
    let parts = rows.div_ceil(block);
    let mut moments = MomentParts::new(epilogue.moments.is_some().then_some(parts), row_length);
    let product = Product { isa, window, images, weights, epilogue: &epilogue };
    if let Some(columns) = columns {
        product.multiply_by_columns(columns, moments.parts().next().flatten(), output);
    } else {
        let tasks = output.chunks_mut(block * row_length).zip(moments.parts());
        threads::for_each(tasks, &|task, (output, part)| product.multiply_rows(task * block, part, output));
    }
    if let Some(wanted) = epilogue.moments {
        moments.combine(|part| block.min(rows - part * block), wanted);
    }
}

/// Columns of a task, whole panels, where a product is cut by its columns.
fn column_block(isa: Isa, rows: usize, weights: &[Packed]) -> Option<usize> {
    let [Packed { depth, columns, .. }] = weights else { return None };
    let most_rows = if depth * columns > SMALL_WEIGHTS { MOST_ROWS } else { FEW_ROWS };
    let panel = 2 * isa.lanes();
    let most = COLUMN_BLOCK.max(columns / 8).min(columns / 2).max(panel);
    let wanted = (SMALL_COLUMN_TASK / (rows * depth).max(1)).max(columns.div_ceil(MANY));
    let block = wanted.min(most).next_multiple_of(panel);
    // Far below a small task: with few rows, a task takes longer to read its weights than to multiply.
    let is_worth_it = rows * depth * columns > SMALL_COLUMN_TASK / 16;
    (rows <= most_rows && is_worth_it && block < *columns).then_some(block)
}

struct Product<'a, I, O> {
    isa: Isa,
    window: &'a Window,
    images: &'a [I],
    weights: &'a [Packed],
    epilogue: &'a Epilogue<'a, O>,
}

/// The part of a product that a task computes.
#[derive(Clone, Copy)]
struct Cut {
    first_row: usize,
    rows: usize,
    group: usize,
    /// A multiple of the columns of two registers.
    first_column: usize,
    columns: usize,
}

impl<I: Element, O: Element> Product<'_, I, O> {
    /// All columns of the rows that `output` holds.
    fn multiply_rows(&self, first_row: usize, mut part: Option<PartMoments<'_>>, output: &mut [O]) {
        let columns = self.weights[0].columns;
        let row_length = columns * self.weights.len();
        let rows = output.len() / row_length;
        for group in 0..self.weights.len() {
            let cut = Cut { first_row, rows, group, first_column: 0, columns };
            let output = &mut output[group * columns..];
            if let Some(output) = O::as_f32_mut(output) {
                self.multiply_cut(cut, part.as_mut(), output, row_length);
                continue;
            }
            let mut sums = Scratch::new(rows * columns);
            self.multiply_cut(cut, part.as_mut(), &mut sums, columns);
            for (output, sums) in output.chunks_mut(row_length).zip(sums.chunks_exact(columns)) {
                narrow_row(sums, &mut output[..columns]);
            }
        }
    }

    /// Multiplies, and takes the sums through the epilogue in place.
    fn multiply_cut(
        &self,
        cut: Cut,
        part: Option<&mut PartMoments<'_>>,
        output: &mut [f32],
        output_stride: usize,
    ) {
        let Self { isa, window, images, .. } = *self;
        let weights = &self.weights[cut.group];
        let first_channel = cut.group * window.group_channels;
        let first_output = cut.group * weights.columns + cut.first_column;
        let rows = cut.first_row..cut.first_row + cut.rows;
        let in_place = I::as_f32(images).filter(|_| window.is_pointwise());
        let mut patches = match in_place {
            Some(_) => Scratch::new(0),
            None => Scratch::new(cut.rows * MAX_DEPTH_BLOCK.min(weights.depth)),
        };
        for block in weights.blocks(cut.first_column) {
            let left = if let Some(images) = in_place {
                let first = cut.first_row * window.channels + first_channel + block.first;
                Left { values: &images[first..], row_stride: window.channels, depth_stride: 1 }
            } else {
                let depth = block.first..block.first + block.depth;
                window.gather(images, first_channel, rows.clone(), depth, &mut patches, block.depth);
                Left { values: &patches, row_stride: block.depth, depth_stride: 1 }
            };
            let start = match self.epilogue.bias {
                _ if block.first > 0 => Start::Output,
                Some(bias) => Start::Bias(&bias[first_output..]),
                None => Start::Zero,
            };
            let (rows, depth, panels) = (cut.rows, block.depth, block.panels);
            let columns = cut.columns;
            isa.run(Block { left, rows, depth, panels, columns, start, output, output_stride });
        }
        let shortcut_stride = self.weights.len() * weights.columns;
        let first_value = cut.first_row * shortcut_stride + first_output;
        let finish = Finish {
            sums: output,
            stride: output_stride,
            columns: cut.columns,
            shortcut: self.epilogue.shortcut.map(|shortcut| &shortcut[first_value..]),
            shortcut_stride,
            activation: self.epilogue.activation,
            moments: part.map(|part| (part, cut.group * weights.columns)),
        };
        finish.run(isa);
    }

    /// Tasks of all rows and a block of columns each, put together afterwards.
    fn multiply_by_columns(&self, block: usize, part: Option<PartMoments<'_>>, output: &mut [O]) {
        let (rows, columns) = (self.window.rows(), self.weights[0].columns);
        let mut aside = Scratch::new(rows * columns);
        let tasks = aside.chunks_mut(rows * block).zip(PartMoments::split(part, block));
        threads::for_each(tasks, &|task, (sums, mut part): (&mut [f32], Option<_>)| {
            let columns = sums.len() / rows;
            let cut = Cut { first_row: 0, rows, group: 0, first_column: task * block, columns };
            self.multiply_cut(cut, part.as_mut(), sums, columns);
        });
        let aside = &*aside;
        let step = (threads::ELEMENTS / columns).max(1);
        threads::for_each(output.chunks_mut(step * columns), &|task, output| {
            let parts = aside.chunks(rows * block);
            threads::join_columns(parts, block, task * step, output, columns, narrow_row);
        });
    }
}

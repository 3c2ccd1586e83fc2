//! A dense convolution and the depthwise one behind it in one go, as the blocks of mobile networks begin.
//!
//! The dense one expands the channels, so that what lies between the two is by far the largest value of a block. It is never
//! written as a whole: a task makes some channels of some rows, in a plane with zeros around it that stays in cache, and
//! slides the depthwise windows over it at once. Bands of large images do so apart, and make the rows that two of them see
//! twice; of small images, where these would be many, the planes of all channels are made before the first window slides.

use std::ops::Range;

use rayon::prelude::*;

use crate::activation::{Activation, AnyActivation, Function};
use crate::conv2d::Conv2d;
use crate::dense::{self, Cut, Product};
use crate::depthwise::tile::{PIXELS, Parameters, ROWS, Source, Sums, Target, Tile, padded, span};
use crate::depthwise::{has_tiles, padded_bias, with_window};
use crate::element::Element;
use crate::epilogue::Epilogue;
use crate::filter::{Layout, PackedFilter};
use crate::isa::Isa;
use crate::simd::{Kernel, Simd};
use crate::threads::{Scratch, piece_length};
use crate::winograd;

/// Channels of a plane: a multiple of every instruction set's widest panel.
const CHANNELS: usize = 32;
/// Bytes of a band's plane, at most about: it stays in the second-level cache.
const BAND_BYTES: usize = 256 << 10;
/// Values of sums that are made before they go to the plane, about: they stay in the first-level cache.
const SUMS: usize = 8 << 10;
/// Bands for each thread, so that none waits long for the others.
const BANDS: usize = 2;
/// Share of rows that are made twice from which on bands are not worth it: one in so many.
const SHARED_ROWS: usize = 5;

/// A convolution, and the activation of its sums with their bias.
#[derive(Clone, Copy, Debug)]
pub struct ConvActivation<'a, E> {
    /// Sizes.
    pub conv: Conv2d,
    /// From [`PackedFilter::forward`].
    pub filter: &'a PackedFilter<E>,
    /// One value an output channel.
    pub bias: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Activation,
}

/// Whether [`conv2d_depthwise`] takes the two convolutions.
pub fn fuses<E: Element>(isa: Isa, dense: &Conv2d, depthwise: &Conv2d) -> bool {
    #[cfg(target_arch = "x86_64")]
    if E::as_bf16(&[]).is_some() && isa.tile_unit().is_some() {
        return false;
    }
    let _ = isa;
    dense.groups == 1
        && !winograd::suits(dense)
        && depthwise.is_depthwise()
        && has_tiles(depthwise)
        && [depthwise.padding.top, depthwise.padding.left].iter().all(|padding| *padding < depthwise.kernel[0])
}

/// `depthwise(dense(input))`, each with its bias and activation; bit for bit what [`crate::conv2d`] makes of the two in turn.
///
/// # Shapes
/// See [`Conv2d`]; what the first puts out is what the second takes.
///
/// # Panics
/// If a slice's length is not the product of its shape, the two don't fit together or are none that [`fuses`] allows, or a
/// filter was packed for something else.
pub fn conv2d_depthwise<E: Element>(
    isa: Isa,
    dense: &ConvActivation<'_, E>,
    depthwise: &ConvActivation<'_, E>,
    input: &[E],
    output: &mut [E],
) {
    let (first, second) = (&dense.conv, &depthwise.conv);
    assert!(fuses::<E>(isa, first, second), "{first:?} and {second:?} don't go in one");
    let between = [second.batch, second.in_height, second.in_width, second.in_channels];
    let made = [first.batch, first.out_height(), first.out_width(), first.out_channels];
    assert_eq!(made, between, "shape between {first:?} and {second:?}");
    assert_eq!(input.len(), first.input_len(), "length of the input of {first:?}");
    assert_eq!(output.len(), second.output_len(), "length of the output of {second:?}");
    let (Layout::Dense(products), Layout::Depthwise(weights)) =
        (dense.filter.for_forward(isa, first), depthwise.filter.for_forward(isa, second))
    else {
        unreachable!("filters of what fuses have these layouts")
    };
    if output.is_empty() {
        return;
    }
    let epilogue = Epilogue { bias: dense.bias, ..Epilogue::default() };
    let window = dense::window(first);
    let product = Product { isa, window: &window, images: input, weights: &products[0], epilogue: &epilogue };
    let channels = second.in_channels;
    let bias = padded_bias(channels, depthwise.bias);
    let activation = depthwise.activation;
    let parameters = Parameters { weights, distance: padded(channels), bias: &bias, activation, channels };
    let expansion =
        Expansion { isa, product, activation: AnyActivation(dense.activation), conv: second, parameters };
    with_window!(second, KERNEL, STRIDE => {
        match expansion.band_rows(size_of::<E>()) {
            Some(rows) => expansion.run_bands::<KERNEL, STRIDE>(rows, output),
            None => expansion.run_planes::<KERNEL, STRIDE>(output),
        }
    }, else unreachable!("windows of what fuses go in tiles"));
}

struct Expansion<'a, E> {
    isa: Isa,
    product: Product<'a, E, f32>,
    /// Of the dense convolution.
    activation: AnyActivation,
    /// The depthwise convolution.
    conv: &'a Conv2d,
    parameters: Parameters<'a>,
}

/// Some channels of some rows between the two convolutions, with zeros where the windows see no image.
#[derive(Clone, Copy)]
struct Plane<'a, E> {
    /// `[rows, columns, padded channels]`
    values: &'a [E],
    /// First output row whose windows are in it.
    first_row: usize,
}

impl<E: Element> Expansion<'_, E> {
    /// Output rows of a band; `None` where planes are to be made whole.
    fn band_rows(&self, element: usize) -> Option<usize> {
        let Conv2d { kernel, stride, in_height, .. } = *self.conv;
        let height = self.conv.out_height();
        let row_bytes = self.columns() * CHANNELS * element;
        let fitting = (BAND_BYTES / row_bytes).saturating_sub(kernel[0]) / stride[0] + 1;
        let even = height.div_ceil(BANDS * rayon::current_num_threads());
        let rows = piece_length(height, fitting.min(even).max(ROWS)).next_multiple_of(ROWS);
        let shared = (height.div_ceil(rows) - 1) * kernel[0].saturating_sub(stride[0]);
        (shared * SHARED_ROWS <= in_height).then_some(rows)
    }

    /// Columns of a plane.
    fn columns(&self) -> usize {
        span(self.conv.out_width().next_multiple_of(PIXELS), self.conv.kernel[1], self.conv.stride[1])
    }

    /// Rows of a plane for so many output rows.
    fn rows(&self, outputs: usize) -> usize {
        span(outputs.next_multiple_of(ROWS), self.conv.kernel[0], self.conv.stride[0])
    }

    /// Channels of each plane.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<E> {
        let channels = self.conv.in_channels;
        (0..channels).step_by(CHANNELS).map(move |first| first..channels.min(first + CHANNELS))
    }

    /// Each band by itself, through all channels.
    fn run_bands<const KERNEL: usize, const STRIDE: usize>(&self, rows: usize, output: &mut [E])
    where
        E: Element,
    {
        let row = self.conv.out_width() * self.conv.in_channels;
        let images = output.chunks_mut(self.conv.out_height() * row).enumerate();
        let bands: Vec<_> = images
            .flat_map(|(image, output)| output.chunks_mut(rows * row).enumerate().map(move |band| (image, band)))
            .collect();
        bands.into_par_iter().for_each(|(image, (band, output))| {
            let first_row = band * rows;
            let mut values = Scratch::<E>::new(self.rows(output.len() / row) * self.columns() * CHANNELS);
            for block in self.blocks() {
                let length = values.len() / CHANNELS * padded(block.len());
                let values = &mut values[..length];
                self.fill(image, first_row, &block, values);
                self.slide::<KERNEL, STRIDE>(Plane { values, first_row }, &block, first_row, output);
            }
        });
    }

    /// All planes of an image, then all rows of its output.
    fn run_planes<const KERNEL: usize, const STRIDE: usize>(&self, output: &mut [E]) {
        let height = self.conv.out_height();
        let row = self.conv.out_width() * self.conv.in_channels;
        let length = self.rows(height) * self.columns() * CHANNELS;
        let blocks: Vec<_> = self.blocks().collect();
        let mut planes = Scratch::<E>::new(blocks.len() * length);
        for (image, output) in output.chunks_mut(height * row).enumerate() {
            planes.par_chunks_mut(length).zip(&blocks).for_each(|(values, block)| {
                let length = length / CHANNELS * padded(block.len());
                self.fill(image, 0, block, &mut values[..length]);
            });
            output.par_chunks_mut(ROWS * row).enumerate().for_each(|(band, output)| {
                for (values, block) in planes.chunks(length).zip(&blocks) {
                    let plane = Plane { values, first_row: 0 };
                    self.slide::<KERNEL, STRIDE>(plane, block, band * ROWS, output);
                }
            });
        }
    }

    /// Makes a plane of the channels `block`, from what the windows of output row `first_row` see on.
    fn fill(&self, image: usize, first_row: usize, block: &Range<usize>, plane: &mut [E]) {
        let Conv2d { in_height: height, in_width: width, padding, stride, .. } = *self.conv;
        let (pixel, columns) = (padded(block.len()), self.columns());
        let line = columns * pixel;
        let rows = plane.len() / line;
        let first = (first_row * stride[0]) as isize - padding.top as isize;
        let inside = |row: isize| row.clamp(0, height as isize) as usize;
        let (from, to) = (inside(first), inside(first + rows as isize));
        let (above, inner) = plane.split_at_mut((from as isize - first).clamp(0, rows as isize) as usize * line);
        let (inner, below) = inner.split_at_mut(to.saturating_sub(from) * line);
        above.fill(E::ZERO);
        below.fill(E::ZERO);
        let step = (SUMS / (width * pixel)).max(1);
        let mut sums = Scratch::new(step * width * pixel);
        for (part, lines) in inner.chunks_mut(step * line).enumerate() {
            let first = (image * height + from + part * step) * width;
            let count = lines.len() / line * width;
            let cut =
                Cut { first_row: first, rows: count, group: 0, first_column: block.start, columns: block.len() };
            let sums = &mut sums[..count * pixel];
            self.product.multiply_cut(cut, None, sums, pixel);
            let (function, left) = (self.activation, padding.left * pixel);
            self.isa.run(Place { function, sums, row: width * pixel, lines, line, left });
        }
    }

    /// Slides the windows of the channels `block` over their plane, for the rows of `output`.
    fn slide<const KERNEL: usize, const STRIDE: usize>(
        &self,
        plane: Plane<'_, E>,
        block: &Range<usize>,
        first_row: usize,
        output: &mut [E],
    ) {
        let (width, channels) = (self.conv.out_width(), self.conv.in_channels);
        let (row, pixel) = (width * channels, padded(block.len()));
        let source_row = self.columns() * pixel;
        let height = output.len() / row;
        let Parameters { weights, bias, .. } = self.parameters;
        let (weights, bias) = (&weights[block.start..], &bias[block.start..]);
        let parameters = &Parameters { weights, bias, channels: block.len(), ..self.parameters };
        for y in (0..height).step_by(ROWS) {
            let line = (first_row + y - plane.first_row) * STRIDE * source_row;
            for x in (0..width).step_by(PIXELS) {
                let values = &plane.values[line + x * STRIDE * pixel..];
                let target = Target {
                    values: &mut output[y * row + x * channels + block.start..],
                    shortcut: None,
                    row,
                    pixel: channels,
                    rows: ROWS.min(height - y),
                    pixels: PIXELS.min(width - x),
                };
                let source = Source { values, row: source_row, pixel };
                let sums = Sums { values: &mut [], are_new: false };
                self.isa.run(Tile::<E, E, KERNEL, STRIDE> { parameters, source, target, sums, ahead: None });
            }
        }
    }
}

/// Takes rows of sums through their activation to the lines of a plane.
struct Place<'a, E> {
    function: AnyActivation,
    sums: &'a [f32],
    /// Values of a row.
    row: usize,
    lines: &'a mut [E],
    /// Values of a line.
    line: usize,
    /// Zeros before the row; behind it they go to the line's end.
    left: usize,
}

impl<E: Element> Kernel for Place<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for (line, row) in self.lines.chunks_exact_mut(self.line).zip(self.sums.chunks_exact(self.row)) {
            let (before, rest) = line.split_at_mut(self.left);
            let (inner, behind) = rest.split_at_mut(self.row.min(rest.len()));
            before.fill(E::ZERO);
            behind.fill(E::ZERO);
            for (value, sum) in inner.chunks_exact_mut(S::LANES).zip(row.chunks_exact(S::LANES)) {
                E::store(simd, self.function.value::<S, E>(simd, simd.load(sum)), value);
            }
        }
    }
}

//! Products of window rows and packed panels on tiles: the bf16 path of [`crate::dense`].
//!
//! The left operand is read where it lies wherever possible, without unrolling the windows: pixels of a
//! pointwise convolution from the image itself, windows from a padded copy of a band of image rows
//! ([`crate::band`]), in which every tap is one distance for all windows. Only where the channels don't fill
//! whole steps are windows gathered, padded with zeros: a neighbour's infinity times a zero weight would be no
//! number. Windows of the smallest images are gathered too, through all images: the ends of their lines would be a large
//! share of every block.
//!
//! A task takes some rows of the output, through all columns, with its operands in the second-level cache. Each
//! value's sum runs over the depth in one order, so how tasks are cut changes nothing.

use std::ops::Range;

use crate::band::Band;
use crate::block::BLOCK;
use crate::conv2d::Conv2d;
use crate::dense::{phase_window, window};
use crate::element::{Bf16, Element};
use crate::epilogue::{Epilogue, MomentParts, PartMoments};
use crate::filter::Phase;
use crate::isa::Isa;
use crate::scratch::{Room, Scratch};
use crate::simd::tiles::{TILE, TileUnit};
use crate::threads::{self, piece_length};
use crate::tile_pack::TilePanels;
use crate::tile_rows::{Output, Source};
use crate::window::Window;

/// Bytes of input and output that a task goes through.
pub(crate) const TASK_BYTES: usize = 256 << 10;
/// The same where the weights are larger: each task reads all of them.
const LARGE_TASK_BYTES: usize = 1 << 20;
/// Bytes of packed weights that stay in cache while a task goes through its rows.
pub(crate) const SMALL_WEIGHTS: usize = 256 << 10;
/// Tasks to cut a product into where its size allows it.
const TASKS: usize = 8;

pub(crate) fn forward<O: Element>(
    isa: Isa,
    unit: TileUnit,
    conv: &Conv2d,
    input: &[Bf16],
    panels: &[TilePanels],
    epilogue: Epilogue<'_, O>,
    output: &mut [O],
) {
    let window = window(conv);
    let is_flat = is_flat(&window);
    let (batch, grid) = if is_flat { (1, [window.rows(), 1]) } else { (window.batch, window.grid) };
    let channels = conv.out_channels;
    let line = grid[1] * channels;
    let target = Target { first: 0, image: grid[0] * line, line, pixel: channels };
    let product = TileProduct { window, grid, is_flat, panels, target };
    let lines = Lines { batch, count: grid[0], length: line, step: 1 };
    multiply(isa, unit, input, &[product], lines, epilogue, output);
}

/// `panels`: for each phase, for each group.
pub(crate) fn input_gradient<I: Element>(
    isa: Isa,
    unit: TileUnit,
    conv: &Conv2d,
    output_gradient: &[Bf16],
    panels: &[Vec<TilePanels>],
    input_gradient: &mut [I],
) {
    if Phase::leave_gaps(conv) {
        threads::for_each(input_gradient.chunks_mut(threads::ELEMENTS), &|_, values| values.fill(I::ZERO));
    }
    let channels = conv.in_channels;
    let length = conv.in_width * channels;
    let image = conv.in_height * length;
    let product = |([y, x], panels): ([Phase; 2], _)| {
        let window = phase_window(conv, &[y, x]);
        let target = Target {
            first: y.first * length + x.first * channels,
            image,
            line: conv.stride[0] * length,
            pixel: conv.stride[1] * channels,
        };
        TileProduct { window, grid: window.grid, is_flat: false, panels, target }
    };
    let room = Room::new();
    let mut products = room.list(Phase::reached(conv).zip(panels.iter().map(|p| &p[..])).map(product));
    if products.is_empty() {
        return;
    }
    let mut lines = Lines { batch: conv.batch, count: conv.in_height, length, step: conv.stride[0] };
    if let [product] = &mut products[..]
        && conv.stride == [1, 1]
        && is_flat(&product.window)
    {
        product.is_flat = true;
        product.window = product.window.flattened();
        product.grid = [product.window.rows(), 1];
        product.target = Target { first: 0, image: input_gradient.len(), line: channels, pixel: channels };
        lines = Lines { batch: 1, count: product.grid[0], length: channels, step: 1 };
    }
    multiply(isa, unit, output_gradient, &products, lines, Epilogue::default(), input_gradient);
}

/// A window's rows times the panels of its groups.
pub(crate) struct TileProduct<'a> {
    pub(crate) window: Window,
    /// Rows and columns of windows in an image; flat ones are one column of one image.
    pub(crate) grid: [usize; 2],
    pub(crate) is_flat: bool,
    pub(crate) panels: &'a [TilePanels],
    pub(crate) target: Target,
}

/// Whether windows are walked through all images, one after the other, without lines: pixels themselves, and windows of images
/// in which more than a fifth of the rows that products have (multiples of 8) would be none.
fn is_flat(window: &Window) -> bool {
    let band = Band::new(window, window.grid[0]);
    let windows = window.grid[0] * window.grid[1];
    window.is_pointwise() || band.is_some_and(|band| 4 * band.positions().next_multiple_of(8) > 5 * windows)
}

/// Where sums go in an output, in values.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) first: usize,
    pub(crate) image: usize,
    pub(crate) line: usize,
    pub(crate) pixel: usize,
}

impl Target {
    pub(crate) fn place(&self, image: usize, [y, x]: [usize; 2]) -> usize {
        self.first + image * self.image + y * self.line + x * self.pixel
    }
}

/// The lines of the output that tasks are made of.
#[derive(Clone, Copy)]
pub(crate) struct Lines {
    pub(crate) batch: usize,
    /// Of an image.
    pub(crate) count: usize,
    /// Values of one.
    pub(crate) length: usize,
    /// From a line of a product to the next.
    pub(crate) step: usize,
}

/// How the output is cut into tasks: all columns of whole images, of some lines of one, or some columns of those.
#[derive(Clone, Copy)]
struct Cut {
    images: usize,
    lines: usize,
    /// A multiple of a block's columns, or all.
    columns: usize,
}

fn multiply<O: Element>(
    isa: Isa,
    unit: TileUnit,
    input: &[Bf16],
    products: &[TileProduct<'_>],
    lines: Lines,
    epilogue: Epilogue<'_, O>,
    output: &mut [O],
) {
    let job = Job { isa, unit, input, products, lines, epilogue: &epilogue };
    let cut = job.cut();
    let channels = products[0].panels.len() * products[0].panels[0].columns;
    let bands = lines.count.div_ceil(cut.lines);
    let tasks = lines.batch.div_ceil(cut.images) * bands;
    let mut moments = MomentParts::new(epilogue.moments.is_some().then_some(tasks), channels);
    let task = |index: usize| {
        let first = index % bands * cut.lines;
        let image = index / bands * cut.images;
        let images = image..lines.batch.min(image + cut.images);
        (images, first..lines.count.min(first + cut.lines))
    };
    let task_length =
        if bands > 1 { cut.lines * lines.length } else { cut.images * lines.count * lines.length };
    if cut.columns < channels {
        job.multiply_by_columns(cut.columns, tasks, task, &mut moments, output);
    } else {
        let image_length = lines.count * lines.length * if bands > 1 { 1 } else { cut.images };
        let outputs = output.chunks_mut(image_length).flat_map(|image| image.chunks_mut(task_length));
        threads::for_each(outputs.zip(moments.parts()), &|index, (output, part)| {
            let (images, lines) = task(index);
            job.run(images, lines, 0..channels, part, None, output);
        });
    }
    if let Some(wanted) = epilogue.moments {
        let pixels = |index| {
            let (images, lines) = task(index);
            images.len() * lines.len() * products[0].grid[1]
        };
        moments.combine(pixels, wanted);
    }
}

pub(crate) struct Job<'a, O> {
    pub(crate) isa: Isa,
    pub(crate) unit: TileUnit,
    pub(crate) input: &'a [Bf16],
    pub(crate) products: &'a [TileProduct<'a>],
    pub(crate) lines: Lines,
    pub(crate) epilogue: &'a Epilogue<'a, O>,
}

impl<O: Element> Job<'_, O> {
    fn cut(&self) -> Cut {
        let Lines { batch, count, length, step } = self.lines;
        let weights: usize = self.products.iter().flat_map(|p| p.panels).map(TilePanels::bytes).sum();
        let (bytes, wanted) =
            if weights > SMALL_WEIGHTS { (LARGE_TASK_BYTES, TASKS / 2) } else { (TASK_BYTES, TASKS) };
        let line_bytes = length * size_of::<O>() + self.source_bytes();
        let fewest = (2 * BLOCK * length).div_ceil(length * self.products[0].grid[1].max(1)).max(1);
        let even = (batch * count).div_ceil(wanted).max(fewest.min(count));
        let lines = (bytes / line_bytes.max(1)).clamp(1, even).max(step);
        let panels = self.products[0].panels;
        let columns = panels.len() * panels[0].columns;
        let mut cut = if lines >= count {
            Cut { images: piece_length(batch, (lines / count).max(1)), lines: count, columns }
        } else {
            Cut { images: 1, lines: piece_length(count, lines).next_multiple_of(step), columns }
        };
        let tasks = batch.div_ceil(cut.images) * count.div_ceil(cut.lines);
        // What is put together has no gaps; a single phase leaves some where no other is reached.
        let has_gaps = step > 1 || length > self.products[0].grid[1] * columns;
        if tasks < TASKS / 2 && !has_gaps && panels.len() == 1 && self.products.len() == 1 {
            let blocks = columns.div_ceil(BLOCK).div_ceil((TASKS / 2).div_ceil(tasks));
            cut.columns = (blocks * BLOCK).min(columns);
        }
        cut
    }

    /// Bytes of input that a line is made of.
    fn source_bytes(&self) -> usize {
        let product = |product: &TileProduct<'_>| {
            let values = match product.source(self.unit, 1) {
                Source::Unrolled(depth, _) => product.grid[1] * depth,
                _ => {
                    product.grid[1]
                        * product.window.stride[1]
                        * product.window.stride[0]
                        * product.window.channels
                }
            };
            values * size_of::<Bf16>()
        };
        self.products.iter().map(product).max().unwrap_or(0)
    }

    /// Tasks of some columns each, put together afterwards.
    fn multiply_by_columns(
        &self,
        columns: usize,
        tasks: usize,
        task: impl Fn(usize) -> (Range<usize>, Range<usize>) + Sync,
        moments: &mut MomentParts,
        output: &mut [O],
    ) {
        let (width, channels) = (self.products[0].grid[1], self.products[0].panels[0].columns);
        let pixels = |index| {
            let (images, lines) = task(index);
            images.len() * lines.len() * width
        };
        let longest = pixels(0) * columns;
        let cuts = channels.div_ceil(columns);
        let mut aside = Scratch::<O>::new(tasks * cuts * longest);
        let parts = moments.parts().flat_map(|part| PartMoments::split(part, columns));
        threads::for_each(aside.chunks_mut(longest).zip(parts), &|index, (output, part)| {
            let (images, lines) = task(index / cuts);
            let first = index % cuts * columns;
            let columns = first..channels.min(first + columns);
            let pixel = columns.len();
            let image = lines.len() * width * pixel;
            let target = Target { first: 0, image, line: width * pixel, pixel };
            self.run(images, lines, columns, part, Some(target), output);
        });
        let mut rest = output;
        let outputs = (0..tasks).flat_map(|index| {
            let output = rest.split_off_mut(..pixels(index) * channels).expect("room for every task");
            output.chunks_mut(TILE * channels).enumerate().map(move |(tile, output)| (index, tile, output))
        });
        threads::for_each(outputs, &|_, (index, tile, output)| {
            let parts = aside[index * cuts * longest..].chunks(longest).take(cuts);
            let copy = |part: &[O], output: &mut [O]| output.copy_from_slice(part);
            threads::join_columns(parts, columns, tile * TILE, output, channels, copy);
        });
    }

    fn run(
        &self,
        images: Range<usize>,
        lines: Range<usize>,
        columns: Range<usize>,
        part: Option<PartMoments<'_>>,
        target: Option<Target>,
        values: &mut [O],
    ) {
        let tiles = self.unit.configure();
        let mut output = Output {
            values,
            target: self.products[0].target,
            first_image: images.start,
            first_line: 0,
            columns,
            part,
        };
        if let Some(part) = &mut output.part {
            part.start();
        }
        for product in self.products {
            let end = lines.end.div_ceil(self.lines.step).min(product.grid[0]);
            let lines = lines.start / self.lines.step..end;
            if lines.is_empty() {
                continue;
            }
            output.target = target.unwrap_or(product.target);
            output.first_line = lines.start;
            self.run_product(&tiles, product, images.clone(), lines, &mut output);
        }
    }
}

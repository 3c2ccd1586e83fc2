//! Products of window rows and packed panels on tiles: the bf16 path of [`crate::dense`].
//!
//! The left operand is read where it lies wherever possible, without unrolling the windows: pixels of a
//! pointwise convolution from the image itself, windows from a padded copy of a band of image rows
//! ([`crate::band`]), in which every tap is one distance for all windows. Only where the channels don't fill
//! whole steps are windows gathered, padded with zeros: a neighbour's infinity times a zero weight would be no
//! number.
//!
//! A task takes some rows of the output, through all columns, with its operands in the second-level cache. Each
//! value's sum runs over the depth in one order, so how tasks are cut changes nothing.

use std::ops::Range;

use rayon::prelude::*;

use crate::band::Band;
use crate::conv2d::Conv2d;
use crate::dense::{phase_window, window};
use crate::element::{Bf16, Element};
use crate::epilogue::{Epilogue, MomentParts, PartMoments};
use crate::filter::Phase;
use crate::isa::Isa;
use crate::simd::amx::{Amx, BLOCK, First, Operand, STEP, Shape, Steps, Sums, TILE, TileBlock, Tiles};
use crate::threads::{self, Scratch, piece_length};
use crate::tile_finish::{FinishBlock, finish};
use crate::tile_pack::{TilePanel, TilePanels};
use crate::unroll::Unroll;
use crate::window::Window;

/// Bytes of input and output that a task goes through.
const TASK_BYTES: usize = 256 << 10;
/// The same where the weights are larger: each task reads all of them.
const LARGE_TASK_BYTES: usize = 1 << 20;
/// Bytes of packed weights that stay in cache while a task goes through its rows.
const SMALL_WEIGHTS: usize = 256 << 10;
/// Tasks to cut a product into where its size allows it.
const TASKS: usize = 8;
/// Bytes of the rows that stay in the first-level cache while they meet one panel after the other.
const ROW_BYTES: usize = 16 << 10;
/// Depth up to which writing the output costs more than reading the panels again.
const SHORT_DEPTH: usize = 96;
/// Windows of a band that meet a panel at once.
const BAND_ROWS: usize = 128;

pub(crate) fn forward<O: Element>(
    isa: Isa,
    amx: Amx,
    conv: &Conv2d,
    input: &[Bf16],
    panels: &[TilePanels],
    epilogue: Epilogue<'_, O>,
    output: &mut [O],
) {
    let window = window(conv);
    let (batch, grid) =
        if window.is_pointwise() { (1, [window.rows(), 1]) } else { (window.batch, window.grid) };
    let channels = conv.out_channels;
    let line = grid[1] * channels;
    let target = Target { first: 0, image: grid[0] * line, line, pixel: channels };
    let product = TileProduct { window, grid, panels, target };
    let lines = Lines { batch, count: grid[0], length: line, step: 1 };
    multiply(isa, amx, input, &[product], lines, epilogue, output);
}

/// `panels`: for each phase, for each group.
pub(crate) fn input_gradient<I: Element>(
    isa: Isa,
    amx: Amx,
    conv: &Conv2d,
    output_gradient: &[Bf16],
    panels: &[Vec<TilePanels>],
    input_gradient: &mut [I],
) {
    if Phase::leave_gaps(conv) {
        input_gradient.par_chunks_mut(threads::ELEMENTS).for_each(|values| values.fill(I::ZERO));
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
        TileProduct { window, grid: window.grid, panels, target }
    };
    let mut products: Vec<_> = Phase::reached(conv).zip(panels.iter().map(|p| &p[..])).map(product).collect();
    let mut lines = Lines { batch: conv.batch, count: conv.in_height, length, step: conv.stride[0] };
    if let [product] = &mut products[..]
        && conv.stride == [1, 1]
        && product.window.is_pointwise()
    {
        product.window = product.window.flattened();
        product.grid = [product.window.rows(), 1];
        product.target = Target { first: 0, image: input_gradient.len(), line: channels, pixel: channels };
        lines = Lines { batch: 1, count: product.grid[0], length: channels, step: 1 };
    }
    multiply(isa, amx, output_gradient, &products, lines, Epilogue::default(), input_gradient);
}

/// A window's rows times the panels of its groups.
struct TileProduct<'a> {
    window: Window,
    /// Rows and columns of windows in an image; a pointwise window is one column of one image.
    grid: [usize; 2],
    panels: &'a [TilePanels],
    target: Target,
}

/// Where sums go in an output, in values.
#[derive(Clone, Copy)]
struct Target {
    first: usize,
    image: usize,
    line: usize,
    pixel: usize,
}

impl Target {
    fn place(&self, image: usize, [y, x]: [usize; 2]) -> usize {
        self.first + image * self.image + y * self.line + x * self.pixel
    }
}

/// The lines of the output that tasks are made of.
#[derive(Clone, Copy)]
struct Lines {
    batch: usize,
    /// Of an image.
    count: usize,
    /// Values of one.
    length: usize,
    /// From a line of a product to the next.
    step: usize,
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
    amx: Amx,
    input: &[Bf16],
    products: &[TileProduct<'_>],
    lines: Lines,
    epilogue: Epilogue<'_, O>,
    output: &mut [O],
) {
    let job = Job { isa, amx, input, products, lines, epilogue: &epilogue };
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
        let outputs: Vec<_> =
            output.chunks_mut(image_length).flat_map(|image| image.chunks_mut(task_length)).collect();
        let tasks = outputs.into_par_iter().zip(moments.parts(tasks)).enumerate();
        tasks.for_each(|(index, (output, part))| {
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

struct Job<'a, O> {
    isa: Isa,
    amx: Amx,
    input: &'a [Bf16],
    products: &'a [TileProduct<'a>],
    lines: Lines,
    epilogue: &'a Epilogue<'a, O>,
}

/// Where a product's left operand is.
enum Source<'a> {
    /// The images themselves.
    Images,
    Band(Band<'a>),
    /// Windows of that padded depth, written out from the band or from the images.
    Unrolled(usize, Option<Band<'a>>),
}

/// Rows of the left operand: the windows of one image, row after row.
struct Rows<'a> {
    values: &'a [Bf16],
    /// From a row to the next.
    distance: usize,
    steps: &'a Steps,
    /// Windows in a line, with those at its end that are none.
    pitch: usize,
    image: usize,
    /// First line.
    line: usize,
    count: usize,
}

/// What a task writes to.
struct Output<'a, 'm, O> {
    values: &'a mut [O],
    /// Where sums go in `values`, counted from the task's first image and line.
    target: Target,
    first_image: usize,
    first_line: usize,
    columns: Range<usize>,
    part: Option<PartMoments<'m>>,
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
        if tasks < TASKS / 2 && step == 1 && panels.len() == 1 && self.products.len() == 1 {
            let blocks = columns.div_ceil(BLOCK).div_ceil((TASKS / 2).div_ceil(tasks));
            cut.columns = (blocks * BLOCK).min(columns);
        }
        cut
    }

    /// Bytes of input that a line is made of.
    fn source_bytes(&self) -> usize {
        let product = |product: &TileProduct<'_>| {
            let values = match product.source(1) {
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
        let mut parts = moments.parts(tasks);
        let parts = parts.iter_mut().flat_map(|part| PartMoments::split(part.as_mut(), channels, columns));
        let parts: Vec<_> = parts.collect();
        aside.par_chunks_mut(longest).zip(parts).enumerate().for_each(|(index, (output, part))| {
            let (images, lines) = task(index / cuts);
            let first = index % cuts * columns;
            let columns = first..channels.min(first + columns);
            let pixel = columns.len();
            let image = lines.len() * width * pixel;
            let target = Target { first: 0, image, line: width * pixel, pixel };
            self.run(images, lines, columns, part, Some(target), output);
        });
        let mut pixels_before = 0;
        for index in 0..tasks {
            for (cut, aside) in aside[index * cuts * longest..][..cuts * longest].chunks(longest).enumerate()
            {
                let first = cut * columns;
                let width = columns.min(channels - first);
                let output = output[pixels_before * channels..].chunks_mut(channels).take(pixels(index));
                for (output, aside) in output.zip(aside.chunks_exact(width)) {
                    output[first..first + width].copy_from_slice(aside);
                }
            }
            pixels_before += pixels(index);
        }
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
        let tiles = self.amx.configure();
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

    fn run_product(
        &self,
        tiles: &Tiles,
        product: &TileProduct<'_>,
        images: Range<usize>,
        lines: Range<usize>,
        output: &mut Output<'_, '_, O>,
    ) {
        let source = product.source(lines.len());
        match source {
            Source::Images => {
                let steps = Steps::of_panel((0..product.window.channels).step_by(STEP));
                let rows = |image: usize| {
                    let first = (image * product.grid[0] + lines.start) * product.grid[1];
                    Rows {
                        values: &self.input[first * product.window.channels..],
                        distance: product.window.channels,
                        steps: &steps,
                        pitch: product.grid[1],
                        image,
                        line: lines.start,
                        count: lines.len() * product.grid[1],
                    }
                };
                let units: Vec<_> = images.map(rows).collect();
                let chunk = rows_in_cache(product.window.channels);
                self.multiply_units(tiles, product, 0, &units, chunk, output);
            }
            Source::Band(band) => {
                let image_length = self.input.len() / self.lines.batch.max(1);
                let steps = band.steps();
                let mut bands = Scratch::<Bf16>::new(images.len() * band.length());
                for (values, image) in bands.chunks_exact_mut(band.length()).zip(images.clone()) {
                    band.fill(&self.input[image * image_length..][..image_length], lines.start, values);
                }
                let rows = |(image, values)| Rows {
                    values,
                    distance: band.window_distance(),
                    steps: &steps,
                    pitch: band.windows_in_a_row(),
                    image,
                    line: lines.start,
                    count: (lines.len() - 1) * band.windows_in_a_row() + product.grid[1],
                };
                let units: Vec<_> = images.zip(bands.chunks_exact(band.length())).map(rows).collect();
                self.multiply_units(tiles, product, 0, &units, BAND_ROWS, output);
            }
            Source::Unrolled(depth, band) => {
                let steps = Steps::of_panel((0..depth).step_by(STEP));
                for image in images {
                    for group in 0..product.panels.len() {
                        let windows = Windows { image, lines: lines.clone(), band: band.as_ref() };
                        self.unroll_rows(tiles, product, group, windows, &steps, output);
                    }
                }
            }
        }
    }

    /// Writes windows out, as many as stay in cache, and multiplies them by all panels.
    fn unroll_rows(
        &self,
        tiles: &Tiles,
        product: &TileProduct<'_>,
        group: usize,
        Windows { image, lines, band }: Windows<'_>,
        steps: &Steps,
        output: &mut Output<'_, '_, O>,
    ) {
        let panels = &product.panels[group];
        let padded = panels.padded_depth();
        let width = product.grid[1];
        let mut chunk = rows_in_cache(padded);
        if panels.bytes() > SMALL_WEIGHTS {
            chunk = chunk.max((TASK_BYTES / 2 / padded).next_multiple_of(BLOCK));
        }
        let chunk_lines = (chunk / width).max(1);
        let most = chunk_lines.min(lines.len()) * width;
        let mut unrolled = Scratch::<Bf16>::new(most.next_multiple_of(BLOCK) * padded);
        let mut rows = Scratch::<Bf16>::new(band.map_or(0, Band::length));
        if let Some(band) = band {
            let image_length = self.input.len() / self.lines.batch;
            band.fill(&self.input[image * image_length..][..image_length], lines.start, &mut rows);
        }
        for first in lines.clone().step_by(chunk_lines) {
            let chunk = first..lines.end.min(first + chunk_lines);
            let count = chunk.len() * width;
            match band {
                Some(band) => {
                    band.unroll(
                        self.isa,
                        &rows,
                        chunk.start - lines.start..chunk.end - lines.start,
                        &mut unrolled,
                        padded,
                    );
                }
                None => self.gather(product, group, image, chunk, &mut unrolled),
            }
            let rows =
                Rows { values: &unrolled, distance: padded, steps, pitch: width, image, line: first, count };
            self.multiply_units(tiles, product, group, &[rows], count.next_multiple_of(BLOCK), output);
        }
    }

    /// Writes windows out from the images themselves.
    fn gather(
        &self,
        product: &TileProduct<'_>,
        group: usize,
        image: usize,
        lines: Range<usize>,
        unrolled: &mut [Bf16],
    ) {
        let (window, panels) = (&product.window, &product.panels[group]);
        let [depth, padded] = [panels.depth, panels.padded_depth()];
        let row = (image * product.grid[0] + lines.start) * product.grid[1];
        let count = lines.len() * product.grid[1];
        let first_channel = group * window.group_channels;
        if window.is_pointwise() {
            return self.isa.run(Unroll {
                source: &self.input[row * window.channels + first_channel..],
                distance: window.channels,
                windows: count,
                runs: &[0],
                length: depth,
                target: unrolled,
                padded,
            });
        }
        for row in unrolled.chunks_exact_mut(padded) {
            row[depth..].fill(Bf16::ZERO);
        }
        window.gather(self.input, first_channel, row..row + count, 0..depth, unrolled, padded);
    }

    /// All rows by all panels: a few rows by one panel after the other, or, where the panels don't stay in cache,
    /// a panel by all rows.
    fn multiply_units(
        &self,
        tiles: &Tiles,
        product: &TileProduct<'_>,
        group: usize,
        units: &[Rows<'_>],
        chunk: usize,
        output: &mut Output<'_, '_, O>,
    ) {
        let panels = &product.panels[group];
        let wanted = |panel: &TilePanel<'_>| output.columns.contains(&panel.first_column);
        let first_column = group * panels.columns;
        // On cache lines: tiles that straddle them are stored at half the speed.
        let mut sums = Scratch::<f32>::new(BLOCK * BLOCK);
        let Some(sums) = sums.first_chunk_mut() else { return };
        if panels.bytes() > SMALL_WEIGHTS {
            let wanted: Vec<_> = panels.panels().filter(|p| group > 0 || wanted(p)).collect();
            for panel in wanted {
                for rows in units {
                    self.multiply_rows(
                        tiles,
                        product,
                        rows,
                        0..rows.count,
                        panel,
                        first_column,
                        sums,
                        output,
                    );
                }
            }
            return;
        }
        let wanted: Vec<_> = panels.panels().filter(|p| group > 0 || wanted(p)).collect();
        // Few products a value: then the output sets the pace, and wants to be written from end to end.
        let chunk = if panels.padded_depth() <= SHORT_DEPTH { BLOCK } else { chunk };
        for rows in units {
            for first in (0..rows.count).step_by(chunk) {
                let range = first..rows.count.min(first + chunk);
                for panel in &wanted {
                    self.multiply_rows(
                        tiles,
                        product,
                        rows,
                        range.clone(),
                        *panel,
                        first_column,
                        sums,
                        output,
                    );
                }
            }
        }
    }

    /// Some rows by one panel, block after block.
    #[allow(clippy::too_many_arguments)] // the position in four arrays
    fn multiply_rows(
        &self,
        tiles: &Tiles,
        product: &TileProduct<'_>,
        rows: &Rows<'_>,
        range: Range<usize>,
        panel: TilePanel<'_>,
        first_column: usize,
        sums: &mut Sums,
        output: &mut Output<'_, '_, O>,
    ) {
        for first in range.clone().step_by(BLOCK) {
            let count = BLOCK.min(range.end - first);
            let down = count.div_ceil(TILE);
            let mut values = &rows.values[first * rows.distance..];
            let needed = down * TILE * rows.distance;
            let copy;
            if product.source_is_images() && values.len() < needed {
                copy = with_zeros(values, needed);
                values = &copy;
            }
            let block = TileBlock {
                left: Operand { values, row: rows.distance, second: TILE * rows.distance },
                right: panel.right,
                steps: rows.steps,
                shape: Shape { down, across: panel.tiles },
            };
            tiles.multiply(block, First::Zero, sums);
            self.finish_block(product, rows, first..first + count, panel, first_column, sums, output);
        }
    }

    /// Takes a block's sums, line by line, to where they belong.
    #[allow(clippy::too_many_arguments)] // as above
    fn finish_block(
        &self,
        product: &TileProduct<'_>,
        rows: &Rows<'_>,
        range: Range<usize>,
        panel: TilePanel<'_>,
        first_column: usize,
        sums: &Sums,
        output: &mut Output<'_, '_, O>,
    ) {
        let channel = first_column + panel.first_column;
        let columns = channel..channel + panel.columns;
        let mut row = range.start;
        // Lines that follow each other without a gap are one.
        let is_one_line =
            rows.pitch == product.grid[1] && product.target.line == rows.pitch * product.target.pixel;
        let [pitch, width] = if is_one_line { [rows.count; 2] } else { [rows.pitch, product.grid[1]] };
        while row < range.end {
            let (line, x) = (row / pitch, row % pitch);
            let end = range.end.min((line + 1) * pitch);
            if x < width {
                let position = [rows.line + line, x];
                let count = (end - row).min(width - x);
                let local = [position[0] - output.first_line, x];
                let place = output.target.place(rows.image - output.first_image, local);
                let shortcut = self
                    .epilogue
                    .shortcut
                    .map(|shortcut| &shortcut[product.target.place(rows.image, position) + channel..]);
                finish(
                    self.isa,
                    self.epilogue.activation,
                    FinishBlock {
                        sums: &sums[(row - range.start) * BLOCK..],
                        rows: count,
                        bias: self.epilogue.bias.map(|bias| &bias[columns.clone()]),
                        shortcut,
                        shortcut_pixel: product.target.pixel,
                        part: output.part.as_mut().map(|part| {
                            part.channels(channel - output.columns.start..columns.end - output.columns.start)
                        }),
                        columns: panel.columns,
                        output: &mut output.values[place + channel - output.columns.start..],
                        pixel: output.target.pixel,
                    },
                );
            }
            row = end;
        }
    }
}

impl TileProduct<'_> {
    fn source_is_images(&self) -> bool {
        self.window.is_pointwise() && self.window.channels.is_multiple_of(STEP) && self.panels.len() == 1
    }

    /// The left operand of `lines` lines.
    fn source(&self, lines: usize) -> Source<'_> {
        if self.source_is_images() {
            return Source::Images;
        }
        let depth = self.panels[0].padded_depth();
        match Band::new(&self.window, lines).filter(|_| !self.window.is_pointwise()) {
            Some(band) if band.fills_steps() => Source::Band(band),
            band => Source::Unrolled(depth, band),
        }
    }
}

/// Some lines of windows of one image, and how they lie in a band, if they see all channels.
struct Windows<'a> {
    image: usize,
    lines: Range<usize>,
    band: Option<&'a Band<'a>>,
}

/// A copy with zeros behind it.
fn with_zeros(values: &[Bf16], length: usize) -> Scratch<Bf16> {
    let mut copy = Scratch::new(length);
    copy[..values.len()].copy_from_slice(values);
    copy[values.len()..].fill(Bf16::ZERO);
    copy
}

/// Rows of that length that stay in the first-level cache; whole blocks.
fn rows_in_cache(length: usize) -> usize {
    (ROW_BYTES / size_of::<Bf16>() / length.max(1) / BLOCK).clamp(1, 16) * BLOCK
}

//! Convolutions of 3 x 3 windows with fewer products: Winograd's minimal filtering.
//!
//! A tile of four outputs sees 4 x 4 pixels. Pixels and filter are transformed to 16 values each, so that for each of the 16
//! places the channels are one matrix product ([`unit`]); the 16 products, in place of 36, are transformed back
//! to four outputs: F(2 x 2, 3 x 3). A tile of 16 outputs sees 6 x 6 pixels and takes 36 products in place of 144: F(4 x 4, 3 x 3).
//! The transforms are few operations, and their results stay in the nearer caches.
//!
//! Transformed values are rounded once more than a direct convolution rounds, which in bf16 is for the caller to ask for: whole
//! networks lose next to nothing by it, as most of their error is in what they keep between layers. The larger tiles are for f32 alone:
//! in bf16 their outputs would be off by 1 %, five times as much as a direct convolution's (`reference/winograd_points.py`).
//!
//! # Source
//! Lavin & Gray, *Fast Algorithms for Convolutional Neural Networks*, CVPR 2016, §4.1. The gradient to the filter is the
//! transposed algorithm.

mod filtering;
mod gradient;
mod points;
mod transform;
mod unit;

use std::ops::Range;

use crate::block::{BLOCK, FinishBlock, finish};
use crate::conv2d::Conv2d;
use crate::element::Element;
use crate::epilogue::{Epilogue, MomentParts, PartMoments};
use crate::filter::Pass;
use crate::isa::Isa;
use crate::pack::Right;
use crate::scratch::Scratch;
#[cfg(target_arch = "x86_64")]
use crate::simd::tiles::TileUnit;
use crate::threads::{self, piece_length, pieces};
use crate::window::Window;

pub(crate) use filtering::Filtering;
use filtering::with_points;
pub(crate) use gradient::weight_gradient;
use transform::{Inverse, Pixels, TransformFilter, TransformPixels};
pub(crate) use unit::Unit;

/// Bytes of the transformed pixels that tiles are multiplied from at once, a block of tiles at least: half of a second-level cache of 1 MiB.
const CHUNK_BYTES: usize = 512 << 10;
/// Most tiles of a chunk.
const CHUNK: usize = 2 * BLOCK;
/// Most tiles of a task.
const TASK_TILES: usize = 8 * BLOCK;
/// Tasks to cut a product into where its size allows it.
const TASKS: usize = 8;
/// Tiles up to which a task takes all of them and some columns: else each task would read all matrices for a few tiles.
const FEW_TILES: usize = 64;
/// Tasks of columns; each transforms all pixels again.
const COLUMN_TASKS: usize = 4;
/// Tiles of all images below which a gradient's sums, a matrix a place, cost more than its products save: between 16 and 32 in resnet18's
/// layer3 and layer4 (Zen 1, f32).
const LEAST_GRADIENT_TILES: usize = 24;
/// Values between places whose distance would be a multiple of 4 KiB.
const PAD: usize = 32;
/// f32 values from a place's block of sums to the next: a multiple of 4 KiB would be one set of the cache.
const SUMS: usize = BLOCK * BLOCK + PAD;

/// The tiles to take for `conv`, if this algorithm is made for it, and takes fewer products than a direct one.
pub(crate) fn filtering<E: Element>(conv: &Conv2d) -> Option<Filtering> {
    fastest::<E>(conv, |filtering, size| filtering.tiles(size) >= filtering.least_tiles())
}

/// The same for the gradient to the filter, whose sums are for all images.
pub(crate) fn gradient_filtering<E: Element>(conv: &Conv2d) -> Option<Filtering> {
    fastest::<E>(conv, |filtering, size| conv.batch * filtering.tiles(size) >= LEAST_GRADIENT_TILES)
}

fn fastest<E: Element>(
    conv: &Conv2d,
    is_worthwhile: impl Fn(Filtering, [usize; 2]) -> bool,
) -> Option<Filtering> {
    let is_square = conv.kernel == [3, 3] && conv.stride == [1, 1] && conv.groups == 1;
    let fills_blocks = |channels: usize| channels > 0 && channels.is_multiple_of(BLOCK);
    if !is_square || !fills_blocks(conv.in_channels) || !fills_blocks(conv.out_channels) {
        return None;
    }
    let sizes = [[conv.in_height, conv.in_width], [conv.out_height(), conv.out_width()]];
    // Tiles that stick out of the images save nothing.
    let saves = |filtering: Filtering, size: [usize; 2]| {
        5 * filtering.products(size) <= 4 * 9 * size[0] * size[1] && is_worthwhile(filtering, size)
    };
    let is_exact_enough = |filtering| filtering == Filtering::Two || E::as_f32(&[]).is_some();
    // Of two with as many products the one with fewer matrices.
    [Filtering::Two, Filtering::Four]
        .into_iter()
        .filter(|&filtering| is_exact_enough(filtering) && sizes.iter().all(|&size| saves(filtering, size)))
        .min_by_key(|filtering| sizes.iter().map(|&size| filtering.products(size)).sum::<usize>())
}

/// A filter that is transformed: a matrix for each place of a tile.
#[derive(Clone, Debug)]
pub(crate) struct Matrices<M> {
    filtering: Filtering,
    pub(crate) places: Vec<M>,
}

/// What multiplies bf16 here. Not AMX, where it was not measured: products take a fifth of the time there, transforms as long.
#[cfg(target_arch = "x86_64")]
pub(crate) fn tile_unit(isa: Isa) -> Option<TileUnit> {
    isa.tile_unit().filter(|unit| !unit.loads_whole_tiles())
}

/// Room for the matrices of `pass`, each of `new(depth, columns)`.
pub(crate) fn room<M>(
    conv: &Conv2d,
    filtering: Filtering,
    pass: Pass,
    new: impl Fn(usize, usize) -> M,
) -> Matrices<M> {
    let [depth, columns] = match pass {
        Pass::Forward => [conv.in_channels, conv.out_channels],
        Pass::InputGradient => [conv.out_channels, conv.in_channels],
    };
    Matrices { filtering, places: (0..filtering.places()).map(|_| new(depth, columns)).collect() }
}

/// Transforms the `[out_channels, 3, 3, in_channels]` `weight`, and hands each place's matrix to `pack`.
pub(crate) fn fill<M: Send>(
    isa: Isa,
    conv: &Conv2d,
    pass: Pass,
    weight: &[f32],
    matrices: &mut Matrices<M>,
    pack: impl Fn(&mut M, Right<'_>) + Sync,
) {
    let (channels, length) = (conv.in_channels, conv.out_channels * conv.in_channels);
    let filtering = matrices.filtering;
    // A row of places at once: each alone would read all of the weight again.
    threads::for_each(matrices.places.chunks_exact_mut(filtering.span()), &|row, matrices: &mut [M]| {
        let mut transformed = Scratch::<f32>::new(filtering.span() * length);
        let values = &mut transformed[..];
        with_points!(filtering, points => isa.run(TransformFilter {
            points,
            weight,
            channels,
            row,
            pass,
            values,
        }));
        for (matrix, values) in matrices.iter_mut().zip(transformed.chunks_exact(length)) {
            match pass {
                Pass::Forward => pack(matrix, Right::Transposed(values)),
                Pass::InputGradient => {
                    pack(matrix, Right::Rows(&|depth| &values[depth * channels..][..channels]));
                }
            }
        }
    });
}

/// `output = epilogue(windows of input · matrices)`; `window` as for a direct product.
pub(crate) fn multiply<U: Unit, O: Element>(
    isa: Isa,
    unit: U,
    window: Window,
    input: &[U::Value],
    matrices: &Matrices<U::Matrix>,
    epilogue: Epilogue<'_, O>,
    output: &mut [O],
) {
    let (channels, tiling) = (output.len() / window.rows(), Tiling::new(matrices.filtering, window));
    let product =
        Product { isa, unit, tiling, channels, input, matrices: &matrices.places, epilogue: &epilogue };
    let tiling = &product.tiling;
    let strips = tiling.strips();
    let columns = channels.div_ceil(COLUMN_TASKS).next_multiple_of(BLOCK);
    if strips * tiling.across <= FEW_TILES && columns * COLUMN_TASKS <= channels {
        let mut moments = MomentParts::new(epilogue.moments.is_some().then_some(1), channels);
        product.multiply_by_columns(columns, moments.parts().next().flatten(), output);
        if let Some(wanted) = epilogue.moments {
            moments.combine(|_| tiling.pixels(0..strips), wanted);
        }
        return;
    }
    let even = strips.div_ceil(TASKS);
    let task_strips = piece_length(strips, (TASK_TILES / tiling.across).clamp(1, even));
    let task = |index: usize| index * task_strips..strips.min((index + 1) * task_strips);
    let tasks = strips.div_ceil(task_strips);
    let pixels = |index: usize| tiling.pixels(task(index));
    let mut rest = output;
    let outputs =
        (0..tasks).map(|index| rest.split_off_mut(..pixels(index) * channels).expect("room for every task"));
    let mut moments = MomentParts::new(epilogue.moments.is_some().then_some(tasks), channels);
    threads::for_each(outputs.zip(moments.parts()), &|index, (output, part)| {
        product.run(task(index), 0..channels, part, output)
    });
    if let Some(wanted) = epilogue.moments {
        moments.combine(pixels, wanted);
    }
}

/// The outputs of a window as tiles, strip after strip.
struct Tiling {
    filtering: Filtering,
    window: Window,
    /// Strips of an image.
    down: usize,
    /// Tiles of a strip.
    across: usize,
}

/// Some tiles of one strip.
struct Run {
    strip: usize,
    /// Of the strip.
    tiles: Range<usize>,
    /// Tiles before them, of those that were asked for.
    first: usize,
}

impl Tiling {
    fn new(filtering: Filtering, window: Window) -> Self {
        let [down, across] = window.grid.map(|length| length.div_ceil(filtering.side()));
        Self { filtering, window, down, across }
    }

    fn strips(&self) -> usize {
        self.window.batch * self.down
    }

    /// Image and first output row of a strip.
    fn position(&self, strip: usize) -> [usize; 2] {
        [strip / self.down, self.filtering.side() * (strip % self.down)]
    }

    /// Outputs before those of a strip.
    fn pixels_before(&self, strip: usize) -> usize {
        let ([image, row], [height, width]) = (self.position(strip), self.window.grid);
        (image * height + row) * width
    }

    /// Outputs of strips.
    fn pixels(&self, strips: Range<usize>) -> usize {
        self.pixels_before(strips.end) - self.pixels_before(strips.start)
    }

    /// Outputs of a run, down and across.
    fn shape(&self, run: &Run) -> [usize; 2] {
        let ([_, row], [height, width]) = (self.position(run.strip), self.window.grid);
        let side = self.filtering.side();
        [side.min(height - row), width.min(side * run.tiles.end) - side * run.tiles.start]
    }

    /// `tiles`, counted through all images, by strips.
    fn runs(&self, tiles: Range<usize>) -> impl Iterator<Item = Run> + use<> {
        let across = self.across;
        (tiles.start / across..tiles.end.div_ceil(across)).map(move |strip| {
            let first = tiles.start.max(strip * across);
            let end = tiles.end.min((strip + 1) * across);
            Run { strip, tiles: first - strip * across..end - strip * across, first: first - tiles.start }
        })
    }

    /// The pixels of `images` that a run sees, from the channel `first_channel` on.
    fn pixels_of<'a, E, const SPAN: usize>(
        &self,
        images: &'a [E],
        run: &Run,
        first_channel: usize,
    ) -> Pixels<'a, E, SPAN> {
        let Window { image: [height, width], channels, origin, .. } = self.window;
        let [image, row] = self.position(run.strip);
        let line = |tap: usize| {
            let y = (row + tap) as isize + origin[0];
            let is_inside = (0..height as isize).contains(&y);
            is_inside.then(|| &images[(image * height + y as usize) * width * channels + first_channel..])
        };
        Pixels {
            lines: std::array::from_fn(line),
            first: (self.filtering.side() * run.tiles.start) as isize + origin[1],
            width,
            distance: channels,
        }
    }
}

struct Product<'a, U: Unit, O> {
    isa: Isa,
    unit: U,
    tiling: Tiling,
    /// Of the output.
    channels: usize,
    input: &'a [U::Value],
    matrices: &'a [U::Matrix],
    epilogue: &'a Epilogue<'a, O>,
}

/// What a task writes to.
struct Output<'a, 'm, O> {
    values: &'a mut [O],
    /// Outputs before the task's.
    pixels_before: usize,
    /// Whole blocks.
    columns: Range<usize>,
    part: Option<PartMoments<'m>>,
}

impl<U: Unit, O: Element> Product<'_, U, O> {
    /// Tasks of all tiles and some columns each, put together afterwards.
    fn multiply_by_columns(&self, columns: usize, part: Option<PartMoments<'_>>, output: &mut [O]) {
        let (strips, channels) = (0..self.tiling.strips(), self.channels);
        let length = self.tiling.pixels(strips.clone()) * columns;
        let mut aside = Scratch::<O>::new(output.len());
        let parts = PartMoments::split(part, columns);
        threads::for_each(aside.chunks_mut(length).zip(parts), &|task, (output, part)| {
            self.run(strips.clone(), task * columns..(task + 1) * columns, part, output);
        });
        let copy = |part: &[O], output: &mut [O]| output.copy_from_slice(part);
        threads::join_columns(aside.chunks(length), columns, 0, output, channels, copy);
    }

    fn run(
        &self,
        strips: Range<usize>,
        columns: Range<usize>,
        part: Option<PartMoments<'_>>,
        values: &mut [O],
    ) {
        let depth = self.tiling.window.channels;
        let prepared = self.unit.prepare(depth);
        let (filtering, places) = (self.tiling.filtering, self.tiling.filtering.places());
        let tile_bytes = places * depth * size_of::<U::Value>();
        let longest = (CHUNK_BYTES / tile_bytes / BLOCK * BLOCK).clamp(BLOCK, CHUNK);
        let place = longest * depth + PAD;
        let mut transformed = Scratch::<U::Value>::new(places * place);
        let pixels_before = self.tiling.pixels_before(strips.start);
        let mut output = Output { values, pixels_before, columns, part };
        if let Some(part) = &mut output.part {
            part.start();
        }
        let first = strips.start * self.tiling.across;
        for chunk in pieces(strips.len() * self.tiling.across, longest) {
            let chunk = first + chunk.start..first + chunk.end;
            for run in self.tiling.runs(chunk.clone()) {
                with_points!(filtering, points => self.isa.run(TransformPixels {
                    points,
                    pixels: self.tiling.pixels_of(self.input, &run, 0),
                    channels: depth,
                    tiles: run.tiles.len(),
                    transformed: &mut transformed[run.first * depth..],
                    place,
                    tile: depth,
                }));
            }
            self.multiply_chunk(&prepared, chunk, &transformed, place, &mut output);
        }
    }

    /// Transformed tiles by all matrices, a block of both at a time.
    fn multiply_chunk(
        &self,
        prepared: &U::Prepared,
        chunk: Range<usize>,
        transformed: &[U::Value],
        place: usize,
        output: &mut Output<'_, '_, O>,
    ) {
        let depth = self.tiling.window.channels;
        let mut sums = Scratch::<f32>::new(self.matrices.len() * SUMS);
        for columns in output.columns.start / BLOCK..output.columns.end / BLOCK {
            for first in (0..chunk.len()).step_by(BLOCK) {
                let rows = BLOCK.min(chunk.len() - first);
                for (index, (matrix, sums)) in
                    self.matrices.iter().zip(sums.chunks_exact_mut(SUMS)).enumerate()
                {
                    let Some(sums) = sums.first_chunk_mut() else { continue };
                    let left = &transformed[index * place + first * depth..];
                    self.unit.multiply(prepared, left, rows, matrix, columns, sums);
                }
                let tiles = chunk.start + first..chunk.start + first + rows;
                self.finish_block(tiles, columns, &sums, output);
            }
        }
    }

    /// Takes the sums of a block of tiles to where they belong.
    fn finish_block(
        &self,
        tiles: Range<usize>,
        columns: usize,
        sums: &[f32],
        output: &mut Output<'_, '_, O>,
    ) {
        let (channels, columns) = (self.channels, columns * BLOCK..(columns + 1) * BLOCK);
        let (width, first) = (output.columns.len(), columns.start - output.columns.start);
        let (filtering, side) = (self.tiling.filtering, self.tiling.filtering.side());
        let mut lines = Scratch::<f32>::new(side * side * BLOCK * BLOCK);
        for run in self.tiling.runs(tiles) {
            let (sums, lines, tiles) = (&sums[run.first * BLOCK..], &mut lines[..], run.tiles.len());
            with_points!(filtering, points => self.isa.run(Inverse { points, sums, tiles, lines }));
            let [height, across] = self.tiling.shape(&run);
            for (row, line) in lines.chunks_exact(side * BLOCK * BLOCK).enumerate().take(height) {
                let pixel = self.tiling.pixels_before(run.strip)
                    + row * self.tiling.window.grid[1]
                    + side * run.tiles.start;
                let place = (pixel - output.pixels_before) * width + first;
                finish(
                    self.isa,
                    self.epilogue.activation,
                    line,
                    FinishBlock {
                        rows: across,
                        columns: BLOCK,
                        bias: self.epilogue.bias.map(|bias| &bias[columns.clone()]),
                        shortcut: self.epilogue.shortcut.map(|s| &s[pixel * channels + columns.start..]),
                        shortcut_pixel: channels,
                        part: output.part.as_mut().map(|part| part.channels(first..first + BLOCK)),
                        output: &mut output.values[place..],
                        pixel: width,
                    },
                );
            }
        }
    }
}

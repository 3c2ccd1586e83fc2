//! What a task of [`crate::tile_product`] does: finds the left operand's rows, and takes them block by block
//! through the panels and the epilogue.

use std::ops::Range;

use crate::band::Band;
use crate::block::{BLOCK, FinishBlock, Sums, finish};
use crate::element::{Bf16, Element};
use crate::epilogue::PartMoments;
use crate::scratch::{Room, Scratch};
use crate::simd::tiles::{FinishRows, First, Operand, STEP, Shape, Steps, TILE, TileBlock, TileUnit, Tiles};
use crate::tile_pack::TilePanel;
use crate::tile_product::{Job, SMALL_WEIGHTS, TASK_BYTES, Target, TileProduct};
use crate::unroll::Unroll;

/// Bytes of the rows that stay in the first-level cache while they meet one panel after the other.
const ROW_BYTES: usize = 16 << 10;
/// Depth up to which writing the output costs more than reading the panels again.
const SHORT_DEPTH: usize = 96;
/// Rows of such a depth that meet a panel at once on units that take more than a block: eight groups of as many as registers hold
/// (`benchmarks/LOG.md`, 2026-11-30).
const SHORT_ROWS: usize = 96;
/// Windows of a band that meet a panel at once.
const BAND_ROWS: usize = 128;

/// Where a product's left operand is.
pub(crate) enum Source<'a> {
    /// The images themselves.
    Images,
    Band(Band<'a>),
    /// Windows of that padded depth, written out from the band or from the images.
    Unrolled(usize, Option<Band<'a>>),
}

/// Rows of the left operand: the windows of one image, row after row.
pub(crate) struct Rows<'a> {
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
pub(crate) struct Output<'a, 'm, O> {
    pub(crate) values: &'a mut [O],
    /// Where sums go in `values`, counted from the task's first image and line.
    pub(crate) target: Target,
    pub(crate) first_image: usize,
    pub(crate) first_line: usize,
    pub(crate) columns: Range<usize>,
    pub(crate) part: Option<PartMoments<'m>>,
}

impl<O: Element> Job<'_, O> {
    pub(crate) fn run_product(
        &self,
        tiles: &Tiles,
        product: &TileProduct<'_>,
        images: Range<usize>,
        lines: Range<usize>,
        output: &mut Output<'_, '_, O>,
    ) {
        let room = Room::new();
        match product.source(self.unit, lines.len()) {
            Source::Images => {
                let steps = Steps::of_depth(product.window.channels);
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
                let units = room.list(images.map(rows));
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
                let units = room.list(images.zip(bands.chunks_exact(band.length())).map(rows));
                self.multiply_units(tiles, product, 0, &units, BAND_ROWS, output);
            }
            Source::Unrolled(padded, band) => {
                let depth = if self.unit.loads_whole_tiles() { padded } else { product.panels[0].depth };
                let steps = Steps::of_depth(depth);
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
        let columns = output.columns.clone();
        let wanted = |panel: &TilePanel<'_>| group > 0 || columns.contains(&panel.first_column);
        let first_column = group * panels.columns;
        // On cache lines: tiles that straddle them are stored at half the speed.
        let mut sums = Scratch::<f32>::new(BLOCK * BLOCK);
        let Some(sums) = sums.first_chunk_mut() else { return };
        if panels.bytes() > SMALL_WEIGHTS {
            for panel in panels.panels().filter(wanted) {
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
        // Few products a value: then the output sets the pace, and wants to be written from end to end.
        let short = if self.unit.loads_whole_tiles() { BLOCK } else { SHORT_ROWS };
        let chunk = if panels.padded_depth() <= SHORT_DEPTH { short } else { chunk };
        for rows in units {
            for first in (0..rows.count).step_by(chunk) {
                let range = first..rows.count.min(first + chunk);
                for panel in panels.panels().filter(wanted) {
                    self.multiply_rows(
                        tiles,
                        product,
                        rows,
                        range.clone(),
                        panel,
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
        let place = Place::new(product, rows, panel, first_column + panel.first_column);
        let mut first = range.start;
        while first < range.end {
            if !self.unit.loads_whole_tiles() {
                let Some(run) = place.next_run(&(first..range.end)) else { break };
                first = run.start;
                let block = place.block(&rows.values[first * rows.distance..], run.len());
                let finish = self.in_registers(self.target(&place, run, output));
                let done = finish.map_or(0, |finish| tiles.multiply_and_finish(block, sums, finish));
                if done > 0 {
                    first += done;
                    continue;
                }
            }
            let mut values = &rows.values[first * rows.distance..];
            let count = BLOCK.min(range.end - first);
            let needed = count.next_multiple_of(TILE) * rows.distance;
            let copy;
            if self.unit.loads_whole_tiles() && product.source_is_images(self.unit) && values.len() < needed {
                copy = with_zeros(values, needed);
                values = &copy;
            }
            tiles.multiply(place.block(values, count), First::Zero, sums);
            let mut rest = first..first + count;
            while let Some(run) = place.next_run(&rest) {
                rest.start = run.end;
                let sums = &sums[(run.start - first) * BLOCK..];
                finish(self.isa, self.epilogue.activation, sums, self.target(&place, run, output));
            }
            first += count;
        }
    }

    /// Where the sums of a run of rows go.
    fn target<'o>(
        &'o self,
        place: &Place<'_>,
        run: Range<usize>,
        output: &'o mut Output<'_, '_, O>,
    ) -> FinishBlock<'o, 'o, O> {
        let Place { product, rows, panel, channel, pitch, .. } = place;
        let columns = *channel..channel + panel.columns;
        let own = columns.start - output.columns.start..columns.end - output.columns.start;
        let position = [rows.line + run.start / pitch, run.start % pitch];
        let local = [position[0] - output.first_line, position[1]];
        let first = output.target.place(rows.image - output.first_image, local) + own.start;
        let shortcut = self.epilogue.shortcut;
        FinishBlock {
            rows: run.len(),
            columns: panel.columns,
            bias: self.epilogue.bias.map(|bias| &bias[columns]),
            shortcut: shortcut.map(|s| &s[product.target.place(rows.image, position) + channel..]),
            shortcut_pixel: product.target.pixel,
            part: output.part.as_mut().map(|part| part.channels(own)),
            output: &mut output.values[first..],
            pixel: output.target.pixel,
        }
    }

    /// The same for a unit that finishes sums in its registers: of bf16.
    fn in_registers<'o>(&self, block: FinishBlock<'o, 'o, O>) -> Option<FinishRows<'o>> {
        Some(FinishRows {
            activation: self.epilogue.activation,
            columns: block.columns,
            bias: block.bias,
            shortcut: block.shortcut.and_then(O::as_bf16),
            shortcut_pixel: block.shortcut_pixel,
            output: O::as_bf16_mut(block.output)?,
            pixel: block.pixel,
            part: block.part,
        })
    }
}

/// Rows of a product, and the columns of a panel.
struct Place<'a> {
    product: &'a TileProduct<'a>,
    rows: &'a Rows<'a>,
    panel: TilePanel<'a>,
    /// First of the panel.
    channel: usize,
    /// Rows from a line to the next, and those of them that are windows.
    pitch: usize,
    width: usize,
}

impl<'a> Place<'a> {
    fn new(product: &'a TileProduct<'a>, rows: &'a Rows<'a>, panel: TilePanel<'a>, channel: usize) -> Self {
        let width = product.grid[1];
        // Lines that follow each other without a gap are one.
        let is_one_line = rows.pitch == width && product.target.line == width * product.target.pixel;
        let [pitch, width] = if is_one_line { [rows.count; 2] } else { [rows.pitch, width] };
        Self { product, rows, panel, channel, pitch, width }
    }

    /// The product of `count` rows, whose values these are.
    fn block<'b>(&'b self, values: &'b [Bf16], count: usize) -> TileBlock<'b> {
        TileBlock {
            left: Operand { values, row: self.rows.distance, second: TILE * self.rows.distance },
            right: self.panel.right,
            steps: self.rows.steps,
            shape: Shape { rows: count, across: self.panel.tiles },
        }
    }

    /// The first windows among `rows`, as far as they lie side by side.
    fn next_run(&self, rows: &Range<usize>) -> Option<Range<usize>> {
        let x = rows.start % self.pitch;
        let (start, before) = if x < self.width { (rows.start, x) } else { (rows.start - x + self.pitch, 0) };
        let end = rows.end.min(start - before + self.width);
        (start < rows.end).then_some(start..end)
    }
}

impl TileProduct<'_> {
    fn source_is_images(&self, unit: TileUnit) -> bool {
        let step = if unit.loads_whole_tiles() { STEP } else { 2 };
        self.window.is_pointwise() && self.window.channels.is_multiple_of(step) && self.panels.len() == 1
    }

    /// The left operand of `lines` lines.
    pub(crate) fn source(&self, unit: TileUnit, lines: usize) -> Source<'_> {
        if self.source_is_images(unit) {
            return Source::Images;
        }
        let depth = self.panels[0].padded_depth();
        match Band::new(&self.window, lines).filter(|_| !self.is_flat) {
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

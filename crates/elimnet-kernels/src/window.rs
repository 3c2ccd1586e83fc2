//! Patches of images as rows of a matrix: what a convolution sees through its window.
//!
//! Nothing is expanded as a whole: a task asks for the rows and columns that it is about to multiply, and
//! gets them in a buffer that stays in cache.

use std::ops::Range;

use crate::precision::Convert;

/// A grid of window positions over a batch of channels-last images. Row `((n · grid_height) + y) ·
/// grid_width + x` of the matrix is the window there; its columns are `[tap_y, tap_x, channel]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) batch: usize,
    /// Window positions: rows, columns.
    pub(crate) grid: [usize; 2],
    /// Image height and width.
    pub(crate) image: [usize; 2],
    /// Channels of the image.
    pub(crate) channels: usize,
    /// Channels that the window sees, from the first one that `gather` is given.
    pub(crate) group_channels: usize,
    pub(crate) taps: [usize; 2],
    pub(crate) stride: [usize; 2],
    /// Image position of the first tap of the first window; negative in the padding.
    pub(crate) origin: [isize; 2],
}

impl Window {
    pub(crate) fn rows(&self) -> usize {
        self.batch * self.grid[0] * self.grid[1]
    }

    pub(crate) fn columns(&self) -> usize {
        self.taps[0] * self.taps[1] * self.group_channels
    }

    /// Whether the matrix is the image itself.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.taps == [1, 1] && self.stride == [1, 1] && self.origin == [0, 0] && self.grid == self.image
    }

    /// One long row of pixels, where that is the same: fewer, longer copies.
    pub(crate) fn flattened(self) -> Self {
        if !self.is_pointwise() {
            return self;
        }
        let line = [1, self.rows()];
        Self { batch: 1, grid: line, image: line, ..self }
    }

    /// Writes the matrix's `rows` and `columns` into `patches`, `stride` apart.
    pub(crate) fn gather<E: Convert<T>, T: Copy + Default>(
        &self,
        images: &[E],
        first_channel: usize,
        rows: Range<usize>,
        columns: Range<usize>,
        patches: &mut [T],
        stride: usize,
    ) {
        let mut written = 0;
        for run in self.runs(columns) {
            let mut row = rows.start;
            while row < rows.end {
                let x = row % self.grid[1];
                let line = row / self.grid[1];
                let count = (self.grid[1] - x).min(rows.end - row);
                let patches = &mut patches[(row - rows.start) * stride + written..];
                self.gather_line(images, first_channel, &run, line, x..x + count, patches, stride);
                row += count;
            }
            written += run.values.len();
        }
    }

    /// `columns` as stretches that are contiguous in an image row.
    fn runs(&self, columns: Range<usize>) -> impl Iterator<Item = Run> + use<> {
        let merged = if self.group_channels == self.channels { self.taps[1] } else { 1 };
        let length = merged * self.group_channels;
        let across = self.taps[1] / merged;
        (columns.start / length..columns.end.div_ceil(length)).map(move |run| {
            let first = columns.start.max(run * length) - run * length;
            let last = columns.end.min((run + 1) * length) - run * length;
            Run { tap: [run / across, run % across * merged], values: first..last }
        })
    }

    /// One run of the windows `xs` of one grid line.
    #[allow(clippy::too_many_arguments)] // all of it is the position in the two arrays
    fn gather_line<E: Convert<T>, T: Copy + Default>(
        &self,
        images: &[E],
        first_channel: usize,
        run: &Run,
        line: usize,
        xs: Range<usize>,
        patches: &mut [T],
        stride: usize,
    ) {
        let [image, y] = [line / self.grid[0], line % self.grid[0]];
        let source_y = (y * self.stride[0] + run.tap[0]) as isize + self.origin[0];
        let length = run.values.len();
        if source_y < 0 || source_y >= self.image[0] as isize {
            for patch in patches.chunks_mut(stride).take(xs.len()) {
                patch[..length].fill(T::default());
            }
            return;
        }
        let row_length = self.image[1] * self.channels;
        let source = &images[(image * self.image[0] + source_y as usize) * row_length..][..row_length];
        // Window x starts `x · step + base` values into `source`.
        let step = (self.stride[1] * self.channels) as isize;
        let base = (run.tap[1] as isize + self.origin[1]) * self.channels as isize
            + (first_channel + run.values.start) as isize;
        let last_start = row_length as isize - length as isize - base;
        let inside_end = if last_start < 0 { 0 } else { (last_start / step) as usize + 1 };
        let inside_start = if base >= 0 { 0 } else { (-base as usize).div_ceil(step as usize) };
        let inside_start = inside_start.clamp(xs.start, xs.end);
        let inside_end = inside_end.clamp(inside_start, xs.end);
        for x in (xs.start..inside_start).chain(inside_end..xs.end) {
            let patch = &mut patches[(x - xs.start) * stride..][..length];
            copy_clipped(source, x as isize * step + base, patch);
        }
        if inside_start < inside_end {
            let source = &source[(inside_start as isize * step + base) as usize..];
            let patches = &mut patches[(inside_start - xs.start) * stride..];
            copy_rows(source, step as usize, patches, stride, inside_end - inside_start, length);
        }
    }
}

/// Columns of one window row that lie side by side in the image.
struct Run {
    tap: [usize; 2],
    /// Values, counted from the first channel of `tap`.
    values: Range<usize>,
}

/// Copies `target.len()` values from `start`, zeros where `source` has none.
fn copy_clipped<E: Convert<T>, T: Copy + Default>(source: &[E], start: isize, target: &mut [T]) {
    let before = start.min(0).unsigned_abs().min(target.len());
    let first = start.max(0) as usize;
    let count = source.len().saturating_sub(first).min(target.len() - before);
    target[..before].fill(T::default());
    target[before + count..].fill(T::default());
    if count > 0 {
        convert_row(&source[first..first + count], &mut target[before..before + count]);
    }
}

/// Copies `count` rows of `length` values; short rows as two pieces that may overlap, as a library call each would cost more.
fn copy_rows<E: Convert<T>, T: Copy>(
    source: &[E],
    source_stride: usize,
    target: &mut [T],
    target_stride: usize,
    count: usize,
    length: usize,
) {
    for row in 0..count {
        let source = &source[row * source_stride..][..length];
        let target = &mut target[row * target_stride..][..length];
        match length {
            4..8 => copy_ends::<E, T, 4>(source, target),
            8..16 => copy_ends::<E, T, 8>(source, target),
            16..32 => copy_ends::<E, T, 16>(source, target),
            _ => convert_row(source, target),
        }
    }
}

/// Copies the first and the last `COUNT` values.
fn copy_ends<E: Convert<T>, T: Copy, const COUNT: usize>(source: &[E], target: &mut [T]) {
    if let (Some(first), Some(last)) = (source.first_chunk::<COUNT>(), source.last_chunk::<COUNT>()) {
        let (first, last) = (first.map(E::convert), last.map(E::convert));
        target[..COUNT].copy_from_slice(&first);
        target[source.len() - COUNT..].copy_from_slice(&last);
    }
}

fn convert_row<E: Convert<T>, T>(source: &[E], target: &mut [T]) {
    for (target, source) in target.iter_mut().zip(source) {
        *target = (*source).convert();
    }
}

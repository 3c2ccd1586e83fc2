//! Where the windows of a depthwise convolution are, and which tiles cover them.

use super::taps::{Spread, Taps};
use super::tile::ROWS;
use crate::conv2d::Conv2d;
use crate::simd::Simd;

/// How far ahead memory is asked, in values of a row, of the source or the output, whichever has more.
const VALUES_AHEAD: usize = 2048;
/// The most tiles ahead: the fewer channels, the sooner they are done.
const TILES_AHEAD: usize = 8;

/// Where the windows are: output `(y, x)` sees the source from `(step(y) − top, step(x) − left)` on.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) channels: usize,
    /// Height and width of the source.
    pub(crate) source: [usize; 2],
    /// Height and width of the output.
    pub(crate) output: [usize; 2],
    top: usize,
    left: usize,
}

impl Window {
    pub(crate) fn forward(conv: &Conv2d) -> Self {
        Self {
            channels: conv.in_channels,
            source: [conv.in_height, conv.in_width],
            output: [conv.out_height(), conv.out_width()],
            top: conv.padding.top,
            left: conv.padding.left,
        }
    }

    /// From the output gradient to the input's: with stride 1 through windows turned around ([`Slide`]), with stride 2 through
    /// [`Spread`]. `None` with other strides, with more padding than the window has, and with stride 2 where its parity isn't
    /// the one that [`Spread`] is made for.
    ///
    /// [`Slide`]: super::taps::Slide
    pub(crate) fn backward<const KERNEL: usize>(conv: &Conv2d) -> Option<Self> {
        let distance = |padding: usize| match conv.stride {
            [1, 1] => (KERNEL - 1).checked_sub(padding),
            [2, 2] => {
                let twice = Spread::<KERNEL>::FARTHEST.checked_sub(padding)?;
                twice.is_multiple_of(2).then_some(twice / 2)
            }
            _ => None,
        };
        let (top, left) = (distance(conv.padding.top)?, distance(conv.padding.left)?);
        let forward = Self::forward(conv);
        Some(Self { source: forward.output, output: forward.source, top, left, ..forward })
    }

    pub(crate) fn source_row(&self) -> usize {
        self.source[1] * self.channels
    }

    pub(crate) fn output_row(&self) -> usize {
        self.output[1] * self.channels
    }

    /// Output rows of a task; those of one image, in even pieces of whole tiles.
    pub(crate) fn task_rows(&self, values: usize) -> usize {
        let height = self.output[0].max(1);
        let wanted = (values / self.output_row().max(1)).clamp(ROWS, height.max(ROWS));
        height.div_ceil(height.div_ceil(wanted)).next_multiple_of(ROWS).min(height)
    }

    /// Corners of the tiles of `pixels` columns that cover output rows `from..to`, in their order.
    pub(crate) fn tiles(
        &self,
        pixels: usize,
        from: usize,
        to: usize,
    ) -> impl Iterator<Item = [usize; 2]> + use<> {
        let width = self.output[1];
        (from..to).step_by(ROWS).flat_map(move |y| (0..width).step_by(pixels).map(move |x| [y, x]))
    }

    /// The first source pixel that the tile at `corner` sees.
    pub(crate) fn first<T: Taps>(&self, [y, x]: [usize; 2]) -> [isize; 2] {
        [T::step(y) as isize - self.top as isize, T::step(x) as isize - self.left as isize]
    }

    /// Columns from a tile of `pixels` columns to the one that memory is asked for.
    pub(crate) fn ahead<T: Taps>(&self, pixels: usize) -> usize {
        let longest = pixels.max(T::step(pixels)) * self.channels;
        (VALUES_AHEAD / longest.max(1)).clamp(1, TILES_AHEAD) * pixels
    }
}

/// Where memory is that a tile to come needs: a tile reads dozens of places at once, which no prefetcher of the machine follows.
pub(crate) struct Next<I, O> {
    source: *const I,
    source_row: usize,
    output: *const O,
    output_row: usize,
}

impl<I, O> Next<I, O> {
    /// Of a tile `ahead` columns after the one that sees `image` from `(y, x)` on and whose outputs begin where `output` does.
    #[inline(always)]
    pub(crate) fn new<T: Taps>(
        window: &Window,
        image: &[I],
        [y, x]: [isize; 2],
        output: &[O],
        ahead: usize,
    ) -> Self {
        // Of what a tile sees, the tiles above saw all but the lowest rows.
        let y = y + (T::span(ROWS) - T::step(ROWS)) as isize;
        let first = (y * window.source[1] as isize + x) * window.channels as isize;
        Self {
            source: image.as_ptr().wrapping_offset(first).wrapping_add(T::step(ahead) * window.channels),
            source_row: window.source_row(),
            output: output.as_ptr().wrapping_add(ahead * window.channels),
            output_row: window.output_row(),
        }
    }

    /// Asks for a share of it with each register of a tile's channels, here the one from `first` on: all of it at once is more
    /// than the processor waits for at a time, and stops what comes after.
    #[inline(always)]
    pub(crate) fn prefetch<S: Simd, T: Taps>(&self, simd: S, pixels: usize, first: usize) {
        for row in 0..T::step(ROWS) {
            let start = row * self.source_row + first * T::step(pixels);
            simd.prefetch_lines(self.source.wrapping_add(start), S::LANES * T::step(pixels));
        }
        for row in 0..ROWS {
            let start = row * self.output_row + first * pixels;
            simd.prefetch_lines(self.output.wrapping_add(start), S::LANES * pixels);
        }
    }
}

//! Rows of an image with the zeros around them, laid out so that every tap of a window is one fixed distance
//! away, for all windows alike.
//!
//! With stride `s` the rows are sorted by their remainder of `s`: the rows that one tap sees then follow each
//! other. A row's zeros on the right are those on the left of the next row, so a row of 7 pixels takes 8. The
//! windows are walked flat, over the ends of the rows; the few sums there belong to no window.

use std::ops::Range;

use crate::block::BLOCK;
use crate::element::Bf16;
use crate::isa::Isa;
use crate::scratch::Scratch;
use crate::simd::tiles::{STEP, Steps};
use crate::unroll::Unroll;
use crate::window::Window;

/// How a band of window rows lies.
pub(crate) struct Band<'a> {
    window: &'a Window,
    /// Pixels from a row to the next; a multiple of the stride across.
    pitch: usize,
    /// Zeros before a row's first pixel.
    left: usize,
    /// Window rows.
    lines: usize,
}

impl<'a> Band<'a> {
    /// For `lines` rows of windows that see all channels.
    pub(crate) fn new(window: &'a Window, lines: usize) -> Option<Self> {
        let Window { grid, image, taps, stride, origin, .. } = *window;
        if window.group_channels != window.channels {
            return None;
        }
        let left = origin[1].min(0).unsigned_abs();
        let reach = (grid[1] - 1) * stride[1] + taps[1];
        let pixels = Self::pixels(image[1], origin[1], reach);
        let pitch = reach.saturating_sub(left).max(left + pixels).max(grid[1] * stride[1]);
        Some(Self { window, pitch: pitch.next_multiple_of(stride[1]), left, lines })
    }

    /// Pixels of an image row that windows of that reach see.
    fn pixels(width: usize, origin: isize, reach: usize) -> usize {
        let end = (origin + reach as isize).clamp(0, width as isize) as usize;
        end - origin.max(0).min(end as isize) as usize
    }

    /// Windows in a row, with those at its end that are none.
    pub(crate) fn windows_in_a_row(&self) -> usize {
        self.pitch / self.window.stride[1]
    }

    /// Positions that are walked for all lines, with those that are no windows.
    pub(crate) fn positions(&self) -> usize {
        (self.lines - 1) * self.windows_in_a_row() + self.window.grid[1]
    }

    /// Values from a window to the next.
    pub(crate) fn window_distance(&self) -> usize {
        self.window.stride[1] * self.window.channels
    }

    /// Image rows that the taps of a remainder see.
    fn rows(&self, remainder: usize) -> usize {
        match self.window.taps[0].checked_sub(remainder + 1) {
            Some(others) => self.lines + others / self.window.stride[0],
            None => 0,
        }
    }

    /// Image rows before those of a remainder.
    fn rows_before(&self, remainder: usize) -> usize {
        (0..remainder).map(|remainder| self.rows(remainder)).sum()
    }

    /// Values of the band, and behind them what a last block of windows may load.
    pub(crate) fn length(&self) -> usize {
        let rows = self.rows_before(self.window.stride[0]);
        (rows * self.pitch + self.left + (BLOCK + 1) * self.window.stride[1] + self.window.taps[1])
            * self.window.channels
    }

    /// Pixels that filling writes.
    pub(crate) fn pixels_filled(&self) -> usize {
        self.rows_before(self.window.stride[0]) * self.pitch + self.left
    }

    /// Whether tiles can be loaded from the band itself: the channels fill whole steps.
    pub(crate) fn fills_steps(&self) -> bool {
        self.window.channels.is_multiple_of(STEP)
    }

    /// Where the taps of each row of a window start, from the window's first value on.
    pub(crate) fn runs(&self) -> Scratch<usize> {
        let Window { taps, stride, channels, .. } = *self.window;
        let row = |tap: usize| self.rows_before(tap % stride[0]) + tap / stride[0];
        Scratch::of((0..taps[0]).map(|tap| row(tap) * self.pitch * channels))
    }

    /// The steps of a window's sum, over `[tap_y, tap_x, channel]`.
    pub(crate) fn steps(&self) -> Steps {
        let length = self.window.taps[1] * self.window.channels;
        let runs = self.runs();
        Steps::of_panel(runs.iter().flat_map(|&first| (first..first + length).step_by(STEP)))
    }

    /// Writes the band of the window rows from `line` on.
    pub(crate) fn fill(&self, image: &[Bf16], line: usize, band: &mut [Bf16]) {
        self.fill_channels(image, line, 0..self.window.channels, band);
    }

    /// Writes the windows of some of the band's lines out, one after the other, `padded` apart.
    pub(crate) fn unroll(
        &self,
        isa: Isa,
        band: &[Bf16],
        lines: Range<usize>,
        unrolled: &mut [Bf16],
        padded: usize,
    ) {
        let windows = self.window.grid[1];
        let runs = self.runs();
        for (target, line) in unrolled.chunks_mut(windows * padded).zip(lines) {
            isa.run(Unroll {
                source: &band[line * self.pitch * self.window.channels..],
                distance: self.window_distance(),
                windows,
                runs: &runs,
                length: self.window.taps[1] * self.window.channels,
                target,
                padded,
            });
        }
    }

    /// As [`Band::fill`], of some channels alone, next to each other.
    pub(crate) fn fill_channels(
        &self,
        image: &[Bf16],
        line: usize,
        channels: Range<usize>,
        band: &mut [Bf16],
    ) {
        let stride = self.window.stride[0];
        let mut rows = band.chunks_exact_mut(self.pitch * channels.len());
        for remainder in 0..stride {
            for row in 0..self.rows(remainder) {
                let y = ((line + row) * stride + remainder) as isize + self.window.origin[0];
                self.fill_row(image, y, channels.clone(), rows.next().expect("room for every row"));
            }
        }
        let end = self.rows_before(stride) * self.pitch * channels.len();
        band[end..end + self.left * channels.len()].fill(Bf16::ZERO);
    }

    fn fill_row(&self, image: &[Bf16], y: isize, channels: Range<usize>, row: &mut [Bf16]) {
        let Window { image: [height, width], origin, grid, taps, stride, .. } = *self.window;
        if y < 0 || y >= height as isize {
            return row.fill(Bf16::ZERO);
        }
        let pixels = Self::pixels(width, origin[1], (grid[1] - 1) * stride[1] + taps[1]);
        let first = (origin[1].max(0) as usize).min(width - pixels);
        let all = self.window.channels;
        let source = &image[(y as usize * width + first) * all..][..pixels * all];
        let (left, rest) = row.split_at_mut(self.left * channels.len());
        let (inside, right) = rest.split_at_mut(pixels * channels.len());
        left.fill(Bf16::ZERO);
        right.fill(Bf16::ZERO);
        if channels.len() == all {
            return inside.copy_from_slice(source);
        }
        for (inside, source) in inside.chunks_exact_mut(channels.len()).zip(source.chunks_exact(all)) {
            inside.copy_from_slice(&source[channels.clone()]);
        }
    }
}

//! Where the windows of a depthwise convolution are, and which tiles cover them.

use std::ops::Range;

use super::tile::{PIXELS, ROWS, Source, padded, span};
use crate::conv2d::Conv2d;
use crate::element::Element;
use crate::scratch::Scratch;
use crate::simd::Simd;

/// How far ahead memory is asked, in output values of a row: a tile reads 24 places at once, which no prefetcher
/// of the machine follows.
const VALUES_AHEAD: usize = 2048;
/// Channels of a patch at once, which stay in the nearest caches.
const PATCH_CHANNELS: usize = 128;

/// Where the windows are: output `(y, x)` sees the source from `(y · stride − top, x · stride − left)` on.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) channels: usize,
    /// Height and width of the source.
    pub(crate) source: [usize; 2],
    /// Height and width of the output.
    pub(crate) output: [usize; 2],
    pub(crate) top: usize,
    pub(crate) left: usize,
    /// Output values of a row between a tile and the one that memory is asked for.
    ahead: usize,
}

/// How many tiles ahead memory is asked for what comes from it: the fewer channels, the sooner they are done.
fn tiles_ahead(channels: usize) -> usize {
    (VALUES_AHEAD / (PIXELS * channels.max(1))).clamp(1, 8)
}

impl Window {
    pub(crate) fn forward(conv: &Conv2d) -> Self {
        Self {
            channels: conv.in_channels,
            source: [conv.in_height, conv.in_width],
            output: [conv.out_height(), conv.out_width()],
            top: conv.padding.top,
            left: conv.padding.left,
            ahead: tiles_ahead(conv.in_channels) * PIXELS * conv.in_channels,
        }
    }

    /// From the output gradient to the input's; `None` with a stride or more padding than the window has.
    pub(crate) fn input_gradient(conv: &Conv2d) -> Option<Self> {
        let forward = Self::forward(conv);
        let top = (conv.kernel[0] - 1).checked_sub(conv.padding.top)?;
        let left = (conv.kernel[1] - 1).checked_sub(conv.padding.left)?;
        let turned = Self { source: forward.output, output: forward.source, top, left, ..forward };
        (conv.stride == [1, 1]).then_some(turned)
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

    /// Corners of the tiles that cover output rows `from..to`, in their order.
    pub(crate) fn tiles(&self, from: usize, to: usize) -> impl Iterator<Item = [usize; 2]> + use<> {
        let width = self.output[1];
        (from..to).step_by(ROWS).flat_map(move |y| (0..width).step_by(PIXELS).map(move |x| [y, x]))
    }

    /// First source value of a tile that is wholly inside image and output, and of whose last pixels whole registers
    /// of `lanes` can be loaded; `None` for others.
    #[inline(always)]
    pub(crate) fn inside(
        &self,
        [y, x]: [usize; 2],
        to: usize,
        kernel: usize,
        stride: usize,
        lanes: usize,
    ) -> Option<usize> {
        let first_y = (y * stride).checked_sub(self.top)?;
        let first_x = (x * stride).checked_sub(self.left)?;
        let fits = y + ROWS <= to
            && x + PIXELS <= self.output[1]
            && first_y + span(ROWS, kernel, stride) <= self.source[0]
            && first_x + span(PIXELS, kernel, stride) <= self.source[1];
        let first = (first_y * self.source[1] + first_x) * self.channels;
        let rows = first + (span(ROWS, kernel, stride) - 1) * self.source_row();
        let loaded = rows + self.loaded(span(PIXELS, kernel, stride), lanes);
        (fits && loaded <= self.source[0] * self.source_row()).then_some(first)
    }

    /// Values that whole registers of `lanes` touch in `pixels` neighbouring pixels.
    #[inline(always)]
    pub(crate) fn loaded(&self, pixels: usize, lanes: usize) -> usize {
        (pixels - 1) * self.channels + self.channels.next_multiple_of(lanes)
    }

    /// Asks for what a tile ahead of the one at `first` sees and the tiles above did not: its lowest rows.
    #[inline(always)]
    pub(crate) fn prefetch<S: Simd, E: Element>(
        &self,
        simd: S,
        image: &[E],
        first: usize,
        kernel: usize,
        stride: usize,
    ) {
        let length = PIXELS * stride * self.channels;
        let seen = span(ROWS, kernel, stride) - ROWS * stride;
        for row in seen..span(ROWS, kernel, stride) {
            let start = first + row * self.source_row() + self.ahead * stride;
            simd.prefetch_lines(image.as_ptr().wrapping_add(start), length);
        }
    }

    /// The same of the output's rows, which `output` holds from the tile's first value on.
    #[inline(always)]
    pub(crate) fn prefetch_output<S: Simd, E: Element>(&self, simd: S, output: &[E]) {
        for row in 0..ROWS {
            let start = row * self.output_row() + self.ahead;
            simd.prefetch_lines(output.as_ptr().wrapping_add(start), PIXELS * self.channels);
        }
    }

    /// Channels that a tile takes at once: all of them, or those of a patch.
    pub(crate) fn blocks(&self, are_patches: bool) -> impl Iterator<Item = Range<usize>> + use<> {
        let channels = self.channels;
        let step = if are_patches { PATCH_CHANNELS } else { channels };
        (0..channels).step_by(step).map(move |first| first..channels.min(first + step))
    }

    /// Room for [`Window::copy_patch`] of any block; zeros, which stay where no channel is.
    pub(crate) fn patch<E: Element>(&self, kernel: usize, stride: usize) -> Scratch<E> {
        let pixels = span(ROWS, kernel, stride) * span(PIXELS, kernel, stride);
        Scratch::filled(pixels * padded(self.channels.min(PATCH_CHANNELS)), E::ZERO)
    }

    /// Copies what a tile sees of some channels of `image` to `patch`, zeros where there is no image; gives the tile's source. A
    /// corner's blocks of channels come in their order.
    pub(crate) fn copy_patch<'p, E: Element>(
        &self,
        [y, x]: [usize; 2],
        [kernel, stride]: [usize; 2],
        channels: &Range<usize>,
        image: &[E],
        patch: &'p mut [E],
    ) -> Source<'p, E> {
        let (columns, pixel) = (span(PIXELS, kernel, stride), padded(self.channels.min(PATCH_CHANNELS)));
        // The zeros of the first block's patch are still there.
        let is_first = channels.start == 0;
        let row = columns * pixel;
        for (tap_y, patch) in patch.chunks_exact_mut(row).take(span(ROWS, kernel, stride)).enumerate() {
            let Some(y) = (y * stride + tap_y).checked_sub(self.top).filter(|y| *y < self.source[0]) else {
                if is_first {
                    patch.fill(E::ZERO);
                }
                continue;
            };
            let image = &image[y * self.source_row()..][..self.source_row()];
            for (tap_x, patch) in patch.chunks_exact_mut(pixel).enumerate() {
                let x = (x * stride + tap_x).checked_sub(self.left).filter(|x| *x < self.source[1]);
                match x {
                    Some(x) => patch[..channels.len()]
                        .copy_from_slice(&image[x * self.channels..][channels.start..channels.end]),
                    None if is_first => patch.fill(E::ZERO),
                    None => {}
                }
            }
        }
        Source { values: patch, row, pixel }
    }

    /// Copies a tile of some channels of an output-shaped `image` to `patch`, zeros from the row and column `end` on.
    pub(crate) fn copy_outputs<'p, E: Element>(
        &self,
        [y, x]: [usize; 2],
        end: [usize; 2],
        channels: &Range<usize>,
        image: &[E],
        patch: &'p mut [E],
    ) -> Source<'p, E> {
        let pixel = padded(channels.len());
        for (index, patch) in patch.chunks_exact_mut(pixel).take(ROWS * PIXELS).enumerate() {
            let (y, x) = (y + index / PIXELS, x + index % PIXELS);
            if y < end[0] && x < end[1] {
                let values =
                    &image[y * self.output_row() + x * self.channels..][channels.start..channels.end];
                patch[..channels.len()].copy_from_slice(values);
            } else {
                patch.fill(E::ZERO);
            }
        }
        Source { values: patch, row: PIXELS * pixel, pixel }
    }
}

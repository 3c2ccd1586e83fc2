//! Windows of 3x3 and 5x5 in tiles of two rows of four output pixels.
//!
//! A tile loads (and widens) each source value once for all of its sums that see it: 24 loads for the 72
//! products of a 3x3 tile. It walks through the channels in the inner loop, so that source and output are
//! read and written in their order. Tiles that reach over the image's edge take their source from a small
//! copy with zeros around it; so do those that are cut off by the output's edge, and store less.
//!
//! Loads are always of whole registers, which hold values of the next pixel where the channels end. So that a tile is compiled once,
//! not once more for the last channels, weights and sums by channel have room for them ([`padded`]), and tiles at the
//! very end of an image are copied too.

use crate::activation::{AnyActivation, Function};
use crate::conv2d::Conv2d;
use crate::element::Element;
use crate::epilogue::Epilogue;
use crate::isa::Isa;
use crate::simd::{Kernel, MAX_LANES, Simd};
use crate::statistics::TaskMoments;
use crate::threads;

/// Output rows and columns of a tile.
pub(crate) const ROWS: usize = 2;
pub(crate) const PIXELS: usize = 4;
/// Source columns of the widest tile: 5x5, stride 2.
pub(crate) const MAX_COLUMNS: usize = (PIXELS - 1) * 2 + 5;
/// How far ahead memory is asked, in output values of a row: a tile reads 24 places at once, which no prefetcher
/// of the machine follows.
const VALUES_AHEAD: usize = 2048;
/// Output values of a task, about.
const TASK_VALUES: usize = 64 * 1024;

/// Source columns, or rows for `outputs` rows, that `outputs` outputs see.
pub(crate) const fn span(outputs: usize, kernel: usize, stride: usize) -> usize {
    (outputs - 1) * stride + kernel
}

/// Room for the values of `channels` channels in whole registers of any instruction set.
pub(crate) const fn padded(channels: usize) -> usize {
    channels.next_multiple_of(MAX_LANES)
}

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

    /// How many tiles ahead memory is asked for what comes from it: the fewer channels, the sooner they are done.
    #[inline(always)]
    pub(crate) fn tiles_ahead(&self) -> usize {
        (VALUES_AHEAD / (PIXELS * self.channels)).clamp(1, 8)
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
            let start = first + row * self.source_row() + self.tiles_ahead() * length;
            simd.prefetch(image.get(start..start + length).unwrap_or_default());
        }
    }

    /// The same of the output's rows, from its value `first` on.
    #[inline(always)]
    pub(crate) fn prefetch_output<S: Simd, E: Element>(&self, simd: S, output: &[E], first: usize) {
        let length = PIXELS * self.channels;
        for row in 0..ROWS {
            let start = first + row * self.output_row() + self.tiles_ahead() * length;
            simd.prefetch(output.get(start..start + length).unwrap_or_default());
        }
    }

    /// Room for [`Window::copy_patch`].
    pub(crate) fn patch<E: Element>(&self, kernel: usize, stride: usize) -> Vec<E> {
        let pixels = span(ROWS, kernel, stride) * span(PIXELS, kernel, stride);
        vec![E::ZERO; self.loaded(pixels, MAX_LANES)]
    }

    /// Copies what a tile sees of `image` to `patch`, zeros where there is no image.
    pub(crate) fn copy_patch<E: Element>(
        &self,
        [y, x]: [usize; 2],
        kernel: usize,
        stride: usize,
        image: &[E],
        patch: &mut [E],
    ) {
        let (channels, columns) = (self.channels, span(PIXELS, kernel, stride));
        let (patch, _) = patch.split_at_mut(span(ROWS, kernel, stride) * columns * channels);
        let first = (x * stride) as isize - self.left as isize;
        let inside = |x: isize| x.clamp(0, self.source[1] as isize) as usize;
        let (from, to) = (inside(first), inside(first + columns as isize));
        for (row, patch) in patch.chunks_exact_mut(columns * channels).enumerate() {
            patch.fill(E::ZERO);
            let Some(y) = (y * stride + row).checked_sub(self.top).filter(|y| *y < self.source[0]) else {
                continue;
            };
            let start = (from as isize - first).clamp(0, columns as isize) as usize * channels;
            let source = &image[y * self.source_row()..][from * channels..to * channels];
            patch[start..][..source.len()].copy_from_slice(source);
        }
    }
}

/// Writes the whole output; `weights` is `[taps, padded channels]`.
pub(crate) fn run<I: Element, O: Element, const KERNEL: usize, const STRIDE: usize>(
    isa: Isa,
    window: &Window,
    input: &[I],
    weights: &[f32],
    epilogue: Epilogue<'_, O>,
    output: &mut [O],
) {
    let channels = window.channels;
    let (image_in, image_out) =
        (window.source[0] * window.source_row(), window.output[0] * window.output_row());
    let (rows, mut bias) = (window.task_rows(TASK_VALUES), vec![0.0; padded(channels)]);
    if let Some(values) = epilogue.bias {
        bias[..channels].copy_from_slice(values);
    }
    let length = rows * window.output_row();
    let tasks: Vec<_> =
        output.chunks_mut(image_out).map(|output| output.chunks_mut(length)).enumerate().collect();
    let tasks = tasks.into_iter().flat_map(|(image, tasks)| tasks.enumerate().map(move |task| (image, task)));
    let run = |(image, (task, output)): (usize, (usize, &mut [O]))| {
        let first = image * image_out + task * length;
        let count = output.len();
        let mut sums = vec![0.0; if epilogue.moments.is_some() { 3 * padded(channels) } else { 0 }];
        isa.run(Tiles::<I, O, KERNEL, STRIDE> {
            window,
            input: &input[image * image_in..][..image_in],
            weights,
            bias: &bias,
            shortcut: epilogue.shortcut.map(|values| &values[first..][..count]),
            activation: AnyActivation(epilogue.activation),
            first_row: task * rows,
            output,
            sums: &mut sums,
        });
        TaskMoments::around_pivots(count / channels, channels, &sums)
    };
    let parts = threads::map(tasks.collect(), &run);
    if let Some(moments) = epilogue.moments {
        TaskMoments::combine(&parts, moments.mean, moments.variance);
    }
}

/// The tiles of a task: some rows of an image.
struct Tiles<'a, I, O, const KERNEL: usize, const STRIDE: usize> {
    window: &'a Window,
    /// The whole image.
    input: &'a [I],
    /// `[taps, padded channels]`
    weights: &'a [f32],
    /// By padded channel.
    bias: &'a [f32],
    shortcut: Option<&'a [O]>,
    activation: AnyActivation,
    first_row: usize,
    /// The task's rows.
    output: &'a mut [O],
    /// Pivots, sums of the distances to them and of their squares, by padded channel; empty where nobody asks.
    sums: &'a mut [f32],
}

impl<I: Element, O: Element, const KERNEL: usize, const STRIDE: usize> Kernel
    for Tiles<'_, I, O, KERNEL, STRIDE>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let (window, input) = (self.window, self.input);
        let rows = self.output.len() / window.output_row();
        let mut patch = window.patch::<I>(KERNEL, STRIDE);
        let to = self.first_row + rows;
        for corner in window.tiles(self.first_row, to) {
            let source = match window.inside(corner, to, KERNEL, STRIDE, S::LANES) {
                Some(first) => {
                    window.prefetch(simd, input, first, KERNEL, STRIDE);
                    let [y, x] = [corner[0] - self.first_row, corner[1]];
                    let output = y * window.output_row() + x * window.channels;
                    window.prefetch_output(simd, self.output, output);
                    Source { values: &input[first..], row: window.source_row() }
                }
                None => {
                    window.copy_patch(corner, KERNEL, STRIDE, input, &mut patch);
                    Source { values: &patch, row: span(PIXELS, KERNEL, STRIDE) * window.channels }
                }
            };
            for channel in (0..window.channels).step_by(S::LANES) {
                self.tile::<S>(simd, corner, source, channel);
            }
        }
    }
}

/// What a tile sees: its first value, and values from a row to the next.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a, E> {
    pub(crate) values: &'a [E],
    pub(crate) row: usize,
}

impl<I: Element, O: Element, const KERNEL: usize, const STRIDE: usize> Tiles<'_, I, O, KERNEL, STRIDE> {
    #[inline(always)]
    fn tile<S: Simd>(&mut self, simd: S, corner: [usize; 2], source: Source<'_, I>, channel: usize) {
        let (channels, padded) = (self.window.channels, padded(self.window.channels));
        let bias = simd.load(&self.bias[channel..]);
        let mut sums = [[bias; PIXELS]; ROWS];
        for source_row in 0..span(ROWS, KERNEL, STRIDE) {
            let values = &source.values[source_row * source.row + channel..];
            let mut columns = [bias; MAX_COLUMNS];
            for (index, column) in columns[..span(PIXELS, KERNEL, STRIDE)].iter_mut().enumerate() {
                *column = I::load(simd, &values[index * channels..]);
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let Some(tap_y) = source_row.checked_sub(row * STRIDE).filter(|tap| *tap < KERNEL) else {
                    continue;
                };
                for tap_x in 0..KERNEL {
                    let weights = simd.load(&self.weights[(tap_y * KERNEL + tap_x) * padded + channel..]);
                    for (pixel, sum) in sums.iter_mut().enumerate() {
                        *sum = simd.mul_add(columns[pixel * STRIDE + tap_x], weights, *sum);
                    }
                }
            }
        }
        self.finish::<S>(simd, corner, channel, sums);
    }

    /// Takes a tile's sums through the epilogue.
    #[inline(always)]
    fn finish<S: Simd>(
        &mut self,
        simd: S,
        [y, x]: [usize; 2],
        channel: usize,
        sums: [[S::Vector; PIXELS]; ROWS],
    ) {
        let channels = self.window.channels;
        let lanes = S::LANES.min(channels - channel);
        let first = (y - self.first_row) * self.window.output_row() + x * channels + channel;
        if first == channel && !self.sums.is_empty() {
            simd.store(sums[0][0], &mut self.sums[channel..]);
        }
        let pixels = PIXELS.min(self.window.output[1] - x);
        for (row, sums) in sums.iter().enumerate() {
            let first = first + row * self.window.output_row();
            if first >= self.output.len() {
                break;
            }
            if !self.sums.is_empty() {
                self.add_moments::<S>(simd, channel, &sums[..pixels]);
            }
            for (pixel, sum) in sums[..pixels].iter().enumerate() {
                let at = first + pixel * channels..first + pixel * channels + lanes;
                let mut value = *sum;
                if let Some(shortcut) = self.shortcut {
                    value = simd.add(value, simd.load_element(&shortcut[at.clone()]));
                }
                simd.store_element(self.activation.value::<S, O>(simd, value), &mut self.output[at]);
            }
        }
    }

    #[inline(always)]
    fn add_moments<S: Simd>(&mut self, simd: S, channel: usize, values: &[S::Vector]) {
        let (pivots, sums) = self.sums.split_at_mut(padded(self.window.channels));
        let (sums, squares) = sums.split_at_mut(padded(self.window.channels));
        let pivot = simd.load(&pivots[channel..]);
        let (sums, squares) = (&mut sums[channel..], &mut squares[channel..]);
        let (mut sum, mut square) = (simd.load(sums), simd.load(squares));
        for value in values {
            let distance = simd.subtract(*value, pivot);
            sum = simd.add(sum, distance);
            square = simd.mul_add(distance, distance, square);
        }
        simd.store(sum, sums);
        simd.store(square, squares);
    }
}

//! A depthwise convolution in tiles, read where the image lies.
//!
//! Tiles that reach over the image's edge take their source from a small copy with zeros around it; so do those that are cut off
//! by the output's edge, and store less, and those at the very end of an image, as registers are loaded whole.

use std::ops::Range;

use super::tile::{Ahead, PIXELS, Parameters, ROWS, Source, Sums, Target, Tile, padded};
use super::window::Window;
use crate::element::Element;
use crate::epilogue::{Epilogue, MomentParts};
use crate::isa::Isa;
use crate::scratch::Scratch;
use crate::threads;

/// Output values of a task, about: at least and at most; in between when that makes `TASKS`.
const TASK_VALUES: [usize; 2] = [8 * 1024, 64 * 1024];
const TASKS: usize = 16;

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
    let rows = window.task_rows((output.len() / TASKS).clamp(TASK_VALUES[0], TASK_VALUES[1]));
    let bias = padded_bias(channels, epilogue.bias);
    let (distance, activation) = (padded(channels), epilogue.activation);
    let parameters = Parameters { weights, distance, bias: &bias, activation };
    let length = rows * window.output_row();
    let (in_an_image, batch) = (image_out.div_ceil(length.max(1)), output.len() / image_out.max(1));
    let are_wanted = epilogue.moments.is_some();
    let mut moments = MomentParts::new(are_wanted.then_some(batch * in_an_image), padded(channels));
    let outputs = output.chunks_mut(image_out).flat_map(|output| output.chunks_mut(length));
    threads::for_each(outputs.zip(moments.slices()), &|index, (output, sums)| {
        let (image, first_row) = (index / in_an_image, index % in_an_image * rows);
        let first = image * image_out + first_row * window.output_row();
        let sums = sums.unwrap_or_default();
        sums.fill(0.0);
        let mut tiles = Tiles {
            isa,
            window,
            input: &input[image * image_in..][..image_in],
            parameters: &parameters,
            shortcut: epilogue.shortcut.map(|values| &values[first..][..output.len()]),
            first_row,
            output,
            sums,
        };
        tiles.run::<KERNEL, STRIDE>();
    });
    if let Some(wanted) = epilogue.moments {
        let pixels = |index: usize| length.min(image_out - index % in_an_image * length) / channels;
        moments.combine(pixels, wanted);
    }
}

/// With room behind it for whole registers.
fn padded_bias(channels: usize, bias: Option<&[f32]>) -> Scratch {
    let mut padded = Scratch::filled(padded(channels), 0.0);
    if let Some(bias) = bias {
        padded[..channels].copy_from_slice(bias);
    }
    padded
}

/// The tiles of a task: some rows of an image.
struct Tiles<'a, I, O> {
    isa: Isa,
    window: &'a Window,
    /// The whole image.
    input: &'a [I],
    parameters: &'a Parameters<'a>,
    shortcut: Option<&'a [O]>,
    first_row: usize,
    /// The task's rows.
    output: &'a mut [O],
    sums: &'a mut [f32],
}

impl<I: Element, O: Element> Tiles<'_, I, O> {
    fn run<const KERNEL: usize, const STRIDE: usize>(&mut self) {
        let (window, image) = (self.window, self.input);
        let [row, pixel] = [window.output_row(), window.channels];
        let to = self.first_row + self.output.len() / row;
        let mut patch = window.patch::<I>(KERNEL, STRIDE);
        for corner @ [y, x] in window.tiles(self.first_row, to) {
            let first = (y - self.first_row) * row + x * pixel;
            let exist = [ROWS.min(to - y), PIXELS.min(window.output[1] - x)];
            if let Some(at) = window.inside(corner, to, KERNEL, STRIDE, self.isa.lanes()) {
                let source = Source { values: &image[at..], row: window.source_row(), pixel };
                let ahead = Some(Ahead { window, image, first: at });
                self.tile::<KERNEL, STRIDE>(0..pixel, source, first, exist, ahead);
                continue;
            }
            for channels in window.blocks(true) {
                let source = window.copy_patch(corner, [KERNEL, STRIDE], &channels, image, &mut patch);
                self.tile::<KERNEL, STRIDE>(channels, source, first, exist, None);
            }
        }
    }

    /// The tile whose first output value is at `first`, of which so many rows and pixels exist.
    fn tile<const KERNEL: usize, const STRIDE: usize>(
        &mut self,
        channels: Range<usize>,
        source: Source<'_, I>,
        first: usize,
        [rows, pixels]: [usize; 2],
        ahead: Option<Ahead<'_, I>>,
    ) {
        let target = Target {
            values: &mut self.output[first..],
            shortcut: self.shortcut.map(|values| &values[first..]),
            row: self.window.output_row(),
            pixel: self.window.channels,
            rows,
            pixels,
        };
        let (parameters, sums) = (self.parameters, Sums { values: self.sums, are_new: first == 0 });
        self.isa.run(Tile::<I, O, KERNEL, STRIDE> { parameters, channels, source, target, sums, ahead });
    }
}

//! A depthwise convolution in tiles, read where the image lies.
//!
//! Places beyond the image's edge are zeros beside it, and those at its very end a copy, as registers are loaded whole. Tiles that
//! are cut off by the output's edge store less.

use std::marker::PhantomData;

use super::image::Image;
use super::taps::Taps;
use super::tile::{Parameters, ROWS, Sums, Target, Tile, has_room_for_seven, padded};
use super::window::{Next, Window};
use crate::element::Element;
use crate::epilogue::{Epilogue, MomentParts};
use crate::isa::Isa;
use crate::scratch::Scratch;
use crate::simd::{Kernel, Simd};
use crate::threads;

/// Output values of a task, about: at least and at most; in between when that makes `TASKS`.
const TASK_VALUES: [usize; 2] = [8 * 1024, 64 * 1024];
const TASKS: usize = 16;

/// Writes the whole output; `weights` is `[taps, padded channels]`.
pub(crate) fn run<I: Element, O: Element, T: Taps>(
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
        isa.run(Tiles {
            window,
            input: &input[image * image_in..][..image_in],
            parameters: &parameters,
            shortcut: epilogue.shortcut.map(|values| &values[first..][..output.len()]),
            first_row,
            output,
            sums,
            taps: PhantomData::<T>,
        });
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
struct Tiles<'a, I, O, T> {
    window: &'a Window,
    /// The whole image.
    input: &'a [I],
    parameters: &'a Parameters<'a>,
    shortcut: Option<&'a [O]>,
    first_row: usize,
    /// The task's rows.
    output: &'a mut [O],
    sums: &'a mut [f32],
    taps: PhantomData<T>,
}

impl<I: Element, O: Element, T: Taps> Kernel for Tiles<'_, I, O, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // Not where only every other pixel can be a tile's first; sums of few products don't set the pace there anyway.
        if has_room_for_seven::<S>() && T::PERIOD == 1 {
            self.cover::<S, 7>(simd);
        } else {
            self.cover::<S, 4>(simd);
        }
    }
}

impl<I: Element, O: Element, T: Taps> Tiles<'_, I, O, T> {
    #[inline(always)]
    fn cover<S: Simd, const PIXELS: usize>(self, simd: S) {
        debug_assert!([PIXELS, ROWS, self.first_row].iter().all(|first| first.is_multiple_of(T::PERIOD)));
        let (window, parameters) = (self.window, self.parameters);
        let (row, channels) = (window.output_row(), window.channels);
        let to = self.first_row + self.output.len() / row;
        let image = Image::new(self.input, window.source, channels);
        let mut source = image.nowhere();
        let ahead = window.ahead::<T>(PIXELS);
        for corner @ [y, x] in window.tiles(PIXELS, self.first_row, to) {
            let first = (y - self.first_row) * row + x * channels;
            let output = &mut self.output[first..];
            let first_seen = window.first::<T>(corner);
            image.see(first_seen, [T::span(ROWS), T::span(PIXELS)], &mut source);
            let next = Next::new::<T>(window, self.input, first_seen, output, ahead);
            let target = Target {
                values: output,
                shortcut: self.shortcut.map(|values| &values[first..]),
                row,
                channels,
                rows: ROWS.min(to - y),
                pixels: PIXELS.min(window.output[1] - x),
            };
            let sums = Sums { values: self.sums, are_new: first == 0 };
            Tile { parameters, source: &source, target, sums, next }.fill::<S, T, PIXELS>(simd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Activation;
    use crate::conv2d::{Conv2d, Padding};
    use crate::depthwise::taps::Slide;
    use crate::simd::portable::Portable;

    /// Small integers, which add up to the same in any order.
    fn integers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|index| ((index * 7 + seed) % 11) as f32 - 5.0).collect()
    }

    fn covered<const PIXELS: usize>(conv: &Conv2d) -> Vec<f32> {
        let (channels, window) = (conv.in_channels, Window::forward(conv));
        let distance = padded(channels);
        let (input, weights) = (integers(conv.input_len(), 3), integers(25 * distance, 5));
        let (mut output, bias) = (vec![0.0; conv.output_len()], vec![1.0; distance]);
        let parameters =
            Parameters { weights: &weights, distance, bias: &bias, activation: Activation::Identity };
        let tiles = Tiles {
            window: &window,
            input: &input,
            parameters: &parameters,
            shortcut: None,
            first_row: 0,
            output: &mut output,
            sums: &mut [],
            taps: PhantomData::<Slide<5, 2>>,
        };
        tiles.cover::<Portable, PIXELS>(Portable);
        output
    }

    /// Machines with few registers run tiles of four columns alone.
    #[test]
    fn seven_columns_give_what_four_give() {
        let conv = Conv2d {
            batch: 1,
            in_height: 9,
            in_width: 47,
            in_channels: 6,
            out_channels: 6,
            kernel: [5, 5],
            stride: [2, 2],
            padding: Padding::same(2),
            groups: 6,
        };
        assert_eq!(covered::<7>(&conv), covered::<4>(&conv));
    }
}

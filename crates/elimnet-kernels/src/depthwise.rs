//! Depthwise convolution: every channel with a window of its own.
//!
//! There is no depth to sum over but the few taps, so memory sets the pace, and next to it the widening of
//! bf16: the usual windows (3x3 and 5x5, strides 1 and 2) go in tiles of two rows of four or seven pixels, whose sums
//! share what they load ([`tile`]). So does the gradient to the input: at stride 1 it is the same with the window turned
//! around, at stride 2 each input sees every other tap ([`taps`]). All other windows go row by row ([`line`]).

mod image;
mod line;
mod taps;
mod tile;
mod tiles;
mod weight_gradient;
mod window;

use crate::activation::activate_slice;
use crate::conv2d::Conv2d;
use crate::element::{Element, narrow, widen};
use crate::elementwise::add_assign;
use crate::epilogue::Epilogue;
use crate::filter::Pass;
use crate::isa::Isa;
use crate::scratch::Scratch;
use crate::statistics::batch_statistics;

use taps::{Slide, Spread};
use window::Window;

pub(crate) use weight_gradient::weight_gradient;

/// Runs `$body` with the window of a convolution as constants, `$other` where it is not one that goes in tiles.
macro_rules! with_window {
    ($conv:expr, $kernel:ident, $stride:ident => $body:expr, else $other:expr) => {
        match ($conv.kernel, $conv.stride) {
            ([3, 3], [1, 1]) => {
                const $kernel: usize = 3;
                const $stride: usize = 1;
                $body
            }
            ([3, 3], [2, 2]) => {
                const $kernel: usize = 3;
                const $stride: usize = 2;
                $body
            }
            ([5, 5], [1, 1]) => {
                const $kernel: usize = 5;
                const $stride: usize = 1;
                $body
            }
            ([5, 5], [2, 2]) => {
                const $kernel: usize = 5;
                const $stride: usize = 2;
                $body
            }
            _ => $other,
        }
    };
}
pub(crate) use with_window;

/// Values that the weight of a convolution takes as [`pack`] lays it out.
pub(crate) fn packed_len(conv: &Conv2d) -> usize {
    conv.kernel[0] * conv.kernel[1] * tile::padded(conv.in_channels)
}

/// Lays the `[channels, taps]` weight out as `[taps, padded channels]`; for the gradient to the input with the window turned
/// around where it goes in tiles.
pub(crate) fn pack(conv: &Conv2d, pass: Pass, weight: &[f32], packed: &mut [f32]) {
    let (taps, distance) = (conv.kernel[0] * conv.kernel[1], tile::padded(conv.in_channels));
    let is_turned = pass == Pass::InputGradient && conv.stride == [1, 1] && backward_window(conv).is_some();
    for (channel, values) in weight.chunks_exact(taps).enumerate() {
        for (tap, value) in values.iter().enumerate() {
            let tap = if is_turned { taps - 1 - tap } else { tap };
            packed[tap * distance + channel] = *value;
        }
    }
}

/// The windows of the gradient to the input, `None` where it doesn't go in tiles.
fn backward_window(conv: &Conv2d) -> Option<Window> {
    match conv.kernel {
        [3, 3] => Window::backward::<3>(conv),
        [5, 5] => Window::backward::<5>(conv),
        _ => None,
    }
}

/// `output = activation(sums + bias + shortcut)`, and the moments of `sums + bias`; `weights` as [`pack`] lays them out.
pub(crate) fn forward<I: Element, O: Element>(
    isa: Isa,
    conv: &Conv2d,
    input: &[I],
    weights: &[f32],
    epilogue: Epilogue<'_, O>,
    output: &mut [O],
) {
    let window = Window::forward(conv);
    with_window!(conv, KERNEL, STRIDE => {
        tiles::run::<I, O, Slide<KERNEL, STRIDE>>(isa, &window, input, weights, epilogue, output);
    }, else any_forward(isa, conv, input, weights, epilogue, output));
}

/// The epilogue in passes of its own.
fn any_forward<I: Element, O: Element>(
    isa: Isa,
    conv: &Conv2d,
    input: &[I],
    weights: &[f32],
    epilogue: Epilogue<'_, O>,
    output: &mut [O],
) {
    let mut sums = Scratch::new(output.len());
    line::forward(isa, conv, input, weights, epilogue.bias, &mut sums);
    if let Some(moments) = epilogue.moments {
        batch_statistics(isa, &sums, moments.mean, moments.variance);
    }
    if let Some(shortcut) = epilogue.shortcut {
        let mut values = Scratch::new(shortcut.len());
        widen(isa, shortcut, &mut values);
        add_assign(isa, &mut sums, &values);
    }
    activate_slice::<O>(isa, epilogue.activation, &mut sums);
    narrow(isa, &sums, output);
}

/// Overwrites `input_gradient`; `weights` as [`pack`] lays them out.
pub(crate) fn input_gradient<I: Element, O: Element>(
    isa: Isa,
    conv: &Conv2d,
    output_gradient: &[O],
    weights: &[f32],
    input_gradient: &mut [I],
) {
    let Some(window) = backward_window(conv) else {
        return line::input_gradient(isa, conv, output_gradient, weights, input_gradient);
    };
    let run = match (conv.kernel[0], conv.stride[0]) {
        (3, 1) => tiles::run::<O, I, Slide<3, 1>>,
        (3, _) => tiles::run::<O, I, Spread<3>>,
        (_, 1) => tiles::run::<O, I, Slide<5, 1>>,
        (_, _) => tiles::run::<O, I, Spread<5>>,
    };
    run(isa, &window, output_gradient, weights, Epilogue::default(), input_gradient);
}

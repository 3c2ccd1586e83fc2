//! Depthwise convolution: every channel with a window of its own.
//!
//! There is no depth to sum over but the few taps, so memory sets the pace, and next to it the widening of
//! bf16: the usual windows (3x3 and 5x5, strides 1 and 2) go in tiles of two rows of four pixels, whose sums
//! share what they load ([`tile`]). The gradient to the input at stride 1 is the same with the window turned
//! around. All other windows go row by row ([`line`]).

mod line;
mod tile;
mod weight_gradient;

use crate::activation::activate_slice;
use crate::conv2d::Conv2d;
use crate::element::{Element, narrow, widen};
use crate::elementwise::add_assign;
use crate::epilogue::Epilogue;
use crate::isa::Isa;
use crate::statistics::batch_statistics;
use crate::threads::Scratch;

pub(crate) use weight_gradient::weight_gradient;

/// The tiles of a convolution, `None` where the window is not one of theirs.
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

/// `output = activation(sums + bias + shortcut)`, and the moments of `sums + bias`; `weight` is
/// `[channels, taps]`.
pub(crate) fn forward<I: Element, O: Element>(
    isa: Isa,
    conv: &Conv2d,
    input: &[I],
    weight: &[f32],
    epilogue: Epilogue<'_, O>,
    output: &mut [O],
) {
    let window = tile::Window::forward(conv);
    with_window!(conv, KERNEL, STRIDE => {
        let weights = by_tap(conv, weight, Order::Forward, tile::padded(conv.in_channels));
        tile::run::<I, O, KERNEL, STRIDE>(isa, &window, input, &weights, epilogue, output);
    }, else {
        let weights = by_tap(conv, weight, Order::Forward, conv.in_channels);
        any_forward(isa, conv, input, &weights, epilogue, output);
    });
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

/// Overwrites `input_gradient`; `weight` is `[channels, taps]`.
pub(crate) fn input_gradient<I: Element, O: Element>(
    isa: Isa,
    conv: &Conv2d,
    output_gradient: &[O],
    weight: &[f32],
    input_gradient: &mut [I],
) {
    let turned = tile::Window::input_gradient(conv).filter(|_| matches!(conv.kernel, [3, 3] | [5, 5]));
    let Some(window) = turned else {
        let weights = by_tap(conv, weight, Order::Forward, conv.in_channels);
        return line::input_gradient(isa, conv, output_gradient, &weights, input_gradient);
    };
    let weights = by_tap(conv, weight, Order::Turned, tile::padded(conv.in_channels));
    let epilogue = Epilogue::default();
    match conv.kernel[0] {
        3 => tile::run::<O, I, 3, 1>(isa, &window, output_gradient, &weights, epilogue, input_gradient),
        _ => tile::run::<O, I, 5, 1>(isa, &window, output_gradient, &weights, epilogue, input_gradient),
    }
}

/// Whether the window is turned around, as the gradient to the input has it at stride 1.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Forward,
    Turned,
}

/// `[channels, taps]` as `[taps, channels]`, `distance` from a tap to the next; zeros between them.
fn by_tap(conv: &Conv2d, weight: &[f32], order: Order, distance: usize) -> Scratch {
    let taps = conv.kernel[0] * conv.kernel[1];
    let mut weights = Scratch::new(taps * distance);
    weights.fill(0.0);
    for (channel, values) in weight.chunks_exact(taps).enumerate() {
        for (tap, value) in values.iter().enumerate() {
            let tap = if order == Order::Turned { taps - 1 - tap } else { tap };
            weights[tap * distance + channel] = *value;
        }
    }
    weights
}

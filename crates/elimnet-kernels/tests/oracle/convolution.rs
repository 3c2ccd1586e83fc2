use elimnet_kernels::{Conv2d, Padding, conv2d, conv2d_input_gradient, conv2d_weight_gradient, reference};

use super::compare::{first_difference, gamma, within};
use super::run::{Numbers, on_every_isa, widen};

const ONE: Conv2d = Conv2d {
    batch: 1,
    in_height: 1,
    in_width: 1,
    in_channels: 1,
    out_channels: 1,
    kernel: [1, 1],
    stride: [1, 1],
    padding: Padding::same(0),
    groups: 1,
};

fn pointwise(pixels: usize, in_channels: usize, out_channels: usize) -> Conv2d {
    Conv2d { in_width: pixels, in_channels, out_channels, ..ONE }
}

fn square(batch: usize, side: usize, channels: [usize; 2], kernel: usize, stride: usize) -> Conv2d {
    Conv2d {
        batch,
        in_height: side,
        in_width: side,
        in_channels: channels[0],
        out_channels: channels[1],
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: Padding::same(kernel / 2),
        groups: 1,
    }
}

fn depthwise(batch: usize, side: usize, channels: usize, kernel: usize, stride: usize) -> Conv2d {
    Conv2d { groups: channels, ..square(batch, side, [channels; 2], kernel, stride) }
}

fn grouped(groups: usize, conv: Conv2d) -> Conv2d {
    Conv2d { groups, ..conv }
}

fn padded(top: usize, left: usize, bottom: usize, right: usize, conv: Conv2d) -> Conv2d {
    Conv2d { padding: Padding { top, left, bottom, right }, ..conv }
}

fn cases() -> Vec<Conv2d> {
    let mut cases = vec![ONE];
    // Pixels, channels in and out around the lanes (4, 8, 16), tiles (4, 6, 12 rows; 8, 16, 32 columns).
    for size in [1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 23, 24, 25, 31, 32, 33, 47, 48, 49, 65] {
        cases.extend([pointwise(size, 3, 5), pointwise(5, size, 7), pointwise(5, 6, size)]);
        cases.extend([depthwise(1, 3, size, 3, 1), depthwise(2, 5, size, 5, 2)]);
    }
    // Depths around one and two blocks of 256; few rows and many columns; many rows.
    for depth in [255, 256, 257, 511, 512, 513] {
        cases.push(pointwise(14, depth, 33));
    }
    cases.extend([
        pointwise(239, 9, 65),
        pointwise(241, 9, 130),
        pointwise(3000, 4, 20),
        pointwise(7, 30, 200),
    ]);
    for kernel in [2, 3, 5, 7] {
        for stride in [1, 2, 3] {
            cases.push(square(2, 9, [5, 6], kernel, stride));
            cases.push(square(1, 8, [3, 17], kernel, stride));
            cases.push(depthwise(1, 9, 19, kernel, stride));
            cases.push(depthwise(2, 8, 33, kernel, stride));
            cases.push(depthwise(1, 17, 3, kernel, stride));
        }
    }
    // Stride beyond the kernel: pixels that no window sees.
    cases.extend([square(2, 7, [3, 4], 1, 2), square(1, 10, [2, 3], 2, 3), depthwise(2, 11, 5, 1, 3)]);
    // Padding that differs by side, exceeds the kernel, or is all that there is.
    cases.extend([
        padded(0, 1, 1, 0, square(2, 6, [3, 5], 3, 1)),
        padded(0, 0, 1, 1, square(2, 6, [3, 5], 3, 2)),
        padded(1, 2, 3, 0, square(1, 5, [4, 9], 5, 2)),
        padded(4, 5, 3, 4, square(1, 3, [2, 3], 3, 1)),
        padded(4, 5, 3, 4, square(1, 3, [2, 3], 3, 2)),
        padded(0, 0, 1, 1, depthwise(2, 8, 18, 3, 2)),
        padded(1, 1, 2, 2, depthwise(1, 8, 40, 5, 2)),
        padded(4, 5, 3, 4, depthwise(1, 3, 7, 3, 1)),
        padded(4, 5, 3, 4, depthwise(1, 3, 7, 3, 2)),
        padded(0, 0, 0, 0, square(3, 4, [5, 6], 4, 1)),
    ]);
    // Height and width apart.
    cases.push(Conv2d { in_height: 3, kernel: [3, 1], stride: [1, 2], ..square(2, 9, [4, 5], 3, 1) });
    cases.push(Conv2d { in_height: 13, kernel: [2, 5], stride: [3, 1], ..square(1, 6, [4, 5], 3, 1) });
    cases.push(Conv2d { in_height: 4, kernel: [1, 5], stride: [2, 1], ..depthwise(2, 9, 21, 5, 1) });
    // Groups, also with more outputs than inputs and the reverse.
    cases.extend([
        grouped(2, square(2, 6, [6, 8], 3, 1)),
        grouped(3, square(1, 7, [9, 3], 3, 2)),
        grouped(4, pointwise(9, 8, 40)),
        grouped(5, square(2, 5, [5, 10], 3, 1)),
        grouped(6, square(1, 5, [6, 18], 5, 2)),
        grouped(6, pointwise(50, 12, 6)),
    ]);
    // Layers of the zoo, small: the stem, a residual block, the last stage.
    cases.extend([
        square(2, 20, [3, 64], 7, 2),
        square(2, 18, [3, 32], 3, 2),
        square(1, 8, [64, 64], 3, 1),
        square(2, 4, [64, 128], 3, 2),
        square(8, 2, [96, 160], 3, 1),
        depthwise(2, 20, 96, 3, 2),
    ]);
    cases
}

struct Operands {
    input: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    output_gradient: Vec<f32>,
}

impl Operands {
    fn new(conv: &Conv2d, mut numbers: impl FnMut(usize) -> Vec<f32>) -> Self {
        Self {
            input: numbers(conv.input_len()),
            weight: numbers(conv.weight_len()),
            bias: numbers(conv.out_channels),
            output_gradient: numbers(conv.output_len()),
        }
    }

    fn absolute(&self) -> Self {
        let absolute = |values: &[f32]| values.iter().map(|value| value.abs()).collect();
        Self {
            input: absolute(&self.input),
            weight: absolute(&self.weight),
            bias: absolute(&self.bias),
            output_gradient: absolute(&self.output_gradient),
        }
    }
}

/// Output, output without bias, input gradient and weight gradient.
type Results<T> = [Vec<T>; 4];

fn expected(conv: &Conv2d, operands: &Operands) -> Results<f64> {
    let [input, weight, bias, gradient] =
        [&operands.input, &operands.weight, &operands.bias, &operands.output_gradient].map(|v| widen(v));
    let mut results = [conv.output_len(), conv.output_len(), conv.input_len(), conv.weight_len()]
        .map(|length| vec![0.0; length]);
    let [with_bias, without, input_gradient, weight_gradient] = &mut results;
    reference::conv2d(conv, &input, &weight, Some(&bias), with_bias);
    reference::conv2d(conv, &input, &weight, None, without);
    reference::conv2d_input_gradient(conv, &gradient, &weight, input_gradient);
    reference::conv2d_weight_gradient(conv, &input, &gradient, weight_gradient);
    results
}

fn check(conv: &Conv2d, operands: &Operands, compare: impl Fn(usize, &[f32]) -> Option<String>) {
    let Operands { input, weight, bias, output_gradient } = operands;
    let stale = |length: usize| vec![f32::NAN; length];
    let check = |pass: usize, runs: Vec<(&str, Vec<f32>)>| {
        for (isa, actual) in runs {
            let pass_name = ["output", "output without bias", "input gradient", "weight gradient"][pass];
            if let Some(difference) = compare(pass, &actual) {
                panic!("{isa}, {pass_name} of {conv:?}: {difference}");
            }
        }
    };
    for (pass, bias) in [Some(bias.as_slice()), None].into_iter().enumerate() {
        check(
            pass,
            on_every_isa(|isa| {
                let mut output = stale(conv.output_len());
                conv2d(isa, conv, input, weight, bias, &mut output);
                output
            }),
        );
    }
    check(
        2,
        on_every_isa(|isa| {
            let mut gradient = stale(conv.input_len());
            conv2d_input_gradient(isa, conv, output_gradient, weight, &mut gradient);
            gradient
        }),
    );
    check(
        3,
        on_every_isa(|isa| {
            let mut gradient = stale(conv.weight_len());
            conv2d_weight_gradient(isa, conv, input, output_gradient, &mut gradient);
            gradient
        }),
    );
}

#[test]
fn exact_on_small_integers() {
    for (seed, conv) in cases().iter().enumerate() {
        let mut numbers = Numbers::new(seed as u64);
        let operands = Operands::new(conv, |count| numbers.integers(count));
        let expected = expected(conv, &operands);
        check(conv, &operands, |pass, actual| first_difference(actual, &expected[pass]));
    }
}

#[test]
fn rounds_within_the_bound() {
    for (seed, conv) in cases().iter().enumerate() {
        let mut numbers = Numbers::new(1000 + seed as u64);
        let operands = Operands::new(conv, |count| numbers.reals(count));
        let values = expected(conv, &operands);
        let magnitudes = expected(conv, &operands.absolute());
        let taps = conv.kernel[0] * conv.kernel[1];
        let pixels = conv.output_len() / conv.out_channels;
        // A product and an addition a term, and one addition a part of the sum.
        let terms = [
            taps * conv.in_channels / conv.groups + 1,
            taps * conv.in_channels / conv.groups,
            taps * conv.out_channels / conv.groups,
            pixels + 64,
        ];
        check(conv, &operands, |pass, actual| {
            let bounds: Vec<_> = magnitudes[pass].iter().map(|m| gamma(terms[pass] + 1) * m).collect();
            within(actual, &values[pass], &bounds)
        });
    }
}

#[test]
fn large_sums_are_the_same_on_any_pool() {
    // Enough pixels that the weight gradient is summed in parts.
    for conv in [square(2, 48, [8, 16], 3, 1), depthwise(4, 40, 24, 3, 1), pointwise(20_000, 16, 24)] {
        let mut numbers = Numbers::new(7);
        let operands = Operands::new(&conv, |count| numbers.integers(count));
        let expected = expected(&conv, &operands);
        check(&conv, &operands, |pass, actual| first_difference(actual, &expected[pass]));
    }
}

/// The oracle itself: its gradients are the slopes of its output.
#[test]
fn reference_gradients_are_central_differences() {
    let cases = [
        padded(1, 0, 2, 1, square(1, 4, [2, 3], 3, 2)),
        grouped(2, square(2, 3, [4, 2], 2, 1)),
        depthwise(1, 4, 3, 3, 2),
    ];
    for conv in cases {
        let mut numbers = Numbers::new(3);
        let operands = Operands::new(&conv, |count| numbers.reals(count));
        let [_, _, input_gradient, weight_gradient] = expected(&conv, &operands);
        let gradient = widen(&operands.output_gradient);
        let loss = |input: &[f64], weight: &[f64]| -> f64 {
            let mut output = vec![0.0; conv.output_len()];
            reference::conv2d(&conv, input, weight, None, &mut output);
            output.iter().zip(&gradient).map(|(y, g)| y * g).sum()
        };
        let [input, weight] = [&operands.input, &operands.weight].map(|values| widen(values));
        let slope = |values: &[f64], index: usize, loss: &dyn Fn(&[f64]) -> f64| {
            let at = |step: f64| {
                let mut moved = values.to_vec();
                moved[index] += step;
                loss(&moved)
            };
            (at(0.5) - at(-0.5)) / 1.0 // exact but for rounding: the loss is linear in each operand
        };
        for (index, expected) in input_gradient.iter().enumerate() {
            let slope = slope(&input, index, &|input| loss(input, &weight));
            assert!((slope - expected).abs() < 1e-12, "input {index} of {conv:?}: {slope} {expected}");
        }
        for (index, expected) in weight_gradient.iter().enumerate() {
            let slope = slope(&weight, index, &|weight| loss(&input, weight));
            assert!((slope - expected).abs() < 1e-12, "weight {index} of {conv:?}: {slope} {expected}");
        }
    }
}

#[test]
fn an_empty_batch_has_zero_gradient() {
    let conv = Conv2d { batch: 0, ..square(1, 4, [3, 5], 3, 1) };
    for (isa, gradient) in on_every_isa(|isa| {
        conv2d(isa, &conv, &[], &vec![1.0; conv.weight_len()], None, &mut []);
        let mut gradient = vec![f32::NAN; conv.weight_len()];
        conv2d_weight_gradient(isa, &conv, &[], &[], &mut gradient);
        gradient
    }) {
        assert!(gradient.iter().all(|value| *value == 0.0), "{isa}");
    }
}

#[test]
fn broken_contracts_panic() {
    let conv = square(1, 4, [3, 5], 3, 1);
    let isa = elimnet_kernels::Isa::portable();
    let run = |conv: Conv2d, input: usize, output: usize, bias: usize| {
        let weight = vec![0.0; 5 * 9 * 3];
        std::panic::catch_unwind(|| {
            conv2d(isa, &conv, &vec![0.0; input], &weight, Some(&vec![0.0; bias]), &mut vec![0.0; output]);
        })
    };
    assert!(run(conv, 48, 80, 5).is_ok());
    assert!(run(conv, 47, 80, 5).is_err(), "a short input");
    assert!(run(conv, 48, 81, 5).is_err(), "a long output");
    assert!(run(conv, 48, 80, 4).is_err(), "a short bias");
    assert!(run(grouped(2, conv), 48, 80, 5).is_err(), "groups that don't divide the channels");
    assert!(run(Conv2d { stride: [0, 1], ..conv }, 48, 80, 5).is_err(), "a stride of zero");
    assert!(run(padded(0, 0, 0, 0, Conv2d { in_height: 2, ..conv }), 24, 0, 5).is_err(), "no room");
}

use elimnet_kernels::{Activation, Bf16, Conv2d, Epilogue, Isa, Kernels, Moments, PackedFilter, reference};

use super::activations::{KINDS, activated};
use super::compare::{first_difference, gamma, within};
use super::geometries::{cases, depthwise, grouped, padded, pointwise, square};
use super::run::{Numbers, on_every_isa, widen};
use super::stored::{elements, floats, stale, stored, stored_each};

struct Operands {
    input: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    shortcut: Vec<f32>,
    output_gradient: Vec<f32>,
}

impl Operands {
    fn new(conv: &Conv2d, mut numbers: impl FnMut(usize) -> Vec<f32>) -> Self {
        Self {
            input: numbers(conv.input_len()),
            weight: numbers(conv.weight_len()),
            bias: numbers(conv.out_channels),
            shortcut: numbers(conv.output_len()),
            output_gradient: numbers(conv.output_len()),
        }
    }

    fn map(&self, function: impl Fn(f32) -> f32) -> Self {
        let map = |values: &[f32]| values.iter().map(|value| function(*value)).collect();
        Self {
            input: map(&self.input),
            weight: map(&self.weight),
            bias: map(&self.bias),
            shortcut: map(&self.shortcut),
            output_gradient: map(&self.output_gradient),
        }
    }
}

/// Output of the sums alone, with bias, with bias and shortcut; input gradient; weight gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Sums,
    Bias,
    Shortcut,
    InputGradient,
    WeightGradient,
}

const PASSES: [Pass; 5] = [Pass::Sums, Pass::Bias, Pass::Shortcut, Pass::InputGradient, Pass::WeightGradient];

fn expected(conv: &Conv2d, operands: &Operands, pass: Pass) -> Vec<f64> {
    let [input, weight, bias, shortcut, gradient] =
        [&operands.input, &operands.weight, &operands.bias, &operands.shortcut, &operands.output_gradient]
            .map(|v| widen(v));
    let forward = |bias: Option<&[f64]>| {
        let mut output = vec![0.0; conv.output_len()];
        reference::conv2d(conv, &input, &weight, bias, &mut output);
        output
    };
    match pass {
        Pass::Sums => forward(None),
        Pass::Bias => forward(Some(&bias)),
        Pass::Shortcut => forward(Some(&bias)).iter().zip(&shortcut).map(|(y, s)| y + s).collect(),
        Pass::InputGradient => {
            let mut values = vec![0.0; conv.input_len()];
            reference::conv2d_input_gradient(conv, &gradient, &weight, &mut values);
            values
        }
        Pass::WeightGradient => {
            let mut values = vec![0.0; conv.weight_len()];
            reference::conv2d_weight_gradient(conv, &input, &gradient, &mut values);
            values
        }
    }
}

fn run<E: Kernels>(isa: Isa, conv: &Conv2d, operands: &Operands, pass: Pass) -> Vec<f32> {
    let [input, shortcut, gradient] =
        [&operands.input, &operands.shortcut, &operands.output_gradient].map(|v| elements::<E>(v));
    let forward = |epilogue: Epilogue<'_, E>| {
        let filter = PackedFilter::<E>::forward(isa, conv, &operands.weight);
        let mut output = stale::<E>(conv.output_len());
        E::conv2d(isa, conv, &input, &filter, epilogue, &mut output);
        floats(&output)
    };
    let bias = Some(&operands.bias[..]);
    match pass {
        Pass::Sums => forward(Epilogue::default()),
        Pass::Bias => forward(Epilogue { bias, ..Epilogue::default() }),
        Pass::Shortcut => forward(Epilogue { bias, shortcut: Some(&shortcut), ..Epilogue::default() }),
        Pass::InputGradient => {
            let filter = PackedFilter::<E>::input_gradient(isa, conv, &operands.weight);
            let mut values = stale::<E>(conv.input_len());
            E::conv2d_input_gradient(isa, conv, &gradient, &filter, &mut values);
            floats(&values)
        }
        Pass::WeightGradient => {
            let mut values = vec![f32::NAN; conv.weight_len()];
            E::conv2d_weight_gradient(isa, conv, &input, &gradient, &mut values);
            values
        }
    }
}

/// Runs all passes; `compare` gets the pass, what came out, and what is expected.
fn check<E: Kernels>(
    conv: &Conv2d,
    operands: &Operands,
    compare: impl Fn(Pass, &[f32], &[f64]) -> Option<String>,
) {
    for pass in PASSES {
        let expected = expected(conv, operands, pass);
        for (isa, actual) in on_every_isa(|isa| run::<E>(isa, conv, operands, pass)) {
            if let Some(difference) = compare(pass, &actual, &expected) {
                let element = std::any::type_name::<E>();
                panic!("{isa}, {element}, {pass:?} of {conv:?}: {difference}");
            }
        }
    }
}

fn check_integers<E: Kernels>(conv: &Conv2d, seed: u64) {
    let mut numbers = Numbers::new(seed);
    let operands = Operands::new(conv, |count| numbers.integers(count));
    check::<E>(conv, &operands, |pass, actual, expected| {
        if pass == Pass::WeightGradient {
            return first_difference(actual, expected);
        }
        first_difference(actual, &stored_each::<E>(expected, |_| 0.0).0)
    });
}

#[test]
fn exact_on_small_integers() {
    for (seed, conv) in cases().iter().enumerate() {
        check_integers::<f32>(conv, seed as u64);
        check_integers::<Bf16>(conv, seed as u64);
    }
}

fn check_reals<E: Kernels>(conv: &Conv2d, seed: u64) {
    let mut numbers = Numbers::new(seed);
    let operands = Operands::new(conv, |count| numbers.reals(count)).map(|value| E::from_f32(value).to_f32());
    let magnitudes = operands.map(f32::abs);
    let taps = conv.kernel[0] * conv.kernel[1];
    check::<E>(conv, &operands, |pass, actual, expected_values| {
        // A product and an addition a term, and one addition a part of the sum.
        let terms = match pass {
            Pass::Sums | Pass::Bias | Pass::Shortcut => taps * conv.in_channels / conv.groups + 2,
            Pass::InputGradient => taps * conv.out_channels / conv.groups,
            Pass::WeightGradient => conv.output_len() / conv.out_channels + 64,
        };
        let kept = if pass == Pass::WeightGradient { stored::<f32> } else { stored::<E> };
        let magnitudes = expected(conv, &magnitudes, pass);
        let pairs = expected_values.iter().zip(&magnitudes);
        let (values, bounds): (Vec<_>, Vec<_>) =
            pairs.map(|(value, magnitude)| kept(*value, gamma(terms + 1) * magnitude)).unzip();
        within(actual, &values, &bounds)
    });
}

#[test]
fn rounds_within_the_bound() {
    for (seed, conv) in cases().iter().enumerate() {
        check_reals::<f32>(conv, 1000 + seed as u64);
        check_reals::<Bf16>(conv, 1000 + seed as u64);
    }
}

#[test]
fn large_sums_are_the_same_on_any_pool() {
    // Enough pixels that the weight gradient is summed in parts.
    for conv in [square(2, 48, [8, 16], 3, 1), depthwise(4, 40, 24, 3, 1), pointwise(20_000, 16, 24)] {
        check_integers::<f32>(&conv, 7);
        check_integers::<Bf16>(&conv, 7);
    }
}

/// Activations and moments, the mean far from zero.
fn check_epilogue<E: Kernels>(conv: &Conv2d) {
    let mut numbers = Numbers::new(11);
    let mut operands = Operands::new(conv, |count| numbers.integers(count));
    // Steps of 1/64, which f32 keeps beside 156; bf16 keeps the whole numbers around it.
    operands.input.iter_mut().for_each(|input| *input /= 64.0);
    operands.bias.iter_mut().for_each(|bias| *bias = *bias / 64.0 + 156.0);
    operands.shortcut.iter_mut().for_each(|shortcut| *shortcut -= 156.0);
    let sums = expected(conv, &operands, Pass::Bias);
    let (mean, variance) = reference::batch_statistics(conv.out_channels, &sums);
    let [mean_bounds, variance_bounds] = [(&mean, 1e-7), (&variance, 1e-5)]
        .map(|(values, relative)| values.iter().map(|value| value.abs() * relative).collect::<Vec<_>>());
    let before = expected(conv, &operands, Pass::Shortcut);
    // What takes long takes one path with all activations: one of them goes through it.
    let kinds = if conv.multiply_adds() > 10_000_000 { &[Activation::Silu][..] } else { &KINDS };
    for &kind in kinds {
        let (activated, bounds) = activated::<E>(kind, &before);
        let expected = [&mean[..], &variance, &activated].concat();
        let bounds = [&mean_bounds[..], &variance_bounds, &bounds].concat();
        for (isa, actual) in on_every_isa(|isa| run_epilogue::<E>(isa, conv, &operands, kind)) {
            let difference = within(&actual, &expected, &bounds);
            assert_eq!(difference, None, "{isa} {kind:?}, {} bytes, {conv:?}", size_of::<E>());
        }
    }
}

/// Mean, variance, and output, which is the same without them.
fn run_epilogue<E: Kernels>(
    isa: Isa,
    conv: &Conv2d,
    operands: &Operands,
    activation: Activation,
) -> Vec<f32> {
    let [input, shortcut] = [&operands.input, &operands.shortcut].map(|values| elements::<E>(values));
    let filter = PackedFilter::<E>::forward(isa, conv, &operands.weight);
    let (bias, shortcut) = (Some(&operands.bias[..]), Some(&shortcut[..]));
    let [mut mean, mut variance] = [(); 2].map(|()| vec![f32::NAN; conv.out_channels]);
    let moments = Some(Moments { mean: &mut mean, variance: &mut variance });
    let [with_moments, without] = [moments, None].map(|moments| {
        let mut output = stale::<E>(conv.output_len());
        let epilogue = Epilogue { bias, shortcut, activation, moments };
        E::conv2d(isa, conv, &input, &filter, epilogue, &mut output);
        floats(&output)
    });
    assert_eq!(with_moments, without, "{isa} {activation:?} of {conv:?}");
    [mean, variance, with_moments].concat()
}

#[test]
fn the_epilogue_is_applied_to_the_sums() {
    let convs = [
        pointwise(1, 3, 5),
        pointwise(700, 33, 24),
        pointwise(33, 64, 200),
        square(3, 7, [32, 64], 3, 1),
        square(2, 30, [64, 40], 3, 1),
        square(2, 12, [32, 48], 3, 2),
        square(2, 20, [3, 32], 3, 2),
        square(2, 20, [3, 64], 7, 2),
        grouped(2, square(2, 6, [6, 8], 3, 1)),
        depthwise(2, 9, 24, 3, 1),
        // Six tasks an image, the last of one row.
        depthwise(2, 41, 24, 3, 1),
        depthwise(2, 9, 33, 3, 2),
        depthwise(2, 9, 24, 5, 1),
        depthwise(1, 12, 17, 5, 2),
        depthwise(2, 9, 24, 7, 1),
        depthwise(1, 12, 17, 7, 2),
        padded(0, 0, 1, 1, depthwise(3, 8, 40, 2, 3)),
    ];
    for conv in convs {
        check_epilogue::<f32>(&conv);
        check_epilogue::<Bf16>(&conv);
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
        let [input_gradient, weight_gradient] =
            [Pass::InputGradient, Pass::WeightGradient].map(|pass| expected(&conv, &operands, pass));
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

/// What a window does not see does not reach its sum, even if it is no number.
#[test]
fn infinities_stay_where_they_are() {
    let convs = [
        pointwise(70, 24, 40),
        pointwise(70, 3, 40),
        square(1, 9, [3, 16], 3, 1),
        square(1, 9, [16, 33], 3, 1),
        square(2, 9, [32, 32], 3, 1),
        square(2, 9, [32, 32], 3, 2),
        square(1, 9, [40, 32], 1, 2),
        square(1, 17, [3, 64], 7, 2),
        grouped(2, square(1, 9, [32, 32], 3, 1)),
        depthwise(1, 9, 9, 3, 1),
        depthwise(1, 9, 19, 5, 2),
    ];
    for conv in convs {
        for place in [0, conv.input_len() / 2 + 1, conv.input_len() - 1] {
            let mut numbers = Numbers::new(5);
            let mut operands = Operands::new(&conv, |count| numbers.integers(count));
            // Without zeros, so that an infinity reaches all that see it.
            operands.weight.iter_mut().for_each(|weight| *weight = if *weight < 0.0 { -1.0 } else { 2.0 });
            operands.input[place] = f32::INFINITY;
            let values = expected(&conv, &operands, Pass::Sums);
            let (rounded, _) = stored_each::<Bf16>(&values, |_| 0.0);
            for (isa, actual) in on_every_isa(|isa| run::<Bf16>(isa, &conv, &operands, Pass::Sums)) {
                assert_eq!(first_difference(&actual, &rounded), None, "{isa}, {place} of {conv:?}");
            }
        }
    }
}

/// The statistics of a channel whose sums are no numbers are none, and the others' are as ever.
fn check_moments_beside_infinities<E: Kernels>(conv: &Conv2d) {
    let mut numbers = Numbers::new(6);
    let mut operands = Operands::new(conv, |count| numbers.integers(count));
    operands.weight[..conv.weight_len() / conv.out_channels].fill(f32::INFINITY);
    let sums = expected(conv, &operands, Pass::Sums);
    let (mean, variance) = reference::batch_statistics(conv.out_channels, &sums);
    let (input, channels) = (elements::<E>(&operands.input), conv.out_channels);
    for (isa, actual) in on_every_isa(|isa| {
        let filter = PackedFilter::<E>::forward(isa, conv, &operands.weight);
        let (mut moments, mut output) = (vec![0.0; 2 * channels], stale::<E>(conv.output_len()));
        let (mean, variance) = moments.split_at_mut(channels);
        let epilogue = Epilogue { moments: Some(Moments { mean, variance }), ..Epilogue::default() };
        E::conv2d(isa, conv, &input, &filter, epilogue, &mut output);
        moments
    }) {
        let (means, variances) = actual.split_at(channels);
        assert!(!means[0].is_finite() && variances[0].is_nan(), "{isa}: {} of {conv:?}", variances[0]);
        let bounds =
            |expected: &[f64]| expected.iter().map(|value| 1e-4 + 1e-5 * value.abs()).collect::<Vec<_>>();
        for (found, expected) in [(&means[1..], &mean[1..]), (&variances[1..], &variance[1..])] {
            assert_eq!(within(found, expected, &bounds(expected)), None, "{isa} of {conv:?}");
        }
    }
}

#[test]
fn moments_beside_infinities_are_those_of_their_channels() {
    for conv in [
        pointwise(70, 24, 40),
        square(1, 9, [16, 33], 3, 1),
        square(2, 9, [32, 64], 3, 2),
        depthwise(2, 9, 24, 3, 1),
        depthwise(2, 9, 24, 7, 1),
    ] {
        check_moments_beside_infinities::<f32>(&conv);
        check_moments_beside_infinities::<Bf16>(&conv);
    }
}

#[test]
fn a_filter_packed_again_is_as_good_as_new() {
    for conv in [square(2, 6, [5, 37], 3, 2), square(1, 6, [64, 40], 3, 1), depthwise(1, 6, 9, 3, 1)] {
        let mut numbers = Numbers::new(5);
        let operands = Operands::new(&conv, |count| numbers.integers(count));
        let other = numbers.integers(conv.weight_len());
        let input: Vec<Bf16> = elements(&operands.input);
        on_every_isa(|isa| {
            let new = PackedFilter::<Bf16>::forward(isa, &conv, &operands.weight);
            let mut again = PackedFilter::<Bf16>::forward(isa, &conv, &other);
            again.repack(&operands.weight);
            assert_eq!(new.bytes(), again.bytes());
            let [new, again] = [new, again].map(|filter| {
                let mut output = vec![Bf16::ZERO; conv.output_len()];
                Bf16::conv2d(isa, &conv, &input, &filter, Epilogue::default(), &mut output);
                output
            });
            assert_eq!(new, again, "{isa}, {conv:?}");
            floats(&new)
        });
    }
}

#[test]
fn an_empty_batch_has_zero_gradient() {
    let conv = Conv2d { batch: 0, ..square(1, 4, [3, 5], 3, 1) };
    for (isa, gradient) in on_every_isa(|isa| {
        let filter = PackedFilter::<Bf16>::forward(isa, &conv, &vec![1.0; conv.weight_len()]);
        Bf16::conv2d(isa, &conv, &[], &filter, Epilogue::default(), &mut []);
        let mut gradient = vec![f32::NAN; conv.weight_len()];
        Bf16::conv2d_weight_gradient(isa, &conv, &[], &[], &mut gradient);
        gradient
    }) {
        assert!(gradient.iter().all(|value| *value == 0.0), "{isa}");
    }
}

#[test]
fn broken_contracts_panic() {
    let conv = square(1, 4, [3, 5], 3, 1);
    let isa = Isa::portable();
    let run = |conv: Conv2d, input: usize, output: usize, bias: usize| {
        std::panic::catch_unwind(|| {
            let filter = PackedFilter::<f32>::forward(isa, &conv, &[0.0; 5 * 9 * 3]);
            let bias = vec![0.0; bias];
            let epilogue = Epilogue { bias: Some(&bias), ..Epilogue::default() };
            f32::conv2d(isa, &conv, &vec![0.0; input], &filter, epilogue, &mut vec![0.0; output]);
        })
    };
    assert!(run(conv, 48, 80, 5).is_ok());
    assert!(run(conv, 47, 80, 5).is_err(), "a short input");
    assert!(run(conv, 48, 81, 5).is_err(), "a long output");
    assert!(run(conv, 48, 80, 4).is_err(), "a short bias");
    assert!(run(grouped(2, conv), 48, 80, 5).is_err(), "groups that don't divide the channels");
    assert!(run(Conv2d { stride: [0, 1], ..conv }, 48, 80, 5).is_err(), "a stride of zero");
    assert!(run(padded(0, 0, 0, 0, Conv2d { in_height: 2, ..conv }), 24, 0, 5).is_err(), "no room");
    let run = |conv: Conv2d, filter: PackedFilter<f32>| {
        std::panic::catch_unwind(move || {
            let mut output = vec![0.0; conv.output_len()];
            f32::conv2d(isa, &conv, &vec![0.0; conv.input_len()], &filter, Epilogue::default(), &mut output);
        })
    };
    let weight = vec![0.0; conv.weight_len()];
    let forward = PackedFilter::forward(isa, &conv, &weight);
    assert!(run(Conv2d { batch: 3, ..conv }, forward.clone()).is_ok());
    assert!(run(Conv2d { stride: [2, 2], ..conv }, forward).is_err(), "a filter of another convolution");
    assert!(run(conv, PackedFilter::input_gradient(isa, &conv, &weight)).is_err(), "of another pass");
}

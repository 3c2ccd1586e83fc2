use elimnet_kernels::{
    Activation, Bf16, Conv2d, Element, Epilogue, Isa, Moments, PackedFilter, conv2d, conv2d_input_gradient,
    conv2d_weight_gradient, reference,
};

use super::compare::{first_difference, gamma, within};
use super::geometries::{cases, depthwise, grouped, padded, pointwise, square};
use super::run::{Numbers, on_every_isa, widen};

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

fn to_elements<E: Element>(values: &[f32]) -> Vec<E> {
    values.iter().map(|value| E::from_f32(*value)).collect()
}

fn to_f32<E: Element>(values: Vec<E>) -> Vec<f32> {
    values.into_iter().map(E::to_f32).collect()
}

fn run<E: Element>(isa: Isa, conv: &Conv2d, operands: &Operands, pass: Pass) -> Vec<f32> {
    let stale = |length: usize| vec![E::from_f32(f32::NAN); length];
    let [input, shortcut, gradient] =
        [&operands.input, &operands.shortcut, &operands.output_gradient].map(|v| to_elements::<E>(v));
    let forward = |epilogue: Epilogue<'_, E>| {
        let filter = PackedFilter::<E>::forward(isa, conv, &operands.weight);
        let mut output = stale(conv.output_len());
        conv2d(isa, conv, &input, &filter, epilogue, &mut output);
        to_f32(output)
    };
    let bias = Some(&operands.bias[..]);
    match pass {
        Pass::Sums => forward(Epilogue::default()),
        Pass::Bias => forward(Epilogue { bias, ..Epilogue::default() }),
        Pass::Shortcut => forward(Epilogue { bias, shortcut: Some(&shortcut), ..Epilogue::default() }),
        Pass::InputGradient => {
            let filter = PackedFilter::<E>::input_gradient(isa, conv, &operands.weight);
            let mut values = stale(conv.input_len());
            conv2d_input_gradient(isa, conv, &gradient, &filter, &mut values);
            to_f32(values)
        }
        Pass::WeightGradient => {
            let mut values = vec![f32::NAN; conv.weight_len()];
            conv2d_weight_gradient(isa, conv, &input, &gradient, &mut values);
            values
        }
    }
}

/// Runs all passes; `compare` gets the pass, what came out, and what is expected.
fn check<E: Element>(
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

fn check_integers<E: Element>(conv: &Conv2d, seed: u64) {
    let mut numbers = Numbers::new(seed);
    let operands = Operands::new(conv, |count| numbers.integers(count));
    check::<E>(conv, &operands, |pass, actual, expected| {
        if pass == Pass::WeightGradient {
            return first_difference(actual, expected);
        }
        let rounded: Vec<_> =
            expected.iter().map(|value| f64::from(E::from_f32(*value as f32).to_f32())).collect();
        first_difference(actual, &rounded)
    });
}

#[test]
fn exact_on_small_integers() {
    for (seed, conv) in cases().iter().enumerate() {
        check_integers::<f32>(conv, seed as u64);
        check_integers::<Bf16>(conv, seed as u64);
    }
}

/// `rounding`: unit roundoff of what is stored.
fn check_reals<E: Element>(conv: &Conv2d, seed: u64, rounding: f64) {
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
        let stored = if pass == Pass::WeightGradient { 0.0 } else { rounding };
        let magnitudes = expected(conv, &magnitudes, pass);
        let bounds: Vec<_> = magnitudes
            .iter()
            .zip(expected_values)
            .map(|(magnitude, value)| {
                let sum = gamma(terms + 1) * magnitude;
                sum + stored * (value.abs() + sum)
            })
            .collect();
        within(actual, expected_values, &bounds)
    });
}

#[test]
fn rounds_within_the_bound() {
    for (seed, conv) in cases().iter().enumerate() {
        check_reals::<f32>(conv, 1000 + seed as u64, 0.0);
        check_reals::<Bf16>(conv, 1000 + seed as u64, f64::from(f32::powi(2.0, -8)));
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

/// Activation and moments, the mean far from zero.
fn check_epilogue<E: Element>(conv: &Conv2d) {
    let mut numbers = Numbers::new(11);
    let mut operands = Operands::new(conv, |count| numbers.integers(count));
    // 9984 and multiples of 64 around it are exact in bf16 too.
    operands.bias.iter_mut().for_each(|bias| *bias += 9984.0);
    operands.shortcut.iter_mut().for_each(|shortcut| *shortcut = *shortcut * 64.0 - 9984.0);
    let shortcut: Vec<E> = to_elements(&operands.shortcut);
    let sums = expected(conv, &operands, Pass::Bias);
    let activated = expected(conv, &operands, Pass::Shortcut).into_iter().map(|value| value.max(0.0));
    let activated: Vec<_> = activated.map(|value| f64::from(E::from_f32(value as f32).to_f32())).collect();
    let channels = conv.out_channels;
    let (mean, variance) = reference::batch_statistics(channels, &sums);
    for (isa, actual) in on_every_isa(|isa| {
        let filter = PackedFilter::<E>::forward(isa, conv, &operands.weight);
        let (mut mean, mut variance) = (vec![f32::NAN; channels], vec![f32::NAN; channels]);
        let mut output = vec![E::from_f32(f32::NAN); conv.output_len()];
        let epilogue = Epilogue {
            bias: Some(&operands.bias),
            shortcut: Some(&shortcut),
            activation: Activation::Relu,
            moments: Some(Moments { mean: &mut mean, variance: &mut variance }),
        };
        conv2d(isa, conv, &to_elements::<E>(&operands.input), &filter, epilogue, &mut output);
        [mean, variance, to_f32(output)].concat()
    }) {
        let (statistics, output) = actual.split_at(2 * channels);
        assert_eq!(first_difference(output, &activated), None, "{isa} {conv:?}");
        let (means, variances) = statistics.split_at(channels);
        let bounds: Vec<_> = mean.iter().map(|mean| mean.abs() * 1e-7).collect();
        assert_eq!(within(means, &mean, &bounds), None, "mean, {isa} {conv:?}");
        let bounds: Vec<_> = variance.iter().map(|variance| variance * 1e-5).collect();
        assert_eq!(within(variances, &variance, &bounds), None, "variance, {isa} {conv:?}");
    }
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
        grouped(2, square(2, 6, [6, 8], 3, 1)),
        depthwise(2, 9, 24, 3, 1),
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
    ];
    for conv in convs {
        for place in [0, conv.input_len() / 2 + 1, conv.input_len() - 1] {
            let mut numbers = Numbers::new(5);
            let mut operands = Operands::new(&conv, |count| numbers.integers(count));
            // Without zeros, so that an infinity reaches all that see it.
            operands.weight.iter_mut().for_each(|weight| *weight = if *weight < 0.0 { -1.0 } else { 2.0 });
            operands.input[place] = f32::INFINITY;
            let values = expected(&conv, &operands, Pass::Sums);
            let rounded: Vec<_> =
                values.iter().map(|v| f64::from(Bf16::from_f32(*v as f32).to_f32())).collect();
            for (isa, actual) in on_every_isa(|isa| run::<Bf16>(isa, &conv, &operands, Pass::Sums)) {
                assert_eq!(first_difference(&actual, &rounded), None, "{isa}, {place} of {conv:?}");
            }
        }
    }
}

#[test]
fn a_filter_packed_again_is_as_good_as_new() {
    for conv in [square(2, 6, [5, 37], 3, 2), square(1, 6, [64, 40], 3, 1), depthwise(1, 6, 9, 3, 1)] {
        let mut numbers = Numbers::new(5);
        let operands = Operands::new(&conv, |count| numbers.integers(count));
        let other = numbers.integers(conv.weight_len());
        let input: Vec<Bf16> = to_elements(&operands.input);
        on_every_isa(|isa| {
            let new = PackedFilter::<Bf16>::forward(isa, &conv, &operands.weight);
            let mut again = PackedFilter::<Bf16>::forward(isa, &conv, &other);
            again.repack(&operands.weight);
            assert_eq!(new.bytes(), again.bytes());
            let [new, again] = [new, again].map(|filter| {
                let mut output = vec![Bf16::ZERO; conv.output_len()];
                conv2d(isa, &conv, &input, &filter, Epilogue::default(), &mut output);
                output
            });
            assert_eq!(new, again, "{isa}, {conv:?}");
            to_f32(new)
        });
    }
}

#[test]
fn an_empty_batch_has_zero_gradient() {
    let conv = Conv2d { batch: 0, ..square(1, 4, [3, 5], 3, 1) };
    for (isa, gradient) in on_every_isa(|isa| {
        let filter = PackedFilter::<Bf16>::forward(isa, &conv, &vec![1.0; conv.weight_len()]);
        conv2d(isa, &conv, &[], &filter, Epilogue::default(), &mut []);
        let mut gradient = vec![f32::NAN; conv.weight_len()];
        conv2d_weight_gradient::<Bf16>(isa, &conv, &[], &[], &mut gradient);
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
            conv2d(isa, &conv, &vec![0.0; input], &filter, epilogue, &mut vec![0.0; output]);
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
            conv2d(isa, &conv, &vec![0.0; conv.input_len()], &filter, Epilogue::default(), &mut output);
        })
    };
    let weight = vec![0.0; conv.weight_len()];
    let forward = PackedFilter::forward(isa, &conv, &weight);
    assert!(run(Conv2d { batch: 3, ..conv }, forward.clone()).is_ok());
    assert!(run(Conv2d { stride: [2, 2], ..conv }, forward).is_err(), "a filter of another convolution");
    assert!(run(conv, PackedFilter::input_gradient(isa, &conv, &weight)).is_err(), "of another pass");
}

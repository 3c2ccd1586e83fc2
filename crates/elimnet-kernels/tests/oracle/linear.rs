use elimnet_kernels::{Activation, Bf16, Epilogue, Kernels, Linear, PackedFilter};

use super::activations::{KINDS, activated};
use super::compare::{first_difference, gamma, within};
use super::run::{Numbers, on_every_isa, widen};
use super::stored::{elements, floats, rounded, stale, stored, unit_roundoff};

/// Input and its gradient are stored as the kernels' element type, all else as f32.
struct Operands {
    input: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    output_gradient: Vec<f32>,
}

impl Operands {
    fn new(sizes: &Linear, mut numbers: impl FnMut(usize) -> Vec<f32>) -> Self {
        Self {
            input: numbers(sizes.rows * sizes.in_features),
            weight: numbers(sizes.out_features * sizes.in_features),
            bias: numbers(sizes.out_features),
            output_gradient: numbers(sizes.rows * sizes.out_features),
        }
    }

    fn magnitudes(&self) -> Self {
        let [input, weight, bias, output_gradient] =
            [&self.input, &self.weight, &self.bias, &self.output_gradient]
                .map(|values| values.iter().map(|value| value.abs()).collect());
        Self { input, weight, bias, output_gradient }
    }
}

/// Output, and the gradients of input, weight and bias.
fn expected(sizes: &Linear, operands: &Operands) -> [Vec<f64>; 4] {
    let &Linear { rows, in_features: inputs, out_features: outputs } = sizes;
    let [x, w, bias, gradient] =
        [&operands.input, &operands.weight, &operands.bias, &operands.output_gradient]
            .map(|values| widen(values));
    let mut expected = [rows * outputs, rows * inputs, outputs * inputs, outputs].map(|n| vec![0.0; n]);
    let [y, dx, dw, db] = &mut expected;
    for row in 0..rows {
        for o in 0..outputs {
            let dy = gradient[row * outputs + o];
            y[row * outputs + o] = bias[o];
            db[o] += dy;
            for i in 0..inputs {
                y[row * outputs + o] += x[row * inputs + i] * w[o * inputs + i];
                dx[row * inputs + i] += dy * w[o * inputs + i];
                dw[o * inputs + i] += dy * x[row * inputs + i];
            }
        }
    }
    expected
}

/// As [`expected`], one after the other, on every instruction set.
fn run<E: Kernels>(sizes: &Linear, operands: &Operands) -> Vec<(&'static str, Vec<f32>)> {
    let Operands { input, weight, bias, output_gradient } = operands;
    let x = elements::<E>(input);
    on_every_isa(|isa| {
        let [mut y, mut d_weight, mut d_bias] =
            [output_gradient, weight, bias].map(|values| stale::<f32>(values.len()));
        let mut dx = stale::<E>(x.len());
        let filter = PackedFilter::linear(isa, sizes, weight);
        let epilogue = Epilogue { bias: Some(bias), ..Epilogue::default() };
        E::linear(isa, sizes, &x, &filter, epilogue, &mut y);
        let filter = PackedFilter::linear_input_gradient(isa, sizes, weight);
        E::linear_input_gradient(isa, sizes, output_gradient, &filter, &mut dx);
        E::linear_parameter_gradients(isa, sizes, &x, output_gradient, &mut d_weight, Some(&mut d_bias));
        let mut only_weight = stale::<f32>(weight.len());
        E::linear_parameter_gradients(isa, sizes, &x, output_gradient, &mut only_weight, None);
        assert_eq!(d_weight, only_weight);
        [y, floats(&dx), d_weight, d_bias].concat()
    })
}

#[test]
fn exact_on_small_integers() {
    for rows in [1, 2, 5, 13, 32, 250] {
        for [in_features, out_features] in [[1, 1], [3, 5], [16, 6], [48, 1152], [1280, 6], [257, 33]] {
            let sizes = Linear { rows, in_features, out_features };
            let mut numbers = Numbers::new(1);
            let operands = Operands::new(&sizes, |count| numbers.integers(count));
            let expected = expected(&sizes, &operands);
            check_integers::<f32>(&sizes, &operands, expected.clone());
            check_integers::<Bf16>(&sizes, &operands, expected);
        }
    }
}

fn check_integers<E: Kernels>(sizes: &Linear, operands: &Operands, mut expected: [Vec<f64>; 4]) {
    expected[1].iter_mut().for_each(|value| (*value, _) = stored::<E>(*value, 0.0));
    for (isa, actual) in run::<E>(sizes, operands) {
        assert_eq!(first_difference(&actual, &expected.concat()), None, "{isa} {sizes:?}");
    }
}

#[test]
fn rounds_within_the_bound() {
    for (rows, in_features, out_features) in [(1, 3, 5), (13, 257, 33), (32, 48, 130), (250, 16, 6)] {
        let sizes = Linear { rows, in_features, out_features };
        check_reals::<f32>(&sizes);
        check_reals::<Bf16>(&sizes);
    }
}

fn check_reals<E: Kernels>(sizes: &Linear) {
    let mut numbers = Numbers::new(2);
    let mut operands = Operands::new(sizes, |count| numbers.reals(count));
    operands.input = rounded::<E>(operands.input);
    // Where there are units for bf16, weight and output gradient are rounded too before they are multiplied.
    let entering = unit_roundoff::<E>();
    let [output, input_gradient] = [entering, 2.0 * entering + entering * entering];
    let parts = [
        (sizes.in_features + 2, output),
        (sizes.out_features, input_gradient),
        (sizes.rows + 64, output),
        (sizes.rows, 0.0),
    ];
    let magnitudes = expected(sizes, &operands.magnitudes());
    let mut pairs = Vec::new();
    for (index, values) in expected(sizes, &operands).iter().enumerate() {
        let (terms, entering) = parts[index];
        for (value, magnitude) in values.iter().zip(&magnitudes[index]) {
            let error = (entering + gamma(terms + 1) * (1.0 + entering)) * magnitude;
            pairs.push(if index == 1 { stored::<E>(*value, error) } else { (*value, error) });
        }
    }
    let (expected, bounds): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    for (isa, actual) in run::<E>(sizes, &operands) {
        assert_eq!(within(&actual, &expected, &bounds), None, "{isa} {sizes:?}");
    }
}

#[test]
fn the_epilogue_is_applied_to_the_sums() {
    for (rows, in_features, out_features) in [(1, 3, 5), (13, 70, 33), (40, 64, 64)] {
        let sizes = Linear { rows, in_features, out_features };
        for kind in KINDS {
            check_epilogue::<f32>(&sizes, kind);
            check_epilogue::<Bf16>(&sizes, kind);
        }
    }
}

fn check_epilogue<E: Kernels>(sizes: &Linear, activation: Activation) {
    let mut numbers = Numbers::new(3);
    // Steps of a quarter, whose products sums keep: they come beyond where activations bend.
    let mut steps = |count: usize| numbers.integers(count).iter().map(|value| value / 4.0).collect();
    let operands = Operands::new(sizes, &mut steps);
    let shortcut: Vec<f32> = steps(sizes.rows * sizes.out_features);
    let [sums, ..] = expected(sizes, &operands);
    let sums: Vec<_> = sums.iter().zip(&shortcut).map(|(sum, shortcut)| sum + f64::from(*shortcut)).collect();
    // Logits are f32.
    let (expected, bounds) = activated::<f32>(activation, &sums);
    let x = elements::<E>(&operands.input);
    for (isa, actual) in on_every_isa(|isa| {
        let filter = PackedFilter::linear(isa, sizes, &operands.weight);
        let (bias, shortcut) = (Some(&operands.bias[..]), Some(&shortcut[..]));
        let mut y = stale::<f32>(sums.len());
        E::linear(isa, sizes, &x, &filter, Epilogue { bias, shortcut, activation, moments: None }, &mut y);
        y
    }) {
        assert_eq!(within(&actual, &expected, &bounds), None, "{isa} {activation:?} of {sizes:?}");
    }
}

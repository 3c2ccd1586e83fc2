//! Winograd's algorithm against plain loops: exactly on whole numbers, within its own bound elsewhere.
//!
//! bf16 takes tiles of 2 x 2 outputs, f32 of 4 x 4 where images are large enough.

use elimnet_kernels::{Bf16, Conv2d, Epilogue, Isa, Kernels, Moments, PackedFilter, reference};

use super::activations::{KINDS, activated};
use super::compare::{first_difference, gamma, within};
use super::geometries::{padded, square};
use super::run::{Numbers, on_every_isa, widen};
use super::stored::{elements, floats, rounded, stale, stored, stored_each, unit_roundoff};

/// Even and odd sides, paddings, strips and blocks that end within a chunk, tasks of strips and of columns, parts, many channels.
fn cases() -> Vec<Conv2d> {
    let wide = Conv2d { in_height: 4, ..square(2, 22, [32, 32], 3, 1) };
    vec![
        square(1, 2, [32, 32], 3, 1),
        square(1, 4, [32, 64], 3, 1),
        square(2, 7, [64, 32], 3, 1),
        square(3, 8, [32, 32], 3, 1),
        square(1, 30, [32, 32], 3, 1),
        square(40, 7, [32, 64], 3, 1),
        square(6, 7, [512, 32], 3, 1),
        square(6, 7, [32, 160], 3, 1),
        square(1, 7, [64, 128], 3, 1),
        square(7, 11, [64, 128], 3, 1),
        square(40, 11, [32, 32], 3, 1),
        padded(0, 0, 0, 0, square(2, 9, [32, 32], 3, 1)),
        padded(2, 2, 2, 2, square(2, 6, [32, 32], 3, 1)),
        padded(1, 0, 0, 2, square(2, 10, [32, 32], 3, 1)),
        padded(0, 2, 1, 0, square(5, 11, [32, 64], 3, 1)),
        wide,
    ]
}

struct Operands {
    input: Vec<f32>,
    weight: Vec<f32>,
    output_gradient: Vec<f32>,
}

/// Output, input gradient, weight gradient.
const PASSES: [&str; 3] = ["output", "input gradient", "weight gradient"];

fn expected(conv: &Conv2d, operands: &Operands) -> [Vec<f64>; 3] {
    let [input, weight, gradient] =
        [&operands.input, &operands.weight, &operands.output_gradient].map(|values| widen(values));
    let mut results =
        [conv.output_len(), conv.input_len(), conv.weight_len()].map(|length| vec![0.0; length]);
    reference::conv2d(conv, &input, &weight, None, &mut results[0]);
    reference::conv2d_input_gradient(conv, &gradient, &weight, &mut results[1]);
    reference::conv2d_weight_gradient(conv, &input, &gradient, &mut results[2]);
    results
}

fn run<E: Kernels>(isa: Isa, conv: &Conv2d, operands: &Operands, pass: usize) -> Vec<f32> {
    let [input, gradient] = [&operands.input, &operands.output_gradient].map(|values| elements::<E>(values));
    match pass {
        0 => {
            let filter = PackedFilter::winograd_forward(isa, conv, &operands.weight);
            let mut output = stale::<E>(conv.output_len());
            E::conv2d(isa, conv, &input, &filter, Epilogue::default(), &mut output);
            floats(&output)
        }
        1 => {
            let filter = PackedFilter::winograd_input_gradient(isa, conv, &operands.weight);
            let mut d_input = stale::<E>(conv.input_len());
            E::conv2d_input_gradient(isa, conv, &gradient, &filter, &mut d_input);
            floats(&d_input)
        }
        _ => {
            let mut d_weight = vec![f32::NAN; conv.weight_len()];
            E::winograd_weight_gradient(isa, conv, &input, &gradient, &mut d_weight);
            d_weight
        }
    }
}

/// Whole numbers; the weights' are multiples of 4, as the filter's transform halves twice.
fn integers(conv: &Conv2d, seed: u64) -> Operands {
    let mut numbers = Numbers::new(seed);
    Operands {
        input: numbers.integers(conv.input_len()),
        weight: numbers.integers(conv.weight_len()).into_iter().map(|value| 4.0 * value).collect(),
        output_gradient: numbers.integers(conv.output_len()),
    }
}

#[test]
fn exact_on_small_integers() {
    for (seed, conv) in cases().iter().enumerate() {
        let operands = integers(conv, seed as u64);
        for (pass, expected) in expected(conv, &operands).into_iter().enumerate() {
            check_exact::<f32>(conv, &operands, pass, &expected);
            check_exact::<Bf16>(conv, &operands, pass, &expected);
        }
    }
}

fn check_exact<E: Kernels>(conv: &Conv2d, operands: &Operands, pass: usize, expected: &[f64]) {
    let (stored, _) = match pass {
        2 => stored_each::<f32>(expected, |_| 0.0),
        _ => stored_each::<E>(expected, |_| 0.0),
    };
    let is_rounded = size_of::<E>() == size_of::<f32>();
    for (isa, actual) in on_every_isa(|isa| run::<E>(isa, conv, operands, pass)) {
        let near = |value| if is_rounded { nearly_whole(value) } else { value };
        let actual: Vec<_> = actual.into_iter().map(near).collect();
        let difference = first_difference(&actual, &stored);
        assert_eq!(difference, None, "{isa}, {} of {conv:?}", PASSES[pass]);
    }
}

/// Tiles of 4 x 4 outputs divide by numbers that are no powers of two: their whole numbers are off by a rounding, which
/// a wrong place, a missing term or one too many cannot hide in.
fn nearly_whole(value: f32) -> f32 {
    let whole = value.round();
    if (value - whole).abs() < 0.125 { whole } else { value }
}

/// Matrices of the algorithm, without signs, made from its points.
struct Matrices {
    /// Outputs of a tile, a side.
    side: usize,
    b: Vec<Vec<f64>>,
    g: Vec<Vec<f64>>,
    a: Vec<Vec<f64>>,
}

impl Matrices {
    /// For the points and infinity.
    fn of(points: &[f64]) -> Self {
        let span = points.len() + 1;
        let side = span - 2;
        let powers = |point: f64, count: usize| (0..count).map(move |power| point.abs().powi(power as i32));
        let at_infinity =
            |count: usize| (0..count).map(move |power| if power + 1 == count { 1.0 } else { 0.0 });
        let mut matrices = Self { side, b: Vec::new(), g: Vec::new(), a: Vec::new() };
        for (index, &point) in points.iter().enumerate() {
            let others: Vec<_> =
                (0..points.len()).filter(|other| *other != index).map(|other| points[other]).collect();
            let at: f64 = others.iter().map(|other| (point - other).abs()).product();
            let mut row = with_zeros(&others);
            row.push(0.0);
            matrices.b.push(row);
            matrices.g.push(powers(point, 3).map(|power| power / at).collect());
            matrices.a.push(powers(point, side).collect());
        }
        matrices.b.push(with_zeros(points));
        matrices.g.push(at_infinity(3).collect());
        matrices.a.push(at_infinity(side).collect());
        matrices
    }

    fn span(&self) -> usize {
        self.side + 2
    }

    /// Rows and columns of a tile's outputs.
    fn outputs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let side = self.side;
        (0..side * side).map(move |output| (output / side, output % side))
    }

    /// Rows and columns of a transformed tile.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let span = self.span();
        (0..span * span).map(move |place| (place / span, place % span))
    }
}

/// Magnitudes of the coefficients of the polynomial that is zero at `points`, the constant first.
fn with_zeros(points: &[f64]) -> Vec<f64> {
    let mut coefficients = vec![1.0];
    for point in points {
        let mut product = vec![0.0; coefficients.len() + 1];
        for (power, coefficient) in coefficients.iter().enumerate() {
            product[power + 1] += coefficient;
            product[power] -= point * coefficient;
        }
        coefficients = product;
    }
    coefficients.into_iter().map(f64::abs).collect()
}

/// What the products of transformed magnitudes come to, for the three passes.
fn magnitudes(matrices: &Matrices, conv: &Conv2d, operands: &Operands) -> [Vec<f64>; 3] {
    let Matrices { a: to_outputs, g: of_filter, .. } = matrices;
    let [input, weight, gradient] =
        [&operands.input, &operands.weight, &operands.output_gradient].map(|values| widen(values));
    let swapped = Conv2d {
        in_height: conv.out_height(),
        in_width: conv.out_width(),
        in_channels: conv.out_channels,
        out_channels: conv.in_channels,
        padding: elimnet_kernels::Padding {
            top: 2 - conv.padding.top,
            left: 2 - conv.padding.left,
            bottom: 2 - conv.padding.bottom,
            right: 2 - conv.padding.right,
        },
        ..*conv
    };
    let mut turned = vec![0.0; weight.len()];
    for (index, value) in weight.iter().enumerate() {
        let [out, tap, channel] =
            [index / (9 * conv.in_channels), index / conv.in_channels % 9, index % conv.in_channels];
        turned[(channel * 9 + 8 - tap) * conv.out_channels + out] = value.abs();
    }
    let mut results =
        [conv.output_len(), conv.input_len(), conv.weight_len()].map(|length| vec![0.0; length]);
    every_product(matrices, conv, &input, &mut |image, [y, x], out, [i, j], channel, pixel| {
        let filter = |tap: usize| weight[(out * 9 + tap) * conv.in_channels + channel].abs();
        let taps: f64 = (0..9).map(|tap| of_filter[i][tap / 3] * of_filter[j][tap % 3] * filter(tap)).sum();
        let mut gradients = 0.0;
        for (a, b) in matrices.outputs() {
            if y + a < conv.out_height() && x + b < conv.out_width() {
                let place = ((image * conv.out_height() + y + a) * conv.out_width() + x + b)
                    * conv.out_channels
                    + out;
                results[0][place] += to_outputs[i][a] * to_outputs[j][b] * taps * pixel;
                gradients += to_outputs[i][a] * to_outputs[j][b] * gradient[place].abs();
            }
        }
        for tap in 0..9 {
            let place = (out * 9 + tap) * conv.in_channels + channel;
            results[2][place] += of_filter[i][tap / 3] * of_filter[j][tap % 3] * pixel * gradients;
        }
    });
    every_product(matrices, &swapped, &gradient, &mut |image, [y, x], out, [i, j], channel, pixel| {
        let filter = |tap: usize| turned[(out * 9 + tap) * swapped.in_channels + channel];
        let taps: f64 = (0..9).map(|tap| of_filter[i][tap / 3] * of_filter[j][tap % 3] * filter(tap)).sum();
        for (a, b) in matrices.outputs() {
            if y + a < conv.in_height && x + b < conv.in_width {
                let place =
                    ((image * conv.in_height + y + a) * conv.in_width + x + b) * conv.in_channels + out;
                results[1][place] += to_outputs[i][a] * to_outputs[j][b] * taps * pixel;
            }
        }
    });
    results
}

/// Image, first output of the tile, output channel, place, input channel, magnitude of the transformed pixel.
type Product<'a> = dyn FnMut(usize, [usize; 2], usize, [usize; 2], usize, f64) + 'a;

fn every_product(matrices: &Matrices, conv: &Conv2d, input: &[f64], product: &mut Product<'_>) {
    let pixel = |image: usize, y: isize, x: isize, channel: usize| {
        let is_inside = (0..conv.in_height as isize).contains(&y) && (0..conv.in_width as isize).contains(&x);
        let place = (image * conv.in_height) as isize + y;
        let place = (place * conv.in_width as isize + x) * conv.in_channels as isize + channel as isize;
        if is_inside { input[place as usize].abs() } else { 0.0 }
    };
    for image in 0..conv.batch {
        for y in (0..conv.out_height()).step_by(matrices.side) {
            for x in (0..conv.out_width()).step_by(matrices.side) {
                for channel in 0..conv.in_channels {
                    for (i, j) in matrices.places() {
                        let mut sum = 0.0;
                        for (a, b) in matrices.places() {
                            let top = (y + a) as isize - conv.padding.top as isize;
                            let left = (x + b) as isize - conv.padding.left as isize;
                            sum += matrices.b[i][a] * matrices.b[j][b] * pixel(image, top, left, channel);
                        }
                        for out in 0..conv.out_channels {
                            product(image, [y, x], out, [i, j], channel, sum);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn rounds_within_the_bound() {
    let (two, four) = (Matrices::of(&[0.0, 1.0, -1.0]), Matrices::of(&[0.0, 0.625, -0.625, 1.5, -1.5]));
    // And what f32 takes.
    let cases = [
        (square(6, 7, [32, 32], 3, 1), &four),
        (square(2, 14, [32, 64], 3, 1), &four),
        (padded(0, 1, 2, 1, square(6, 7, [64, 32], 3, 1)), &four),
        (square(3, 6, [32, 64], 3, 1), &two),
    ];
    for (seed, (conv, in_f32)) in cases.iter().enumerate() {
        assert_eq!(values_for_nine::<f32>(Isa::portable(), conv), in_f32.span() * in_f32.span());
        let mut numbers = Numbers::new(seed as u64);
        let mut reals = |length| rounded::<Bf16>(numbers.reals(length));
        let operands = Operands {
            input: reals(conv.input_len()),
            weight: reals(conv.weight_len()),
            output_gradient: reals(conv.output_len()),
        };
        let expected = expected(conv, &operands);
        let [in_f32, in_bf16] = [*in_f32, &two].map(|matrices| magnitudes(matrices, conv, &operands));
        for pass in 0..3 {
            let case = Case { conv, operands: &operands, pass };
            check_bounds::<f32>(&case, &expected[pass], &in_f32[pass]);
            check_bounds::<Bf16>(&case, &expected[pass], &in_bf16[pass]);
        }
    }
}

struct Case<'a> {
    conv: &'a Conv2d,
    operands: &'a Operands,
    pass: usize,
}

/// Both operands of a product are rounded once they are transformed; the rest is f32.
fn check_bounds<E: Kernels>(case: &Case<'_>, expected: &[f64], magnitudes: &[f64]) {
    let &Case { conv, operands, pass } = case;
    let rounding = unit_roundoff::<E>();
    // At most eight roundings of a pixel and of a weight, the products' sum, eight back, or twelve to the filter.
    let terms = [conv.in_channels, conv.out_channels, conv.output_len()][pass] + 40;
    let relative = 2.0 * rounding + rounding * rounding + gamma(terms);
    let kept = if pass == 2 { stored::<f32> } else { stored::<E> };
    let pairs = expected.iter().zip(magnitudes);
    let (expected, bounds): (Vec<_>, Vec<_>) =
        pairs.map(|(value, magnitude)| kept(*value, relative * magnitude)).unzip();
    for (isa, actual) in on_every_isa(|isa| run::<E>(isa, conv, operands, pass)) {
        let difference = within(&actual, &expected, &bounds);
        assert_eq!(difference, None, "{isa}, {} of {conv:?}", PASSES[pass]);
    }
}

#[test]
fn the_epilogue_is_applied_to_the_sums() {
    // Tasks of strips, and of columns.
    for conv in [square(3, 9, [32, 64], 3, 1), square(2, 7, [32, 256], 3, 1)] {
        check_epilogue::<f32>(&conv);
        check_epilogue::<Bf16>(&conv);
    }
}

fn check_epilogue<E: Kernels>(conv: &Conv2d) {
    let channels = conv.out_channels;
    let mut operands = integers(conv, 3);
    // Steps of 1/64, which sums keep: they come to where activations bend.
    operands.input.iter_mut().for_each(|input| *input /= 64.0);
    let shortcut = Numbers::new(4).integers(conv.output_len());
    let bias: Vec<f32> = (0..channels).map(|channel| (channel % 32) as f32 / 8.0 - 2.0).collect();
    let [mut sums, ..] = expected(conv, &operands);
    sums.iter_mut().enumerate().for_each(|(index, sum)| *sum += f64::from(bias[index % channels]));
    let (mean, variance) = reference::batch_statistics(channels, &sums);
    let mean_bounds: Vec<_> = variance.iter().map(|variance| variance.sqrt() * 1e-5).collect();
    let variance_bounds: Vec<_> = variance.iter().map(|variance| variance * 1e-5).collect();
    sums.iter_mut().zip(&shortcut).for_each(|(sum, shortcut)| *sum += f64::from(*shortcut));
    let [input, shortcut] = [&operands.input, &shortcut].map(|values| elements::<E>(values));
    for activation in KINDS {
        let (outputs, mut bounds) = activated::<E>(activation, &sums);
        if size_of::<E>() == size_of::<f32>() {
            // Tiles of 4 x 4 outputs round their sums; no activation is steeper than 1.5.
            bounds.iter_mut().for_each(|bound| *bound += 1e-4);
        }
        let expected = [&mean[..], &variance, &outputs].concat();
        let bounds = [&mean_bounds[..], &variance_bounds, &bounds].concat();
        for (isa, actual) in on_every_isa(|isa| {
            let filter = PackedFilter::winograd_forward(isa, conv, &operands.weight);
            let [mut mean, mut variance] = [(); 2].map(|()| vec![f32::NAN; channels]);
            let mut output = stale::<E>(conv.output_len());
            let moments = Some(Moments { mean: &mut mean, variance: &mut variance });
            let epilogue = Epilogue { bias: Some(&bias), shortcut: Some(&shortcut), activation, moments };
            E::conv2d(isa, conv, &input, &filter, epilogue, &mut output);
            [mean, variance, floats(&output)].concat()
        }) {
            let difference = within(&actual, &expected, &bounds);
            assert_eq!(difference, None, "{isa} {activation:?}, {} bytes, {conv:?}", size_of::<E>());
        }
    }
}

/// The tests above would pass without a line of the algorithm: its filters are larger, 16 or 36 values for 9.
#[test]
fn it_is_taken_where_it_is_faster() {
    // In f32, in bf16.
    let cases = [
        (square(1, 8, [64, 64], 3, 1), [36, 16]),
        (square(1, 7, [32, 96], 3, 1), [36, 16]),
        (square(1, 6, [64, 64], 3, 1), [16, 16]),
        (square(1, 2, [64, 64], 3, 1), [16, 16]),
        (square(1, 1, [64, 64], 3, 1), [9, 9]),
        (square(1, 8, [64, 48], 3, 1), [9, 9]),
        (square(1, 8, [64, 64], 3, 2), [9, 9]),
        (square(1, 8, [64, 64], 5, 1), [9, 9]),
        (super::geometries::grouped(2, square(1, 8, [64, 64], 3, 1)), [9, 9]),
    ];
    // Units for bf16, and their stand-ins, are there on one architecture alone.
    let units: Vec<_> =
        ["avx512bf16", "emulated-avx512bf16"].into_iter().filter_map(Isa::from_name).collect();
    assert_eq!(units.is_empty(), !cfg!(target_arch = "x86_64"));
    for (conv, [in_f32, in_bf16]) in cases {
        assert_eq!(values_for_nine::<f32>(Isa::portable(), &conv), in_f32, "f32, {conv:?}");
        for isa in &units {
            assert_eq!(values_for_nine::<Bf16>(*isa, &conv), in_bf16, "bf16, {isa}, {conv:?}");
        }
    }
}

/// A gradient to the filter keeps no filter; but it rounds otherwise.
#[test]
fn gradients_take_it_for_enough_tiles() {
    for (conv, is_taken) in [
        (square(6, 8, [32, 32], 3, 1), true),
        (square(2, 8, [32, 32], 3, 1), true),
        (square(1, 8, [32, 32], 3, 1), false),
        (square(6, 8, [32, 48], 3, 1), false),
    ] {
        let mut numbers = Numbers::new(7);
        let [input, gradient] = [conv.input_len(), conv.output_len()].map(|length| numbers.reals(length));
        for (isa, differs) in on_every_isa(|isa| {
            let [mut direct, mut fastest] = [(); 2].map(|()| vec![f32::NAN; conv.weight_len()]);
            f32::conv2d_weight_gradient(isa, &conv, &input, &gradient, &mut direct);
            f32::winograd_weight_gradient(isa, &conv, &input, &gradient, &mut fastest);
            vec![f32::from(u8::from(direct != fastest))]
        }) {
            assert_eq!(differs, [f32::from(u8::from(is_taken))], "{isa}, {conv:?}");
        }
    }
}

/// Rounded, as filters have room at their ends.
fn values_for_nine<E: Kernels>(isa: Isa, conv: &Conv2d) -> usize {
    let weight = vec![1.0; conv.weight_len()];
    let direct = PackedFilter::<E>::forward(isa, conv, &weight).bytes();
    let winograd = PackedFilter::<E>::winograd_forward(isa, conv, &weight).bytes();
    (9.0 * winograd as f64 / direct as f64).round() as usize
}

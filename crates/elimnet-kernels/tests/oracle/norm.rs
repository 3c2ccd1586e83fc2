use elimnet_kernels::{
    BatchNorm, Bf16, Kernels, batch_norm_backward, batch_norm_parameter_gradients, normalize, reference,
};

use super::compare::{first_difference, within};
use super::run::{Numbers, on_every_isa, widen};
use super::stored::{elements, floats, rounded, stale, stored, stored_each};

const EPSILON: f64 = 1e-5;

/// Rows and channels: around the lanes, around the folding of short rows (128), one and several tasks.
const SHAPES: [[usize; 2]; 22] = [
    [1, 1],
    [2, 1],
    [5, 3],
    [129, 1],
    [1000, 3],
    [7, 4],
    [9, 15],
    [8, 16],
    [50, 17],
    [33, 24],
    [300, 40],
    [3, 127],
    [3, 128],
    [3, 129],
    [70, 144],
    [20, 672],
    [2, 1280],
    [2000, 32],
    [1025, 96],
    [5000, 16],
    [20_000, 7],
    [700, 257],
];

#[test]
fn statistics_are_close_to_exact() {
    for shape in SHAPES {
        // A mean that is a thousand standard deviations away loses nothing but the input's own rounding; bf16 tells no numbers that
        // are so close apart.
        for offset in [0.0, 1000.0] {
            check_statistics::<f32>(shape, [1.0, offset]);
            check_statistics::<Bf16>(shape, [16.0, offset]);
        }
    }
}

fn check_statistics<E: Kernels>([rows, channels]: [usize; 2], [spread, offset]: [f32; 2]) {
    let x = Numbers::new(1).reals(rows * channels).iter().map(|x| x * spread + offset).collect();
    let x = rounded::<E>(x);
    let (mean, variance) = reference::batch_statistics(channels, &widen(&x));
    for (isa, actual) in statistics::<E>(channels, &x) {
        let expected = [&mean[..], &variance].concat();
        // The mean of a task may be off by the rounding of its sum: 128 rows times the offset.
        let mean_bound = |m: &f64| f64::from(spread) * 1e-6 + 1e-5 * m.abs();
        let variance_bound = |v: &f64| 1e-5 * v + f64::from(offset).powi(2) * 1e-10;
        let bounds: Vec<_> = mean.iter().map(mean_bound).chain(variance.iter().map(variance_bound)).collect();
        let difference = within(&actual, &expected, &bounds);
        assert_eq!(difference, None, "{isa} {rows} x {channels} around {offset}");
    }
}

/// Means, then variances, of every instruction set.
fn statistics<E: Kernels>(channels: usize, x: &[f32]) -> Vec<(&'static str, Vec<f32>)> {
    let x = elements::<E>(x);
    on_every_isa(|isa| {
        let mut statistics = vec![f32::NAN; 2 * channels];
        let (mean, variance) = statistics.split_at_mut(channels);
        E::batch_statistics(isa, &x, mean, variance);
        statistics
    })
}

#[test]
fn statistics_of_what_is_no_number_are_none() {
    let x = [f32::NAN, 1.0, 2.0, 3.0];
    for (isa, found) in statistics::<f32>(2, &x).into_iter().chain(statistics::<Bf16>(2, &x)) {
        let [mean, other_mean, variance, other_variance] = found[..] else { unreachable!("of two channels") };
        assert!(mean.is_nan() && variance.is_nan(), "{isa}: {mean} {variance}");
        assert_eq!((other_mean, other_variance), (2.0, 1.0), "{isa}");
    }
}

#[test]
fn statistics_of_integers_are_exact() {
    for channels in [1, 3, 16, 40, 130] {
        check_integer_statistics::<f32>(channels);
        check_integer_statistics::<Bf16>(channels);
    }
}

fn check_integer_statistics<E: Kernels>(channels: usize) {
    // Four rows a..d with mean 0: every sum is an integer, whatever its order.
    let rows = 256;
    let values = |i: usize| [3.0, -3.0, 1.0, -1.0][(i / channels) % 4] * (1 + i % channels % 4) as f32;
    let x: Vec<f32> = (0..rows * channels).map(values).collect();
    let (mean, variance) = reference::batch_statistics(channels, &widen(&x));
    for (isa, actual) in statistics::<E>(channels, &x) {
        assert_eq!(first_difference(&actual, &[&mean[..], &variance].concat()), None, "{isa} {channels}");
    }
}

#[test]
fn column_sums_of_integers_are_exact() {
    for shape in SHAPES {
        check_column_sums::<f32>(shape);
        check_column_sums::<Bf16>(shape);
    }
}

fn check_column_sums<E: Kernels>([rows, channels]: [usize; 2]) {
    let x = Numbers::new(2).integers(rows * channels);
    let expected: Vec<f64> =
        (0..channels).map(|c| x.iter().skip(c).step_by(channels).map(|x| f64::from(*x)).sum()).collect();
    let x = elements::<E>(&x);
    for (isa, sums) in on_every_isa(|isa| {
        let mut sums = vec![f32::NAN; channels];
        E::column_sums(isa, &x, &mut sums);
        sums
    }) {
        assert_eq!(first_difference(&sums, &expected), None, "{isa} {rows} x {channels}");
    }
}

#[test]
fn application_to_integers_is_exact() {
    for shape in SHAPES {
        check_application::<f32>(shape);
        check_application::<Bf16>(shape);
    }
}

fn check_application<E: Kernels>([rows, channels]: [usize; 2]) {
    let mut numbers = Numbers::new(3);
    let x = numbers.integers(rows * channels);
    let [mean, inverse_std, weight, bias] = [(); 4].map(|()| numbers.integers(channels));
    let wide = [&x, &mean, &inverse_std, &weight, &bias].map(|values| widen(values));
    let [x64, mean64, inverse_std64, weight64, bias64] = &wide;
    let (zeros, ones) = (vec![0.0; channels], vec![1.0; channels]);
    let mut expected = reference::normalize(x64, mean64, inverse_std64, weight64, bias64);
    expected.extend(reference::normalize(x64, &zeros, &ones, weight64, bias64));
    let (expected, _) = stored_each::<E>(&expected, |_| 0.0);
    let x = elements::<E>(&x);
    for (isa, actual) in on_every_isa(|isa| {
        let [mut y, mut scaled] = [(); 2].map(|()| stale::<E>(x.len()));
        normalize(isa, &x, &mean, &inverse_std, &weight, &bias, &mut y);
        E::scale_shift(isa, &x, &weight, &bias, &mut scaled);
        floats(&[y, scaled].concat())
    }) {
        assert_eq!(first_difference(&actual, &expected), None, "{isa} {rows} x {channels}");
    }
}

#[test]
fn gradients_agree_with_the_chain_rule() {
    for shape in SHAPES.into_iter().filter(|[rows, _]| *rows >= 3) {
        // The variance of one or two rows amplifies every rounding.
        check_gradients::<f32>(shape);
        check_gradients::<Bf16>(shape);
    }
}

fn check_gradients<E: Kernels>([rows, channels]: [usize; 2]) {
    let mut numbers = Numbers::new(4);
    let [x, dy] = [(); 2].map(|()| rounded::<E>(numbers.reals(rows * channels)));
    let weight = numbers.reals(channels);
    let (mean, variance) = reference::batch_statistics(channels, &widen(&x));
    let mean32: Vec<_> = mean.iter().map(|mean| *mean as f32).collect();
    let inverse_std: Vec<_> = variance.iter().map(|v| (1.0 / (v + EPSILON).sqrt()) as f32).collect();
    let [dx, d_weight, d_bias] =
        reference::batch_norm_gradients(&widen(&x), &widen(&dy), EPSILON, &widen(&weight));
    let norm = BatchNorm { mean: &mean32, inverse_std: &inverse_std, weight: &weight };
    let largest = inverse_std.iter().fold(1.0_f64, |largest, s| largest.max(f64::from(*s)));
    let sum_bound = 2e-5 * (rows as f64).sqrt().max(1.0) * largest;
    let dx = dx.iter().map(|value| stored::<E>(*value, 3e-6 * largest.powi(2)));
    let sums = d_weight.iter().chain(&d_bias).map(|value| (*value, sum_bound));
    let (expected, bounds): (Vec<_>, Vec<_>) = dx.chain(sums).unzip();
    let [x, dy] = [x, dy].map(|values| elements::<E>(&values));
    for (isa, actual) in on_every_isa(|isa| {
        let (mut dx, mut d_weight, mut d_bias) =
            (stale::<E>(x.len()), vec![f32::NAN; channels], vec![f32::NAN; channels]);
        batch_norm_backward(isa, norm, &x, &dy, &mut dx, &mut d_weight, &mut d_bias);
        let (mut only_weight, mut only_bias) = (d_weight.clone(), d_bias.clone());
        batch_norm_parameter_gradients(isa, norm, &x, &dy, &mut only_weight, &mut only_bias);
        assert_eq!((&d_weight, &d_bias), (&only_weight, &only_bias));
        [floats(&dx), d_weight, d_bias].concat()
    }) {
        assert_eq!(within(&actual, &expected, &bounds), None, "{isa} {rows} x {channels}");
    }
}

/// The oracle's gradients are the slopes of its own forward pass.
#[test]
fn reference_gradients_are_central_differences() {
    let (rows, channels) = (5, 3);
    let mut numbers = Numbers::new(5);
    let [x, dy] = [(); 2].map(|()| widen(&numbers.reals(rows * channels)));
    let [weight, bias] = [(); 2].map(|()| widen(&numbers.reals(channels)));
    let loss = |x: &[f64], weight: &[f64], bias: &[f64]| -> f64 {
        let (mean, variance) = reference::batch_statistics(channels, x);
        let inverse_std: Vec<_> = variance.iter().map(|v| 1.0 / (v + EPSILON).sqrt()).collect();
        let y = reference::normalize(x, &mean, &inverse_std, weight, bias);
        y.iter().zip(&dy).map(|(y, dy)| y * dy).sum()
    };
    let slope = |values: &[f64], index: usize, loss: &dyn Fn(&[f64]) -> f64| {
        let at = |step: f64| {
            let mut moved = values.to_vec();
            moved[index] += step;
            loss(&moved)
        };
        (at(1e-5) - at(-1e-5)) / 2e-5
    };
    let [dx, d_weight, d_bias] = reference::batch_norm_gradients(&x, &dy, EPSILON, &weight);
    for (index, dx) in dx.iter().enumerate() {
        assert!((slope(&x, index, &|x| loss(x, &weight, &bias)) - dx).abs() < 1e-8);
    }
    for channel in 0..channels {
        let weight_slope = slope(&weight, channel, &|weight| loss(&x, weight, &bias));
        let bias_slope = slope(&bias, channel, &|bias| loss(&x, &weight, bias));
        assert!((weight_slope - d_weight[channel]).abs() < 1e-8);
        assert!((bias_slope - d_bias[channel]).abs() < 1e-8);
    }
}

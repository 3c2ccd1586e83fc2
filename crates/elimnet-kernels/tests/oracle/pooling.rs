use elimnet_kernels::{AdaptivePool2d, Images, Kernels, Pool2d, reference};

use super::compare::{first_difference, within};
use super::run::{Numbers, on_every_isa, widen};

fn cases() -> Vec<Pool2d> {
    let pool = |batch, in_height, in_width, channels, kernel, stride, padding| Pool2d {
        batch,
        in_height,
        in_width,
        channels,
        kernel,
        stride,
        padding,
    };
    let mut cases = vec![
        pool(1, 1, 1, 1, [1, 1], [1, 1], [0, 0]),
        pool(2, 8, 8, 64, [3, 3], [2, 2], [1, 1]),
        pool(2, 6, 7, 5, [2, 2], [2, 2], [0, 0]),
        pool(1, 7, 9, 3, [3, 2], [1, 3], [1, 0]),
        pool(3, 5, 5, 9, [5, 5], [1, 1], [2, 2]),
        pool(1, 9, 9, 2, [2, 2], [3, 3], [1, 1]),
        pool(1, 1, 4, 6, [2, 4], [1, 1], [1, 2]),
        pool(1, 4, 4, 2, [16, 16], [8, 8], [8, 8]),
    ];
    if cfg!(miri) {
        return vec![pool(1, 3, 4, 9, [3, 3], [2, 2], [1, 1])]; // an interpreter's share
    }
    for channels in [1, 3, 4, 7, 8, 9, 15, 16, 17, 33] {
        cases.push(pool(2, 5, 6, channels, [3, 3], [2, 2], [1, 1]));
    }
    cases
}

#[test]
fn max_pool_and_its_gradient_are_exact() {
    for pool in cases() {
        let mut numbers = Numbers::new(1);
        let x = numbers.integers(pool.input_len()); // few different values: many ties
        let dy = numbers.integers(pool.output_len());
        let (y, indices) = reference::max_pool2d(&pool, &widen(&x));
        let mut dx = vec![0.0; x.len()];
        indices.iter().zip(&dy).for_each(|(index, dy)| dx[*index] += f64::from(*dy));
        for (isa, actual) in on_every_isa(|isa| {
            let (mut y, mut taps) = (vec![f32::NAN; dy.len()], vec![99; dy.len()]);
            let mut dx = vec![f32::NAN; x.len()];
            f32::max_pool2d(isa, &pool, &x, &mut y, Some(&mut taps));
            f32::max_pool2d_gradient(isa, &pool, &dy, &taps, &mut dx);
            let mut without_taps = vec![f32::NAN; dy.len()];
            f32::max_pool2d(isa, &pool, &x, &mut without_taps, None);
            [y, without_taps, dx].concat()
        }) {
            assert_eq!(first_difference(&actual, &[&y[..], &y, &dx].concat()), None, "{isa} {pool:?}");
        }
    }
}

/// Window values and tap as torch 2 gives them.
#[test]
fn max_pool_takes_the_first_of_equals_and_the_last_nan() {
    let (nan, low) = (f32::NAN, f32::NEG_INFINITY);
    let cases = [
        ([5.0, 5.0, 2.0, 5.0], 5.0, 0),
        ([1.0, nan, nan, 5.0], nan, 2),
        ([nan, 5.0, 5.0, 2.0], nan, 0),
        ([low, low, low, low], low, 0),
    ];
    let pool = Pool2d {
        batch: 1,
        in_height: 2,
        in_width: 2,
        channels: 1,
        kernel: [2, 2],
        stride: [1, 1],
        padding: [0, 0],
    };
    for (x, largest, tap) in cases {
        for (isa, actual) in on_every_isa(|isa| {
            let (mut y, mut taps) = ([0.0], [99]);
            f32::max_pool2d(isa, &pool, &x, &mut y, Some(&mut taps));
            vec![y[0], f32::from(taps[0])]
        }) {
            assert_eq!(first_difference(&actual, &[f64::from(largest), f64::from(tap)]), None, "{isa} {x:?}");
        }
    }
}

#[test]
fn avg_pool_and_its_gradient() {
    for pool in cases() {
        let mut numbers = Numbers::new(2);
        let (x, dy) = (numbers.integers(pool.input_len()), numbers.integers(pool.output_len()));
        let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
        let size = (pool.kernel[0] * pool.kernel[1]) as f64;
        for (output, input) in reference::avg_pool2d(&pool) {
            y[output] += f64::from(x[input]) / size;
            dx[input] += f64::from(dy[output]) / size;
        }
        for (isa, actual) in on_every_isa(|isa| {
            let (mut y, mut dx) = (vec![f32::NAN; dy.len()], vec![f32::NAN; x.len()]);
            f32::avg_pool2d(isa, &pool, &x, &mut y);
            f32::avg_pool2d_gradient(isa, &pool, &dy, &mut dx);
            [y, dx].concat()
        }) {
            let expected = [&y[..], &dx].concat();
            let bounds = vec![if size.log2().fract() == 0.0 { 0.0 } else { 4e-6 }; expected.len()];
            assert_eq!(within(&actual, &expected, &bounds), None, "{isa} {pool:?}");
        }
    }
}

#[test]
fn adaptive_pool_and_its_gradient() {
    for (input, output) in
        [([7, 7], [1, 1]), ([7, 5], [3, 2]), ([2, 3], [5, 4]), ([6, 6], [6, 6]), ([8, 4], [4, 2])]
    {
        for channels in [1, 5, 16, 33] {
            let pool = AdaptivePool2d { batch: 2, input, output, channels };
            let mut numbers = Numbers::new(3);
            let x = numbers.integers(2 * input[0] * input[1] * channels);
            let dy = numbers.integers(2 * output[0] * output[1] * channels);
            let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
            for (output, input, share) in reference::adaptive_avg_pool2d(&pool) {
                y[output] += share * f64::from(x[input]);
                dx[input] += share * f64::from(dy[output]);
            }
            for (isa, actual) in on_every_isa(|_| {
                let (mut y, mut dx) = (vec![f32::NAN; dy.len()], vec![f32::NAN; x.len()]);
                f32::adaptive_avg_pool2d(&pool, &x, &mut y);
                f32::adaptive_avg_pool2d_gradient(&pool, &dy, &mut dx);
                [y, dx].concat()
            }) {
                let expected = [&y[..], &dx].concat();
                assert_eq!(within(&actual, &expected, &vec![4e-6; expected.len()]), None, "{isa} {pool:?}");
            }
        }
    }
}

#[test]
fn per_image_sums_and_scales() {
    let shapes =
        [[1, 1, 1], [2, 4, 3], [3, 64, 16], [2, 49, 40], [1, 3000, 24], [2, 16, 672], [0, 4, 3], [5, 2, 129]];
    for [batch, pixels, channels] in shapes {
        let images = Images { batch, pixels, channels };
        let mut numbers = Numbers::new(4);
        let [x, dy] = [(); 2].map(|()| numbers.integers(batch * pixels * channels));
        let scale = numbers.integers(batch * channels);
        let pooled = |index: usize| index / (pixels * channels) * channels + index % channels;
        let mut expected = vec![0.0; batch * channels * 2]; // means, scale gradient
        for (index, (x, dy)) in x.iter().zip(&dy).enumerate() {
            expected[pooled(index)] += f64::from(*x);
            expected[batch * channels + pooled(index)] += f64::from(x * dy);
        }
        expected[..batch * channels].iter_mut().for_each(|mean| *mean /= pixels as f64);
        expected.extend(x.iter().enumerate().map(|(index, x)| f64::from(x * scale[pooled(index)])));
        expected.extend((0..x.len()).map(|index| f64::from(scale[pooled(index)]) / pixels as f64));
        for (isa, actual) in on_every_isa(|isa| {
            let [mut means, mut scale_gradient] = [(); 2].map(|()| vec![f32::NAN; scale.len()]);
            let [mut y, mut dx] = [(); 2].map(|()| vec![f32::NAN; x.len()]);
            f32::global_avg_pool(isa, images, &x, &mut means);
            f32::scale_channels_scale_gradient(isa, images, &x, &dy, &mut scale_gradient);
            f32::scale_channels(isa, images, &x, &scale, &mut y);
            f32::global_avg_pool_gradient(isa, images, &scale, &mut dx);
            [means, scale_gradient, y, dx].concat()
        }) {
            let bounds: Vec<_> = expected.iter().map(|value| 2e-7 * value.abs()).collect();
            assert_eq!(within(&actual, &expected, &bounds), None, "{isa} {images:?}");
        }
    }
}

#[test]
fn broken_contracts_panic() {
    let pool = cases()[1];
    let run = |pool: Pool2d, input: usize, taps: usize| {
        std::panic::catch_unwind(|| {
            let isa = elimnet_kernels::Isa::portable();
            f32::max_pool2d(isa, &pool, &vec![0.0; input], &mut [0.0; 2 * 16 * 64], Some(&mut vec![0; taps]));
        })
    };
    assert!(run(pool, 8192, 2048).is_ok());
    assert!(run(pool, 8191, 2048).is_err(), "a short input");
    assert!(run(pool, 8192, 2047).is_err(), "short taps");
    assert!(run(Pool2d { padding: [2, 2], ..pool }, 8192, 2048).is_err(), "padding beyond half the window");
}

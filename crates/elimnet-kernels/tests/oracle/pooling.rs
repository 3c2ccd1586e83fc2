use elimnet_kernels::{AdaptivePool2d, Bf16, Images, Kernels, Pool2d, reference};

use super::compare::{first_difference, within};
use super::run::{Numbers, on_every_isa, widen};
use super::stored::{elements, floats, stale, stored_each};

pub(crate) fn cases() -> Vec<Pool2d> {
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
        check_max_pool::<f32>(&pool);
        check_max_pool::<Bf16>(&pool);
    }
}

fn check_max_pool<E: Kernels>(pool: &Pool2d) {
    let mut numbers = Numbers::new(1);
    let x = numbers.integers(pool.input_len()); // few different values: many ties
    let dy = numbers.integers(pool.output_len());
    let (y, indices) = reference::max_pool2d(pool, &widen(&x));
    let mut dx = vec![0.0; x.len()];
    indices.iter().zip(&dy).for_each(|(index, dy)| dx[*index] += f64::from(*dy));
    let (expected, _) = stored_each::<E>(&[&y[..], &y, &dx].concat(), |_| 0.0);
    let [x, dy] = [x, dy].map(|values| elements::<E>(&values));
    for (isa, actual) in on_every_isa(|isa| {
        let (mut y, mut taps) = (stale::<E>(dy.len()), vec![99; dy.len()]);
        let mut dx = stale::<E>(x.len());
        E::max_pool2d(isa, pool, &x, &mut y, Some(&mut taps));
        E::max_pool2d_gradient(isa, pool, &dy, &taps, &mut dx);
        let mut without_taps = stale::<E>(dy.len());
        E::max_pool2d(isa, pool, &x, &mut without_taps, None);
        floats(&[y, without_taps, dx].concat())
    }) {
        assert_eq!(first_difference(&actual, &expected), None, "{isa} {pool:?}");
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
        let expected = [f64::from(largest), f64::from(tap)];
        check_window::<f32>(&pool, &x, &expected);
        check_window::<Bf16>(&pool, &x, &expected);
    }
}

/// `expected`: value and tap of the one window.
fn check_window<E: Kernels>(pool: &Pool2d, x: &[f32], expected: &[f64]) {
    let x = elements::<E>(x);
    for (isa, actual) in on_every_isa(|isa| {
        let (mut y, mut taps) = ([E::ZERO], [99]);
        E::max_pool2d(isa, pool, &x, &mut y, Some(&mut taps));
        vec![y[0].to_f32(), f32::from(taps[0])]
    }) {
        assert_eq!(first_difference(&actual, expected), None, "{isa} {x:?}");
    }
}

#[test]
fn avg_pool_and_its_gradient() {
    for pool in cases() {
        check_avg_pool::<f32>(&pool);
        check_avg_pool::<Bf16>(&pool);
    }
}

fn check_avg_pool<E: Kernels>(pool: &Pool2d) {
    let mut numbers = Numbers::new(2);
    let (x, dy) = (numbers.integers(pool.input_len()), numbers.integers(pool.output_len()));
    let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
    let size = (pool.kernel[0] * pool.kernel[1]) as f64;
    for (output, input) in reference::avg_pool2d(pool) {
        y[output] += f64::from(x[input]) / size;
        dx[input] += f64::from(dy[output]) / size;
    }
    let error = if size.log2().fract() == 0.0 { 0.0 } else { 4e-6 };
    let (expected, bounds) = stored_each::<E>(&[y, dx].concat(), |_| error);
    let [x, dy] = [x, dy].map(|values| elements::<E>(&values));
    for (isa, actual) in on_every_isa(|isa| {
        let (mut y, mut dx) = (stale::<E>(dy.len()), stale::<E>(x.len()));
        E::avg_pool2d(isa, pool, &x, &mut y);
        E::avg_pool2d_gradient(isa, pool, &dy, &mut dx);
        floats(&[y, dx].concat())
    }) {
        assert_eq!(within(&actual, &expected, &bounds), None, "{isa} {pool:?}");
    }
}

#[test]
fn adaptive_pool_and_its_gradient() {
    for (input, output) in
        [([7, 7], [1, 1]), ([7, 5], [3, 2]), ([2, 3], [5, 4]), ([6, 6], [6, 6]), ([8, 4], [4, 2])]
    {
        for channels in [1, 5, 16, 33] {
            let pool = AdaptivePool2d { batch: 2, input, output, channels };
            check_adaptive_pool::<f32>(&pool);
            check_adaptive_pool::<Bf16>(&pool);
        }
    }
}

fn check_adaptive_pool<E: Kernels>(pool: &AdaptivePool2d) {
    let mut numbers = Numbers::new(3);
    let [x, dy] = [pool.input, pool.output]
        .map(|[height, width]| numbers.integers(pool.batch * height * width * pool.channels));
    let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
    for (output, input, share) in reference::adaptive_avg_pool2d(pool) {
        y[output] += share * f64::from(x[input]);
        dx[input] += share * f64::from(dy[output]);
    }
    let (expected, bounds) = stored_each::<E>(&[y, dx].concat(), |_| 4e-6);
    let [x, dy] = [x, dy].map(|values| elements::<E>(&values));
    for (isa, actual) in on_every_isa(|_| {
        let (mut y, mut dx) = (stale::<E>(dy.len()), stale::<E>(x.len()));
        E::adaptive_avg_pool2d(pool, &x, &mut y);
        E::adaptive_avg_pool2d_gradient(pool, &dy, &mut dx);
        floats(&[y, dx].concat())
    }) {
        assert_eq!(within(&actual, &expected, &bounds), None, "{isa} {pool:?}");
    }
}

#[test]
fn per_image_sums_and_scales() {
    let shapes =
        [[1, 1, 1], [2, 4, 3], [3, 64, 16], [2, 49, 40], [1, 3000, 24], [2, 16, 672], [0, 4, 3], [5, 2, 129]];
    for [batch, pixels, channels] in shapes {
        let images = Images { batch, pixels, channels };
        check_per_image::<f32>(images);
        check_per_image::<Bf16>(images);
    }
}

fn check_per_image<E: Kernels>(images: Images) {
    let Images { batch, pixels, channels } = images;
    let mut numbers = Numbers::new(4);
    let [x, dy] = [(); 2].map(|()| numbers.integers(batch * pixels * channels));
    let scale = numbers.integers(batch * channels);
    let pooled = |index: usize| index / (pixels * channels) * channels + index % channels;
    let [mut means, mut scale_gradient] = [(); 2].map(|()| vec![0.0; scale.len()]);
    for (index, (x, dy)) in x.iter().zip(&dy).enumerate() {
        means[pooled(index)] += f64::from(*x);
        scale_gradient[pooled(index)] += f64::from(x * dy);
    }
    means.iter_mut().for_each(|mean| *mean /= pixels as f64);
    let y: Vec<_> = x.iter().enumerate().map(|(index, x)| f64::from(x * scale[pooled(index)])).collect();
    let dx: Vec<_> = (0..x.len()).map(|index| f64::from(scale[pooled(index)]) / pixels as f64).collect();
    let quotient = |value: f64| 2e-7 * value.abs();
    // Whatever the pixels are stored as, what there is one of for each image is f32.
    let parts = [
        stored_each::<f32>(&means, quotient),
        stored_each::<f32>(&scale_gradient, |_| 0.0),
        stored_each::<E>(&y, |_| 0.0),
        stored_each::<E>(&dx, quotient),
    ];
    let (expected, bounds): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    let [x, dy] = [x, dy].map(|values| elements::<E>(&values));
    for (isa, actual) in on_every_isa(|isa| {
        let [mut means, mut scale_gradient] = [(); 2].map(|()| vec![f32::NAN; scale.len()]);
        let [mut y, mut dx] = [(); 2].map(|()| stale::<E>(x.len()));
        E::global_avg_pool(isa, images, &x, &mut means);
        E::scale_channels_scale_gradient(isa, images, &x, &dy, &mut scale_gradient);
        E::scale_channels(isa, images, &x, &scale, &mut y);
        E::global_avg_pool_gradient(isa, images, &scale, &mut dx);
        [means, scale_gradient, floats(&y), floats(&dx)].concat()
    }) {
        assert_eq!(within(&actual, &expected.concat(), &bounds.concat()), None, "{isa} {images:?}");
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

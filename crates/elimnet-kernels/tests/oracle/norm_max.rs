//! Batch norm, ReLU and maxima at once, against the chain of plain f64 steps.

use elimnet_kernels::{
    Activation, BatchNorm, Bf16, Isa, Kernels, Maxima, NormGradients, NormMaxPool, Pool2d, reference,
};

use super::compare::{first_difference, within};
use super::fused::{Behind, Problem, check_gradients, gradients, rounding};
use super::pooling::cases;
use super::run::{Numbers, on_every_isa, widen};
use super::stored::{elements, floats, stale};

#[test]
fn whole_numbers_are_exact() {
    for pool in cases() {
        check_whole_numbers::<f32>(pool);
        check_whole_numbers::<Bf16>(pool);
    }
}

/// Few different values: many ties, and channels whose weight is 0, where all are equal.
fn check_whole_numbers<E: Kernels>(pool: Pool2d) {
    let mut numbers = Numbers::new(3);
    let y = numbers.integers(pool.input_len());
    let dz = numbers.integers(pool.output_len());
    let [mean, weight, bias] = [(); 3].map(|()| numbers.integers(pool.channels));
    let ones = vec![1.0; pool.channels];
    let before =
        reference::normalize(&widen(&y), &widen(&mean), &widen(&ones), &widen(&weight), &widen(&bias));
    let (largest, indices) = reference::max_pool2d(&pool, &before);
    let z = largest.iter().map(|value| reference::activation(Activation::Relu, *value));
    let mut expected: Vec<f64> = z.chain(indices.iter().map(|index| f64::from(y[*index]))).collect();
    let [mut d_weight, mut d_bias] = [(); 2].map(|()| vec![0.0; pool.channels]);
    for ((index, largest), dz) in indices.iter().zip(&largest).zip(&dz) {
        let channel = index % pool.channels;
        let gradient = if *largest > 0.0 { f64::from(*dz) } else { 0.0 };
        d_bias[channel] += gradient;
        d_weight[channel] += gradient * f64::from(y[*index] - mean[channel]);
    }
    expected.extend(d_weight.into_iter().chain(d_bias));
    expected.extend(indices.iter().enumerate().map(|(output, index)| tap(&pool, output, *index)));
    let norm = BatchNorm { mean: &mean, inverse_std: &ones, weight: &weight };
    let fused = NormMaxPool { norm, bias: &bias, pool };
    let (y, dz) = (elements::<E>(&y), elements::<E>(&dz));
    for (isa, actual) in on_every_isa(|isa| {
        let run = run(isa, &fused, &y, &dz);
        [run.z, run.inputs, run.d_weight, run.d_bias, run.taps].concat()
    }) {
        assert_eq!(first_difference(&actual, &expected), None, "{isa} {pool:?}");
    }
}

/// Where in the window of an output value an input value lies, both by their places in memory.
fn tap(pool: &Pool2d, output: usize, input: usize) -> f64 {
    let pixel = |place: usize, width: usize, height: usize| {
        let pixel = place / pool.channels;
        [pixel / width % height, pixel % width]
    };
    let out = pixel(output, pool.out_width(), pool.out_height());
    let within = pixel(input, pool.in_width, pool.in_height);
    let [y, x] = [0, 1].map(|axis| within[axis] + pool.padding[axis] - out[axis] * pool.stride[axis]);
    (y * pool.kernel[1] + x) as f64
}

/// What both directions made.
struct Run {
    z: Vec<f32>,
    inputs: Vec<f32>,
    d_y: Vec<f32>,
    d_weight: Vec<f32>,
    d_bias: Vec<f32>,
    taps: Vec<f32>,
}

fn run<E: Kernels>(isa: Isa, fused: &NormMaxPool<'_>, y: &[E], dz: &[E]) -> Run {
    let [mut z, mut inputs] = [(); 2].map(|()| stale::<E>(dz.len()));
    let (mut taps, mut d_y) = (vec![99; dz.len()], stale::<E>(y.len()));
    let [mut d_weight, mut d_bias] = [(); 2].map(|()| vec![f32::NAN; fused.bias.len()]);
    E::normalize_relu_max_pool2d(isa, fused, y, &mut z, &mut inputs, &mut taps);
    let maxima = Maxima { inputs: &inputs, taps: &taps };
    let parameters = NormGradients { weight: &mut d_weight, bias: &mut d_bias };
    E::norm_relu_max_pool2d_backward(isa, fused, y, maxima, dz, &mut d_y, parameters);
    Run {
        z: floats(&z),
        inputs: floats(&inputs),
        d_y: floats(&d_y),
        d_weight,
        d_bias,
        taps: taps.into_iter().map(f32::from).collect(),
    }
}

#[test]
fn output_and_gradients_are_the_chain_of_their_steps() {
    for pool in cases() {
        check_chain::<f32>(pool);
        check_chain::<Bf16>(pool);
    }
}

fn check_chain<E: Kernels>(pool: Pool2d) {
    let problem = Problem::new([pool.batch, pool.in_height * pool.in_width, pool.channels]);
    let before = problem.before(Behind::Nothing);
    let (largest, indices) = reference::max_pool2d(&pool, &before);
    let expected: Vec<f64> =
        largest.iter().map(|value| reference::activation(Activation::Relu, *value)).collect();
    let bounds: Vec<f64> = expected.iter().map(|value| 1e-5 + rounding::<E>(*value)).collect();
    let dz = elements::<E>(&Numbers::new(4).reals(pool.output_len()));
    let mut d_activated = vec![0.0; before.len()];
    indices.iter().zip(floats(&dz)).for_each(|(index, dz)| d_activated[*index] += f64::from(dz));
    let (_, [d_y, d_weight, d_bias]) = gradients(&problem, Activation::Relu, Behind::Nothing, &d_activated);
    let y = elements::<E>(&problem.y);
    let norm = problem.fused(Activation::Relu);
    let fused = NormMaxPool { norm: norm.norm, bias: norm.bias, pool };
    let runs = on_every_isa(|isa| {
        let run = run(isa, &fused, &y, &dz);
        assert_eq!(within(&run.z, &expected, &bounds), None, "{} {pool:?}", isa.name());
        [run.d_y, run.d_weight, run.d_bias].concat()
    });
    check_gradients::<E>(&problem, Activation::Relu, [&d_y, &d_weight, &d_bias], runs);
}

fn small() -> Pool2d {
    Pool2d {
        batch: 1,
        in_height: 1,
        in_width: 4,
        channels: 1,
        kernel: [1, 4],
        stride: [1, 1],
        padding: [0, 0],
    }
}

#[test]
fn the_last_nan_of_a_window_is_its_largest() {
    let (nan, one) = (f32::NAN, [1.0]);
    let norm = BatchNorm { mean: &[0.0], inverse_std: &one, weight: &one };
    let fused = NormMaxPool { norm, bias: &[0.0], pool: small() };
    for (y, tap) in [([1.0, nan, 2.0, nan], 3.0), ([nan, 1.0, 2.0, 3.0], 0.0), ([1.0, nan, 3.0, 2.0], 1.0)] {
        on_every_isa(|isa| {
            let run = run(isa, &fused, &y, &[1.0]);
            assert!(run.z[0].is_nan() && run.inputs[0].is_nan(), "{} {y:?}", isa.name());
            assert_eq!(run.taps, [tap], "{} {y:?}", isa.name());
            run.taps
        });
    }
}

#[test]
fn broken_contracts_panic() {
    let forward = |y: usize, z: usize, inputs: usize, taps: usize, bias: usize| {
        let (one, bias) = ([1.0], vec![0.0; bias]);
        let norm = BatchNorm { mean: &one, inverse_std: &one, weight: &one };
        let fused = NormMaxPool { norm, bias: &bias, pool: small() };
        let (mut z, mut inputs, mut taps) = (vec![0.0; z], vec![0.0; inputs], vec![0; taps]);
        let call = || {
            f32::normalize_relu_max_pool2d(
                Isa::portable(),
                &fused,
                &vec![0.0; y],
                &mut z,
                &mut inputs,
                &mut taps,
            );
        };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err()
    };
    assert!(!forward(4, 1, 1, 1, 1));
    for [y, z, inputs, taps, bias] in
        [[3, 1, 1, 1, 1], [4, 2, 1, 1, 1], [4, 1, 0, 1, 1], [4, 1, 1, 2, 1], [4, 1, 1, 1, 2]]
    {
        assert!(forward(y, z, inputs, taps, bias), "{y} {z} {inputs} {taps} {bias}");
    }
}

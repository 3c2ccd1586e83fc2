use elimnet_kernels::{Activation, Kernels, activate_in_place, reference};

use super::compare::within;
use super::run::{Numbers, on_every_isa, widen};

const KINDS: [Activation; 8] = [
    Activation::Identity,
    Activation::Relu,
    Activation::Relu6,
    Activation::Silu,
    Activation::HardSwish,
    Activation::HardSigmoid,
    Activation::Sigmoid,
    Activation::Gelu,
];

/// A fine grid, and numbers far out, of several lengths around the lanes.
fn inputs() -> Vec<Vec<f32>> {
    let grid = (-20_000..20_000).map(|i| i as f32 / 1000.0);
    let far = (1..100).flat_map(|i| [i as f32, -(i as f32)]).chain([1e-30, -1e-30, 1e-8, -1e-8, 3e4, -3e4]);
    let mut inputs = vec![grid.collect::<Vec<_>>(), far.collect()];
    inputs.extend(
        [0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33].map(|count| Numbers::new(count).reals(count as usize)),
    );
    inputs
}

/// What `activate` promises: relative, or for GELU relative to `x`. Beyond ±87 exponentials are flushed.
fn bounds(kind: Activation, x: &[f32], y: &[f64]) -> Vec<f64> {
    let bound = |(x, y): (&f32, &f64)| match kind {
        Activation::Identity | Activation::Relu | Activation::Relu6 => 0.0,
        Activation::Gelu => 1e-6 * f64::from(x.abs()),
        _ => 1e-6 * y.abs() + 1e-36 * f64::from(x.abs()).max(1.0),
    };
    x.iter().zip(y).map(bound).collect()
}

#[test]
fn values() {
    for kind in KINDS {
        for x in inputs() {
            let expected: Vec<_> = widen(&x).into_iter().map(|x| reference::activation(kind, x)).collect();
            let bounds = bounds(kind, &x, &expected);
            for (isa, y) in on_every_isa(|isa| {
                let (mut y, mut in_place) = (vec![f32::NAN; x.len()], x.clone());
                f32::activate(isa, kind, &x, &mut y);
                activate_in_place(isa, kind, &mut in_place);
                assert_eq!(y, in_place);
                y
            }) {
                assert_eq!(within(&y, &expected, &bounds), None, "{isa} {kind:?}");
            }
        }
    }
}

#[test]
fn gradients() {
    for kind in KINDS {
        for x in inputs() {
            let dy = Numbers::new(9).reals(x.len());
            let slope = |(x, dy): (f64, &f32)| reference::activation_slope(kind, x) * f64::from(*dy);
            let expected: Vec<_> = widen(&x).into_iter().zip(&dy).map(slope).collect();
            // Slopes near a zero are differences of numbers near x.
            let bounds: Vec<_> = x
                .iter()
                .zip(&dy)
                .map(|(x, dy)| f64::from(1e-6 * x.abs().clamp(1.0, 10.0) * dy.abs()))
                .collect();
            for (isa, dx) in on_every_isa(|isa| {
                let mut dx = vec![f32::NAN; x.len()];
                f32::activation_gradient(isa, kind, &x, &dy, &mut dx);
                dx
            }) {
                assert_eq!(within(&dx, &expected, &bounds), None, "{isa} {kind:?}");
            }
        }
    }
}

/// The oracle's slopes are the slopes of its values, away from the kinks.
#[test]
fn reference_slopes_are_central_differences() {
    for kind in KINDS {
        for i in -800..800 {
            let (x, step) = (f64::from(i) / 100.0 + 0.003, 1e-4);
            let difference = reference::activation(kind, x + step) - reference::activation(kind, x - step);
            let slope = reference::activation_slope(kind, x);
            assert!((difference / (2.0 * step) - slope).abs() < 1e-7, "{kind:?} at {x}: {slope}");
        }
    }
}

#[test]
fn the_reference_error_function_is_known() {
    // Abramowitz & Stegun, table 7.1.
    for (x, value) in [(0.0, 0.0), (0.5, 0.520_499_877_8), (1.0, 0.842_700_792_9), (2.0, 0.995_322_265_0)] {
        assert!((reference::erf(x) - value).abs() < 1e-10);
        assert!((reference::erf(-x) + value).abs() < 1e-10);
    }
    // Where the two formulas meet; the series' large terms leave it about 1e-13.
    assert!((reference::erf(3.0 - 1e-13) - reference::erf(3.0)).abs() < 1e-12);
}

/// Values and slopes that torch 2 gives at the kinks and beyond the numbers.
#[test]
fn torch_conventions() {
    let (infinity, nan) = (f32::INFINITY, f32::NAN);
    struct Case {
        kind: Activation,
        x: [f32; 7],
        y: [f32; 7],
        slope: [f32; 7],
    }
    let cases = [
        Case {
            kind: Activation::Relu,
            x: [-infinity, -1.0, -0.0, 0.0, 1.0, infinity, nan],
            y: [0.0, 0.0, -0.0, 0.0, 1.0, infinity, nan],
            slope: [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0],
        },
        Case {
            kind: Activation::Relu6,
            x: [-infinity, 0.0, 5.0, 6.0, 7.0, infinity, nan],
            y: [0.0, 0.0, 5.0, 6.0, 6.0, 6.0, nan],
            slope: [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        },
        Case {
            kind: Activation::HardSwish,
            x: [-4.0, -3.0, 0.0, 1.5, 3.0, infinity, nan],
            y: [0.0, 0.0, 0.0, 1.125, 3.0, infinity, nan],
            slope: [0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 1.0],
        },
        Case {
            kind: Activation::HardSigmoid,
            x: [-infinity, -3.0, 0.0, 3.0, 5.0, infinity, nan],
            y: [0.0, 0.0, 0.5, 1.0, 1.0, 1.0, nan],
            slope: [0.0, 0.0, 1.0 / 6.0, 0.0, 0.0, 0.0, 0.0],
        },
        Case {
            kind: Activation::Sigmoid,
            x: [-infinity, -200.0, -0.0, 0.0, 200.0, infinity, nan],
            y: [0.0, 0.0, 0.5, 0.5, 1.0, 1.0, nan],
            slope: [0.0, 0.0, 0.25, 0.25, 0.0, 0.0, nan],
        },
        Case {
            kind: Activation::Silu,
            x: [-infinity, -200.0, -0.0, 0.0, 200.0, infinity, nan],
            y: [nan, -0.0, -0.0, 0.0, 200.0, infinity, nan],
            slope: [nan, 0.0, 0.5, 0.5, 1.0, nan, nan],
        },
        Case {
            kind: Activation::Gelu,
            x: [-200.0, -20.0, -0.0, 0.0, 20.0, 200.0, nan],
            y: [-0.0, -0.0, -0.0, 0.0, 20.0, 200.0, nan],
            slope: [0.0, 0.0, 0.5, 0.5, 1.0, 1.0, nan],
        },
    ];
    for Case { kind, x, y, slope } in cases {
        for (isa, actual) in on_every_isa(|isa| {
            let mut actual = vec![0.0; 14];
            f32::activate(isa, kind, &x, &mut actual[..7]);
            f32::activation_gradient(isa, kind, &x, &[1.0; 7], &mut actual[7..]);
            actual
        }) {
            let expected = widen(&[y, slope].concat());
            let bounds: Vec<_> = expected.iter().map(|value| value.abs() * 1e-6).collect();
            assert_eq!(within(&actual, &expected, &bounds), None, "{isa} {kind:?}");
        }
    }
}

#[test]
fn softmax_and_its_gradient() {
    for channels in [1, 2, 3, 6, 7, 8, 9, 16, 17, 100, 1000] {
        for rows in [0, 1, 2, 33] {
            let mut numbers = Numbers::new((channels * 100 + rows) as u64);
            let x: Vec<f32> = numbers.reals(rows * channels).iter().map(|x| x * 30.0 + 200.0).collect();
            let dy = numbers.reals(rows * channels);
            let y = reference::softmax(channels, &widen(&x));
            let dx = reference::softmax_gradient(channels, &y, &widen(&dy));
            for (isa, actual) in on_every_isa(|isa| {
                let (mut y, mut dx) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
                f32::softmax(isa, channels, &x, &mut y);
                f32::softmax_gradient(isa, channels, &y, &dy, &mut dx);
                [y, dx].concat()
            }) {
                let expected = [&y[..], &dx].concat();
                // Rounding of the exponent's argument, and of up to 1000 terms of the sum.
                let bounds: Vec<_> = [&y[..], &y].concat().iter().map(|y| 7e-5 * y + 1e-37).collect();
                assert_eq!(within(&actual, &expected, &bounds), None, "{isa} {channels} channels");
            }
        }
    }
}

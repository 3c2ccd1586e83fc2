use elimnet_kernels::{Activation, Bf16, Element, Kernels, activate_in_place, reference};

use super::compare::within;
use super::run::{Numbers, on_every_isa, widen};
use super::stored::{elements, floats, rounded, stale, stored, stored_each};

pub(crate) const KINDS: [Activation; 8] = [
    Activation::Identity,
    Activation::Relu,
    Activation::Relu6,
    Activation::Silu,
    Activation::HardSwish,
    Activation::HardSigmoid,
    Activation::Sigmoid,
    Activation::Gelu,
];

/// A fine grid, and numbers far out, of several lengths around the lanes; each as `E` stores it.
fn inputs<E: Element>() -> Vec<Vec<f32>> {
    let grid = (-20_000..20_000).map(|i| i as f32 / 1000.0);
    let far = (1..100).flat_map(|i| [i as f32, -(i as f32)]).chain([1e-30, -1e-30, 1e-8, -1e-8, 3e4, -3e4]);
    let mut inputs = [grid.collect(), far.collect()].map(rounded::<E>).to_vec();
    inputs[0].dedup();
    let counts = [0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33];
    inputs.extend(counts.map(|count| rounded::<E>(Numbers::new(count).reals(count as usize))));
    inputs
}

/// What the exponential functions may be off by where the result is stored as `E`, relative; all others by 1e-6.
fn relative_error<E: Element>(kind: Activation) -> f64 {
    match kind {
        Activation::Identity | Activation::Relu | Activation::Relu6 => 0.0,
        Activation::Silu | Activation::Sigmoid if E::IS_SHORT => 3e-4,
        _ => 1e-6,
    }
}

/// What `activate` promises of each value of `x`, and its bound: relative, or for GELU relative to `x`. Beyond ±87 exponentials
/// are flushed.
pub(crate) fn activated<E: Element>(kind: Activation, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let error = |x: f64, y: f64| match (relative_error::<E>(kind), kind) {
        (0.0, _) => 0.0,
        (relative, Activation::Gelu) => relative * x.abs(),
        (relative, _) => relative * y.abs() + 1e-36 * x.abs().max(1.0),
    };
    let value = |x: &f64| {
        let y = reference::activation(kind, *x);
        stored::<E>(y, error(*x, y))
    };
    x.iter().map(value).unzip()
}

#[test]
fn values() {
    for kind in KINDS {
        check_values::<f32>(kind);
        check_values::<Bf16>(kind);
    }
}

fn check_values<E: Kernels>(kind: Activation) {
    for x in inputs::<E>() {
        let (expected, bounds) = activated::<E>(kind, &widen(&x));
        let x = elements::<E>(&x);
        for (isa, y) in on_every_isa(|isa| {
            let (mut y, mut in_place) = (stale::<E>(x.len()), x.clone());
            E::activate(isa, kind, &x, &mut y);
            activate_in_place(isa, kind, &mut in_place);
            assert_eq!(y, in_place);
            floats(&y)
        }) {
            assert_eq!(within(&y, &expected, &bounds), None, "{isa} {kind:?}");
        }
    }
}

#[test]
fn gradients() {
    for kind in KINDS {
        check_gradients::<f32>(kind);
        check_gradients::<Bf16>(kind);
    }
}

fn check_gradients<E: Kernels>(kind: Activation) {
    for x in inputs::<E>() {
        let dy = rounded::<E>(Numbers::new(9).reals(x.len()));
        let gradient = |(x, dy): (&f32, &f32)| {
            let [x, dy] = [x, dy].map(|value| f64::from(*value));
            // Slopes near a zero are differences of numbers near x.
            let error = relative_error::<E>(kind) * x.abs().clamp(1.0, 10.0) * dy.abs();
            stored::<E>(reference::activation_slope(kind, x) * dy, error)
        };
        let (expected, bounds): (Vec<_>, Vec<_>) = x.iter().zip(&dy).map(gradient).unzip();
        let [x, dy] = [x, dy].map(|values| elements::<E>(&values));
        for (isa, dx) in on_every_isa(|isa| {
            let mut dx = stale::<E>(x.len());
            E::activation_gradient(isa, kind, &x, &dy, &mut dx);
            floats(&dx)
        }) {
            assert_eq!(within(&dx, &expected, &bounds), None, "{isa} {kind:?}");
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
        check_conventions::<f32>(kind, &x, [&y, &slope]);
        check_conventions::<Bf16>(kind, &x, [&y, &slope]);
    }
}

/// `expected`: values and slopes.
fn check_conventions<E: Kernels>(kind: Activation, x: &[f32], expected: [&[f32]; 2]) {
    // Values are relative to no less than 1e-30; slopes of bf16 to the steepest.
    let floors = [1e-30, if E::IS_SHORT { 1.0 } else { 1e-30 }];
    let error = |floor: f64| move |value: f64| relative_error::<E>(kind) * value.abs().max(floor);
    let parts = [0, 1].map(|part| stored_each::<E>(&widen(expected[part]), error(floors[part])));
    let (expected, bounds): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    let (expected, bounds) = (expected.concat(), bounds.concat());
    let x = elements::<E>(x);
    for (isa, actual) in on_every_isa(|isa| {
        let [mut y, mut slope] = [(); 2].map(|()| stale::<E>(x.len()));
        E::activate(isa, kind, &x, &mut y);
        E::activation_gradient(isa, kind, &x, &elements(&vec![1.0; x.len()]), &mut slope);
        floats(&[y, slope].concat())
    }) {
        // An infinity times zero is none times what an estimate leaves of zero.
        let defined = |(actual, expected): (&f32, &f64)| {
            if E::IS_SHORT && expected.is_nan() && actual.is_infinite() { f32::NAN } else { *actual }
        };
        let actual: Vec<_> = actual.iter().zip(&expected).map(defined).collect();
        assert_eq!(within(&actual, &expected, &bounds), None, "{isa} {kind:?}");
    }
}

#[test]
fn softmax_and_its_gradient() {
    for channels in [1, 2, 3, 6, 7, 8, 9, 16, 17, 100, 1000] {
        for rows in [0, 1, 2, 33] {
            check_softmax::<f32>(rows, channels);
            check_softmax::<Bf16>(rows, channels);
        }
    }
}

fn check_softmax<E: Kernels>(rows: usize, channels: usize) {
    let mut numbers = Numbers::new((channels * 100 + rows) as u64);
    let x = numbers.reals(rows * channels).iter().map(|x| x * 30.0 + 200.0).collect();
    let [x, dy] = [x, numbers.reals(rows * channels)].map(rounded::<E>);
    let y = reference::softmax(channels, &widen(&x));
    // The gradient is of the values that were stored.
    let kept = rounded::<E>(y.iter().map(|y| *y as f32).collect());
    let dx = reference::softmax_gradient(channels, &widen(&kept), &widen(&dy));
    // Rounding of the exponent's argument, and of up to 1000 terms of the sum.
    let errors = y.iter().map(|y| 7e-5 * y + 1e-37);
    let pairs = y.iter().chain(&dx).zip(errors.clone().chain(errors));
    let (expected, bounds): (Vec<_>, Vec<_>) = pairs.map(|(value, error)| stored::<E>(*value, error)).unzip();
    let [x, kept, dy] = [x, kept, dy].map(|values| elements::<E>(&values));
    for (isa, actual) in on_every_isa(|isa| {
        let [mut y, mut dx] = [(); 2].map(|()| stale::<E>(x.len()));
        E::softmax(isa, channels, &x, &mut y);
        E::softmax_gradient(isa, channels, &kept, &dy, &mut dx);
        floats(&[y, dx].concat())
    }) {
        assert_eq!(within(&actual, &expected, &bounds), None, "{isa} {channels} channels");
    }
}

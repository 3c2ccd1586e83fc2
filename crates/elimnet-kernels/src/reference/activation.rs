//! Activations and softmax.

use crate::activation::Activation;

/// The error function, to about 1e-13: Taylor series near zero, continued fraction of the complement beyond.
pub fn erf(x: f64) -> f64 {
    let distance = x.abs();
    if distance < 3.0 {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term.abs() > 1e-18 * sum.abs() {
            n += 1.0;
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        return sum * 2.0 / std::f64::consts::PI.sqrt();
    }
    let mut fraction = 0.0;
    for n in (1..=60).rev() {
        fraction = f64::from(n) / 2.0 / (distance + fraction);
    }
    let complement = (-x * x).exp() / (std::f64::consts::PI.sqrt() * (distance + fraction));
    (1.0 - complement).copysign(x)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Value of an activation.
pub fn activation(kind: Activation, x: f64) -> f64 {
    let relu6 = |x: f64| if x.is_nan() { x } else { x.clamp(0.0, 6.0) };
    match kind {
        Activation::Identity => x,
        Activation::Relu => {
            if x.is_nan() {
                x
            } else {
                x.max(0.0)
            }
        }
        Activation::Relu6 => relu6(x),
        Activation::Silu => x * sigmoid(x),
        Activation::HardSwish => x * relu6(x + 3.0) / 6.0,
        Activation::HardSigmoid => relu6(x + 3.0) / 6.0,
        Activation::Sigmoid => sigmoid(x),
        Activation::Gelu => x * 0.5 * (1.0 + erf(x / 2.0_f64.sqrt())),
    }
}

/// Slope of an activation, torch's at the kinks.
pub fn activation_slope(kind: Activation, x: f64) -> f64 {
    let within = |low: f64, high: f64| if x > low && x < high { 1.0 } else { 0.0 };
    match kind {
        Activation::Identity => 1.0,
        Activation::Relu => within(0.0, f64::INFINITY),
        Activation::Relu6 => within(0.0, 6.0),
        Activation::Silu => sigmoid(x) + x * sigmoid(x) * (1.0 - sigmoid(x)),
        Activation::HardSwish if x >= 3.0 => 1.0,
        Activation::HardSwish => within(-3.0, 3.0) * (2.0 * x + 3.0) / 6.0,
        Activation::HardSigmoid => within(-3.0, 3.0) / 6.0,
        Activation::Sigmoid => sigmoid(x) * (1.0 - sigmoid(x)),
        Activation::Gelu => {
            let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
            0.5 * (1.0 + erf(x / 2.0_f64.sqrt())) + x * density
        }
    }
}

/// [`crate::softmax`].
pub fn softmax(channels: usize, x: &[f64]) -> Vec<f64> {
    let row = |x: &[f64]| {
        let highest = x.iter().fold(f64::NEG_INFINITY, |highest, value| highest.max(*value));
        let sum: f64 = x.iter().map(|value| (value - highest).exp()).sum();
        x.iter().map(|value| (value - highest).exp() / sum).collect::<Vec<_>>()
    };
    x.chunks(channels).flat_map(row).collect()
}

/// [`crate::softmax_gradient`], from the Jacobian.
pub fn softmax_gradient(channels: usize, y: &[f64], dy: &[f64]) -> Vec<f64> {
    let mut dx = vec![0.0; y.len()];
    for row in 0..y.len() / channels {
        for i in 0..channels {
            for j in 0..channels {
                let [i, j] = [row * channels + i, row * channels + j];
                let identity = if i == j { 1.0 } else { 0.0 };
                dx[j] += dy[i] * y[i] * (identity - y[j]);
            }
        }
    }
    dx
}

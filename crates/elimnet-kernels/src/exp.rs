//! The exponential and the error function, written so that loops over them vectorise.

use crate::simd::Simd;

/// Below this the result is zero: it would be subnormal.
const LOWEST: f32 = -87.33;
/// Above this the result is infinite; the true limit is 88.72.
const HIGHEST: f32 = 88.37;
/// 1.5 · 2²³: adding it leaves a value rounded to an integer in the low bits.
const ROUNDING: f32 = 12_582_912.0;
/// ln 2 in two parts, the first exact in few bits (Cephes).
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// `(exp(r) − 1 − r) / r²` on ±ln 2 / 2, highest power first (Cephes `expf`).
const EXP: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1];

/// `exp(x)`.
///
/// # Accuracy
/// Relative error below 2.5e-7 (2 units in the last place) between -87.33 and 88.37, beyond that 0 and
/// infinity; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: f32) -> f32 {
    let low = if x < LOWEST { LOWEST } else { x };
    let inside = if low > HIGHEST { HIGHEST } else { low };
    let rounded = simd.mul_add_scalar(inside, std::f32::consts::LOG2_E, ROUNDING);
    let power = rounded - ROUNDING;
    let rest = simd.mul_add_scalar(power, -LN_2[0], inside);
    let rest = simd.mul_add_scalar(power, -LN_2[1], rest);
    let series = polynomial(simd, rest, EXP);
    let value = simd.mul_add_scalar(series, rest * rest, rest) + 1.0;
    let scale = f32::from_bits(rounded.to_bits().wrapping_add(127) << 23);
    let value = if x < LOWEST { 0.0 } else { value * scale };
    if x > HIGHEST { f32::INFINITY } else { value }
}

/// `1 / (1 + exp(−x))`.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(simd: S, x: f32) -> f32 {
    1.0 / (1.0 + exp(simd, -x))
}

/// Bound between the two approximations of [`erf`].
const ERF_BOUND: f32 = 0.927_734_4;
/// `ln(1 − erf |x|) + |x|` over `|x|` beyond the bound, highest power first.
const ERF_FAR: [f32; 7] = [
    -1.728_534_7e-5,
    3.831_971_3e-4,
    -3.883_964_4e-3,
    2.425_462_2e-2,
    -1.067_778_8e-1,
    -6.348_467e-1,
    -1.287_175_1e-1,
];
/// `erf(x) / x − 1` over `x²` up to the bound, highest power first.
const ERF_NEAR: [f32; 6] =
    [-5.967_617e-4, 4.991_194_2e-3, -2.676_813_5e-2, 1.128_199_3e-1, -3.761_253_4e-1, 1.283_791_7e-1];

/// The error function.
///
/// # Accuracy
/// Error below 3e-7.
///
/// # Source
/// N. Juffa's single-precision `erff`.
#[inline(always)]
pub(crate) fn erf<S: Simd>(simd: S, x: f32) -> f32 {
    let distance = x.abs();
    let far = polynomial(simd, distance, ERF_FAR);
    let far = 1.0 - exp(simd, simd.mul_add_scalar(far, distance, -distance));
    let near = simd.mul_add_scalar(polynomial(simd, x * x, ERF_NEAR), x, x);
    let saturated = if distance > 4.0 { 1.0 } else { far };
    if distance > ERF_BOUND { saturated.copysign(x) } else { near }
}

/// Horner's rule, highest power first.
#[inline(always)]
fn polynomial<S: Simd, const TERMS: usize>(simd: S, x: f32, coefficients: [f32; TERMS]) -> f32 {
    let mut value = coefficients[0];
    for coefficient in &coefficients[1..] {
        value = simd.mul_add_scalar(value, x, *coefficient);
    }
    value
}

//! The exponential, the logistic function and the error function of whole registers.

use crate::element::Element;
use crate::simd::Simd;

/// Below this the result is zero: it would be subnormal.
const LOWEST: f32 = -87.33;
/// Above this the result is infinite; the true limit is 88.72.
const HIGHEST: f32 = 88.37;
/// 1.5 · 2²³: adding it leaves a value rounded to a whole number.
const ROUNDING: f32 = 12_582_912.0;
/// What an f32's exponent is stored with.
const BIAS: f32 = 127.0;
/// ln 2 in two parts, the first exact in few bits (Cephes).
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// `(exp(r) − 1 − r) / r²` on ±ln 2 / 2, highest power first (Cephes `expf`).
const EXP: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1];
/// Where `exp(−x)` in [`sigmoid`] becomes infinite and zero.
const SIGMOID_RANGE: [f32; 2] = [-88.9, 88.1];
/// `exp(−r)` on ±ln 2 / 2 to a relative error of 7.5e-8, highest power first (our own fit, the largest error least).
const EXP_NEGATIVE: [f32; 6] =
    [-8.297_648e-3, 4.191_543e-2, -1.666_757_5e-1, 4.999_889_4e-1, -9.999_997e-1, 1.000_000_1];
/// `2^r` on ±1/2 to a relative error of 7.5e-5, highest power first (our own fit, the largest error least).
const EXP_2: [f32; 4] = [0.055_171_322, 0.242_610_54, 0.693_260_97, 0.999_928_1];

/// `exp(x)`.
///
/// # Accuracy
/// Relative error below 2.5e-7 (2 units in the last place) between -87.33 and 88.37, beyond that 0 and
/// infinity; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let (lowest, highest, one) = (simd.splat(LOWEST), simd.splat(HIGHEST), simd.splat(1.0));
    let inside = simd.minimum(highest, simd.maximum(lowest, x));
    let rounding = simd.splat(ROUNDING);
    let power = simd.mul_add(inside, simd.splat(std::f32::consts::LOG2_E), rounding);
    let power = simd.subtract(power, rounding);
    let rest = simd.mul_add(power, simd.splat(-LN_2[0]), inside);
    let rest = simd.mul_add(power, simd.splat(-LN_2[1]), rest);
    let series = polynomial(simd, rest, EXP);
    let value = simd.add(simd.mul_add(series, simd.multiply(rest, rest), rest), one);
    let value = simd.scale_by_power(value, power);
    let value = simd.select_below(x, lowest, simd.splat(0.0), value);
    simd.select_below(highest, x, simd.splat(f32::INFINITY), value)
}

/// `1 / (1 + exp(−x))`, to the precision that `E` stores.
///
/// # Accuracy
/// Relative error below 1e-6, for bf16 below 3e-4 (its rounding is up to 3.9e-3), where the value is above 1e-30.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd, E: Element>(simd: S, x: S::Vector) -> S::Vector {
    let one = simd.splat(1.0);
    if E::IS_SHORT {
        let (power, rest) = simd.split_power(simd.multiply(x, simd.splat(-std::f32::consts::LOG2_E)));
        let exp = simd.scale_by_power(polynomial(simd, rest, EXP_2), power);
        return simd.reciprocal_estimate(simd.add(one, exp));
    }
    simd.divide(one, one_plus_exp(simd, x))
}

/// `x / (1 + exp(−x))`, to the precision that `E` stores.
///
/// # Accuracy
/// As [`sigmoid`].
#[inline(always)]
pub(crate) fn silu<S: Simd, E: Element>(simd: S, x: S::Vector) -> S::Vector {
    if E::IS_SHORT {
        simd.multiply(x, sigmoid::<S, E>(simd, x))
    } else {
        simd.divide(x, one_plus_exp(simd, x))
    }
}

/// `1 + exp(−x)` to a relative error of 5e-7; infinite from −88.4 down.
#[inline(always)]
fn one_plus_exp<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let [lowest, highest] = SIGMOID_RANGE.map(|bound| simd.splat(bound));
    let x = simd.minimum(highest, simd.maximum(lowest, x));
    // A whole number beside the exponent's bias, in the low bits.
    let biased = simd.mul_add(x, simd.splat(-std::f32::consts::LOG2_E), simd.splat(ROUNDING + BIAS));
    let power = simd.subtract(biased, simd.splat(ROUNDING + BIAS));
    let rest = simd.mul_add(power, simd.splat(LN_2[0]), x);
    let rest = simd.mul_add(power, simd.splat(LN_2[1]), rest);
    simd.mul_add(polynomial(simd, rest, EXP_NEGATIVE), simd.power_of_bits(biased), simd.splat(1.0))
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
pub(crate) fn erf<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let (zero, one) = (simd.splat(0.0), simd.splat(1.0));
    let negative = simd.subtract(zero, x);
    let distance = simd.maximum(negative, x);
    let far = polynomial(simd, distance, ERF_FAR);
    let far = simd.subtract(one, exp(simd, simd.mul_add(far, distance, simd.subtract(zero, distance))));
    let far = simd.select_below(simd.splat(4.0), distance, one, far);
    let far = simd.select_below(x, zero, simd.subtract(zero, far), far);
    let near = simd.mul_add(polynomial(simd, simd.multiply(x, x), ERF_NEAR), x, x);
    simd.select_below(simd.splat(ERF_BOUND), distance, far, near)
}

/// Horner's rule, highest power first.
#[inline(always)]
fn polynomial<S: Simd, const TERMS: usize>(simd: S, x: S::Vector, coefficients: [f32; TERMS]) -> S::Vector {
    let mut value = simd.splat(coefficients[0]);
    for coefficient in &coefficients[1..] {
        value = simd.mul_add(value, x, simd.splat(*coefficient));
    }
    value
}

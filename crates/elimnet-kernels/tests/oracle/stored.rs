//! Numbers as an element type stores them.

use elimnet_kernels::{Bf16, Element};

pub(crate) fn elements<E: Element>(values: &[f32]) -> Vec<E> {
    values.iter().map(|value| E::from_f32(*value)).collect()
}

pub(crate) fn floats<E: Element>(values: &[E]) -> Vec<f32> {
    values.iter().map(|value| value.to_f32()).collect()
}

/// The nearest values that `E` stores: what a reference may see.
pub(crate) fn rounded<E: Element>(values: Vec<f32>) -> Vec<f32> {
    values.into_iter().map(|value| E::from_f32(value).to_f32()).collect()
}

/// Room that holds no numbers yet.
pub(crate) fn stale<E: Element>(length: usize) -> Vec<E> {
    vec![E::from_f32(f32::NAN); length]
}

/// Unit roundoff of what is stored. Of f32 none: the last rounding is one of the arithmetic's.
pub(crate) fn unit_roundoff<E: Element>() -> f64 {
    if E::IS_SHORT { 1.0 / 256.0 } else { 0.0 }
}

/// What becomes of `value` if arithmetic errs by up to `error` and the result is stored: a value, and a bound around it. Rounding
/// is known where the arithmetic is exact.
pub(crate) fn stored<E: Element>(value: f64, error: f64) -> (f64, f64) {
    if error == 0.0 {
        return (f64::from(E::from_f32(value as f32).to_f32()), 0.0);
    }
    (value, error + unit_roundoff::<E>() * (value.abs() + error))
}

/// [`stored`] of each value, where `error` of a value is what arithmetic errs.
pub(crate) fn stored_each<E: Element>(values: &[f64], error: impl Fn(f64) -> f64) -> (Vec<f64>, Vec<f64>) {
    values.iter().map(|value| stored::<E>(*value, error(*value))).unzip()
}

#[test]
fn bounds_are_those_of_the_type() {
    assert_eq!(stored::<f32>(257.0, 0.0), (257.0, 0.0));
    assert_eq!(stored::<Bf16>(257.0, 0.0), (256.0, 0.0));
    assert_eq!(stored::<f32>(257.0, 0.5), (257.0, 0.5));
    assert_eq!(stored::<Bf16>(-255.5, 0.5), (-255.5, 1.5));
}

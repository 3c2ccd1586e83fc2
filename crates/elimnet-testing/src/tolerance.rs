//! Comparison of arrays against a reference, for tests.
//!
//! The measure is the largest |a - b| over the largest |reference|: a bound on it catches a lost term of a sum that an
//! element-wise relative tolerance (undefined at 0) hides, and it is what "logits agree within 1e-4 of the largest
//! logit" means. Whatever is not finite, or has another length, is a [`Mismatch`], never a small number.

use std::fmt;

/// Where two arrays are furthest apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deviation {
    /// The largest |actual - expected| over the largest |expected|; infinite where every expected value is 0 and an
    /// actual one is not.
    pub relative: f64,
    /// The index at which it occurs.
    pub index: usize,
    /// The value there.
    pub actual: f64,
    /// The reference there.
    pub expected: f64,
    /// The largest |expected| of the whole array.
    pub largest: f64,
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { relative, index, actual, expected, largest } = self;
        write!(f, "[{index}] is {actual}, expected {expected}: {relative:.3e} of the largest, {largest}")
    }
}

/// Why two arrays cannot be compared at all.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Mismatch {
    /// They have different lengths.
    Length {
        /// Length of the array under test.
        actual: usize,
        /// Length of the reference.
        expected: usize,
    },
    /// There is nothing in them: a test on them would prove nothing.
    Empty,
    /// A value of the array under test is NaN or infinite.
    NotFinite {
        /// Where.
        index: usize,
        /// The value.
        actual: f64,
    },
    /// A value of the reference is NaN or infinite.
    ReferenceNotFinite {
        /// Where.
        index: usize,
        /// The value.
        expected: f64,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { actual, expected } => write!(f, "has {actual} values, expected {expected}"),
            Self::Empty => write!(f, "has no values to compare"),
            Self::NotFinite { index, actual } => write!(f, "[{index}] is {actual}"),
            Self::ReferenceNotFinite { index, expected } => {
                write!(f, "the reference's [{index}] is {expected}")
            }
        }
    }
}

impl std::error::Error for Mismatch {}

/// How far `actual` is from `expected`, f32 or f64 on either side.
///
/// # Errors
/// A [`Mismatch`] where the lengths differ, both are empty, or a value is not finite.
pub fn deviation<A, E>(actual: &[A], expected: &[E]) -> Result<Deviation, Mismatch>
where
    A: Copy + Into<f64>,
    E: Copy + Into<f64>,
{
    check(actual, expected)?;
    let pairs = || actual.iter().zip(expected).map(|(&a, &e)| (a.into(), e.into()));
    let largest = pairs().map(|(_, e): (f64, f64)| e.abs()).fold(0.0, f64::max);
    let (index, (actual, expected)) = pairs()
        .enumerate()
        .max_by(|(_, a), (_, b)| (a.0 - a.1).abs().total_cmp(&(b.0 - b.1).abs()))
        .ok_or(Mismatch::Empty)?;
    Ok(Deviation { relative: over((actual - expected).abs(), largest), index, actual, expected, largest })
}

/// The Euclidean distance of `actual` and `expected` over the Euclidean norm of `expected`; infinite where that is 0
/// and the distance is not.
///
/// # Errors
/// As [`deviation`].
pub fn relative_l2<A, E>(actual: &[A], expected: &[E]) -> Result<f64, Mismatch>
where
    A: Copy + Into<f64>,
    E: Copy + Into<f64>,
{
    check(actual, expected)?;
    let pairs = || actual.iter().zip(expected).map(|(&a, &e)| (a.into(), e.into()));
    let distance: f64 = pairs().map(|(a, e): (f64, f64)| (a - e).powi(2)).sum();
    let norm: f64 = pairs().map(|(_, e): (f64, f64)| e.powi(2)).sum();
    Ok(over(distance.sqrt(), norm.sqrt()))
}

/// Asserts that the [`deviation`] is at most `bound`; `what` names the array in the message.
///
/// # Panics
/// If it is larger, or there is a [`Mismatch`].
#[track_caller]
pub fn assert_close<A, E>(what: &str, actual: &[A], expected: &[E], bound: f64)
where
    A: Copy + Into<f64>,
    E: Copy + Into<f64>,
{
    match deviation(actual, expected) {
        Ok(found) => assert!(found.relative <= bound, "{what}: {found}; allowed {bound:.3e}"),
        Err(mismatch) => panic!("{what}: {mismatch}"),
    }
}

/// Asserts that the [`relative_l2`] distance is at most `bound`; `what` names the array in the message.
///
/// # Panics
/// If it is larger, or there is a [`Mismatch`].
#[track_caller]
pub fn assert_close_l2<A, E>(what: &str, actual: &[A], expected: &[E], bound: f64)
where
    A: Copy + Into<f64>,
    E: Copy + Into<f64>,
{
    match relative_l2(actual, expected) {
        Ok(found) => assert!(found <= bound, "{what}: relative distance {found:.3e}; allowed {bound:.3e}"),
        Err(mismatch) => panic!("{what}: {mismatch}"),
    }
}

fn over(distance: f64, size: f64) -> f64 {
    if distance == 0.0 { 0.0 } else { distance / size }
}

fn check<A, E>(actual: &[A], expected: &[E]) -> Result<(), Mismatch>
where
    A: Copy + Into<f64>,
    E: Copy + Into<f64>,
{
    if actual.len() != expected.len() {
        return Err(Mismatch::Length { actual: actual.len(), expected: expected.len() });
    }
    if expected.is_empty() {
        return Err(Mismatch::Empty);
    }
    if let Some((index, expected)) = first_not_finite(expected) {
        return Err(Mismatch::ReferenceNotFinite { index, expected });
    }
    match first_not_finite(actual) {
        Some((index, actual)) => Err(Mismatch::NotFinite { index, actual }),
        None => Ok(()),
    }
}

fn first_not_finite<V: Copy + Into<f64>>(values: &[V]) -> Option<(usize, f64)> {
    values.iter().map(|&value| value.into()).enumerate().find(|(_, value): &(usize, f64)| !value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_arrays_deviate_by_nothing() {
        assert_eq!(deviation(&[1.0f32, -2.0, 0.0], &[1.0f64, -2.0, 0.0]).unwrap().relative, 0.0);
        assert_eq!(deviation(&[0.0f32; 3], &[0.0f32; 3]).unwrap().relative, 0.0);
        assert_eq!(relative_l2(&[0.0f32; 3], &[0.0f32; 3]), Ok(0.0));
    }

    #[test]
    fn the_deviation_is_relative_to_the_largest_reference() {
        let found = deviation(&[4.0f64, 1.5, -8.0], &[4.0f64, 1.0, -8.0]).unwrap();
        assert_eq!((found.relative, found.index), (0.0625, 1));
        assert_eq!((found.actual, found.expected, found.largest), (1.5, 1.0, 8.0));
    }

    #[test]
    fn a_wrong_value_where_the_reference_is_zero_counts() {
        assert_eq!(deviation(&[1.0f64, 0.5], &[1.0f64, 0.0]).unwrap().relative, 0.5);
        assert_eq!(deviation(&[0.0f64, 1e-30], &[0.0f64, 0.0]).unwrap().relative, f64::INFINITY);
        assert_eq!(relative_l2(&[1e-30f64], &[0.0f64]), Ok(f64::INFINITY));
    }

    #[test]
    fn l2_is_the_ratio_of_the_norms() {
        assert_eq!(relative_l2(&[3.0f64, 7.0], &[3.0f64, 4.0]), Ok(0.6));
    }

    #[test]
    fn what_cannot_be_compared_is_a_mismatch() {
        let none: [f64; 0] = [];
        let infinite = f64::NEG_INFINITY;
        for (actual, expected, mismatch) in [
            (&[1.0][..], &[1.0, 2.0][..], Mismatch::Length { actual: 1, expected: 2 }),
            (&none, &[1.0], Mismatch::Length { actual: 0, expected: 1 }),
            (&none, &none, Mismatch::Empty),
            (&[0.0, infinite], &[0.0, 0.0], Mismatch::NotFinite { index: 1, actual: infinite }),
            (&[0.0], &[infinite], Mismatch::ReferenceNotFinite { index: 0, expected: infinite }),
            (&[infinite], &[infinite], Mismatch::ReferenceNotFinite { index: 0, expected: infinite }),
        ] {
            assert_eq!(deviation(actual, expected), Err(mismatch));
            assert_eq!(relative_l2(actual, expected), Err(mismatch));
        }
    }

    #[test]
    fn nan_on_either_side_is_a_mismatch() {
        let nan = [f32::NAN, 1.0];
        assert!(matches!(deviation(&nan, &[0.0f32, 1.0]), Err(Mismatch::NotFinite { index: 0, .. })));
        assert!(matches!(deviation(&nan, &nan), Err(Mismatch::ReferenceNotFinite { index: 0, .. })));
    }

    #[test]
    #[should_panic(expected = "logits: [1] is 2.5, expected 2: 2.500e-1 of the largest, 2; allowed 1.000e-1")]
    fn a_deviation_beyond_the_bound_panics_with_its_place() {
        assert_close("logits", &[1.0f32, 2.5], &[1.0f32, 2.0], 0.1);
    }

    #[test]
    #[should_panic(expected = "logits: has 1 values, expected 2")]
    fn a_short_array_panics() {
        assert_close("logits", &[1.0f32], &[1.0f32, 2.0], 1.0);
    }

    #[test]
    #[should_panic(expected = "gradient: relative distance 6.000e-1; allowed 1.000e-1")]
    fn an_l2_distance_beyond_the_bound_panics() {
        assert_close_l2("gradient", &[3.0f64, 7.0], &[3.0f64, 4.0], 0.1);
    }

    #[test]
    #[should_panic(expected = "allowed NaN")]
    fn a_bound_that_is_not_a_number_never_passes() {
        assert_close("logits", &[1.0f32], &[1.0f32], f64::NAN);
    }
}

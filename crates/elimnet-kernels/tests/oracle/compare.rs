//! Comparisons that name the first wrong value.

/// Unit roundoff of f32.
const UNIT_ROUNDOFF: f64 = f32::EPSILON as f64 / 2.0;

/// `γ_n = n·u / (1 − n·u)`: bound on the relative error of `n` roundings (Higham, *Accuracy and Stability of
/// Numerical Algorithms*, §3.1).
pub(crate) fn gamma(roundings: usize) -> f64 {
    let error = roundings as f64 * UNIT_ROUNDOFF;
    error / (1.0 - error)
}

/// The first value that differs, described.
pub(crate) fn first_difference(actual: &[f32], expected: &[f64]) -> Option<String> {
    within(actual, expected, &vec![0.0; expected.len()])
}

/// The first value that is further than its bound from what is expected, described. NaN equals only NaN, an
/// infinity only itself.
pub(crate) fn within(actual: &[f32], expected: &[f64], bounds: &[f64]) -> Option<String> {
    if actual.len() != expected.len() || bounds.len() != expected.len() {
        return Some(format!(
            "{} values, expected {} (bounds {})",
            actual.len(),
            expected.len(),
            bounds.len()
        ));
    }
    let wrong = |index: &usize| {
        let (actual, expected, bound) = (f64::from(actual[*index]), expected[*index], bounds[*index]);
        let same = actual == expected || (actual.is_nan() && expected.is_nan());
        let near = actual.is_finite() && expected.is_finite() && (actual - expected).abs() <= bound;
        !(same || near)
    };
    let index = (0..expected.len()).find(wrong)?;
    Some(format!(
        "value {index} of {}: {} instead of {} ± {:e}",
        expected.len(),
        actual[index],
        expected[index],
        bounds[index]
    ))
}

#[test]
fn finds_what_is_wrong() {
    struct Case {
        actual: f32,
        expected: f64,
        bound: f64,
        wrong: bool,
    }
    let cases = [
        Case { actual: 1.0, expected: 1.0, bound: 0.0, wrong: false },
        Case { actual: 1.0, expected: 1.0 + 1e-7, bound: 2e-7, wrong: false },
        Case { actual: 1.0, expected: 1.0 + 3e-7, bound: 2e-7, wrong: true },
        Case { actual: 1e-30, expected: 0.0, bound: 0.0, wrong: true },
        Case { actual: 0.0, expected: 1e-30, bound: 0.0, wrong: true },
        Case { actual: -0.0, expected: 0.0, bound: 0.0, wrong: false },
        Case { actual: f32::NAN, expected: 0.0, bound: 1e30, wrong: true },
        Case { actual: 0.0, expected: f64::NAN, bound: 1e30, wrong: true },
        Case { actual: f32::NAN, expected: f64::NAN, bound: 0.0, wrong: false },
        Case { actual: f32::INFINITY, expected: 1.0, bound: f64::INFINITY, wrong: true },
        Case { actual: f32::INFINITY, expected: f64::INFINITY, bound: 0.0, wrong: false },
        Case { actual: f32::INFINITY, expected: f64::NEG_INFINITY, bound: f64::INFINITY, wrong: true },
        Case { actual: 1.0, expected: f64::INFINITY, bound: f64::INFINITY, wrong: true },
        Case { actual: 1.0, expected: 2.0, bound: f64::NAN, wrong: true },
    ];
    for Case { actual, expected, bound, wrong } in cases {
        let found = within(&[actual], &[expected], &[bound]);
        assert_eq!(found.is_some(), wrong, "{actual} against {expected} ± {bound}: {found:?}");
    }
    assert!(within(&[1.0], &[1.0, 2.0], &[0.0, 0.0]).is_some());
    assert!(first_difference(&[1.0, 2.0], &[1.0, 2.0]).is_none());
    assert!(first_difference(&[1.0, 2.5], &[1.0, 2.0]).unwrap().starts_with("value 1 of 2: 2.5"));
}

#[test]
fn gamma_is_the_bound_of_the_book() {
    assert_eq!(gamma(0), 0.0);
    assert!((gamma(1) - 5.960_464_8e-8).abs() < 1e-14);
    assert!(gamma(1000) > 1000.0 * gamma(1));
}

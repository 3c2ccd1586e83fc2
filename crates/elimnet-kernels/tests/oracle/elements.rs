use elimnet_kernels::{Bf16, Element, Kernels};

use super::run::{Numbers, on_every_isa};
use super::stored::{floats, stale};

/// The nearest bf16 by definition: the closer of the two neighbours, the even one of two equally close.
fn nearest(value: f32) -> f32 {
    if value.is_nan() || value.is_infinite() {
        return value;
    }
    if value.abs() < f32::MIN_POSITIVE {
        return 0.0_f32.copysign(value);
    }
    let unit = 2.0_f64.powi(f64::from(value).abs().log2().floor() as i32 - 7);
    let steps = (f64::from(value) / unit).round_ties_even();
    (steps * unit) as f32 // past the largest bf16 that is 2¹²⁸, infinite as an f32
}

/// Every upper half with the lower halves around a tie, and random ones.
fn all_kinds() -> Vec<f32> {
    let lower = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff];
    let patterns = (0..=0xffff_u32).flat_map(|upper| lower.map(|lower| upper << 16 | lower));
    patterns.map(f32::from_bits).chain(Numbers::new(1).reals(10_007)).collect()
}

#[test]
fn rounding_is_to_nearest_even_on_every_isa() {
    let values = all_kinds();
    for (isa, actual) in on_every_isa(|isa| {
        let mut rounded = vec![Bf16::ZERO; values.len()];
        Bf16::narrow(isa, &values, &mut rounded);
        let mut wide = vec![f32::NAN; values.len()];
        Bf16::widen(isa, &rounded, &mut wide);
        let same = |(rounded, value): (&Bf16, &f32)| rounded.to_bits() == Bf16::from_f32(*value).to_bits();
        assert!(rounded.iter().zip(&values).all(same), "{isa}: differs from `Bf16::from_f32`");
        wide
    }) {
        for (value, actual) in values.iter().zip(&actual) {
            let expected = nearest(*value);
            let same = actual.to_bits() == expected.to_bits() || (actual.is_nan() && expected.is_nan());
            assert!(same, "{isa}: {value:e} became {actual:e} instead of {expected:e}");
            assert!(!value.is_nan() || actual.is_sign_negative() == value.is_sign_negative(), "{isa}");
        }
    }
}

#[test]
fn every_bf16_widens_exactly() {
    let all: Vec<_> = (0..=u16::MAX).map(Bf16::from_bits).collect();
    for (isa, wide) in on_every_isa(|isa| {
        let mut wide = vec![f32::NAN; all.len()];
        Bf16::widen(isa, &all, &mut wide);
        wide
    }) {
        for (element, wide) in all.iter().zip(wide) {
            assert_eq!(wide.to_bits(), u32::from(element.to_bits()) << 16, "{isa}");
        }
    }
}

#[test]
fn conversions_touch_what_they_are_given_at_every_length() {
    for count in [0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 16 * 1024 + 1] {
        check_conversions::<f32>(count);
        check_conversions::<Bf16>(count);
    }
}

fn check_conversions<E: Kernels>(count: usize) {
    let values = Numbers::new(2).integers(count);
    for (isa, actual) in on_every_isa(|isa| {
        let (mut elements, mut wide) = (stale::<E>(count), vec![f32::NAN; count]);
        E::narrow(isa, &values, &mut elements);
        assert_eq!(floats(&elements), values, "{isa}");
        E::widen(isa, &elements, &mut wide);
        wide
    }) {
        assert_eq!(actual, values, "{isa}");
    }
}

#[test]
fn elements_compare_and_print_as_numbers() {
    assert_eq!(Bf16::from_f32(-0.0), Bf16::ZERO);
    assert_ne!(Bf16::from_f32(f32::NAN), Bf16::from_f32(f32::NAN));
    assert_eq!(format!("{:?}", Bf16::from_f32(0.5)), "0.5");
    assert_eq!((Bf16::default(), <Bf16 as Element>::ZERO), (Bf16::ZERO, Bf16::ZERO));
}

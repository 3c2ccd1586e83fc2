use elimnet_kernels::{Bf16, Kernels, dropout, dropout_seed};

use super::compare::{first_difference, gamma, within};
use super::run::{Numbers, STEP, on_every_isa, widen};
use super::stored::{elements, floats, rounded, stale, stored_each};

#[test]
fn sums_are_exact_at_every_length() {
    for count in [0, 1, 3, 4, 5, 8, 9, 15, 16, 17, 33, 16 * 1024, 16 * 1024 + 1, 100_003] {
        sums_are_exact::<f32>(count);
        sums_are_exact::<Bf16>(count);
    }
}

fn sums_are_exact<E: Kernels>(count: usize) {
    let mut numbers = Numbers::new(count as u64);
    let [a, b] = [(); 2].map(|()| rounded::<E>(numbers.reals(count)));
    let sums: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
    let expected = widen(&rounded::<E>(sums));
    let [a, b] = [a, b].map(|values| elements::<E>(&values));
    for (isa, actual) in on_every_isa(|isa| {
        let (mut y, mut assigned) = (stale::<E>(count), a.clone());
        E::add(isa, &a, &b, &mut y);
        E::add_assign(isa, &mut assigned, &b);
        assert_eq!(y, assigned);
        floats(&y)
    }) {
        assert_eq!(first_difference(&actual, &expected), None, "{isa} {count}");
    }
}

/// A unit's number is SplitMix64's of its index: the mask depends on nothing but the seed and the place.
#[test]
fn dropout_keeps_and_scales_what_its_numbers_say() {
    for count in [0, 1, 5, 1000, 16 * 1024 + 1, 40_000] {
        for group in [1, 3, 700] {
            for probability in [0.0, 0.2, 0.5, 0.75, 1.0] {
                check_dropout::<f32>(count, group, probability);
                check_dropout::<Bf16>(count, group, probability);
            }
        }
    }
}

fn check_dropout<E: Kernels>(count: usize, group: usize, probability: f32) {
    let seed = dropout_seed(count as u64, group as u64);
    let x = rounded::<E>(Numbers::new(5).reals(count));
    // The stream's first number is that of one step; from −1..1 to 0..1.
    let units = Numbers::new(seed.wrapping_sub(STEP)).reals(count.div_ceil(group));
    let value = |(index, x): (usize, &f32)| {
        let is_kept = (units[index / group] + 1.0) / 2.0 >= probability;
        if is_kept { f64::from(*x) / (1.0 - f64::from(probability)) } else { 0.0 }
    };
    let dropped: Vec<f64> = x.iter().enumerate().map(value).collect();
    // A subtraction, a division and a product.
    let (expected, bounds) = stored_each::<E>(&dropped, |value| gamma(3) * value.abs());
    for (isa, actual) in on_every_isa(|_| {
        let mut values = elements::<E>(&x);
        dropout(&mut values, probability, seed, group);
        floats(&values)
    }) {
        let difference = within(&actual, &expected, &bounds);
        assert_eq!(difference, None, "{isa} {count} by {group} with {probability}");
    }
}
